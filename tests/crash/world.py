"""What outlives the server: the upstream and the receiver, both of which can have it killed and count what they saw.

What they saw is the evidence, so nothing here knows how Halley works.
"""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

import msgspec
from aiohttp import web
from msgspec import Struct

from service.simulator import Simulator, SimulatorOptions
from service.simulator.app import all_families
from service.simulator.stage import Stage
from tests.crash.steps import Fuse

UPSTREAM_STEPS = (
    "submission.arrived",
    "submission.made",
    "submission.answered",
    "poll.arrived",
    "poll.made",
    "delivery.arrived",
    "delivery.answered",
)
_MARKER = re.compile(rb"probe-[0-9a-z-]+")
_QUESTIONS = ("list-by-condition", "/fetch", "/query")
_FIRST_REFUSAL = 300
_NEVER = Fuse("", lambda: None)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Submission(Struct, kw_only=True):
    """A request that starts a generation; refused only where upstream said so to somebody."""

    path: str
    marker: str
    body: bytes
    is_refused: bool = False


class Upstream:
    """The simulator behind a doorkeeper that counts submissions and passes the steps.

    Attributes:
        fuse: What has the server killed.
        submissions: Every submission that arrived, answered or not.
        simulator: Who plays.
    """

    def __init__(self, **options: Any) -> None:
        self.fuse = _NEVER
        self.submissions: list[Submission] = []
        words = {"duration_s": 0.3, **options}
        self.simulator = Simulator(SimulatorOptions(**words), families=self._watched)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.simulator.url

    async def __aenter__(self) -> Self:
        await self.simulator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.simulator.stop()

    def repeated(self) -> list[str]:
        """Describe the submissions that came twice although the first had not been refused."""
        taken = Counter((each.path, each.marker or repr(each.body)) for each in self.submissions if not each.is_refused)
        return [f"{path} {what}: {n} times" for (path, what), n in taken.items() if n > 1]

    def has_task(self, marker: str) -> bool:
        """Tell whether a submission with a marker, of a kind that carries an id of ours, led to a task."""
        sent = (msgspec.json.decode(each.body) for each in self.submissions if each.marker == marker)
        return any(self.simulator.submissions(body.get("external_task_id", "-")) for body in sent)

    def _watched(self, stage: Stage) -> list[web.RouteDef]:
        return [
            web.RouteDef(route.method, route.path, self._watching(route.handler), route.kwargs)
            for route in all_families(stage)
        ]

    def _watching(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            is_question = request.method != "POST" or any(word in request.path for word in _QUESTIONS)
            kind = "poll" if is_question else "submission"
            submission = None if is_question else await self._noted(request)
            await self._passes(f"{kind}.arrived")
            answer = await handler(request)
            if submission is not None:
                submission.is_refused = answer.status >= _FIRST_REFUSAL
            await self._passes(f"{kind}.made")
            asyncio.get_running_loop().call_soon(self.fuse.passes, f"{kind}.answered")
            return answer

        return handle

    async def _passes(self, step: str) -> None:
        self.fuse.passes(step)
        await asyncio.sleep(0)

    async def _noted(self, request: web.Request) -> Submission:
        body = await request.read()
        found = _MARKER.search(body)
        submission = Submission(path=request.path, marker=found.group().decode() if found else "", body=body)
        self.submissions.append(submission)
        return submission


class Told(Struct, frozen=True, kw_only=True):
    """An event as it was delivered; the same one may come again."""

    webhook_id: str
    event_id: str
    type: str
    sequence: int
    run_id: str
    state: str
    headers: dict[str, str]
    body: bytes
    received_at: float


class Ear:
    """A receiver of events that passes the steps of a delivery.

    Attributes:
        fuse: What has the server killed.
        told: Everything that came, repetitions as well.
    """

    def __init__(self) -> None:
        self.fuse = _NEVER
        self.told: list[Told] = []
        self.url = ""
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/events"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def by_run(self) -> dict[str, dict[int, Told]]:
        """Return the events of each run by their sequence."""
        runs: dict[str, dict[int, Told]] = {}
        for each in self.told:
            runs.setdefault(each.run_id, {})[each.sequence] = each
        return runs

    async def news(self, timeout_s: float) -> None:
        """Return when something has come, or after the time."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        event = msgspec.json.decode(body)
        self.told.append(
            Told(
                webhook_id=request.headers["webhook-id"],
                event_id=event["id"],
                type=event["type"],
                sequence=event["sequence"],
                run_id=event["data"]["id"],
                state=event["data"]["state"],
                headers=dict(request.headers),
                body=body,
                received_at=time.time(),
            )
        )
        self._news.set()
        self.fuse.passes("delivery.arrived")
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(self.fuse.passes, "delivery.answered")
        return web.Response()


class World(Struct, frozen=True, kw_only=True):
    """Upstream and receiver."""

    upstream: Upstream
    ear: Ear

    def set_fuse(self, fuse: Fuse = _NEVER) -> None:
        """Give both the fuse that has the server killed."""
        self.upstream.fuse = self.ear.fuse = fuse


@contextlib.asynccontextmanager
async def world(**options: Any):
    """Run an upstream and a receiver until the block ends."""
    async with Upstream(**options) as upstream, Ear() as ear:
        yield World(upstream=upstream, ear=ear)
