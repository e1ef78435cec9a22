"""Fetching what a URL leads to that a user gave, or upstream.

Strangers chose the URL and wrote the answer: every address, that of each redirect too, is judged by the egress guard
when it is connected to; time and size are bounded; cookies, proxies and credentials are out.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from service.artifacts.vault import Spooled, Vault
from service.egress import BlockedConnectionError, EgressGuard, GuardedResolver
from service.errors import MediaUnavailable, TooLarge

_CONNECT_S = 5.0
_TOTAL_S = 60.0
_MOST_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_CONNECTIONS = 64
_PIECE_BYTES = 64 * 1024

# The first that fits. Messages of other errors may hold the URL, so only these causes are repeated.
_FAILURES: tuple[tuple[type[Exception], str, bool], ...] = (
    (aiohttp.ClientConnectorDNSError, "its host has no address", True),
    (ssl.SSLError, "its server's certificate is not valid", False),
    (aiohttp.ClientSSLError, "its server's certificate is not valid", False),
    (aiohttp.InvalidURL, "its host is not valid", False),
    (aiohttp.ClientConnectorError, "no connection to its server could be made", True),
    (aiohttp.ClientPayloadError, "the connection broke before the end", True),
    (OSError, "the connection broke", True),
    (aiohttp.ClientError, "its server does not answer in valid HTTP", True),
    (ValueError, "it is not a valid URL", False),
)


class Fetcher:
    """Fetches URLs into the vault. An asynchronous context manager, in the loop that uses it.

    Args:
        guard: Judges every address before a socket is made.
        vault: Where the bytes go.
        resolver: Asked for the addresses of names, the system's if not given; closed with the fetcher.
        total_s: Deadline of a whole fetch, redirects included.
    """

    def __init__(
        self,
        guard: EgressGuard,
        vault: Vault,
        *,
        resolver: AbstractResolver | None = None,
        total_s: float = _TOTAL_S,
    ) -> None:
        self._guard = guard
        self._vault = vault
        self._resolver = resolver
        self._total_s = total_s
        self._closing = contextlib.AsyncExitStack()
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        resolver = GuardedResolver(self._guard, self._resolver or aiohttp.ThreadedResolver())
        self._closing.push_async_callback(resolver.close)
        connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS,
            resolver=resolver,
            socket_factory=self._guard.socket_factory,
            force_close=True,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            # Kept as it came: a few compressed bytes could otherwise unfold into gigabytes.
            auto_decompress=False,
            headers={"User-Agent": "Halley", "Accept": "*/*", "Accept-Encoding": "identity"},
            # The fetcher keeps the deadline itself.
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_S, sock_connect=_CONNECT_S),
        )
        self._session = await self._closing.enter_async_context(session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    async def fetch(self, url: str, *, limit_bytes: int) -> Spooled:
        """Fetch what a URL leads to; whoever asked discards it.

        Raises:
            MediaUnavailable: It cannot be had; the message says why, without the URL's path and query.
            TooLarge: It is over the limit.
            StoreError: It could not be written.
        """
        try:
            async with asyncio.timeout(self._total_s):
                return await self._follow(_parsed(url), limit_bytes)
        except TimeoutError:
            raise MediaUnavailable(f"it did not come within {self._total_s:g} s", retryable=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise _explained(exc) from exc

    async def _follow(self, url: URL, limit_bytes: int) -> Spooled:
        for _ in range(_MOST_REDIRECTS + 1):
            async with self._session.get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    return await self._taken(response, limit_bytes)
                url = _parsed(str(url.join(URL(location, encoded=location.isascii()))))
        raise MediaUnavailable(f"it leads to more than {_MOST_REDIRECTS} redirects, one after the other")

    async def _taken(self, response: aiohttp.ClientResponse, limit_bytes: int) -> Spooled:
        if response.status != HTTPStatus.OK:
            raise MediaUnavailable(f"its server answered HTTP {response.status}", retryable=response.status in _PASSING)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise MediaUnavailable("its server sends it compressed although it was asked not to")
        if (response.content_length or 0) > limit_bytes:
            raise TooLarge(f"The file is larger than {limit_bytes:,} bytes.")
        spooled = await self._vault.spool(_pieces(response), limit_bytes=limit_bytes)
        if not spooled.size_bytes:
            await self._vault.discard(spooled)
            raise MediaUnavailable("its server answered with nothing", retryable=True)
        return spooled


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        yield piece


def _parsed(text: str) -> URL:
    url = URL(text, encoded=text.isascii())
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise MediaUnavailable("only http:// and https:// URLs can be fetched")
    if url.raw_user is not None or url.raw_password is not None:
        raise MediaUnavailable("its URL holds a user name or password, which is not supported")
    return url.with_fragment(None) if url.raw_fragment else url


def _explained(error: Exception) -> MediaUnavailable:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, BlockedConnectionError):
        return MediaUnavailable(str(cause))
    why, retryable = next((why, again) for kind, why, again in _FAILURES if isinstance(error, kind))
    return MediaUnavailable(why, retryable=retryable)
