"""Ends runs whose deadline has passed, says that this process lives, and takes up what dead ones left."""

from collections.abc import Callable

from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import expired, interrupted
from service.workers.desk import Desk

_BATCH = 200


class Rescuer:
    """One pass: end runs past their deadline.

    Args:
        desk: The workers' shared tools.
        share: Told how many processes live, which share budgets and limits.
    """

    def __init__(self, desk: Desk, share: Callable[[int], None]) -> None:
        self._desk = desk
        self._share = share

    async def run_once(self) -> bool:
        """End what has expired."""
        now = self._desk.clock.now()
        count = await self._desk.store.expire(now, _BATCH, lambda run: expired(run, now))
        return count == _BATCH

    async def enroll(self) -> None:
        """Begin to work: what was under way when nobody did is taken up at once."""
        await self._take_over(is_alone=await self._desk.store.enroll())

    async def beat(self) -> bool:
        """Say that this process lives, and share budgets and the work of the dead with those that do."""
        self._share(await self._desk.store.beat())
        await self._take_over(is_alone=False)
        return False

    async def _take_over(self, *, is_alone: bool) -> None:
        count = await self._desk.store.take_over(self._desk.clock.now(), self._settle, is_alone=is_alone)
        if count:
            self._desk.log.warning("rescue.submissions_settled", count=count)

    def _settle(self, run: Run) -> Change | None:
        node = self._desk.node(run)
        return interrupted(run, self._desk.clock.now(), is_free=node is not None and node.is_free)
