"""Whole lives of runs at the store, and the process that leads them: no HTTP, no upstream, the service's own sweeps.

`python -m bench.parts.lives ORDER` opens a store, says `ready`, waits for a line, works and prints what it did. It is
a process of its own, since its processor time is what is measured, and since several of them are replicas.
"""

import asyncio
import contextlib
import math
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from msgspec import Struct

from bench.parts.meters import own_cpu_s, written_bytes
from service.clock import SystemClock
from service.definitions.catalog import CompiledPace
from service.definitions.reader import Reading
from service.definitions.results import ReadArtifact
from service.ids import new_id, new_token
from service.lifecycle.run import Change, Entry, Run, Webhook
from service.lifecycle.transitions import Accepted, Following, observed, queued, submission_begun, submission_ended
from service.log import configure_log
from service.settings import Secret
from service.store import writer
from service.store.base import Store
from service.store.opening import store_of
from service.store.outbox import Delivery, DeliveryResult
from service.store.starts import Idempotency
from service.workers.sweep import Crew, Sweep

LANE = "bench"
_AT_ONCE = 100
_LEASE_S = 60.0
_SWEEP_S = 0.25
_WARM_RUNS = 8
_PROMPT = "A comet over a winter sea at dawn, wide shot, slow pan from left to right, film grain, muted colours"
_INPUT = {"prompt": _PROMPT, "model_name": "v2-master", "duration": "5", "aspect_ratio": "16:9", "mode": "pro"}
_SEALED_URL = "sealed:" + "A" * 150  # as long as the sealed resume URL of a workflow
_AT_ONCE_PACE = CompiledPace(first_s=0, every_s=0, growth=1, at_most_s=0, deadline_s=3600, with_callback=1)
_FOLLOWING = Following(pace=_AT_ONCE_PACE, expects_callback=False, needs_result=True, jitter=0.0)


class Order(Struct, frozen=True, kw_only=True):
    """What a process is to do.

    Attributes:
        database: URL of a PostgreSQL database, or path of a SQLite file.
        callers: So many runs are under way at once.
        seconds: For so long new ones are started.
        polls: Looks at each run; the last one finds its end.
        keyed: Each start brings an idempotency key.
    """

    database: str
    callers: int
    seconds: float
    polls: int = 1
    keyed: bool = False


class Led(Struct, frozen=True, kw_only=True):
    """What a process did.

    Attributes:
        runs: Runs that it led to their end.
        seconds: How long that took.
        cpu_s: Its processor time.
        written_bytes: What it wrote to disks itself.
        commits: Commits of a SQLite file; 0 otherwise.
    """

    runs: int
    seconds: float
    cpu_s: float
    written_bytes: int
    commits: int


class Leader:
    """Starts runs and leads them to their end as the workers do: what a sweep claims goes on in tasks of its own.

    Args:
        store: Where the runs are.
        order: How many at once, and how they live.
    """

    def __init__(self, store: Store, order: Order) -> None:
        self._store = store
        self._order = order
        self._clock = SystemClock()
        self._free = asyncio.Semaphore(order.callers)
        log = configure_log("text")
        self._crew = Crew(log)
        self._submit = Sweep("submit", _SWEEP_S, self._submit_due, log)
        self._poll = Sweep("poll", _SWEEP_S, self._poll_due, log)
        self._deliver = Sweep("deliver", _SWEEP_S, self._deliver_due, log)
        self.ended = 0

    async def lead(self, *, seconds: float = 0.0, at_least: int = 0) -> None:
        """Start runs until time and number are reached, and wait for the end of all, of other processes' runs too."""
        until, started = time.monotonic() + seconds, 0
        async with self._rung_now_and_then():
            while time.monotonic() < until or started < at_least:
                # Who ends a run of another process may begin one in its place, so this one may have none left.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._free.acquire(), _SWEEP_S)
                    self._crew.start(self._start())
                    started += 1
            while len(self._crew) or await self._are_some_open():
                await asyncio.sleep(0.01)
                self._ring()
            await self._deliver_due()
            await self._crew.drain(_LEASE_S)

    async def _are_some_open(self) -> bool:
        is_queued = LANE in await self._store.due_lanes("queued", math.inf)
        return is_queued or await self._store.count_running(LANE) > 0

    @contextlib.asynccontextmanager
    async def _rung_now_and_then(self) -> AsyncIterator[None]:
        async def ring() -> None:
            while True:
                self._ring()
                await asyncio.sleep(_SWEEP_S)

        task = asyncio.create_task(ring())
        yield
        task.cancel()

    def _ring(self) -> None:
        for sweep in (self._submit, self._poll, self._deliver):
            sweep.ring()

    async def _start(self) -> None:
        now = self._clock.now()
        run = a_run(now)
        key = Idempotency(scope="key_bench", key=f"order-{run.id}", fingerprint="f" * 64)
        await self._store.start(queued(run), _INPUT, key if self._order.keyed else None)
        self._submit.ring()

    async def _submit_due(self) -> bool:
        now = self._clock.now()
        runs = await self._store.claim_submissions(LANE, now, _AT_ONCE, lambda run: submission_begun(run, now))
        for run in runs:
            self._crew.start(self._accepted(run))
        return len(runs) == _AT_ONCE

    async def _accepted(self, run: Run) -> None:
        await self._store.run_input(run.id)
        outcome = Accepted(
            reading=Reading(task_id=str(uuid.uuid4()), state="queued", raw_status="submitted"), path="/v1/x"
        )
        now = self._clock.now()
        await self._store.change(run.id, lambda r: submission_ended(r, outcome, now, _FOLLOWING, attempt=run.attempts))
        self._poll.ring()

    async def _poll_due(self) -> bool:
        runs = await self._store.claim("running", LANE, self._clock.now(), _AT_ONCE, lease_s=_LEASE_S)
        for run in runs:
            self._crew.start(self._looked_at(run))
        return len(runs) == _AT_ONCE

    async def _looked_at(self, run: Run) -> None:
        reading = _WORKING if run.looks + 1 < self._order.polls else _DONE
        now = self._clock.now()

        def decide(current: Run) -> Change | None:
            return observed(current, reading, now, _FOLLOWING) if current.due_at == run.due_at else None

        await self._store.change(run.id, decide)
        (self._deliver if reading is _DONE else self._poll).ring()

    async def _deliver_due(self) -> bool:
        deliveries = await self._store.claim_deliveries(self._clock.now(), {"": _AT_ONCE}, _LEASE_S)
        for delivery in deliveries:
            self._crew.start(self._delivered(delivery))
        return len(deliveries) == _AT_ONCE

    async def _delivered(self, delivery: Delivery) -> None:
        detail = {"type": delivery.event_type, "attempt": 1, "outcome": "delivered", "status": 200, "latency_ms": 31.4,
                  "reason": "200", "answer": '{"ok":true}', "again_in_s": None}  # fmt: skip
        entry = Entry(at=self._clock.now(), kind="delivery", detail=detail)
        await self._store.finish_delivery(
            delivery, DeliveryResult(state="delivered", attempts=1, due_at=None, entry=entry)
        )
        self.ended += 1
        self._free.release()


_WORKING = Reading(state="running", raw_status="processing", progress=0.5)
_DONE = Reading(
    state="succeeded",
    raw_status="succeed",
    has_result=True,
    artifacts=(
        ReadArtifact(kind="video", url="https://cdn.example.com/" + "v" * 180 + ".mp4", mime="video/mp4", seconds=5.1),
    ),
)


def a_run(now: float) -> Run:
    """Return a new run as the API makes one: a video of one prompt, whose end is posted to a workflow."""
    run_id = new_id("run", now)
    return Run(
        id=run_id,
        workspace="studio",
        node="kling.text_to_video",
        lane=LANE,
        state="queued",
        mode="live",
        input=_INPUT,
        status_url=f"https://halley.example.com/v1/runs/{run_id}",
        callback_token=new_token(),
        external_id=str(uuid.uuid4()),
        created_at=now,
        deadline_at=now + 3600,
        due_at=now,
        upstream_path="/kling/v1/videos/text2video",
        reference="order-42",
        webhook=Webhook(url=_SEALED_URL),
    )


async def obey(order: Order) -> None:
    """Carry out an order."""
    database = Secret(order.database) if "://" in order.database else Path(order.database)
    commits = 0
    begun = writer._begun  # noqa: SLF001 - nobody else can count the commits of a file

    def counted(*words: Any) -> Any:
        nonlocal commits
        commits += 1
        return begun(*words)

    with mock.patch("service.store.writer._begun", counted):
        store = store_of(database, SystemClock())
        await store.open()
        leader = Leader(store, order)
        await leader.lead(at_least=_WARM_RUNS)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        before = (leader.ended, time.perf_counter(), own_cpu_s(), written_bytes(), commits)
        await leader.lead(seconds=order.seconds)
        after = (leader.ended, time.perf_counter(), own_cpu_s(), written_bytes(), commits)
        await store.close()
    led = Led(**dict(zip(Led.__struct_fields__, (b - a for a, b in zip(before, after, strict=True)), strict=True)))
    print(msgspec.json.encode(led).decode(), flush=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(obey(msgspec.json.decode(sys.argv[1], type=Order)))
