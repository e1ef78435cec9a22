"""Ends runs whose deadline has passed, and takes up at start what a dead process left."""

from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import expired, interrupted
from service.workers.desk import Desk

_BATCH = 200


class Rescuer:
    """One pass: end runs past their deadline.

    Args:
        desk: The workers' shared tools.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run_once(self) -> bool:
        """End what has expired."""
        now = self._desk.clock.now()
        count = await self._desk.store.expire(now, _BATCH, lambda run: expired(run, now))
        return count == _BATCH

    async def take_over(self) -> None:
        """Settle submissions that nobody saw the end of, and make every leased run due."""
        count = await self._desk.store.take_over(self._desk.clock.now(), self._settle)
        if count:
            self._desk.log.warning("rescue.submissions_settled", count=count)

    def _settle(self, run: Run) -> Change | None:
        node = self._desk.node(run)
        return interrupted(run, self._desk.clock.now(), is_free=node is not None and node.is_free)
