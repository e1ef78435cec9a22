"""A database full of runs: copies of one that was really led, under other ids, made by the database itself.

A copy has the same rows in all tables. Ids keep their form and their time, with a number in place of some of the
chance in them, so the copies stand beside the original and in the order of their numbers.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg

TABLES = ("runs", "run_inputs", "events", "deliveries", "timeline", "callbacks", "idempotency_keys")
_CACHE_KB = 400_000
_CHUNK = 20_000  # copies in one transaction
_SCATTER = 7_368_787  # callback tokens are spread over their index, as those of chance are
_IDS = ("id", "run_id", "event_id", "delivery_id")
_OWN = {"events": ("xid",), "timeline": ("id",), "callbacks": ("id",)}  # what the database gives each row


class Crowd:
    """Makes copies in one kind of database.

    Args:
        columns: Of each table.
        digits: Writes a number as ten digits, in the SQL of the database.
    """

    def __init__(self, columns: Mapping[str, Sequence[str]], digits: Callable[[str], str]) -> None:
        self._columns = columns
        self._digits = digits

    def statements(
        self, run_id: str, first: int, count: int, *, tables: Sequence[str] = TABLES, changes: Mapping[str, str]
    ) -> Iterator[str]:
        """Yield what copies a run so many times.

        Args:
            run_id: The original.
            first: Number of the first copy.
            count: How many.
            tables: Of which rows are made.
            changes: What stands in columns of `runs` instead, as SQL that may use the number `i`.
        """
        for begin in range(first, first + count, _CHUNK):
            end = min(begin + _CHUNK, first + count) - 1
            for table in tables:
                yield self._copying(table, run_id, (begin, end), changes if table == "runs" else {})

    def _copying(self, table: str, run_id: str, numbers: tuple[int, int], changes: Mapping[str, str]) -> str:
        names = [name for name in self._columns[table] if name not in _OWN.get(table, ())]
        values = ", ".join(changes.get(name) or self._value(table, name) for name in names)
        key = "id" if table == "runs" else "run_id"
        return (
            f"WITH RECURSIVE n (i) AS (SELECT {numbers[0]} UNION ALL SELECT i + 1 FROM n WHERE i < {numbers[1]}) "  # noqa: S608 - our own
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM n, {table} WHERE {key} = '{run_id}'"
        )

    def _value(self, table: str, name: str) -> str:
        if name in _IDS:
            return f"substr({name}, 1, 14) || {self._digits('i')} || substr({name}, 25)"
        if name == "doc":
            return f"replace(doc, id, {self._value(table, 'id')})"
        if name == "callback_token":
            return f"{self._digits(f'cast(i AS bigint) * {_SCATTER} % 10000000000')} || substr(callback_token, 11)"
        return f"key || '-' || {self._digits('i')}" if name == "key" else name


def fill_sqlite(
    path: Path,
    run_id: str,
    first: int,
    count: int,
    *,
    tables: Sequence[str] = TABLES,
    is_served: bool = True,
    **changes: str,
) -> None:
    """Copy a run in a SQLite file; while a Halley is at work there, only that checkpoints."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0" if is_served else "PRAGMA journal_mode = OFF")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        connection.execute("PRAGMA synchronous = OFF")
        columns = {t: [d[0] for d in connection.execute(f"SELECT * FROM {t} LIMIT 0").description] for t in TABLES}  # noqa: S608 - our own
        crowd = Crowd(columns, lambda number: f"substr('0000000000' || ({number}), -10)")
        for statement in crowd.statements(run_id, first, count, tables=tables, changes=changes):
            connection.execute(statement)
    finally:
        connection.close()


async def fill_postgres(
    url: str,
    run_id: str,
    first: int,
    count: int,
    *,
    tables: Sequence[str] = TABLES,
    is_tidied: bool = True,
    **changes: str,
) -> None:
    """Copy a run in a PostgreSQL database, and have done what it would do about that later, or leave that to it."""
    async with _connected(url) as connection:
        await connection.execute("SET synchronous_commit = off")
        columns = {
            t: [a.name for a in (await connection.prepare(f"SELECT * FROM {t}")).get_attributes()]  # noqa: S608 - our own
            for t in TABLES
        }
        crowd = Crowd(columns, lambda number: f"lpad(cast({number} AS text), 10, '0')")
        for statement in crowd.statements(run_id, first, count, tables=tables, changes=changes):
            await connection.execute(statement)
    if is_tidied:
        await tidy_postgres(url)


async def tidy_postgres(url: str) -> None:
    """Have a PostgreSQL database do now what it would do later: vacuum, count its rows, and write its pages."""
    async with _connected(url) as connection:
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    connection: Any = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
