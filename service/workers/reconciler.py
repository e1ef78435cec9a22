"""Looks for tasks of submissions whose outcome is unknown, where upstream can be asked by our own id."""

from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import reconciled, unanswered, unreconcilable
from service.upstream.client import Asked
from service.workers.desk import Desk

_LEASE_S = 60.0
_BATCH = 50


class Reconciler:
    """One pass: lease due runs in `submit_unknown` and ask for their tasks.

    Args:
        desk: The workers' shared tools.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run_once(self) -> bool:
        """Lease what is due and start asking."""
        desk = self._desk
        for lane in await desk.store.due_lanes("submit_unknown", desk.clock.now()):
            budget = desk.budgets.of(lane)
            limit = min(budget.free_queries(), _BATCH)
            runs = await desk.store.claim("submit_unknown", lane, desk.clock.now(), limit, _LEASE_S)
            for run in runs:
                budget.begin(query=True)
                desk.crew.start(self._look(run))
        return False

    async def _look(self, run: Run) -> None:
        desk, asked = self._desk, None
        node = desk.node(run)
        try:
            if node is not None and run.upstream_path:
                client = desk.clients[run.mode]
                asked = await client.ask_by_external_id(node, run.upstream_path, run.external_id)
        finally:
            desk.budgets.of(run.lane).end()
        await desk.store.change(run.id, lambda current: self._apply(current, asked))

    def _apply(self, run: Run, asked: Asked | None) -> Change | None:
        desk, now = self._desk, self._desk.clock.now()
        node = desk.node(run)
        if asked is None or node is None:
            return unreconcilable(run, now)
        if asked.reading.error is not None and asked.reading.state is None:
            return unanswered(run, asked.reading.error, now, desk.following(run, node), asked.retry_after_s)
        return reconciled(run, asked.reading, now)
