"""The vault keeps bytes whole or not at all, under names that lead nowhere else."""

import errno
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.artifacts import vault as rooms
from service.artifacts.vault import FolderVault
from service.errors import StoreError, TooLarge

NAME = "file_01jd0000000000000000000000"
ARTIFACT = "art_01jd000000000000000000000000"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
async def vault(tmp_path: Path) -> FolderVault:
    """An open, empty vault."""
    opened = FolderVault(tmp_path / "artifacts")
    await opened.open()
    return opened


async def pieces(*each: bytes) -> AsyncIterator[bytes]:
    """Yield these."""
    for piece in each:
        yield piece


def left_over(folder: Path) -> list[Path]:
    """Return every file in a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def folder_modes(folder: Path) -> set[int]:
    """Return the modes of all folders in a folder."""
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_dir()}


@pytest.mark.parametrize("name", [NAME, ARTIFACT, ARTIFACT + "1"])
async def test_bytes_come_back_as_they_went_in(vault: FolderVault, name: str) -> None:
    """Whole or in pieces, with size, type and hash."""
    whole = await vault.keep(name, PNG, limit_bytes=1000)
    streamed = await vault.keep(name, pieces(PNG[:3], b"", PNG[3:]), limit_bytes=1000)

    path = vault.path(name)
    assert whole == streamed
    assert (whole.size_bytes, whole.mime, whole.sha256) == (len(PNG), "image/png", hashlib.sha256(PNG).hexdigest())
    assert path is not None
    assert path.read_bytes() == PNG


async def test_large_things_are_kept_whole(vault: FolderVault) -> None:
    """More than one piece goes to the disk, in order."""
    data = os.urandom(2_500_000)

    kept = await vault.keep(
        NAME, pieces(*(data[at : at + 70_000] for at in range(0, len(data), 70_000))), limit_bytes=3_000_000
    )

    path = vault.path(NAME)
    assert path is not None
    assert path.read_bytes() == data
    assert kept.sha256 == hashlib.sha256(data).hexdigest()


async def test_only_the_owner_can_read(vault: FolderVault, tmp_path: Path) -> None:
    """Files are 0600 and folders 0700."""
    await vault.keep(NAME, PNG, limit_bytes=1000)

    path = vault.path(NAME)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert folder_modes(tmp_path) == {0o700}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "../secret.key",
        "part",
        f"../{NAME}",
        f"{NAME}/../../secret.key",
        f"{NAME}\n",
        f"{NAME}\0",
        NAME.upper(),
        "file_" + "." * 26,
        "art_01jd0000000000000000000000",
        "/etc/passwd",
    ],
)
async def test_names_that_are_none_lead_nowhere(vault: FolderVault, tmp_path: Path, name: str) -> None:
    """They are not found, delete nothing, and cannot be kept."""
    (tmp_path / "secret.key").write_bytes(b"secret")

    await vault.delete(name)
    with pytest.raises(ValueError, match="no name of the vault"):
        await vault.keep(name, PNG, limit_bytes=1000)

    assert vault.path(name) is None
    assert left_over(tmp_path) == [tmp_path / "secret.key"]


async def test_what_is_over_the_limit_leaves_nothing(vault: FolderVault, tmp_path: Path) -> None:
    """The limit itself is let through; one byte more is refused, and what was there stays."""
    await vault.keep(NAME, PNG, limit_bytes=len(PNG))
    for data in (PNG + b"x", pieces(PNG, b"x")):
        with pytest.raises(TooLarge):
            await vault.keep(NAME, data, limit_bytes=len(PNG))

    path = vault.path(NAME)
    assert path is not None
    assert path.read_bytes() == PNG
    assert left_over(tmp_path) == [path]


async def test_a_source_that_breaks_leaves_nothing(vault: FolderVault, tmp_path: Path) -> None:
    """Half of a file is no file."""

    async def broken() -> AsyncIterator[bytes]:
        yield PNG
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await vault.keep(NAME, broken(), limit_bytes=1000)

    assert vault.path(NAME) is None
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_says_what_to_do(
    vault: FolderVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The error names the folder and the setting, and nothing is left behind."""

    def full(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(rooms.os, "fsync", full)
    with pytest.raises(StoreError, match="HALLEY_DATA_DIR"):
        await vault.keep(NAME, PNG, limit_bytes=1000)

    assert left_over(tmp_path) == []


async def test_deleting_is_repeatable(vault: FolderVault) -> None:
    """What is gone stays gone."""
    await vault.keep(NAME, PNG, limit_bytes=1000)

    await vault.delete(NAME)
    await vault.delete(NAME)

    assert vault.path(NAME) is None


async def test_opening_clears_what_was_left_half_written(vault: FolderVault, tmp_path: Path) -> None:
    """What a process that died was writing goes; what another may be writing now stays, and so does what was kept."""
    await vault.keep(NAME, PNG, limit_bytes=1000)
    spooled = await vault.spool(PNG, limit_bytes=1000)
    another = await vault.spool(PNG, limit_bytes=1000)
    os.utime(spooled.path, (0, 0))

    await FolderVault(tmp_path / "artifacts").open()

    assert not spooled.path.exists()
    assert another.path.exists()
    assert vault.path(NAME) is not None
