"""Looks for tasks of submissions whose outcome is unknown, where upstream can be asked by our own id."""

from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import Following, is_held, reconciled, unanswered, unreconcilable
from service.upstream.client import Asked
from service.workers.lanes import LaneWorker

_LEASE_S = 60.0


class Reconciler(LaneWorker):
    """Looks for lost tasks."""

    name = "reconcile"
    state = "submit_unknown"

    async def _claim(self, lane: str, limit: int) -> list[Run]:
        return await self._desk.store.claim(self.state, lane, self._desk.clock.now(), limit, lease_s=_LEASE_S)

    async def _work(self, runs: list[Run]) -> None:
        (run,) = runs
        desk, node, asked = self._desk, self._desk.node(run), None
        if node is not None and run.upstream_path:
            client = desk.clients[run.mode]
            asked = await client.ask_by_external_id(node, run)
        following = desk.following(run, node) if node else None
        await desk.store.change(run.id, lambda current: self._apply(current, run, following, asked))

    def _apply(self, run: Run, claimed: Run, following: Following | None, asked: Asked | None) -> Change | None:
        now = self._desk.clock.now()
        if not is_held(run, claimed):
            return None
        if asked is None or following is None:
            return unreconcilable(run, now)
        error = asked.reading.error
        if error is None or asked.reading.state is not None:
            return reconciled(run, asked.reading, now) or unreconcilable(run, now)
        if error.code == "not_found" and run.hinted_task_id:
            return unreconcilable(run, now)
        return unanswered(run, error, now, following, asked.retry_after_s)
