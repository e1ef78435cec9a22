"""One thread that writes, many callers: waiting transactions are committed together.

A commit costs a flush of the disk whatever its size, so everything that waits when a commit begins goes into it.
Each caller's work runs in a savepoint of its own: one that fails takes nothing of its neighbours with it.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from service.errors import StoreError

T = TypeVar("T")
_Work = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]
_BATCH = 256


class Writer:
    """Runs work on the one writing connection.

    Args:
        connect: Opens that connection, in the writer's own thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Open the connection; raises what opening it raises."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="store-writer", daemon=True)
        self._thread.start()
        await opened

    async def stop(self) -> None:
        """Finish what waits and close the connection."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work in a transaction and return what it returns, once that is on disk."""
        if self._loop is None or self._thread is None:
            raise StoreError("the database is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((work, future))
        return await future

    def _run(self, opened: "asyncio.Future[None]") -> None:
        try:
            connection = self._connect()
        except (sqlite3.Error, StoreError, OSError) as exc:
            self._settle([(opened, None, exc)])
            return
        self._settle([(opened, None, None)])
        with contextlib.closing(connection):
            while batch := self._next_batch():
                self._settle(_commit(connection, batch))

    def _next_batch(self) -> list[_Work]:
        batch = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _BATCH or self._queue.empty():
                return batch
            item = self._queue.get()
        if batch:
            self._queue.put(None)  # the stop sign is for the next round
        return batch

    def _settle(self, outcomes: "list[tuple[asyncio.Future[Any], Any, BaseException | None]]") -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, outcomes)


def _commit(
    connection: sqlite3.Connection, batch: list[_Work]
) -> "list[tuple[asyncio.Future[Any], Any, BaseException | None]]":
    outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for work, future in batch:
            connection.execute("SAVEPOINT work")
            try:
                outcomes.append((future, work(connection), None))
            except Exception as exc:  # noqa: BLE001 - handed to the caller whose work it is
                connection.execute("ROLLBACK TO work")
                outcomes.append((future, None, exc))
            connection.execute("RELEASE work")
        connection.execute("COMMIT")
    except sqlite3.Error as exc:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        error = StoreError(f"the database could not be written: {exc}")
        return [(future, None, error) for _, future in batch]
    return outcomes


def _resolve(outcomes: "list[tuple[asyncio.Future[Any], Any, BaseException | None]]") -> None:
    for future, value, exc in outcomes:
        if future.done():
            continue
        if exc is not None:
            future.set_exception(exc)
        else:
            future.set_result(value)
