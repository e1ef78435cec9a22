"""Sealing: texts that are as good as a key, such as webhook URLs, are kept unreadable at rest.

A sealed text is an ordinary text, so whatever keeps it need not know. What is sealed, and when it is opened, is decided
by those who take it in and make use of it.
"""

import base64
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import HalleyError
from service.secret_key import SecretKeys

# No URL begins like this, so what was kept before there were seals is told apart.
PREFIX = "sealed:1:"
_NONCE_BYTES = 12


class CannotOpen(HalleyError):
    """A text was sealed with a key that is not there (any more), or was changed since."""

    def __init__(self) -> None:
        super().__init__(
            "it is sealed with a secret key that this Halley does not have: "
            "put that key behind the current one in HALLEY_SECRET_KEY or secret.key, and start again"
        )


class Sealer:
    """Seals texts with the current key, and opens what any of the keys has sealed (AES-256-GCM).

    Args:
        keys: The instance's secrets, from which the keys of this purpose are derived.
    """

    def __init__(self, keys: SecretKeys) -> None:
        self._ciphers = [AESGCM(hmac.digest(key, b"sealing", hashlib.sha256)) for key in keys.all]

    def seal(self, text: str) -> str:
        """Return a text that only who has the key can read; sealing again gives another."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._ciphers[0].encrypt(nonce, text.encode(errors="surrogatepass"), None)
        return PREFIX + base64.urlsafe_b64encode(sealed).decode()

    def renewed(self, text: str) -> str:
        """Return a text sealed with the current key; one that is so already is returned as it is.

        Raises:
            CannotOpen: None of the keys fits.
        """
        if text.startswith(PREFIX) and self._is_current(text):
            return text
        return self.seal(self.open(text))

    def _is_current(self, text: str) -> bool:
        try:
            sealed = base64.urlsafe_b64decode(text.removeprefix(PREFIX))
            self._ciphers[0].decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            return False
        return True

    def open(self, text: str) -> str:
        """Return what was sealed; a text that never was is returned as it is.

        Raises:
            CannotOpen: None of the keys fits.
        """
        if not text.startswith(PREFIX):
            return text
        try:
            sealed = base64.urlsafe_b64decode(text.removeprefix(PREFIX))
        except ValueError:
            raise CannotOpen from None
        for cipher in self._ciphers:
            try:
                opened = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
            except (InvalidTag, ValueError):  # a piece of a sealed text is too short for a tag
                continue
            return opened.decode(errors="surrogatepass")
        raise CannotOpen
