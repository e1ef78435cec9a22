"""Links to what Halley keeps: anyone who has one may fetch that one thing until the link expires.

The signature covers id and moment, under a key derived from the instance's secret; nothing about a link is stored.
"""

import hashlib
import hmac
import math
import re

from service.errors import Forbidden

DAY_S = 86400.0
EVENT_LIFE_S = 7 * DAY_S
_ROUND_S = 3600  # so that one thing has one link for a while, and caches can know it


class Links:
    """Makes and checks signed links.

    Args:
        master: The instance's secret.
        public_url: Where the outside reaches Halley; wins over the address that a caller used.
    """

    def __init__(self, master: bytes, public_url: str | None = None) -> None:
        self._key = hmac.digest(master, b"artifact-links", hashlib.sha256)
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
        return f"{base}/v1/artifacts/{name}?expires={expires}&signature={self._signature(name, expires)}", expires

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
        if not hmac.compare_digest(self._signature(name, int(expires)), signature):
            raise Forbidden("This link was not made by this Halley.")
        if now >= int(expires):
            raise Forbidden("This link has expired; ask for the run or the file again to get a fresh one.")

    def _signature(self, name: str, expires: int) -> str:
        return hmac.digest(self._key, f"{name}.{expires}".encode(), hashlib.sha256).hex()
