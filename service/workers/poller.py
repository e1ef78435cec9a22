"""Asks upstream about running tasks when their time has come, within each provider's budget."""

from service.definitions.catalog import CompiledNode
from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import observed, unanswered
from service.upstream.client import Asked
from service.workers.desk import Desk

_LEASE_S = 60.0


class Poller:
    """One pass: lease due running runs and ask about each.

    Args:
        desk: The workers' shared tools.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._starved = False

    async def run_once(self) -> bool:
        """Lease what is due and start asking. Providers do not wait for each other."""
        desk, more = self._desk, False
        self._starved = False
        for lane in await desk.store.due_lanes("running", desk.clock.now()):
            budget = desk.budgets.of(lane)
            free = budget.free_queries()
            if not free:
                self._starved = True
                continue
            runs = await desk.store.claim("running", lane, desk.clock.now(), free, _LEASE_S)
            for run in runs:
                budget.begin(query=True)
                desk.crew.start(self._poll(run))
            more = more or len(runs) == free
        return more

    async def _poll(self, run: Run) -> None:
        desk = self._desk
        node = desk.node(run)
        try:
            asked = await self._ask(run, node)
        finally:
            desk.budgets.of(run.lane).end()
            if self._starved:
                desk.ring("poll")
        if node is None or asked is None:
            desk.log.warning("poll.impossible", run=run.id, node=run.node)
            return
        if asked.retry_after_s:
            desk.budgets.of(run.lane).pause(asked.retry_after_s)
        if not asked.reading.known_status:
            desk.log.warning("poll.unknown_status", run=run.id, node=run.node, status=asked.reading.raw_status)
        await desk.store.change(run.id, lambda current: self._apply(current, node, asked))

    async def _ask(self, run: Run, node: CompiledNode | None) -> Asked | None:
        if node is None or run.upstream_task_id is None or run.upstream_path is None:
            return None
        return await self._desk.clients[run.mode].ask(node, run.upstream_path, run.upstream_task_id)

    def _apply(self, run: Run, node: CompiledNode, asked: Asked) -> Change | None:
        desk, reading = self._desk, asked.reading
        now, following = desk.clock.now(), desk.following(run, node)
        if reading.state is None and reading.error is not None:
            return unanswered(run, reading.error, now, following, asked.retry_after_s)
        return observed(run, reading, now, following)
