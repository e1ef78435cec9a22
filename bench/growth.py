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
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import uvloop
from msgspec import Struct

from bench.parts.meters import ServerMeter
from bench.parts.serving import KEY, Around, Halley, around, serving
from bench.parts.table import figure, print_table
from tests.fakes.crowd import fill_postgres, fill_sqlite
from tests.fakes.postgres import PostgresServer, postgres_server

_JOB_S = 1.0
_AT_ONCE = 64
_PATIENCE_S = 180.0
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
        folder: Of its data.
        world: Upstream and receiver.
        url: Of a PostgreSQL database; None for SQLite.
        meter: Of its server.
    """

    def __init__(self, folder: Path, world: Around, url: str | None = None, meter: ServerMeter | None = None) -> None:
        self._folder = folder
        self._world = world
        self._url = url
        self._meter = meter
        self._copies = 0
        self._told = 0

    @property
    def store(self) -> str:
        """Its kind."""
        return "SQLite" if self._url is None else "PostgreSQL"

    def serve(self) -> contextlib.AbstractAsyncContextManager[Halley]:
        """Run a Halley on it."""
        return serving(self._folder, self._world, self._url)

    async def measured(self, name: str, halley: Halley, sizes: Sizes) -> Case:
        """Lead runs, and return what each cost: the median of some rounds."""
        rounds = [await self._round(halley, sizes.led) for _ in range(sizes.rounds)]
        servers = [server for _, server in rounds if server is not None]
        return Case(
            store=self.store,
            name=name,
            ms=statistics.median(own for own, _ in rounds),
            server_ms=statistics.median(servers) if servers else None,
            memory_mb=halley.status("VmRSS") / 1024,
        )

    async def _round(self, halley: Halley, count: int) -> tuple[float, float | None]:
        before, cpu_s = await self._meter.spent() if self._meter else None, halley.cpu_s()
        await self.lead(halley, count)
        own = 1000 * (halley.cpu_s() - cpu_s) / count
        if before is None or self._meter is None:
            return own, None
        return own, 1000 * (await self._meter.spent()).since(before).cpu_s / count

    async def lead(self, halley: Halley, count: int) -> None:
        """Lead runs from their start to the arrival of their event."""
        places = asyncio.Semaphore(_AT_ONCE)
        async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as client:

            async def start(number: int) -> None:
                async with places:
                    await started(client, halley, "bench.called", f"A comet {number}", self._world.receiver + "/ok")

            await asyncio.gather(*(start(number) for number in range(count)))
            self._told += count
            await self._arrived(client)

    async def _arrived(self, client: aiohttp.ClientSession) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                async with client.get(f"{self._world.receiver}/count", params={"path": "/ok"}) as answer:
                    if int(await answer.text()) >= self._told:
                        return
                await asyncio.sleep(0.1)

    async def stand(self, halley: Halley, count: int) -> None:
        """Have so many more open runs stand there."""
        async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as client:
            run_id = await started(client, halley, "bench.standing", "standing", None)
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    if await _state(client, halley, run_id) == "running":
                        break
                    await asyncio.sleep(0.05)
        now = time.time()
        due = f"CASE WHEN i % 100 = 0 THEN {now + 10} + i / 100 % 60 ELSE {now + 3600} + i % 3600 END"
        await self._copied(run_id, count, tables=_OPEN, due_at=due, deadline_at=f"{now + 9000} + i % 3600")

    async def end(self, count: int) -> None:
        """Have so many runs more stand there that have ended. No Halley may be at work."""
        found = "SELECT id FROM runs WHERE state = 'succeeded' AND node = 'bench.called' ORDER BY id LIMIT 1"
        await self._copied((await self._fetch(found))[0][0], count, is_served=False)

    async def _copied(self, run_id: str, count: int, **words: Any) -> None:
        first, self._copies = self._copies + 1, self._copies + count
        if self._url is None:
            await asyncio.to_thread(fill_sqlite, self._folder / "halley.db", run_id, first, count, **words)
        else:
            words.pop("is_served", None)
            await fill_postgres(self._url, run_id, first, count, **words)

    async def _fetch(self, sql: str) -> list[Any]:
        if self._url is None:
            with contextlib.closing(sqlite3.connect(self._folder / "halley.db")) as connection:
                return connection.execute(sql).fetchall()
        connected: Any = await asyncpg.connect(self._url)
        try:
            return list(await connected.fetch(sql))
        finally:
            await connected.close()


async def started(
    client: aiohttp.ClientSession, halley: Halley, node: str, text: str, webhook: str | None, **headers: str
) -> str:
    """Start a run and return its id."""
    told = {**({"Halley-Webhook-Url": webhook} if webhook else {}), **headers}
    async with client.post(f"{halley.url}/v1/nodes/{node}/runs", json={"text": text}, headers=told) as answer:
        if answer.status not in (200, 202):
            raise RuntimeError(await answer.text())
        return str((await answer.json())["id"])


async def _state(client: aiohttp.ClientSession, halley: Halley, run_id: str) -> str:
    async with client.get(f"{halley.url}/v1/runs/{run_id}") as answer:
        return str((await answer.json())["state"])


@contextlib.asynccontextmanager
async def _database(name: str, server: PostgresServer | None) -> AsyncIterator[Database]:
    """Make an empty store."""
    with tempfile.TemporaryDirectory(prefix=f"halley-{name}-") as folder:
        async with around(_JOB_S) as world:
            if server is None:
                yield Database(Path(folder), world)
                return
            url = await server.database()
            watching = await asyncpg.connect(server.admin_url)
            try:
                yield Database(Path(folder), world, url, ServerMeter(watching, urlsplit(url).path.strip("/")))
            finally:
                await watching.close()


async def of_open_runs(sizes: Sizes, server: PostgresServer | None) -> tuple[list[Case], list[Started]]:
    """Measure one store with ever more open runs, and a start with all of them."""
    async with _database("open", server) as database:
        async with database.serve() as halley:
            starts = [_start(database, "nothing", halley)]
            await database.lead(halley, sizes.led)  # connections and caches are there
            cases, standing = [await database.measured("nothing", halley, sizes)], 0
            for count in sizes.open_runs:
                await database.stand(halley, count - standing)
                standing = count
                await database.lead(halley, sizes.led // 3)
                cases.append(await database.measured(f"{count:,} open runs", halley, sizes))
        async with database.serve() as halley:
            return cases, [*starts, _start(database, f"{standing:,} open runs", halley)]


async def of_a_start(sizes: Sizes, server: PostgresServer | None) -> tuple[list[Case], list[Started]]:
    """Measure a start among the open runs that a budget is set for."""
    async with _database("start", server) as database:
        async with database.serve() as halley:
            await database.stand(halley, sizes.at_start)
        async with database.serve() as halley:
            return [], [_start(database, f"{sizes.at_start:,} open runs", halley)]


async def of_ended_runs(sizes: Sizes, server: PostgresServer | None) -> tuple[list[Case], list[Started]]:
    """Measure one store with many runs that have ended, and a start with them."""
    async with _database("ended", server) as database:
        async with database.serve() as halley:
            await database.lead(halley, 10)
            await asyncio.sleep(1)  # the last outcome is written
        began_at = time.perf_counter()
        await database.end(sizes.ended)
        print(f"{database.store}: {sizes.ended:,} copies in {time.perf_counter() - began_at:.0f} s", flush=True)
        async with database.serve() as halley:
            start = _start(database, f"{sizes.ended:,} ended runs", halley)
            await database.lead(halley, sizes.led)
            return [await database.measured(f"{sizes.ended:,} ended runs", halley, sizes)], [start]


def _start(database: Database, name: str, halley: Halley) -> Started:
    memory_mb = halley.status("VmRSS") / 1024
    return Started(store=database.store, name=name, ready_s=halley.ready_s, cpu_s=halley.cpu_s(), memory_mb=memory_mb)


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
