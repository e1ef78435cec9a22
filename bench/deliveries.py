"""Deliveries: how many a second, what a hung receiver and a flood do to the others, and how a backlog drains.

The outbox is a real SQLite file with commits that are flushed; the receivers are a process of their own.
"""

import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from bench.parts.floors import bare_client
from bench.parts.ground import Ground
from bench.parts.latencies import Figures, figures
from bench.parts.meters import own_peak_mb
from bench.parts.receivers import Receivers, receivers
from bench.parts.table import Budget, Line, figure, print_table
from service.clock import SystemClock
from service.delivery.courier import Courier
from service.delivery.dispatcher import Dispatcher
from service.delivery.sender import Sender
from service.delivery.sinks.owner import Sinks
from service.egress import EgressGuard, parse_networks
from service.ids import new_id
from service.lifecycle.endpoint import Endpoint, SigningSecret
from service.lifecycle.run import Run
from service.lifecycle.transitions import queued
from service.log import silent_log
from service.sealing import Sealer
from service.secret_key import SecretKeys
from service.store.opening import store_of
from service.store.sql_store import SqlStore
from service.workers.sweep import Crew, Sweep

_RECEIVERS = 100
_PER_S = 100
_FEED_S = 5
_BACKLOG = 10_000
_FLOOD = 3000
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of this benchmark alone


class Stage:
    """An outbox and its dispatcher, with the receivers at a port."""

    def __init__(self, store: SqlStore, sender: Sender, receivers: Receivers) -> None:
        self.store = store
        self.clock = SystemClock()
        self.receivers = receivers
        self.sent: dict[str, float] = {}
        self._crew = Crew(silent_log())
        self._sealer = Sealer(SecretKeys(all=(b"k" * 32,)))
        courier = Courier(
            sender,
            sinks=Sinks(()),
            sealer=self._sealer,
            secrets_of=lambda _: (),
            keys_of=lambda _: (),
            public_url=None,
            clock=self.clock,
        )
        dispatcher = Dispatcher(
            store,
            courier,
            start=self._crew.start,
            ring=self._ring,
            count=lambda _: None,
            clock=self.clock,
            chance=random.Random(1),
            log=silent_log(),
        )
        self.sweep = Sweep("deliver", 0.5, dispatcher.run_once, silent_log())

    def _ring(self) -> None:
        self.sweep.ring()

    async def subscribe(self, path: str, workspace: str, group: str) -> Endpoint:
        """Make an endpoint that hears of a group's runs."""
        now = self.clock.now()
        return await self.store.add_endpoint(
            Endpoint(
                id=new_id("ep", now),
                workspace=workspace,
                url=self._sealer.seal(self.receivers.url + path),
                url_hash=f"{path} {group}",
                origin=self.receivers.url,
                types=("run.queued",),
                group=group,
                secrets=(SigningSecret(sealed=self._sealer.seal(_SECRET)),),
                created_at=now,
            )
        )

    async def tell(self, workspace: str, group: str) -> None:
        """Commit an event of a group, and note when."""
        now = self.clock.now()
        run_id = new_id("run", now)
        run = Run(
            id=run_id,
            workspace=workspace,
            node="bench.node",
            lane="bench",
            state="queued",
            mode="mock",
            input={"prompt": "x" * 200},
            status_url=f"http://127.0.0.1/v1/runs/{run_id}",
            callback_token=run_id,
            external_id=run_id,
            created_at=now,
            deadline_at=now + 3600,
            due_at=None,
            group=group,
        )
        await self.store.start(queued(run), {}, None)
        self.sent[run_id] = time.time()

    async def latencies(self, workspace: str, prefix: str) -> list[float]:
        """Return the latencies of what came to paths that begin so."""
        found = []
        for path, events in (await self.receivers.arrivals()).items():
            for event_id, at in events.items() if path.startswith(prefix) else ():
                event = await self.store.body_of(workspace, event_id)
                found.append(at - self.sent[json.loads(event[1])["data"]["id"]] if event else 0.0)
        return found

    async def close(self) -> None:
        """Stop, and give up what is under way."""
        await self.sweep.stop()
        await self._crew.drain(0.1)


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Run an empty outbox and its receivers."""
    with tempfile.TemporaryDirectory(prefix="halley-bench-") as folder:
        async with bare_client() as client, receivers(client) as around:
            store = store_of(Path(folder) / "halley.db", SystemClock())
            sender = Sender(EgressGuard(parse_networks("127.0.0.0/8")))
            await store.open()
            await sender.start()
            built = Stage(store, sender, around)
            yield built
            await built.close()
            await sender.close()
            await store.close()


async def isolation() -> tuple[Figures, Figures]:
    """Feed 100 receivers evenly, of which none hangs, then of which one does, and again the other way round."""
    plain, hung = list[float](), list[float]()
    for is_hung in (False, True, True, False):
        (hung if is_hung else plain).extend(await _fed(is_hung=is_hung))
    return figures(plain), figures(hung)


async def _fed(*, is_hung: bool) -> list[float]:
    async with stage() as on:
        for number in range(_RECEIVERS):
            await on.subscribe("/hung" if is_hung and number == 0 else f"/ok{number}", "w", f"g{number}")
        for count in range(_PER_S * _FEED_S):
            await on.tell("w", f"g{count % _RECEIVERS}")
            on.sweep.ring()
            await asyncio.sleep(1 / _PER_S)
        await asyncio.sleep(0.5)
        return await on.latencies("w", "/ok")


async def flood() -> Figures:
    """Let one tenant owe a slow receiver thousands of events, and feed another tenant meanwhile."""
    async with stage() as on:
        await on.subscribe("/slow", "many", "g")
        await on.subscribe("/ok", "few", "g")
        await asyncio.gather(*(on.tell("many", "g") for _ in range(_FLOOD)))
        on.sweep.ring()
        for _ in range(40):
            await on.tell("few", "g")
            on.sweep.ring()
            await asyncio.sleep(0.1)
        await on.receivers.told(40)
        left = _FLOOD - await on.receivers.count("/slow")
        print(f"flood: {left} of {_FLOOD} events of the other tenant were still to come at the end")
        return figures(await on.latencies("few", "/ok"))


async def backlog(receivers: int) -> tuple[float, float]:
    """Let 10,000 events wait, then send them; returns how many a second, and the peak of memory in MB."""
    async with stage() as on:
        for number in range(receivers):
            await on.subscribe(f"/ok{number}", "w", f"g{number}")
        for begin in range(0, _BACKLOG, 500):
            await asyncio.gather(*(on.tell("w", f"g{n % receivers}") for n in range(begin, begin + 500)))
        begun = time.time()
        on.sweep.ring()
        await on.receivers.told(_BACKLOG)
        last = max(at for events in (await on.receivers.arrivals()).values() for at in events.values())
        return _BACKLOG / (last - begun), own_peak_mb()


async def catch_up() -> tuple[int, float]:
    """Let an endpoint recover 10,000 events that it never got; returns how many came, and in how many seconds."""
    async with stage() as on:
        for begin in range(0, _BACKLOG, 500):
            await asyncio.gather(*(on.tell("w", "g") for _ in range(begin, begin + 500)))
        endpoint = await on.subscribe("/ok", "w", "g")
        begun = time.time()
        count = await on.store.recover(endpoint.id, 0.0, on.clock.now())
        on.sweep.ring()
        await on.receivers.told(_BACKLOG)
        return count, time.time() - begun


async def lines(ground: Ground) -> list[Line]:
    """Drain a backlog, and let one of 100 receivers hang."""
    (per_s, _), (plain, hung) = await backlog(100), await isolation()
    return [
        Line(
            what=f"deliveries, {_BACKLOG:,} overdue to 100 receivers",
            unit="/s",
            measured=per_s,
            floor=1000 / ground.floors.sum_ms("sqlite", answers=0, requests=1, rows=1),
            floor_is="a core that does a request and a row for each",
            budget=Budget(limit=500, is_least=True),
        ),
        Line(
            what="event committed to received, one of 100 hangs, p95",
            unit="ms",
            measured=hung.p95_ms,
            floor=plain.p95_ms,
            floor_is="none hangs",
            budget=Budget(floors=1.1),
        ),
    ]


async def _measure() -> None:
    (plain, hung), other = await isolation(), await flood()
    rows = [
        (name, str(each.count), figure(each.p50_ms), figure(each.p95_ms), figure(each.worst_ms), figure(ratio, 2))
        for name, each, ratio in (
            (f"{_RECEIVERS} receivers, {_PER_S} events/s", plain, 1.0),
            ("the others, when one hangs", hung, hung.p95_ms / plain.p95_ms),
            ("one tenant in another's flood", other, other.p95_ms / plain.p95_ms),
        )
    ]
    print_table(("from commit to arrival", "events", "p50 ms", "p95 ms", "worst ms", "p95, x"), rows)
    for count in (1, 100):
        per_s, peak_mb = await backlog(count)
        print(f"{_BACKLOG} overdue to {count}: {per_s:,.0f} /s, peak {peak_mb:,.0f} MB of this process")
    count, seconds = await catch_up()
    print(f"recovered {count}: all there after {seconds:.1f} s\n", flush=True)


def main() -> None:
    """Print what deliveries take."""
    uvloop.run(_measure())
