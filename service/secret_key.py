"""The instance's own secret: from the settings, or a key file made at the first start. Others are derived from it."""

import base64
import binascii
import os
import secrets
from pathlib import Path

from service.errors import SettingsError
from service.settings import Secret

_FILE = "secret.key"
_LENGTH = 32


def load_secret_key(given: Secret | None, data_dir: Path) -> bytes:
    """Return the secret key, making its file where neither exists.

    Raises:
        SettingsError: It is too short to be safe, or the file cannot be read.
    """
    if given is not None:
        return _decoded(given.reveal(), "HALLEY_SECRET_KEY")
    path = data_dir / _FILE
    try:
        if not path.exists():
            _write(path)
        return _decoded(path.read_text(encoding="ascii").strip(), str(path))
    except OSError as exc:
        raise SettingsError(f"HALLEY_DATA_DIR: the key file {path} cannot be used: {exc.strerror}") from exc


def _write(path: Path) -> None:
    text = base64.urlsafe_b64encode(secrets.token_bytes(_LENGTH)).decode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")


def _decoded(text: str, name: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _LENGTH:
        raise SettingsError(f"{name}: must be {_LENGTH} random bytes in URL-safe Base64")
    return key
