"""Deletes uploads whose time is over."""

from service.artifacts.vault import Vault
from service.clock import Clock
from service.store.base import Store

_BATCH = 100


class Upkeep:
    """One pass: delete expired uploads.

    Args:
        store: Where the records are.
        vault: Where the bytes are.
        clock: The time.
    """

    def __init__(self, store: Store, vault: Vault, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock

    async def run_once(self) -> bool:
        """Delete what has expired; the bytes go first, so none is left that nobody knows of."""
        expired = await self._store.expired_files(self._clock.now(), _BATCH)
        for file_id in expired:
            await self._vault.delete(file_id)
            await self._store.delete_file(file_id)
        return len(expired) == _BATCH
