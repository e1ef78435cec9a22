"""A sweep: one pass over what is due, rung by the scheduler or by new work; and the tasks it started."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from service.log import Log


class Sweep:
    """Runs one worker's `run_once`, never twice at the same time, again at once when rung meanwhile.

    Args:
        name: For logs and metrics.
        interval_s: How often the scheduler rings.
        run_once: One pass; returns whether more is due right now.
        log: Where a failed pass is told; the next ring tries again.
        monotonic: A clock that is never set, in seconds.
    """

    def __init__(
        self,
        name: str,
        interval_s: float,
        run_once: Callable[[], Awaitable[bool]],
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.interval_s = interval_s
        self._run_once = run_once
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._rung = False
        self._stopped = False
        self._monotonic = monotonic
        self._passed_at = monotonic()

    @property
    def silence_s(self) -> float:
        """Time since a pass last came to its end."""
        return self._monotonic() - self._passed_at

    def ring(self) -> None:
        """Make a pass now, or one more after the pass that is under way."""
        self._rung = True
        if not self._stopped and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._pass(), name=f"sweep-{self.name}")

    async def stop(self) -> None:
        """Begin no further pass and wait for the present one."""
        self._stopped = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _pass(self) -> None:
        while self._rung and not self._stopped:
            self._rung = False
            try:
                more = await self._run_once()
            except Exception:  # noqa: BLE001 - whatever it was, the next ring tries again
                self._log.exception("sweep.failed", sweep=self.name)
                return
            self._passed_at = self._monotonic()
            self._rung = self._rung or more


class Crew:
    """Tasks under way that a graceful stop waits for."""

    def __init__(self, log: Log) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = log

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work; its failure is logged, never lost."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._log.error("work.failed", exc_info=exc)

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is under way and what that begins, and cancel what is not done in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while self._tasks and (left_s := until - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)
        late = tuple(self._tasks)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
