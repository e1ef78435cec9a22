"""Uploads: bytes in the vault, and a record of whose they are and until when. One workspace never sees another's."""

from pathlib import Path

from service.artifacts.sniff import SNIFFED_BYTES, sniff
from service.artifacts.vault import NAME, Source, Vault
from service.clock import Clock
from service.ids import new_id
from service.store.base import FileRecord, Store

FILE_LIMIT_BYTES = 512_000_000
FILE_LIFE_S = 7 * 86400.0
_NAME_LENGTH = 200


class Files:
    """Takes uploads in, finds them and lets them go.

    Args:
        vault: Where the bytes are.
        store: Where the records are.
        clock: The time.
    """

    def __init__(self, vault: Vault, store: Store, clock: Clock) -> None:
        self._vault = vault
        self._store = store
        self._clock = clock

    async def add(self, workspace: str, data: Source, name: str | None = None) -> FileRecord:
        """Take an upload in.

        Args:
            workspace: Whose it is.
            data: Its bytes.
            name: File name that its owner gave it.

        Raises:
            TooLarge: It is over `FILE_LIMIT_BYTES`.
            StoreError: It could not be written.
        """
        now = self._clock.now()
        file_id = new_id("file", now)
        kept = await self._vault.keep(file_id, data, limit_bytes=FILE_LIMIT_BYTES)
        record = FileRecord(
            id=file_id,
            workspace=workspace,
            name=_plain(name) or f"{file_id}.{_extension(self._vault.path(file_id))}",
            mime=kept.mime,
            size_bytes=kept.size_bytes,
            sha256=kept.sha256,
            created_at=now,
            expires_at=now + FILE_LIFE_S,
        )
        try:
            await self._store.add_file(record)
        except BaseException:
            await self._vault.delete(file_id)
            raise
        return record

    async def get(self, workspace: str, file_id: str) -> FileRecord | None:
        """Return an upload of a workspace, unless it has expired."""
        record = await self._store.file(file_id) if NAME.fullmatch(file_id) else None
        if record is None or record.workspace != workspace or record.expires_at <= self._clock.now():
            return None
        return record

    async def remove(self, workspace: str, file_id: str) -> None:
        """Delete an upload of a workspace, if it is there."""
        record = await self._store.file(file_id)
        if record is not None and record.workspace == workspace:
            await self._store.delete_file(file_id)
            await self._vault.delete(file_id)


def read_head(path: Path, length: int = SNIFFED_BYTES) -> bytes:
    """Return the first bytes of a file. Blocks."""
    with path.open("rb") as file:
        return file.read(length)


def _extension(path: Path | None) -> str:
    return sniff(read_head(path)).extension if path else "bin"


def _plain(name: str | None) -> str:
    """Return a file name without folders and control characters."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable()).strip()[:_NAME_LENGTH]
