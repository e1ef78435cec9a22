"""Callers as in life: they start runs of every kind and, where they gave a key, repeat a start without an answer."""

import asyncio
import contextlib
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from msgspec import Struct

from tests.fakes.house import API_KEY

_TRIES = 600
_PAUSE_S = 0.05
EVENTS = [
    "run.queued",
    "run.running",
    "run.progressed",
    "run.succeeded",
    "run.failed",
    "run.canceled",
    "run.timed_out",
    "run.submit_unknown",
    "run.recovered",
]
Inputs = Callable[[str], dict[str, Any]]


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of run.

    Attributes:
        node: What is run.
        inputs: From the marker to the input.
        options: How it is run.
        is_found: Whether upstream can be asked about it by our own id.
    """

    node: str
    inputs: Inputs
    options: dict[str, Any] = {}
    is_found: bool = False


FILMED = Kind(node="kling.text_to_video", inputs=lambda marker: {"prompt": f"{marker} [[slow:0.05]]"}, is_found=True)
BUSY = Kind(node="kling.text_to_video", inputs=lambda marker: {"prompt": f"{marker} [[busy]]"}, is_found=True)
EXPIRING = Kind(
    node="kling.text_to_video",
    inputs=lambda marker: {"prompt": f"{marker} [[duration:3]]"},
    options={"deadline": 1},
    is_found=True,
)
POLLED = Kind(node="veo.generate", inputs=lambda marker: {"prompt": marker, "model": "veo3-fast"})
DIRECT = Kind(node="text.chat", inputs=lambda marker: {"model": "gpt-5.4", "prompt": marker})
FLOW = Kind(node="midjourney.quick_pipeline", inputs=lambda marker: {"prompt": marker, "button": "U1"})
LONG = Kind(node="kling.text_to_video", inputs=lambda marker: {"prompt": f"{marker} [[duration:30]]"}, is_found=True)
KINDS = (FILMED, FILMED, BUSY, POLLED, DIRECT, FLOW, EXPIRING)


class Start(Struct, kw_only=True):
    """What became of a start.

    Attributes:
        marker: Stands in the prompt and is the run's reference.
        has_key: It was sent with an idempotency key, and repeated until it was answered.
        run_id: The run, once the start was answered.
    """

    marker: str
    kind: Kind
    has_key: bool
    run_id: str = ""


class GroupStart(Struct, kw_only=True):
    """What became of the start of a group.

    Attributes:
        marker: Its idempotency key; those of its runs begin with it.
        is_race: It completes with the first that succeeds, and one of its runs would take long.
        group_id: The group, once the start was answered.
    """

    marker: str
    is_race: bool
    group_id: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """What is sent."""
        kinds = (FILMED, FILMED, LONG) if self.is_race else (FILMED, FILMED)
        runs = [{"node": k.node, "input": k.inputs(f"{self.marker}-{n}")} for n, k in enumerate(kinds, 1)]
        return {"runs": runs, **({"complete_on": "any", "cancel_rest": True} if self.is_race else {})}


class Callers:
    """Starts runs until it is told to stop.

    Args:
        client: Calls the server.
        webhook_url: Where events go.
        chance: Decides what is started, and with a key or without.
        name: Begins every marker.

    Attributes:
        starts: All that was tried.
        groups: All groups that were tried.
    """

    def __init__(self, client: httpx.AsyncClient, webhook_url: str, chance: random.Random, name: str) -> None:
        self._client = client
        self._webhook_url = webhook_url
        self._chance = chance
        self._name = f"{name}-{secrets.token_hex(3)}"  # a database may know runs of an earlier trial
        self._numbers = itertools.count(1)
        self._is_closed = False
        self.starts: list[Start] = []
        self.groups: list[GroupStart] = []

    @contextlib.asynccontextmanager
    async def calling(self, number: int, pause_s: float, *, groups: float = 0.2) -> AsyncIterator[None]:
        """Let so many callers start runs until the block ends; what they have begun is answered first.

        Args:
            number: How many.
            pause_s: Between two starts of one.
            groups: The share of groups among the starts.
        """
        callers = [asyncio.create_task(self._call(pause_s, groups)) for _ in range(number)]
        try:
            yield
        finally:
            self._is_closed = True
            await asyncio.gather(*callers)

    async def _call(self, pause_s: float, groups: float) -> None:
        while not self._is_closed:
            if self._chance.random() < groups:
                await self.start_group(is_race=self._chance.random() < 0.5)
            else:
                await self.start(self._chance.choice(KINDS), has_key=self._chance.random() < 0.8)
            await asyncio.sleep(pause_s * self._chance.uniform(0.5, 1.5))

    async def start_all(self) -> None:
        """Start a run of each kind."""
        await asyncio.gather(*(self.start(kind) for kind in KINDS))

    async def start(self, kind: Kind, *, has_key: bool = True) -> Start:
        """Start a run as a careful caller does, or as one who cannot know whether a lost start was taken."""
        start = Start(marker=f"probe-{self._name}-{next(self._numbers)}", kind=kind, has_key=has_key)
        self.starts.append(start)
        for _ in range(_TRIES):
            answer = await self._sent(start)
            if answer is not None and answer.status_code in (200, 202):
                start.run_id = answer.json()["id"]
                break
            assert answer is None or answer.status_code == 503, answer.text
            if not has_key:
                break
            await asyncio.sleep(_PAUSE_S)
        return start

    async def start_group(self, *, is_race: bool) -> GroupStart:
        """Start a group, again and again until it is answered."""
        start = GroupStart(marker=f"probe-{self._name}-{next(self._numbers)}", is_race=is_race)
        self.groups.append(start)
        for _ in range(_TRIES):
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.post(
                    "/v1/groups",
                    json={**start.body, "webhook_url": self._webhook_url},
                    headers={"Idempotency-Key": start.marker},
                )
                if answer.status_code in (200, 202):
                    start.group_id = answer.json()["id"]
                    break
                assert answer.status_code == 503, answer.text
            await asyncio.sleep(_PAUSE_S)
        return start

    async def _sent(self, start: Start) -> httpx.Response | None:
        headers = {"Idempotency-Key": start.marker} if start.has_key else {}
        options = {"webhook_url": self._webhook_url, "webhook_events": EVENTS, "reference": start.marker}
        try:
            return await self._client.post(
                f"/v1/nodes/{start.kind.node}/runs",
                json=start.kind.inputs(start.marker),
                params={**options, "wait": 0, **start.kind.options},
                headers=headers,
            )
        except httpx.TransportError:
            return None


@contextlib.asynccontextmanager
async def client_of(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the server."""
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": API_KEY}, timeout=20) as client:
        yield client
