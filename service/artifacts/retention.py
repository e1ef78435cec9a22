"""Forgets ended runs and groups, and old events of endpoints, with all that was kept of them.

What may go is the store's to say; when, and with what pauses, is the caller's.
"""

from collections.abc import AsyncIterator, Sequence

from service.artifacts.vault import Vault
from service.clock import Clock
from service.lifecycle.run import Run
from service.store.base import Store

_BATCH = 200  # a batch is one transaction: short enough for a Halley that waits to write


class Retention:
    """Forgets what is old.

    Args:
        store: Where runs are.
        vault: Where the bytes of their artifacts are.
        clock: The time.
    """

    def __init__(self, store: Store, vault: Vault, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock

    async def forget(self, older_than_s: float, *, dry_run: bool) -> AsyncIterator[dict[str, int]]:
        """Yield, batch by batch, how many rows and files have gone, by kind.

        Args:
            older_than_s: What ended longer ago than this goes.
            dry_run: Only count what would go.
        """
        now, after = self._clock.now(), ""
        async for gone in self._forget_keys(now, dry_run=dry_run):
            yield {"idempotency_keys": gone}
        while runs := await self._store.forgettable(now - older_than_s, now, after, _BATCH):
            after = runs[-1].id
            yield await self._forget_runs(runs, dry_run=dry_run)
        async for gone_rows in self._forget_others(now - older_than_s, now, dry_run=dry_run):
            yield gone_rows

    async def _forget_keys(self, now: float, *, dry_run: bool) -> AsyncIterator[int]:
        if dry_run:
            yield await self._store.count_old_keys(now)
            return
        while gone := await self._store.forget_keys(now, _BATCH):
            yield gone

    async def _forget_others(self, before: float, now: float, *, dry_run: bool) -> AsyncIterator[dict[str, int]]:
        act, after = self._store.count_rows if dry_run else self._store.forget, ""
        while ids := await self._store.forgettable_groups(before, now, after, _BATCH):
            after = ids[-1]
            yield await act(ids, "groups")
        after = ""
        while ids := await self._store.forgettable_events(before, after, _BATCH):
            after = ids[-1]
            yield await act(ids, "events")

    async def _forget_runs(self, runs: Sequence[Run], *, dry_run: bool) -> dict[str, int]:
        stored = [each.id for run in runs for each in run.artifacts if each.stored]
        files = [name for name in stored if self._vault.path(name) is not None]
        ids = [run.id for run in runs]
        if dry_run:
            return {**await self._store.count_rows(ids), "artifact_files": len(files)}
        # The bytes go first, so none are left that nobody knows of.
        for name in files:
            await self._vault.delete(name)
        return {**await self._store.forget(ids), "artifact_files": len(files)}
