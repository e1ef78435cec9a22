"""Asks upstream about running tasks when their time has come."""

from service.definitions.catalog import CompiledNode
from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import observed, unanswered
from service.upstream.client import Asked
from service.workers.lanes import LaneWorker

_LEASE_S = 60.0


class Poller(LaneWorker):
    """Looks at running tasks."""

    name = "poll"
    state = "running"

    async def _claim(self, lane: str, limit: int) -> list[Run]:
        return await self._desk.store.claim(self.state, lane, self._desk.clock.now(), limit, _LEASE_S)

    async def _work(self, run: Run) -> None:
        desk, node = self._desk, self._desk.node(run)
        asked = None if node is None else await self._ask(run, node)
        if node is None or asked is None:
            desk.log.warning("poll.impossible", run=run.id, node=run.node)
            return
        if asked.retry_after_s:
            desk.budgets.of(run.lane).pause(asked.retry_after_s)
        if not asked.reading.known_status:
            desk.log.warning("poll.unknown_status", run=run.id, node=run.node, status=asked.reading.raw_status)
        await desk.store.change(run.id, lambda current: self._apply(current, node, asked))

    async def _ask(self, run: Run, node: CompiledNode) -> Asked | None:
        if run.upstream_task_id is None or run.upstream_path is None:
            return None
        return await self._desk.clients[run.mode].ask(node, run.upstream_path, run.upstream_task_id)

    def _apply(self, run: Run, node: CompiledNode, asked: Asked) -> Change | None:
        desk, reading = self._desk, asked.reading
        now, following = desk.clock.now(), desk.following(run, node)
        if reading.state is None and reading.error is not None:
            return unanswered(run, reading.error, now, following, asked.retry_after_s)
        return observed(run, reading, now, following)
