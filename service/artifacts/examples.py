"""Example addresses, which nobody can own: where upstream is played on this machine, it serves them.

So the documented examples run as they stand, without a packet to the outside.
"""

from typing import Protocol

from yarl import URL

from service.artifacts.vault import Spooled

_RESERVED = ("example.com", "example.org", "example.net")  # RFC 2606
_OTHER_SUFFIXES = {"jpg": "jpeg"}
_SUFFIX = "png"


class Fetches(Protocol):
    """Brings what a URL leads to."""

    async def fetch(self, url: str, *, limit_bytes: int) -> Spooled:
        """Fetch a URL; raises `MediaUnavailable`, `TooLarge` or `StoreError`."""


class ExampleFetcher:
    """Fetches example addresses from the simulated upstream, and all others as ever.

    Args:
        ordinary: Fetches all other addresses.
        local: Reaches the simulated upstream on this machine.
        base_url: Where that is.
    """

    def __init__(self, ordinary: Fetches, local: Fetches, base_url: str) -> None:
        self._ordinary = ordinary
        self._local = local
        self._base_url = base_url

    async def fetch(self, url: str, *, limit_bytes: int) -> Spooled:
        """Fetch a URL; raises `MediaUnavailable`, `TooLarge` or `StoreError`."""
        if stand_in := self._stand_in(url):
            return await self._local.fetch(stand_in, limit_bytes=limit_bytes)
        return await self._ordinary.fetch(url, limit_bytes=limit_bytes)

    def _stand_in(self, url: str) -> str | None:
        try:
            parts = URL(url)
        except ValueError:
            return None
        if not any(parts.host == host or (parts.host or "").endswith(f".{host}") for host in _RESERVED):
            return None
        stem, _, suffix = (parts.name or "example").rpartition(".")
        suffix = _OTHER_SUFFIXES.get(suffix, suffix) if stem else _SUFFIX
        return f"{self._base_url}/media/{stem or parts.name or 'example'}.{suffix}"
