"""Links to what Halley keeps: anyone who has one may fetch that one thing until the link expires.

The signature covers id and moment, under a key derived from the instance's current secret; links that an old one
signed are good until they expire. Nothing about a link is stored.
"""

import hashlib
import hmac
import math
import re

from service.errors import Forbidden
from service.secret_key import SecretKeys

DAY_S = 86400.0
EVENT_LIFE_S = 7 * DAY_S
_ROUND_S = 3600  # so that one thing has one link for a while, and caches can know it


class Links:
    """Makes and checks signed links.

    Args:
        keys: The instance's secrets.
        public_url: Where the outside reaches Halley; wins over the address that a caller used.
    """

    def __init__(self, keys: SecretKeys, public_url: str | None = None) -> None:
        self._keys = [hmac.digest(key, b"artifact-links", hashlib.sha256) for key in keys.all]
        self._public_url = public_url

    def sign(self, name: str, base_url: str, now: float, *, life_s: float = DAY_S) -> tuple[str, float]:
        """Return a link and when it expires.

        Args:
            name: `art_…` or `file_…`.
            base_url: Where Halley is reached, when it has no public URL.
            now: The present.
            life_s: How long the link is good at least; it may be an hour more.
        """
        expires = math.ceil((now + life_s) / _ROUND_S) * _ROUND_S
        base = self._public_url or base_url
        signature = _signature(self._keys[0], name, expires)
        return f"{base}/v1/artifacts/{name}?expires={expires}&signature={signature}", expires

    def for_answer(self, name: str, base_url: str, now: float) -> tuple[str, float]:
        """Return a link for somebody who asks now."""
        return self.sign(name, base_url, now)

    def for_event(self, name: str, base_url: str, now: float) -> tuple[str, float]:
        """Return a link for an event, which may be read days later."""
        return self.sign(name, base_url, now, life_s=EVENT_LIFE_S)

    def check(self, name: str, expires: str, signature: str, now: float) -> None:
        """Return when a link is good.

        Raises:
            Forbidden: It is expired, or was not made here.
        """
        if not re.fullmatch("[0-9]{1,12}", expires) or not signature.isascii():
            raise Forbidden("This link was not made by this Halley.")
        made = (_signature(key, name, int(expires)) for key in self._keys)
        if not any(hmac.compare_digest(each, signature) for each in made):
            raise Forbidden("This link was not made by this Halley.")
        if now >= int(expires):
            raise Forbidden("This link has expired; ask for the run or the file again to get a fresh one.")


def _signature(key: bytes, name: str, expires: int) -> str:
    return hmac.digest(key, f"{name}.{expires}".encode(), hashlib.sha256).hex()
