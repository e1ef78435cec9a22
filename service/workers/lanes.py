"""Work on due runs, lane by lane: claims no more than a lane's budget allows, and never waits for a peer."""

from abc import ABC, abstractmethod
from typing import ClassVar

from service.lifecycle.run import Run
from service.lifecycle.states import RunState
from service.workers.desk import Desk


class LaneWorker(ABC):
    """One pass: claim what is due in each lane and start work on it.

    Attributes:
        name: The sweep that rings it.
        state: State of the runs it works on.
        is_query: Its requests ask and cost nothing, so they count against the rate of queries.

    Args:
        desk: The workers' shared tools.
    """

    name: ClassVar[str]
    state: ClassVar[RunState]
    is_query: ClassVar[bool] = True

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._starved = False

    async def run_once(self) -> bool:
        """Claim what is due and start work on it; returns whether more may be due."""
        desk, more = self._desk, False
        self._starved = False
        for lane in await desk.store.due_lanes(self.state, desk.clock.now()):
            budget = desk.budgets.of(lane)
            free = budget.free_queries() if self.is_query else budget.free_submissions()
            if not free:
                self._starved = True
                continue
            runs = await self._claim(lane, free)
            for together in self._groups(runs):
                budget.begin(query=self.is_query)
                desk.crew.start(self._work_within_budget(together))
            more = more or len(runs) >= free
        return more

    async def _work_within_budget(self, runs: list[Run]) -> None:
        try:
            await self._work(runs)
        finally:
            self._desk.budgets.of(runs[0].lane).end(query=self.is_query)
            if self._starved:
                self._desk.ring(self.name)

    def _groups(self, runs: list[Run]) -> list[list[Run]]:
        """Put runs together that are worked on by one request."""
        return [[run] for run in runs]

    @abstractmethod
    async def _claim(self, lane: str, limit: int) -> list[Run]:
        """Take due runs so that no other pass works on them."""

    @abstractmethod
    async def _work(self, runs: list[Run]) -> None:
        """Do the work on runs that belong together."""
