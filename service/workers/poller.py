"""Asks upstream about running tasks when their time has come: one by one, or many in one question."""

from itertools import islice

from service.definitions.catalog import CompiledNode
from service.definitions.schema import AskMany
from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import Following, is_held, observed, unanswered
from service.upstream.client import Asked
from service.workers.conductor import Conductor
from service.workers.desk import Desk
from service.workers.lanes import LaneWorker

_MISSED_LOOKS = 2


def _is_missing(asked: Asked) -> bool:
    return asked.reading.error is not None and asked.reading.error.code == "not_found"


class Poller(LaneWorker):
    """Looks at running tasks and flows: those that are due, and those that a commit hands over (`store/prompt`)."""

    name = "poll"
    state = "running"
    lease_s = 60.0

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._conductor = Conductor(desk)

    def reserve(self, item: Run) -> bool:
        """Keep a place for a look, unless there is none; tasks that are asked about together wait for each other."""
        node, budget = self._desk.node(item), self._desk.budgets.of(item.lane)
        if node is None or node.plan.many is not None or not budget.free_queries():
            return False
        budget.begin(query=True)
        return True

    def release(self, item: Run) -> None:
        """Give the place back."""
        self._desk.budgets.of(item.lane).end(query=True)

    def begin(self, item: Run) -> None:
        """Look at a run for which a place was kept."""
        self._desk.crew.start(self._work_within_budget([item]))

    def ring(self) -> None:
        """Ask for a pass."""
        self._desk.ring(self.name)

    async def _claim(self, lane: str, limit: int) -> list[Run]:
        """Claim what is due; where one question asks about many, what is due within an interval is taken along."""
        desk, now = self._desk, self._desk.clock.now()
        runs = await desk.store.claim(self.state, lane, now, limit, lease_s=self.lease_s)
        batch = desk.batches.get(lane.rpartition(":")[2])
        if batch is None or not any(run.node in batch.nodes for run in runs):
            return runs
        room = limit * batch.at_most - len(runs)
        more = await desk.store.claim(
            self.state, lane, now, room, lease_s=self.lease_s, ahead_s=batch.ahead_s, nodes=batch.nodes
        )
        return runs + more

    def _groups(self, runs: list[Run]) -> list[list[Run]]:
        groups: list[list[Run]] = []
        together: dict[int, tuple[AskMany, list[Run]]] = {}
        for run in runs:
            node = self._desk.node(run)
            many = node.plan.many if node is not None and run.upstream_task_id is not None else None
            if many is None:
                groups.append([run])
            else:
                together.setdefault(id(many), (many, []))[1].append(run)
        for many, members in together.values():
            rest = iter(members)
            while batch := list(islice(rest, many.at_most)):
                groups.append(batch)
        return groups

    async def _work(self, runs: list[Run]) -> None:
        first, node = runs[0], self._desk.node(runs[0])
        if node is None:
            self._desk.log.warning("poll.impossible", run=first.id, node=first.node)
        elif node.node.kind == "flow":
            await self._conductor.advance(first, node)
        elif len(runs) > 1:
            asked = await self._desk.clients[first.mode].ask_many(node, runs)
            for run in runs:
                told = asked.get(run.id)
                is_missing = told is None or _is_missing(told)
                # A list may leave out what a question of its own would find.
                is_asked_alone = is_missing and run.looks >= _MISSED_LOOKS
                await self._hear(run, await self._ask(run, node) if is_asked_alone else told)
        else:
            await self._hear(first, await self._ask(first, node))

    async def _ask(self, run: Run, node: CompiledNode) -> Asked | None:
        return await self._desk.clients[run.mode].ask(node, run, lambda: self._desk.store.run_input(run.id))

    async def _hear(self, run: Run, asked: Asked | None) -> None:
        desk, node = self._desk, self._desk.node(run)
        if asked is None or node is None:
            desk.log.warning("poll.impossible", run=run.id, node=run.node)
            return
        if asked.retry_after_s:
            desk.budgets.of(run.lane).pause(asked.retry_after_s)
        if not asked.reading.known_status:
            desk.log.warning("poll.unknown_status", run=run.id, node=run.node, status=asked.reading.raw_status)
        following = desk.following(run, node)
        await desk.store.change(run.id, lambda current: self._apply(current, run, following, asked))

    def _apply(self, run: Run, claimed: Run, following: Following, asked: Asked) -> Change | None:
        now, reading = self._desk.clock.now(), asked.reading
        if not (reading.is_end or is_held(run, claimed)):
            return None
        if reading.state is None and reading.error is not None:
            return unanswered(run, reading.error, now, following, asked.retry_after_s)
        return observed(run, reading, now, following)
