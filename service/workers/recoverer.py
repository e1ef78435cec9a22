"""Looks at runs that timed out: upstream may finish them after all, and what is paid for is kept."""

from service.definitions.reader import Reading
from service.lifecycle.recovery import looked_late
from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import is_held
from service.workers.lanes import LaneWorker

_LEASE_S = 60.0


class Recoverer(LaneWorker):
    """Asks about tasks of runs that are past their deadline."""

    name = "recover"
    state = "timed_out"

    async def _claim(self, lane: str, limit: int) -> list[Run]:
        return await self._desk.store.claim(self.state, lane, self._desk.clock.now(), limit, lease_s=_LEASE_S)

    async def _work(self, runs: list[Run]) -> None:
        (run,) = runs
        desk, node = self._desk, self._desk.node(run)
        if node is None:
            return
        asked = await desk.clients[run.mode].ask(node, run, lambda: desk.store.run_input(run.id))
        reading = asked.reading if asked else Reading()

        def decide(current: Run) -> Change | None:
            is_told = reading.is_end or is_held(current, run)
            return looked_late(current, reading, desk.clock.now(), node.pace) if is_told else None

        change = await desk.store.change(run.id, decide)
        if change is not None and change.events:
            desk.log.info("run.recovered", run=run.id, node=run.node)
