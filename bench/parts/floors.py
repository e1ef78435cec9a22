"""The floors: what the disk and the drivers do when nothing but one small row is committed at a time."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct

_ROW = "x" * 400


class Floor(Struct, frozen=True, kw_only=True):
    """How many commits there are in a second, and the processor time that each costs its client."""

    per_s: float
    client_ms: float


def sqlite_floor(folder: Path, seconds: float) -> Floor:
    """Commit one row after the other to a new SQLite file."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, body TEXT)")
    count, began_at, cpu_s = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began_at < seconds:
        connection.execute("INSERT INTO floor (body) VALUES (?)", (_ROW,))
        count += 1
    floor = _floor(count, time.perf_counter() - began_at, time.process_time() - cpu_s)
    connection.close()
    return floor


async def postgres_floor(url: str, connections: int, seconds: float) -> Floor:
    """Commit one row after the other on so many connections at once."""
    pool: Any = await asyncpg.create_pool(url, min_size=connections, max_size=connections)
    await pool.execute("CREATE TABLE IF NOT EXISTS floor (id bigserial PRIMARY KEY, body text)")
    counts = [0] * connections
    began_at, cpu_s = time.perf_counter(), time.process_time()

    async def insert(number: int) -> None:
        async with pool.acquire() as connection:
            while time.perf_counter() - began_at < seconds:
                await connection.execute("INSERT INTO floor (body) VALUES ($1)", _ROW)
                counts[number] += 1

    await asyncio.gather(*(insert(number) for number in range(connections)))
    floor = _floor(sum(counts), time.perf_counter() - began_at, time.process_time() - cpu_s)
    await pool.close()
    return floor


def _floor(count: int, seconds: float, cpu_s: float) -> Floor:
    return Floor(per_s=count / seconds, client_ms=1000 * cpu_s / count)
