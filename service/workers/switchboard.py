"""Who must hear of a committed change at once: sweeps that have work now, and callers who wait.

Callers wait for the end of a run or group, or for any event of their workspace. A hint only: the store is the truth,
and whoever waits also looks there.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from service.lifecycle.group import GroupChange
from service.lifecycle.run import Change
from service.workers.sweep import Sweep


class Switchboard:
    """Rings sweeps and wakes waiters."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[Callable[[], None]]] = defaultdict(set)
        self._listeners: dict[str, set[Callable[[], None]]] = defaultdict(set)
        self._sweeps: dict[str, Sweep] = {}

    async def watch(self, resting: Callable[[Sequence[str]], Awaitable[list[str]]]) -> bool:
        """Wake who waits for a run that another process ended."""
        for run_id in await resting(list(self._waiters)) if self._waiters else ():
            self._wake(run_id)
        return False

    def hear(self, rested: Sequence[str], workspaces: Sequence[str]) -> None:
        """Wake who waits for what another process of this machine has committed."""
        for ident in rested:
            self._wake(ident)
        for workspace in workspaces:
            self._call(workspace)

    def _wake(self, run_id: str) -> None:
        for wake in tuple(self._waiters.get(run_id, ())):
            wake()

    def connect(self, sweep: Sweep) -> None:
        """Make a sweep known by its name."""
        self._sweeps[sweep.name] = sweep

    def silence_s(self) -> dict[str, float]:
        """Return for how long each sweep has not come to the end of a pass."""
        return {name: sweep.silence_s for name, sweep in self._sweeps.items()}

    def ring(self, name: str) -> None:
        """Ring a sweep."""
        if name in self._sweeps:
            self._sweeps[name].ring()

    def notify(self, change: Change) -> None:
        """Pass on a committed change."""
        run = change.run
        if run.is_final and run.group is not None:
            self.ring("groups")
        if run.state == "queued":
            self.ring("submit")
        elif run.state == "submit_unknown":
            self.ring("reconcile")
        if run.rests:
            self._wake(run.id)
        if change.events:
            self._call(run.workspace)

    def notify_group(self, change: GroupChange) -> None:
        """Pass on that a group has completed."""
        self.ring("deliver")
        self._wake(change.group.id)
        self._call(change.group.workspace)

    def _call(self, workspace: str) -> None:
        for wake in tuple(self._listeners.get(workspace, ())):
            wake()

    async def wait(self, ident: str, timeout_s: float) -> None:
        """Return when the run has ended (or nobody can tell its outcome), when the group has, or after the time."""
        waiter = asyncio.Event()
        with self.waking(ident, waiter.set), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await waiter.wait()

    def waking(self, ident: str, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` when the run or group has ended (or nobody can tell its outcome), until the block ends."""
        return _standing(self._waiters, ident, wake)

    def hearing(self, workspace: str, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` whenever this process has committed an event of a workspace, until the block ends."""
        return _standing(self._listeners, workspace, wake)


@contextlib.contextmanager
def _standing(table: dict[str, set[Callable[[], None]]], name: str, wake: Callable[[], None]) -> Iterator[None]:
    table[name].add(wake)
    try:
        yield
    finally:
        table[name].discard(wake)
        if not table[name]:
            del table[name]
