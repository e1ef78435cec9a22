"""What a run costs while much else is kept: 1,000, 10,000 and 100,000 open runs, and a million that have ended.

Whole runs by one real `halley serve`, over HTTP, on both stores. What stands there are copies of two runs that were
really led: one has ended; the other is looked at once a minute, which for one copy in a hundred begins at once. Nothing
here fails: the ratio to the empty database says whether a cost has grown.
"""

import asyncio
import contextlib
import os
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import uvloop
from msgspec import Struct

from bench.parts.latencies import at_once
from bench.parts.meters import ServerMeter, server_meter
from bench.parts.table import figure, print_table
from bench.parts.world import World, world
from tests.fakes.crowd import fill_postgres, fill_sqlite, tidy_postgres
from tests.fakes.postgres import PostgresServer, postgres_server

_JOB_S = 1.0
_AT_ONCE = 64
_PATIENCE_S = 180.0
_STOP_S = 20.0
_OPEN = ("runs", "run_inputs", "events", "timeline")


class Sizes(Struct, frozen=True, kw_only=True):
    """How much stands there, at a start and else, and how many runs are led to measure a case, how often."""

    at_start: int = 10_000
    open_runs: tuple[int, ...] = (1_000, 10_000, 100_000)
    ended: int = 1_000_000
    led: int = 1_500
    rounds: int = 2


class Case(Struct, frozen=True, kw_only=True):
    """What a run cost; `server_ms` is PostgreSQL's part."""

    store: str
    name: str
    ms: float
    server_ms: float | None
    memory_mb: float


class Started(Struct, frozen=True, kw_only=True):
    """What a start took until it was ready."""

    store: str
    name: str
    ready_s: float
    cpu_s: float
    memory_mb: float


class Database:
    """A store to fill, and the Halleys that work on it one after the other.

    Args:
        around: Upstream, receiver, and a Halley that is not open yet.
        url: Of a PostgreSQL database; None for SQLite.
        meter: Of its server.
    """

    def __init__(self, around: World, url: str | None = None, meter: ServerMeter | None = None) -> None:
        self._around = around
        self._url = url
        self._meter = meter
        self._copies = 0
        self._told = 0

    @property
    def store(self) -> str:
        """Its kind."""
        return "SQLite" if self._url is None else "PostgreSQL"

    def open(self) -> contextlib.AbstractAsyncContextManager[float]:
        """Run a Halley on it, which stops in good order; yields after how many seconds it was ready."""
        return self._around.open(stop_s=_STOP_S)

    def started(self, name: str, ready_s: float) -> Started:
        """Return what the start took that was just made."""
        halley = self._around.halley
        return Started(store=self.store, name=name, ready_s=ready_s, cpu_s=halley.cpu_s(), memory_mb=halley.memory_mb())

    async def measured(self, name: str, sizes: Sizes) -> Case:
        """Lead runs, and return what each cost: the median of some rounds."""
        rounds = [await self._round(sizes.led) for _ in range(sizes.rounds)]
        servers = [server for _, server in rounds if server is not None]
        return Case(
            store=self.store,
            name=name,
            ms=statistics.median(own for own, _ in rounds),
            server_ms=statistics.median(servers) if servers else None,
            memory_mb=self._around.halley.memory_mb(),
        )

    async def _round(self, count: int) -> tuple[float, float | None]:
        before, cpu_s = await self._meter.spent() if self._meter else None, self._around.halley.cpu_s()
        await self.lead(count)
        own = 1000 * (self._around.halley.cpu_s() - cpu_s) / count
        if before is None or self._meter is None:
            return own, None
        return own, 1000 * (await self._meter.spent()).since(before).cpu_s / count

    async def lead(self, count: int) -> None:
        """Lead runs from their start to the arrival of their event."""
        numbers = range(self._told, self._told + count)
        await at_once(_AT_ONCE, numbers, lambda number: self._around.start("bench.called", number))
        self._told = numbers.stop
        await self._around.receivers.told(self._told)

    async def stand(self, count: int) -> None:
        """Have so many more open runs stand there."""
        run_id = (await self._asked("POST", "/v1/nodes/bench.standing/runs", json={"text": "standing"}))["id"]
        async with asyncio.timeout(_PATIENCE_S):
            while (await self._asked("GET", f"/v1/runs/{run_id}"))["state"] != "running":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        now = time.time()
        due = f"CASE WHEN i % 100 = 0 THEN {now + 10} + i / 100 % 60 ELSE {now + 3600} + i % 3600 END"
        await self._copied(run_id, count, tables=_OPEN, due_at=due, deadline_at=f"{now + 9000} + i % 3600")

    async def _asked(self, method: str, path: str, **words: Any) -> Any:
        return msgspec.json.decode(await self._around.call(method, path, **words))

    async def end(self, count: int) -> None:
        """Have so many runs more stand there that have ended. No Halley may be at work."""
        found = "SELECT id FROM runs WHERE state = 'succeeded' AND node = 'bench.called' ORDER BY id LIMIT 1"
        await self._copied((await self._fetch(found))[0][0], count, is_served=False)

    async def tidy(self) -> None:
        """Have upkeep done before it falls into a measurement, as it is after rows were copied."""
        if self._url is not None:
            await tidy_postgres(self._url)

    async def _copied(self, run_id: str, count: int, **words: Any) -> None:
        first, self._copies = self._copies + 1, self._copies + count
        if self._url is None:
            await asyncio.to_thread(fill_sqlite, self._around.folder / "halley.db", run_id, first, count, **words)
        else:
            words.pop("is_served", None)
            await fill_postgres(self._url, run_id, first, count, **words)

    async def _fetch(self, sql: str) -> list[Any]:
        if self._url is None:
            with contextlib.closing(sqlite3.connect(self._around.folder / "halley.db")) as connection:
                return connection.execute(sql).fetchall()
        connected: Any = await asyncpg.connect(self._url)
        try:
            return list(await connected.fetch(sql))
        finally:
            await connected.close()


@contextlib.asynccontextmanager
async def _database(server: PostgresServer | None) -> AsyncIterator[Database]:
    """Make an empty store."""
    if server is None:
        async with world(_JOB_S) as around:
            yield Database(around)
    else:
        url = await server.database()
        async with world(_JOB_S, url) as around, server_meter(server, url) as meter:
            yield Database(around, url, meter)


async def of_open_runs(sizes: Sizes, server: PostgresServer | None) -> tuple[list[Case], list[Started]]:
    """Measure one store with ever more open runs, and a start with all of them."""
    async with _database(server) as database:
        async with database.open() as ready_s:
            starts = [database.started("nothing", ready_s)]
            await database.lead(sizes.led)  # connections and caches are there
            await database.tidy()
            cases, standing = [await database.measured("nothing", sizes)], 0
            for count in sizes.open_runs:
                await database.stand(count - standing)
                standing = count
                await database.lead(sizes.led // 3)
                cases.append(await database.measured(f"{count:,} open runs", sizes))
        async with database.open() as ready_s:
            return cases, [*starts, database.started(f"{standing:,} open runs", ready_s)]


async def of_a_start(sizes: Sizes, server: PostgresServer | None) -> tuple[list[Case], list[Started]]:
    """Measure a start among the open runs that a budget is set for."""
    async with _database(server) as database:
        async with database.open():
            await database.stand(sizes.at_start)
        async with database.open() as ready_s:
            return [], [database.started(f"{sizes.at_start:,} open runs", ready_s)]


async def of_ended_runs(sizes: Sizes, server: PostgresServer | None) -> tuple[list[Case], list[Started]]:
    """Measure one store with many runs that have ended, and a start with them."""
    async with _database(server) as database:
        async with database.open():
            await database.lead(10)
            await asyncio.sleep(1)  # the last outcome is written
        began_at = time.perf_counter()
        await database.end(sizes.ended)
        print(f"{database.store}: {sizes.ended:,} copies in {time.perf_counter() - began_at:.0f} s", flush=True)
        async with database.open() as ready_s:
            start = database.started(f"{sizes.ended:,} ended runs", ready_s)
            await database.lead(sizes.led)
            return [await database.measured(f"{sizes.ended:,} ended runs", sizes)], [start]


def _print(cases: list[Case], starts: list[Started]) -> None:
    rows = []
    for case in cases:
        first = next(each for each in cases if each.store == case.store)
        server = case.server_ms and first.server_ms and case.server_ms / first.server_ms
        rows.append(
            (
                f"{case.store}, {case.name}",
                figure(case.ms, 2),
                figure(case.ms / first.ms, 2),
                figure(case.server_ms, 2),
                figure(server, 2),
                figure(case.memory_mb, 0),
            )
        )
    print_table(("what stands there", "cpu ms/run", "x empty", "server ms/run", "x empty", "MB"), rows)
    print_table(
        ("a start among", "ready s", "cpu s", "MB"),
        [
            (f"{each.store}, {each.name}", figure(each.ready_s, 2), figure(each.cpu_s, 2), figure(each.memory_mb, 0))
            for each in starts
        ],
    )


async def measure(sizes: Sizes) -> None:
    """Measure both stores and print what came out."""
    cases, starts = list[Case](), list[Started]()
    with postgres_server(durable=True) as server:
        for each in (None, server):
            for part in (of_open_runs, of_a_start, of_ended_runs):
                more, started_so = await part(sizes, each)
                cases += more
                starts += started_so
                _print(cases, starts)


def main() -> None:
    """Print what a run costs among many."""
    print(f"load average before: {os.getloadavg()[0]:.1f}; {_AT_ONCE} runs at once", flush=True)
    uvloop.run(measure(Sizes()))
