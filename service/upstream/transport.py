"""The wire to upstream: connection pool, time limits, and foreign errors told apart by one question.

Was the request perhaps received? `NotSent` says no, so sending again is safe; `Unconfirmed` says nobody knows.
This is the only room that knows the HTTP client used for it (see docs/decisions/0003-http-client.md).
"""

from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from service.definitions.request import OutgoingRequest
from service.errors import NotSent, Unconfirmed
from service.settings import Secret

_KEEPALIVE_S = 4.0  # shorter than servers', so that a paid request never meets a connection being closed
_CONNECT_S = 5.0
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_HEADERS = {"Accept": "application/json", "User-Agent": "Halley"}


class WireAnswer(Struct, frozen=True, kw_only=True):
    """An HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport:
    """Sends requests to one upstream.

    Args:
        base_url: Without a trailing slash.
        key: Sent as a bearer token to providers that want one.
    """

    def __init__(self, base_url: str, key: Secret | None) -> None:
        self._base_url = base_url
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            auto_decompress=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, request: OutgoingRequest, *, timeout_s: float, bearer: bool = True) -> WireAnswer:
        """Send a request and return its answer; redirects are answers, they are not followed.

        Raises:
            NotSent: No connection came about.
            Unconfirmed: The request left, and no whole answer came back.
        """
        if self._session is None:
            raise NotSent("the connection to upstream is closed")
        headers = dict(request.headers)
        if bearer and self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        body = None if request.body is None else msgspec.json.encode(request.body)
        if body is not None:
            headers["Content-Type"] = "application/json"
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S)
        try:
            async with self._session.request(
                request.method,
                URL(self._base_url + request.path, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                return WireAnswer(
                    status=response.status,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=await _read(response),
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as exc:
            raise NotSent(f"upstream could not be reached: {_said(exc)}") from exc
        except TimeoutError as exc:
            raise Unconfirmed(f"upstream did not answer within {timeout_s:g} s") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise Unconfirmed(f"the connection to upstream broke: {_said(exc)}") from exc


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = await response.content.read(_MAX_ANSWER_BYTES)
    chunks = [body]
    size = len(body)
    while body and size < _MAX_ANSWER_BYTES:
        body = await response.content.read(_MAX_ANSWER_BYTES - size)
        chunks.append(body)
        size += len(body)
    return b"".join(chunks)


def _said(exc: Exception) -> str:
    """Name an error without its text, which may hold a URL."""
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    return getattr(cause, "strerror", None) or type(cause).__name__
