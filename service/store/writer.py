"""One connection that writes, many callers: waiting work is carried out and committed together.

A commit costs a flush of the disk whatever its size, so everything that waits when a commit begins goes into it. Short
work runs on the event loop's thread, since a statement that finds its rows by an index takes some microseconds, and two
threads that fight for the interpreter at each statement take ten times as long. Only commits, which wait for the disk,
and work that may take long run in a thread of their own.
"""

import asyncio
import contextlib
import functools
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from msgspec import Struct

from service.errors import StoreError

T = TypeVar("T")
_BATCH = 64
_PATIENCE_MS = 5000  # with another process that writes


class _Work(Struct, frozen=True):
    """Work that waits, who waits for it, and whether it may take long."""

    call: Callable[[sqlite3.Connection], Any]
    future: "asyncio.Future[Any]"
    is_long: bool


_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Writer:
    """Runs work on the one writing connection.

    Args:
        connect: Opens that connection, which any thread may use, in the writer's own thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection
        self._waiting: deque[_Work] = deque()
        self._working: asyncio.Task[None] | None = None
        self._is_lent = False

    async def start(self) -> None:
        """Open the connection; raises what opening it raises."""
        thread = ThreadPoolExecutor(1, "store-writer")
        self._connection = await asyncio.get_running_loop().run_in_executor(thread, self._connect)
        self._thread = thread

    @property
    def idle(self) -> sqlite3.Connection | None:
        """The connection for a read, while nothing is being committed: what it has just written it has in memory."""
        return None if self._is_lent or self._thread is None else self._connection

    async def stop(self) -> None:
        """Finish what waits and close the connection."""
        self._go()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._working is not None:
            await self._working
        self._connection.close()
        thread.shutdown()

    async def do(self, call: Callable[[sqlite3.Connection], T], *, is_long: bool = False, can_wait_s: float = 0.0) -> T:
        """Run work in a transaction and return what it returns, once that is on disk.

        Args:
            call: The work. What it does is undone and it is called again when work beside it fails.
            is_long: It may take longer than other users of the event loop can wait.
            can_wait_s: For so long it may wait for other work to go with.
        """
        if self._thread is None:
            raise StoreError("the database is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Work(call, future, is_long))
        if can_wait_s:
            loop.call_later(can_wait_s, self._go)
        else:
            self._go()
        return await future

    def _go(self) -> None:
        if self._working is None and self._waiting and self._thread is not None:
            self._working = asyncio.get_running_loop().create_task(self._work(self._thread))

    async def _work(self, thread: ThreadPoolExecutor) -> None:
        """Carry out and commit batch after batch, until nothing waits."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = self._next_batch()
                self._is_lent = True
                outcomes = await self._committed(batch, functools.partial(loop.run_in_executor, thread))
                self._is_lent = False
                _resolve(outcomes)
        finally:
            self._working, self._is_lent = None, False

    def _next_batch(self) -> list[_Work]:
        """Take what waits; long work goes alone."""
        batch = [self._waiting.popleft()]
        while self._waiting and len(batch) < _BATCH and not (batch[0].is_long or self._waiting[0].is_long):
            batch.append(self._waiting.popleft())
        return batch

    async def _committed(self, batch: list[_Work], aside: Callable[..., Awaitable[Any]]) -> list[_Outcome]:
        connection = self._connection
        try:
            if not _begun(connection):
                await aside(_begin_patiently, connection)
            is_long = batch[0].is_long
            outcomes = await aside(_carried_out, connection, batch) if is_long else _carried_out(connection, batch)
            await aside(connection.execute, "COMMIT")
        except sqlite3.Error as exc:
            _roll_back(connection)
            error = StoreError(f"the database could not be written: {exc}")
            return [(work.future, None, error) for work in batch]
        return outcomes


def _begun(connection: sqlite3.Connection) -> bool:
    """Begin a transaction, unless another process is writing."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


def _begin_patiently(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        connection.execute("PRAGMA busy_timeout = 0")


def _roll_back(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # some errors have done it already
        connection.execute("ROLLBACK")


def _carried_out(connection: sqlite3.Connection, batch: list[_Work]) -> list[_Outcome]:
    """Carry out work in the open transaction. Work that fails takes nothing of its neighbours with it."""
    try:
        return [(work.future, work.call(connection), None) for work in batch]
    except Exception:  # noqa: BLE001 - it comes again below, and is handed to the caller whose work it is
        _roll_back(connection)
    connection.execute("BEGIN IMMEDIATE")
    return [_carried_out_apart(connection, work) for work in batch]


def _carried_out_apart(connection: sqlite3.Connection, work: _Work) -> _Outcome:
    if not connection.in_transaction:
        raise sqlite3.OperationalError("the transaction was rolled back")  # with the work of neighbours
    connection.execute("SAVEPOINT work")
    try:
        result = work.call(connection)
    except Exception as exc:  # noqa: BLE001 - handed to the caller whose work it is
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
        return work.future, None, exc
    connection.execute("RELEASE work")
    return work.future, result, None


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, value, exc in outcomes:
        if future.done():
            continue
        if exc is not None:
            future.set_exception(exc)
        else:
            future.set_result(value)
