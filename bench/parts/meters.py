"""What a stretch of work has cost: processor time by /proc, bytes by PostgreSQL's log, rows and sizes of tables."""

import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from msgspec import Struct

from tests.fakes.crowd import TABLES
from tests.fakes.postgres import PostgresServer

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_USER, _BEHIND_CHILDREN = 11, 15  # fields of /proc/PID/stat behind the name: user, system, and both of ended children


class Spent(Struct, frozen=True, kw_only=True):
    """What a PostgreSQL server has spent so far, or within a stretch.

    Attributes:
        cpu_s: Processor time of all its processes.
        wal_bytes: What it wrote to its log; the tables themselves follow later, in the background.
        page_images: How many pages it wrote there whole, as it does with the first change after a checkpoint.
        transactions: Committed ones of the database.
    """

    cpu_s: float
    wal_bytes: int
    page_images: int
    transactions: int

    def since(self, earlier: "Spent") -> "Spent":
        """Return what was spent since then."""
        return Spent(**{name: getattr(self, name) - getattr(earlier, name) for name in self.__struct_fields__})


class Size(Struct, frozen=True, kw_only=True):
    """How large a table is, with what belongs to it."""

    rows: int
    heap_bytes: int
    index_bytes: int

    @property
    def all_bytes(self) -> int:
        """Table and indexes."""
        return self.heap_bytes + self.index_bytes


class ServerMeter:
    """Reads what a server has spent, from a connection to another database than the one that is measured.

    Args:
        connection: That connection.
        database: The one that is measured.
    """

    def __init__(self, connection: Any, database: str) -> None:
        self._connection = connection
        self._database = database

    async def spent(self) -> Spent:
        """Return what the server has spent so far."""
        row = await self._connection.fetchrow(
            "SELECT pg_backend_pid() AS pid, pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal, "
            "(SELECT wal_fpi FROM pg_stat_wal) AS images, "
            "(SELECT xact_commit FROM pg_stat_database WHERE datname = $1) AS transactions",
            self._database,
        )
        return Spent(
            cpu_s=family_cpu_s(_parent(row["pid"])),
            wal_bytes=int(row["wal"]),
            page_images=row["images"],
            transactions=row["transactions"],
        )


@contextlib.asynccontextmanager
async def server_meter(server: PostgresServer, url: str) -> AsyncIterator[ServerMeter]:
    """Have a meter of a server at hand, for one of its databases, until the end of the block."""
    connection = await asyncpg.connect(server.admin_url)
    try:
        yield ServerMeter(connection, urlsplit(url).path.strip("/"))
    finally:
        await connection.close()


async def sizes(url: str) -> dict[str, Size]:
    """Return the sizes of the tables that grow with runs."""
    connection = await asyncpg.connect(url)
    try:
        return {table: await _size(connection, table) for table in TABLES}
    finally:
        await connection.close()


async def _size(connection: Any, table: str) -> Size:
    rows, heap, indexes = await connection.fetchrow(
        f"SELECT (SELECT count(*) FROM {table}), pg_table_size($1::regclass), pg_indexes_size($1::regclass)",  # noqa: S608
        table,
    )
    return Size(rows=rows, heap_bytes=heap, index_bytes=indexes)


def written_bytes() -> int:
    """Return what this process has had written to disks."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    return 0


def own_cpu_s() -> float:
    """Return the processor time of this process."""
    return time.process_time()


def family_cpu_s(pid: int) -> float:
    """Return the processor time of a process and all that it began, those that have ended too."""
    return sum(members_cpu_s(pid).values())


def members_cpu_s(pid: int) -> dict[int, float]:
    """Return that time by process: of each that is there, and its children that have ended."""
    return {each: _TICK_S * sum(map(int, _stat(each)[_USER:_BEHIND_CHILDREN])) for each in _family(pid)}


def family_memory_mb(pid: int) -> float:
    """Return how much memory a process and all that it began have; what they share counts for each."""
    return sum(_status(each, "VmRSS") for each in _family(pid)) / 1024


def family_threads(pid: int) -> int:
    """Return how many threads a process and all that it began have."""
    return sum(_status(each, "Threads") for each in _family(pid))


def family_open_files(pid: int) -> int:
    """Return how many files and sockets a process and all that it began have open."""
    return sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in _family(pid))


def own_peak_mb() -> float:
    """Return the most memory that this process had."""
    return _status(os.getpid(), "VmHWM") / 1024


def _status(pid: int, name: str) -> int:
    """Return a number of a process's status; memory is in kB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _stat(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return text.rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = _parent(int(folder.name))
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found
