"""SQLite as an engine: one file in WAL mode, one connection that writes in groups, another that reads.

One process only: a lock on the data folder keeps a second one out.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from service.errors import StoreError
from service.store.engine import RIDE_S, Unit
from service.store.queries import load_migrations, load_queries
from service.store.rows import Insert, Row, Writes
from service.store.writer import Writer

T = TypeVar("T")
_BUSY_TIMEOUT_S = 5.0
_STATEMENTS = 256  # kept prepared: all there are


class SqliteEngine:
    """An `Engine` in one SQLite file.

    Args:
        path: The database file; its folder must exist.
        checkpoints: False for a guest in a database that another process may be serving.
        synchronous: `FULL` flushes every commit; `OFF` is for tests that kill no machine.
    """

    is_shared = False

    def __init__(self, path: Path, *, checkpoints: bool = True, synchronous: str = "FULL") -> None:
        self._path = path
        self._checkpoints = checkpoints
        self._synchronous = synchronous
        self._sql = load_queries("sqlite")
        self._writer = Writer(self._connect_writer)
        self._reader: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the database and bring it up to date."""
        await self._writer.start()
        self._reader = self._connect()

    async def close(self) -> None:
        """Finish what is being written and close."""
        await self._writer.stop()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _connect_writer(self) -> sqlite3.Connection:
        try:
            connection = self._connect()
            connection.execute("PRAGMA journal_mode = WAL")
            # Only the writer checkpoints: SQLite before 3.51.3 can lose pages when another connection does.
            if self._checkpoints:
                connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            migrate(connection)
            connection.execute("PRAGMA busy_timeout = 0")  # the writer says when it can wait
        except sqlite3.Error as exc:
            raise StoreError(f"the database {self._path} cannot be used: {exc}") from exc
        return connection

    async def read(self, name: str, /, **values: Any) -> list[Row]:
        """Run a statement that reads."""
        reader = self._writer.idle or self._reader
        if reader is None:
            raise StoreError("the database is closed")
        try:
            return reader.execute(self._sql[name], _bound(values)).fetchall()
        except sqlite3.Error as exc:
            raise StoreError(f"the database could not be read: {exc}") from exc

    async def write(self, name: str, /, **values: Any) -> list[Row]:
        """Run a statement that writes and return its rows."""
        return await self._writer.do(lambda c: c.execute(self._sql[name], _bound(values)).fetchall())

    async def count(self, name: str, /, **values: Any) -> int:
        """Run a statement that writes and return how many rows it wrote."""
        return await self._writer.do(lambda c: c.execute(self._sql[name], _bound(values)).rowcount, is_long=True)

    async def count_each(self, names: Sequence[str], /, **values: Any) -> list[int]:
        """Run statements in one transaction and return how many rows each wrote."""
        bound = _bound(values)
        return await self._writer.do(
            lambda c: [c.execute(self._sql[name], bound).rowcount for name in names], is_long=True
        )

    async def settle(self, unit: Unit[T]) -> T:
        """Carry out a unit."""

        def work(connection: sqlite3.Connection) -> T:
            values = {f"k{number}": value for number, value in enumerate(unit.key, 1)}
            rows = connection.execute(self._sql[unit.select], values).fetchall() if unit.select else []
            plan = unit.plan(rows)
            self._apply(connection, plan.writes)
            return plan.result

        return await self._writer.do(work, can_wait_s=RIDE_S if unit.can_wait else 0.0)

    async def sweep(self, select: str, values: dict[str, Any], plan: Callable[[Sequence[Row]], Writes]) -> set[str]:
        """Decide on many rows at once."""

        def work(connection: sqlite3.Connection) -> set[str]:
            writes = plan(connection.execute(self._sql[select], _bound(values)).fetchall())
            self._apply(connection, writes)
            return writes.changed_ids()

        return await self._writer.do(work)

    def _apply(self, connection: sqlite3.Connection, writes: Writes) -> None:
        sql = self._sql
        for update in writes.updates:
            self._swap(connection, "run_update", update.id, update)
        for endpoint in writes.endpoints:
            self._swap(connection, "endpoint_update", endpoint.id, endpoint._asdict())
        for changed in writes.groups:
            self._swap(connection, "group_update", changed.id, changed._asdict())
        for new in writes.inserts:
            self._insert(connection, new)
        for group in writes.new_groups:
            connection.execute(sql["group_insert"], group._asdict())
        self._add(connection, "event_insert", writes.events)
        self._add(connection, "delivery_insert", writes.deliveries)
        if writes.fans and connection.execute(sql["has_endpoints"]).fetchone():
            writes.is_fanned_out = self._add(connection, "fan_out", writes.fans) > 0
        self._add(connection, "delivery_update", writes.finishes)
        self._add(connection, "entries_insert", writes.entries)
        self._add(connection, "callback_insert", writes.callbacks)
        self._add(connection, "news_insert", writes.news)

    def _swap(self, connection: sqlite3.Connection, statement: str, ident: str, values: Row | dict[str, Any]) -> None:
        """Write what was decided on one version over that version."""
        if connection.execute(self._sql[statement], values).rowcount != 1:
            raise StoreError(f"{ident} was changed by somebody else")

    def _add(self, connection: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> int:
        """Run a statement for each row; returns how many rows of the database that has written."""
        return connection.executemany(self._sql[statement], rows).rowcount if rows else 0

    def _insert(self, connection: sqlite3.Connection, new: Insert) -> None:
        sql, values = self._sql, new._asdict()
        connection.execute(sql["run_insert"], values)
        connection.execute(sql["input_insert"], values)
        if new.key is not None:
            connection.execute(sql["idempotency_put"], values)
        if new.key_id is not None:
            connection.execute(sql["usage_count"], values)


def _bound(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as SQLite takes them: it has no lists, but functions that read them from JSON."""
    return {name: msgspec.json.encode(v).decode() if isinstance(v, list) else v for name, v in values.items()}


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database up to this version's schema, forward only.

    Raises:
        StoreError: The database was written by a newer version.
    """
    migrations = load_migrations("sqlite")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > migrations[-1].number:
        raise StoreError(f"the database has schema {version}, newer than this version's {migrations[-1].number}")
    for each in migrations:
        if each.number > version:
            connection.executescript(f"BEGIN EXCLUSIVE;\n{each.script}\nPRAGMA user_version = {each.number};\nCOMMIT;")
