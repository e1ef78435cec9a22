"""The one connection that writes: what goes together, what waits, and what holds up nobody."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from service.errors import StoreError
from service.store.writer import Writer


class Counted(sqlite3.Connection):
    """A connection that counts its commits."""

    commits = 0

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:  # type: ignore[override]
        """Execute a statement."""
        self.commits += sql == "COMMIT"
        return super().execute(sql, *values)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one table."""
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (n INTEGER)")
    return tmp_path / "x.db"


@pytest.fixture
def connection(path: Path) -> Counted:
    """The writer's connection."""
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, factory=Counted)


@pytest.fixture
async def writer(connection: Counted) -> AsyncIterator[Writer]:
    """An open writer."""
    made = Writer(lambda: connection)
    await made.start()
    yield made
    await made.stop()


def put(number: int) -> Callable[[sqlite3.Connection], str]:
    """Return work that writes a number and tells the thread that did it."""

    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        return threading.current_thread().name

    return work


def numbers(path: Path) -> list[int]:
    """Return what another connection sees."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT n FROM t ORDER BY n").fetchall()
    connection.close()
    return [row[0] for row in rows]


async def test_what_waits_is_committed_together_by_the_loop_itself(
    writer: Writer, connection: Counted, path: Path
) -> None:
    """Ten at the same moment take one commit, and none of them changes threads."""
    threads = await asyncio.gather(*(writer.do(put(n)) for n in range(10)))

    assert (connection.commits, numbers(path)) == (1, list(range(10)))
    assert set(threads) == {threading.current_thread().name}


async def test_long_work_holds_up_nobody_on_the_loop(writer: Writer, path: Path) -> None:
    """The loop goes on while it is carried out, in another thread and in a transaction of its own."""
    loop_went_on = threading.Event()

    def long(connection: sqlite3.Connection) -> bool:
        connection.execute("INSERT INTO t VALUES (99)")
        return loop_went_on.wait(10)

    working = asyncio.create_task(writer.do(long, is_long=True))
    short = asyncio.create_task(writer.do(put(1)))
    await asyncio.sleep(0)
    loop_went_on.set()

    assert await working
    await short
    assert numbers(path) == [1, 99]


async def test_another_process_that_writes_is_waited_for(writer: Writer, path: Path) -> None:
    """Work waits for its turn, without holding up the loop, and loses nothing."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(writer.do(put(1)))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    other.execute("COMMIT")
    other.close()

    assert not done
    await waiting
    assert numbers(path) == [1]


async def test_what_can_wait_goes_with_what_cannot(writer: Writer, connection: Counted, path: Path) -> None:
    """It takes no commit of its own when another comes, goes alone when none does, and is not lost by a stop."""
    patient = asyncio.create_task(writer.do(put(1), can_wait_s=30))
    await asyncio.sleep(0)
    await writer.do(put(2))
    await patient
    together = connection.commits
    await writer.do(put(3), can_wait_s=0.01)
    last = asyncio.create_task(writer.do(put(4), can_wait_s=30))
    await asyncio.sleep(0)
    await writer.stop()
    await last

    assert (together, numbers(path)) == (1, [1, 2, 3, 4])
    with pytest.raises(StoreError, match="closed"):
        await writer.do(put(5))


async def test_a_failed_neighbour_takes_nothing_along(writer: Writer, path: Path) -> None:
    """Of three that go together the one that fails is told so, and only its own rows are missing."""

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (2)")
        raise ValueError("mine alone")

    first, second, third = await asyncio.gather(
        writer.do(put(1)),
        writer.do(broken),
        writer.do(put(3)),
        return_exceptions=True,
    )

    assert isinstance(second, ValueError)
    assert not isinstance(first, Exception)
    assert not isinstance(third, Exception)
    assert numbers(path) == [1, 3]


async def test_a_transaction_that_the_database_takes_back_is_told_to_all(writer: Writer, path: Path) -> None:
    """Whoever was in it hears of it, nothing of it stands, and the next one works."""

    def taken_back(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
        raise sqlite3.OperationalError("database or disk is full")

    results = await asyncio.gather(
        writer.do(put(1)),
        writer.do(taken_back),
        writer.do(put(2)),
        return_exceptions=True,
    )
    await writer.do(put(3))

    assert all(isinstance(result, StoreError | sqlite3.Error) for result in results)
    assert numbers(path) == [3]
