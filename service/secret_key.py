"""The instance's own secrets: from the settings, or a key file made at the first start. Others are derived from them.

One key is current and made use of; those before it are kept for a while, so that what was signed or sealed with them
is still good. How they are made use of is the business of `sealing`, `artifacts/links` and `delivery/signer`.
"""

import base64
import binascii
import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from service.errors import SettingsError
from service.settings import Secret

_FILE = "secret.key"
_LENGTH = 32
_OLD_KEPT = 2


class SecretKeys(Struct, frozen=True, kw_only=True):
    """The secret keys of an instance.

    Attributes:
        all: The current one, then the old ones, the latest first.
    """

    all: tuple[bytes, ...]

    @property
    def current(self) -> bytes:
        """The one that is made use of."""
        return self.all[0]

    def __repr__(self) -> str:
        return f"SecretKeys({len(self.all)})"


def load_secret_keys(given: Secret | None, data_dir: Path) -> SecretKeys:
    """Return the secret keys, making their file where there is neither a file nor a setting.

    Args:
        given: Keys of the settings, separated by commas, the current one first.
        data_dir: Where the key file is: a key in each line, the current one first.

    Raises:
        SettingsError: One is too short to be safe, or the file cannot be read.
    """
    if given is not None:
        return _decoded(given.reveal().split(","), "HALLEY_SECRET_KEY")
    path = data_dir / _FILE
    with _named_errors(path):
        if not path.exists():
            _make(path)
        return _read(path)


def agreed(own: SecretKeys, shared: str | None) -> SecretKeys:
    """Return the keys of all processes of an instance.

    Args:
        own: This process' keys.
        shared: What others have agreed on, as `written` writes it; None when this is the first.
    """
    return own if shared is None else _decoded(shared.split(","), "the secret key in the database")


def rotated(keys: SecretKeys) -> SecretKeys:
    """Return keys with a new current one, and the two latest of the others."""
    return SecretKeys(all=(secrets.token_bytes(_LENGTH), *keys.all[:_OLD_KEPT]))


def without_old(keys: SecretKeys) -> SecretKeys:
    """Return the current key alone."""
    return SecretKeys(all=keys.all[:1])


def written(keys: SecretKeys) -> str:
    """Write keys as one text, the current one first."""
    return ",".join(base64.urlsafe_b64encode(key).decode() for key in keys.all)


def rotate_secret_keys(data_dir: Path) -> SecretKeys:
    """Put a new key before those of the key file and keep the two latest of them.

    Raises:
        SettingsError: The file cannot be read or written.
    """
    path = data_dir / _FILE
    with _named_errors(path):
        return _replace(path, rotated(_read(path)) if path.exists() else rotated(SecretKeys(all=())))


def drop_old_secret_keys(data_dir: Path) -> SecretKeys:
    """Leave only the current key in the key file.

    Raises:
        SettingsError: The file is missing, or cannot be read or written.
    """
    path = data_dir / _FILE
    with _named_errors(path):
        return _replace(path, without_old(_read(path)))


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise SettingsError(f"HALLEY_DATA_DIR: the key file {path} cannot be used: {exc.strerror}") from exc


def _make(path: Path) -> None:
    """Make the key file; where two processes do so at once, one of the two keys becomes that of both."""
    made = _written_beside(path, (secrets.token_bytes(_LENGTH),))
    try:
        # A link replaces nothing, and what it names is whole from the first moment.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(made)
    finally:
        made.unlink()
    _flush_folder(path.parent)


def _replace(path: Path, keys: SecretKeys) -> SecretKeys:
    _written_beside(path, keys.all).replace(path)
    _flush_folder(path.parent)
    return keys


def _written_beside(path: Path, keys: tuple[bytes, ...]) -> Path:
    """Write keys to a file of their own, durable and readable by its owner alone."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(base64.urlsafe_b64encode(key) + b"\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    return beside


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> SecretKeys:
    return _decoded(path.read_text(encoding="utf-8", errors="replace").split(), str(path))


def _decoded(texts: list[str], name: str) -> SecretKeys:
    keys = tuple(_decoded_key(text.strip()) for text in texts)
    if not keys or any(len(key) < _LENGTH for key in keys):
        which = "" if len(keys) <= 1 else "each key "
        raise SettingsError(f"{name}: {which}must be {_LENGTH} random bytes in URL-safe Base64")
    return SecretKeys(all=keys)


def _decoded_key(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
