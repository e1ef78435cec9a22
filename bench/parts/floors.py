"""The floors: what disk, drivers, server and client take when they do nothing but their own part of the work."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from msgspec import Struct

from bench.parts.latencies import at_once, paced
from bench.parts.processes import Running, listening

_ROW = "x" * 400
_SHARE = 16  # rows of a shared commit
_CALLERS = 64
_SECONDS = 1.5
_ANSWERS = 6000


class Floor(Struct, frozen=True, kw_only=True):
    """How many rows are committed in a second, and the processor time that each costs its client."""

    per_s: float
    client_ms: float


class Floors(Struct, frozen=True, kw_only=True):
    """Processor time in milliseconds that cannot be gone below on this machine.

    Attributes:
        answer_ms: One answer of the bare server, without a framework.
        answers_per_s: How many of them there were.
        request_ms: One request of the bare client.
        row_ms: One row in a flushed commit of 16, by engine.
        commits_per_s: Flushed commits of one row, one after the other, by engine.
    """

    answer_ms: float
    answers_per_s: float
    request_ms: float
    row_ms: dict[str, float]
    commits_per_s: dict[str, float]

    def sum_ms(self, engine: str, *, answers: int, requests: int, rows: int) -> float:
        """Return what so many answers, requests and written rows cost at least."""
        return answers * self.answer_ms + requests * self.request_ms + rows * self.row_ms[engine]


async def floors(folder: Path, postgres_url: str | None) -> Floors:
    """Measure the floors, on PostgreSQL too where there is one."""
    alone = {"sqlite": sqlite_floor(folder, _SECONDS)}
    shared = {"sqlite": sqlite_floor(folder, _SECONDS, _SHARE)}
    if postgres_url is not None:
        alone["postgres"] = await postgres_floor(postgres_url, 1, _SECONDS)
        shared["postgres"] = await postgres_floor(postgres_url, 1, _SECONDS, _SHARE)
    answers_per_s, answer_ms, request_ms = await _exchange_floor()
    return Floors(
        answer_ms=answer_ms,
        answers_per_s=answers_per_s,
        request_ms=request_ms,
        row_ms={engine: floor.client_ms for engine, floor in shared.items()},
        commits_per_s={engine: floor.per_s for engine, floor in alone.items()},
    )


def bare_server() -> AbstractAsyncContextManager[tuple[Running, str]]:
    """Run the bare server until the end of the block; yields it and its URL."""
    return listening("bench.parts.bare")


def bare_client() -> aiohttp.ClientSession:
    """Return the bare client: it has as many connections as it needs, and no cookies."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


async def exchange(client: aiohttp.ClientSession, url: str) -> float:
    """Make a bare request and read its answer; returns how many seconds that took."""
    began_at = time.perf_counter()
    async with client.post(url, data=b'{"text": "A comet over a winter sea"}') as answer:
        await answer.read()
    return time.perf_counter() - began_at


async def _exchange_floor() -> tuple[float, float, float]:
    """Return answers a second, and the processor time of each for its server and for its client, in milliseconds."""
    async with bare_server() as (server, url), bare_client() as client:
        await at_once(_CALLERS, range(_CALLERS), lambda _: exchange(client, url))
        began_at, cpu_s, of_client_s = time.perf_counter(), server.cpu_s(), time.process_time()
        await at_once(_CALLERS, range(_ANSWERS), lambda _: exchange(client, url))
        took_s, of_client_s = time.perf_counter() - began_at, time.process_time() - of_client_s
        return _ANSWERS / took_s, 1000 * (server.cpu_s() - cpu_s) / _ANSWERS, 1000 * of_client_s / _ANSWERS


async def paced_answers(per_s: float, count: int) -> list[float]:
    """Return how many seconds each bare answer took, at a rate."""
    async with bare_server() as (_, url), bare_client() as client:
        return await paced(per_s, range(count), lambda _: exchange(client, url))


def paced_commits(folder: Path, per_s: float, count: int) -> list[float]:
    """Return how many seconds each flushed commit of one row to a SQLite file took, at a rate."""
    latencies = []
    with _file(folder) as connection:
        began_at = time.perf_counter()
        for number in range(count):
            time.sleep(max(began_at + number / per_s - time.perf_counter(), 0))
            at = time.perf_counter()
            connection.execute("INSERT INTO floor (body) VALUES (?)", (_ROW,))
            latencies.append(time.perf_counter() - at)
    return latencies


def sqlite_floor(folder: Path, seconds: float, share: int = 1) -> Floor:
    """Commit to a SQLite file for a while, so many rows at a time."""
    values, count = ", ".join(["(?)"] * share), 0
    with _file(folder) as connection:
        began_at, cpu_s = time.perf_counter(), time.process_time()
        while time.perf_counter() - began_at < seconds:
            connection.execute(f"INSERT INTO floor (body) VALUES {values}", (_ROW,) * share)  # noqa: S608 - our own
            count += share
        return _floor(count, time.perf_counter() - began_at, time.process_time() - cpu_s)


@contextmanager
def _file(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS floor (id INTEGER PRIMARY KEY, body TEXT)")
    yield connection
    connection.close()


async def postgres_floor(url: str, connections: int, seconds: float, share: int = 1) -> Floor:
    """Commit so many rows at a time on so many connections at once."""
    pool: Any = await asyncpg.create_pool(url, min_size=connections, max_size=connections)
    await pool.execute("CREATE TABLE IF NOT EXISTS floor (id bigserial PRIMARY KEY, body text)")
    counts = [0] * connections
    began_at, cpu_s = time.perf_counter(), time.process_time()

    async def insert(number: int) -> None:
        async with pool.acquire() as connection:
            while time.perf_counter() - began_at < seconds:
                await connection.execute("INSERT INTO floor (body) SELECT unnest($1::text[])", [_ROW] * share)
                counts[number] += share

    await asyncio.gather(*(insert(number) for number in range(connections)))
    floor = _floor(sum(counts), time.perf_counter() - began_at, time.process_time() - cpu_s)
    await pool.close()
    return floor


def _floor(count: int, seconds: float, cpu_s: float) -> Floor:
    return Floor(per_s=count / seconds, client_ms=1000 * cpu_s / count)
