"""The vault: bytes under a name, in a folder. Written whole or not at all, read by path.

Here is no owner, no expiry and no media rule: whoever keeps something knows those.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from msgspec import Struct

from service.artifacts.sniff import SNIFFED_BYTES, sniff
from service.errors import StoreError, TooLarge

Source = bytes | AsyncIterator[bytes]
NAME = re.compile(r"(?:art_[0-9a-z]{26}[0-9]{2,4}|file_[0-9a-z]{26})")
_LEFT_S = 3600.0
_CHUNK_BYTES = 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Kept(Struct, frozen=True, kw_only=True):
    """Something in the vault.

    Attributes:
        name: `art_…` or `file_…`.
        size_bytes: Its size.
        mime: Told by its first bytes.
        sha256: Its hash, in hexadecimal.
    """

    name: str
    size_bytes: int
    mime: str
    sha256: str


class Spooled(Struct, frozen=True, kw_only=True):
    """Bytes on disk that have no name yet; whoever spooled them keeps or discards them."""

    path: Path
    size_bytes: int
    mime: str
    sha256: str


class Vault(Protocol):
    """Keeps bytes by name."""

    async def keep(self, name: str, data: Source, *, limit_bytes: int) -> Kept:
        """Keep bytes; whoever keeps under the same name again replaces them.

        Raises:
            TooLarge: There are more than the limit.
            StoreError: They could not be written.
        """

    async def spool(self, data: Source, *, limit_bytes: int) -> Spooled:
        """Write bytes aside; raises as `keep` does."""

    async def discard(self, spooled: Spooled) -> None:
        """Remove bytes that were written aside."""

    def path(self, name: str) -> Path | None:
        """Return where bytes are, or None when there are none of that name."""

    async def delete(self, name: str) -> None:
        """Remove bytes, if they are there."""


class FolderVault:
    """A `Vault` in a folder, which belongs to one process.

    Args:
        folder: Made when it is not there; readable by its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = folder / "part"

    async def open(self) -> None:
        """Make the folder, and clear what an earlier process left half written."""
        with _told(self._folder):
            await asyncio.to_thread(self._make_ready)

    def _make_ready(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._aside.mkdir(mode=0o700, exist_ok=True)
        oldest = time.time() - _LEFT_S
        for left in self._aside.iterdir():
            # Another process may be writing in a folder that several share; what nobody writes to was left behind.
            with contextlib.suppress(FileNotFoundError):
                if left.stat().st_mtime < oldest:
                    left.unlink()

    async def keep(self, name: str, data: Source, *, limit_bytes: int) -> Kept:
        """Keep bytes; whoever keeps under the same name again replaces them."""
        place = self._place(name)
        spooled = await self.spool(data, limit_bytes=limit_bytes)
        try:
            with _told(self._folder):
                await asyncio.to_thread(_move, spooled.path, place)
        except BaseException:
            await self.discard(spooled)
            raise
        return Kept(name=name, size_bytes=spooled.size_bytes, mime=spooled.mime, sha256=spooled.sha256)

    async def spool(self, data: Source, *, limit_bytes: int) -> Spooled:
        """Write bytes aside."""
        path = self._aside / secrets.token_hex(16)
        with _told(self._folder):
            part = await asyncio.to_thread(_Part, path)
        try:
            await self._write(part, data, limit_bytes)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(part.abandon))
            raise
        return part.spooled()

    async def _write(self, part: "_Part", data: Source, limit_bytes: int) -> None:
        async for chunk in _in_chunks(data):
            if part.size_bytes + len(chunk) > limit_bytes:
                raise TooLarge(f"The file is larger than {limit_bytes:,} bytes.")
            with _told(self._folder):
                await asyncio.to_thread(part.write, chunk)
        with _told(self._folder):
            await asyncio.to_thread(part.finish)

    async def discard(self, spooled: Spooled) -> None:
        """Remove bytes that were written aside."""
        await asyncio.to_thread(spooled.path.unlink, missing_ok=True)

    def path(self, name: str) -> Path | None:
        """Return where bytes are, or None when there are none of that name."""
        if not NAME.fullmatch(name):
            return None
        place = self._place(name)
        return place if place.is_file() else None

    async def delete(self, name: str) -> None:
        """Remove bytes, if they are there."""
        if NAME.fullmatch(name):
            with _told(self._folder):
                await asyncio.to_thread(self._place(name).unlink, missing_ok=True)

    def _place(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of the vault")
        # Names of one hour begin alike; their hashes do not.
        spread = hashlib.sha256(name.encode()).hexdigest()
        return self._folder / spread[:2] / spread[2:4] / name


class _Part:
    """A file that is being written. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._head = b""
        self.size_bytes = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        while left:
            left = left[self._file.write(left) :]
        self._hash.update(chunk)
        self._head += chunk[: SNIFFED_BYTES - len(self._head)]
        self.size_bytes += len(chunk)

    def finish(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def spooled(self) -> Spooled:
        mime = sniff(self._head).mime
        return Spooled(path=self._path, size_bytes=self.size_bytes, mime=mime, sha256=self._hash.hexdigest())


def _move(source: Path, place: Path) -> None:
    place.parent.parent.mkdir(mode=0o700, exist_ok=True)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    source.replace(place)
    for folder in (place.parent, place.parent.parent, place.parent.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


async def _in_chunks(data: Source) -> AsyncIterator[bytes]:
    """Yield pieces worth a trip to the disk."""
    if isinstance(data, bytes):
        for start in range(0, len(data), _CHUNK_BYTES):
            yield data[start : start + _CHUNK_BYTES]
        return
    gathered = bytearray()
    async for piece in data:
        gathered += piece
        if len(gathered) >= _CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise StoreError(
                f"the disk of {folder} is full: free some space, or move HALLEY_DATA_DIR to a larger disk"
            ) from exc
        raise StoreError(f"the folder {folder} cannot be used: {exc.strerror or type(exc).__name__}") from exc
