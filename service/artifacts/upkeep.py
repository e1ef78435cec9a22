"""Deletes what its time is over for: uploads, old durations, and runs where the settings say how long they are kept."""

from service.artifacts.retention import Retention
from service.artifacts.vault import Vault
from service.clock import Clock
from service.store.base import Store

_BATCH = 100
_SKETCHES_KEPT_S = 90 * 86400.0
_BATCHES_OF_RUNS = 5  # in one pass, so that others get to the database in between


class Upkeep:
    """One pass: delete expired uploads and old runs.

    Args:
        store: Where the records are.
        vault: Where the bytes are.
        clock: The time.
        keep_runs_s: For how long ended runs are kept; None for ever.
    """

    def __init__(self, store: Store, vault: Vault, clock: Clock, *, keep_runs_s: float | None = None) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._keep_runs_s = keep_runs_s
        self._retention = Retention(store, vault, clock)

    async def run_once(self) -> bool:
        """Delete what has expired; the bytes go first, so none is left that nobody knows of."""
        expired = await self._store.expired_files(self._clock.now(), _BATCH)
        for file_id in expired:
            await self._vault.delete(file_id)
            await self._store.delete_file(file_id)
        await self._store.forget_usage(self._clock.now())
        await self._store.forget_sketches(self._clock.now() - _SKETCHES_KEPT_S)
        return await self._forget_runs() or len(expired) == _BATCH

    async def _forget_runs(self) -> bool:
        if self._keep_runs_s is None:
            return False
        batches = 0
        async for gone in self._retention.forget(self._keep_runs_s, dry_run=False):
            batches += bool(gone.get("runs"))
            if batches == _BATCHES_OF_RUNS:
                return True
        return False
