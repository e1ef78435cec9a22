"""What all families play on: options, clock, ids, tasks, journal, faults and callbacks of one simulator.

The stage outlives its server: stop and start again, and the tasks are still there, as after an outage. A new
simulator remembers nothing, as after a loss of data.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from aiohttp import web

from service.clock import Clock
from service.simulator import faults
from service.simulator.aggregator import Refused, platform_error
from service.simulator.bounded import Bounded
from service.simulator.callbacks import CallbackPoster, Render, refusal_of
from service.simulator.faults import Fault, Wire
from service.simulator.journal import Journal, Received
from service.simulator.marks import base_scenario
from service.simulator.scenario import Scenario, SimulatorOptions
from service.simulator.tasks import RELAY_ID_OFFSET, Snowflakes, Task, TaskTable

MAX_REMEMBERED = 10_000

KeyPlace = Literal["header", "query", "none"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RecordedHandler = Callable[[web.Request, Received], Awaitable[web.StreamResponse]]


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """What a family says about a task that is to be created.

    Attributes:
        usual_s: How long such tasks take.
        make_id: Writes the family's kind of id from a number of 18 digits, if it has one of its own.
    """

    operation: str
    path: str
    base_url: str
    external_id: str
    callback_url: str
    scenario: Scenario
    usual_s: float
    facts: Any
    make_id: Callable[[str], str] | None = None


class Stage:
    """The state of one simulator and what families do with it."""

    def __init__(self, options: SimulatorOptions, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        self.ids = Snowflakes(clock)
        self.scenario = base_scenario(options)
        self.tasks = TaskTable(options.max_tasks)
        self.journal = Journal(options.max_requests)
        self.sessions: Bounded[str, Any] = Bounded(MAX_REMEMBERED)
        self._refused_as_busy: Bounded[str, int] = Bounded(MAX_REMEMBERED)
        self._closing = asyncio.Event()
        self._poster: CallbackPoster | None = None

    async def open(self) -> None:
        """Get ready to play, inside the event loop."""
        self._closing.clear()
        self._poster = CallbackPoster(self.clock, self.options.lie_s)

    def end_hanging(self) -> None:
        """Cut the connections on which nothing is ever answered."""
        self._closing.set()

    async def close(self) -> None:
        """Give up the callbacks that are still to come."""
        if self._poster is not None:
            await self._poster.close()

    async def reset(self) -> None:
        """Forget tasks, requests, sessions and coming callbacks."""
        if self._poster is not None:
            await self._poster.forget()
        for memory in (self.tasks, self.journal, self.sessions, self._refused_as_busy):
            memory.clear()

    def recorded(self, handler: RecordedHandler, *, key: KeyPlace = "header") -> Handler:
        """Wrap a family's handler: journal, key check, and refusals turned into answers."""

        async def handle(request: web.Request) -> web.StreamResponse:
            received = self.journal.open(request, self.clock.now())
            try:
                self._require_key(request, key)
                response = await handler(request, received)
            except Refused as refused:
                response = refused.response
            received.status = response.status
            return response

        return handle

    def _require_key(self, request: web.Request, place: KeyPlace) -> None:
        key = _key_of(request, place)
        if place != "none" and (not key or self.options.api_key not in (None, key)):
            raise Refused(platform_error(HTTPStatus.UNAUTHORIZED, "invalid token", "invalid_api_key", self.ids.next()))

    async def ask(self, url: str, body: Any) -> tuple[int | str, bytes]:
        """Post JSON to a callback address at once; returns the answer's status, or the error's name, and its body."""
        if self._poster is None or (refusal := refusal_of(url)):
            return refusal if self._poster else "closed", b""
        return await self._poster.ask(url, msgspec.json.encode(body))

    def finds_busy(self, scenario: Scenario, key: str) -> bool:
        """Tell whether this submission is one of those that find no free slot, and count it."""
        done = self._refused_as_busy.get(key) or 0
        if done >= scenario.busy:
            return False
        self._refused_as_busy.put(key, done + 1)
        return True

    async def strike_before(self, request: web.Request, scenario: Scenario) -> None:
        """Play the scenario's fault if it strikes before anything is created.

        Raises:
            Refused: It does.
        """
        fault = faults.BEFORE.get(scenario.fault)
        if fault is not None:
            raise Refused(await self.strike(fault, request, scenario))

    async def strike_after(self, request: web.Request, scenario: Scenario, answer: web.Response) -> web.Response:
        """Pause as the scenario says, then give the answer or the fault that takes its place."""
        if scenario.slow_s:
            await asyncio.sleep(scenario.slow_s)
        fault = faults.AFTER.get(scenario.fault)
        return answer if fault is None else await self.strike(fault, request, scenario, answer)

    async def strike(
        self, fault: Fault, request: web.Request, scenario: Scenario, answer: web.Response | None = None
    ) -> web.Response:
        """Play a fault on the connection of a request."""
        wire = Wire(
            request=request,
            request_id=self.ids.next(),
            status=scenario.fault_status,
            answer=answer,
            closing=self._closing,
        )
        return await fault(wire)

    async def create(self, creation: Creation, render: Render) -> Task:
        """Create a task and set its callbacks going; an early one has been posted on return."""
        task = self._task_of(creation)
        self.tasks.add(task)
        if task.callback_url and not task.callback_refused and self._poster is not None:
            follower = self._poster.follow(task, render)
            if task.scenario.callback == "early":
                await follower
        return task

    def _task_of(self, creation: Creation) -> Task:
        now = self.clock.now()
        native_id, make_id = self.ids.next(), creation.make_id
        public_id = str(int(native_id) + RELAY_ID_OFFSET) if self.options.relay_ids else native_id
        return Task(
            id=native_id if make_id is None else make_id(native_id),
            public_id=public_id if make_id is None else make_id(public_id),
            operation=creation.operation,
            path=creation.path,
            base_url=creation.base_url,
            external_id=creation.external_id,
            scenario=creation.scenario,
            created_at=now,
            finished_at=now + self._duration_s(creation.scenario, creation.usual_s),
            callback_url=creation.callback_url,
            callback_refused=refusal_of(creation.callback_url) if creation.callback_url else "",
            facts=creation.facts,
        )

    def _duration_s(self, scenario: Scenario, usual_s: float) -> float:
        if scenario.callback == "early":
            return 0.0
        duration_s = usual_s / self.options.speed
        for fixed_s in (self.options.duration_s, scenario.duration_s):
            duration_s = duration_s if fixed_s is None else fixed_s
        lag_s = self.options.lie_s if scenario.callback == "lying" else 0.0
        return duration_s * scenario.duration_factor + lag_s


def _key_of(request: web.Request, place: KeyPlace) -> str:
    if place == "query":
        return request.query.get("key", "")
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and key.strip():
        return key
    return request.headers.get("x-api-key") or request.headers.get("x-goog-api-key") or ""
