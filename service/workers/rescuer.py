"""Ends runs whose deadline has passed, says that this process lives, and takes up what dead ones left."""

from collections.abc import Callable

from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import expired, interrupted
from service.workers.desk import Desk

_BATCH = 200
_UNSURE_S = 10.0  # who died just before this process began has been silent for long enough by then


class Rescuer:
    """One pass: end runs past their deadline.

    Args:
        desk: The workers' shared tools.
        share: Told how many processes live, which share budgets and limits.
    """

    def __init__(self, desk: Desk, share: Callable[[int], None]) -> None:
        self._desk = desk
        self._share = share
        self._unsure_until = 0.0

    async def run_once(self) -> bool:
        """End what has expired."""
        now = self._desk.clock.now()
        count = await self._desk.store.expire(now, _BATCH, lambda run: expired(run, now))
        return count == _BATCH

    async def enroll(self) -> None:
        """Begin to work: what was under way when nobody did is taken up at once."""
        await self._desk.store.enroll()
        self._unsure_until = self._desk.clock.now() + _UNSURE_S
        await self._take_over()

    async def beat(self) -> bool:
        """Say that this process lives, and share budgets and the work of the dead with those that do."""
        self._share(await self._desk.store.beat())
        await self._take_over()
        return False

    async def _take_over(self) -> None:
        was_nobody_there = await self._finds_that_nobody_was_there()
        now = self._desk.clock.now()
        count = await self._desk.store.take_over(now, self._settle, was_nobody_there=was_nobody_there)
        if count:
            self._desk.log.warning("rescue.submissions_settled", count=count)

    async def _finds_that_nobody_was_there(self) -> bool:
        """Tell once that nobody worked before this process; one that had just died then seems to for some seconds."""
        if self._desk.clock.now() > self._unsure_until or not await self._desk.store.is_first():
            return False
        self._unsure_until = 0.0
        return True

    def _settle(self, run: Run) -> Change | None:
        node = self._desk.node(run)
        return interrupted(run, self._desk.clock.now(), is_free=node is not None and node.is_free)
