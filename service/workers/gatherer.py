"""Completes groups whose runs have come far enough, and cancels the runs that nobody wants any more.

What tells that a run has ended is written with its end. So whoever looks at a group after that sees the run as ended,
and the one who looks after the last end sees all of them; a look is forgotten only after it has been made.
"""

import asyncio
from collections.abc import Callable, Sequence

from service.clock import Clock
from service.lifecycle.group import MOST_RUNS, Group, GroupChange, looked_at
from service.lifecycle.run import Run
from service.lifecycle.transitions import canceled
from service.log import Log
from service.store.base import Store

_BATCH = 200


class Gatherer:
    """One pass: look at the groups of which runs have ended, and at those whose time has come.

    Args:
        store: Where groups are.
        clock: The time.
        notify: Told of each group that has completed.
        log: Structured log.
    """

    def __init__(self, store: Store, clock: Clock, notify: Callable[[GroupChange], None], log: Log) -> None:
        self._store = store
        self._clock = clock
        self._notify = notify
        self._log = log

    async def run_once(self) -> bool:
        """Look at what must be looked at; returns whether there is more."""
        news = await self._store.group_news(self._clock.now(), _BATCH)
        # News of a label that no group has are only forgotten: who makes the group later looks at its runs.
        looked = [each for each in news if each.group is None or await self._look(each.group)]
        await self._store.forget_news([ident for each in looked for ident in each.ids])
        return len(looked) < len(news) or sum(len(each.ids) for each in news) >= _BATCH

    async def _look(self, group: Group) -> bool:
        """Look at a group and its runs; returns False when it was changed meanwhile, so the look counts for nothing."""
        now = self._clock.now()
        runs = await self._store.group_runs(group.workspace, group.key, MOST_RUNS)
        seen: list[bool] = []

        def decide(current: Group) -> GroupChange | None:
            seen.append(current == group)
            return looked_at(current, runs, now) if current == group else None

        change = await self._store.change_group(group.id, decide)
        after = change.group if change else group
        if change is not None and change.events:
            self._log.info("group.completed", group=group.id, reason=after.reason, runs=len(runs))
            self._notify(change)
        if seen and seen[-1] and after.cancels:
            await cancel_open(runs, self._store, now)
        return not seen or seen[-1]


async def cancel_open(runs: Sequence[Run], store: Store, now: float) -> None:
    """Cancel those of some runs that can be canceled: one that is just being submitted cannot."""
    unwanted = [run.id for run in runs if run.state in ("queued", "running")]
    await asyncio.gather(*(store.change(run_id, lambda current: canceled(current, now)) for run_id in unwanted))
