"""The wire to upstream: connection pool, time limits, and foreign errors told apart by one question.

Was the request perhaps received? `NotSent` says no, so sending again is safe; `Unconfirmed` says nobody knows.
This is the only room that knows the HTTP client used for it (see docs/decisions/0003-http-client.md).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from service.definitions.outgoing import FilePart
from service.definitions.reader import RawBody
from service.definitions.request import OutgoingRequest, address
from service.errors import NotSent, SocketRefused, Unconfirmed
from service.settings import Secret
from service.upstream.masking import Mask

_KEEPALIVE_S = 4.0  # shorter than servers', so that a paid request never meets a connection being closed
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
_STOOD_STILL_S = 0.5  # a timer that rings so late rings in a process that was frozen
_CATCH_UP_S = 2.0
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_HEADERS = {"User-Agent": "Halley"}
_SOCKET_OPEN_S = 15.0
_SOCKET_CLOSE_S = 2.0
_SOCKET_PING_S = 20.0
_FIRST_NON_SUCCESS = 300


class WireAnswer(Struct, frozen=True, kw_only=True):
    """An HTTP answer, read to its end.

    Attributes:
        body: What came, or nothing when it was kept elsewhere.
        kept: What was kept elsewhere.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    kept: RawBody | None = None


class WireStream(Struct, frozen=True, kw_only=True):
    """An HTTP answer whose body is still coming."""

    status: int
    headers: dict[str, str]
    pieces: AsyncIterator[bytes]


Keep = Callable[[AsyncIterator[bytes]], Awaitable[RawBody]]


class WireSocket:
    """An open WebSocket to upstream; pings are answered by themselves.

    Attributes:
        close_reason: What upstream said when it closed.
    """

    def __init__(self, opened: aiohttp.ClientWebSocketResponse, mask: Mask) -> None:
        self._opened = opened
        self._mask = mask
        self.close_reason = ""

    @property
    def close_code(self) -> int | None:
        """Why it is closed, once it is."""
        return self._opened.close_code

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while upstream takes no more.

        Raises:
            Unconfirmed: The connection is gone.
        """
        try:
            await (self._opened.send_str(message) if isinstance(message, str) else self._opened.send_bytes(message))
        except (aiohttp.ClientError, OSError) as exc:
            raise Unconfirmed(f"the WebSocket to upstream broke: {_said(exc)}") from exc

    async def receive(self) -> str | bytes | None:
        """Return the next message, or None when it is closed."""
        message = await self._opened.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return self._mask.text(message.data)
        if message.type is aiohttp.WSMsgType.BINARY:
            data: bytes = message.data
            return data
        self.close_reason = self._mask.text(str(message.extra or "")) if message.type is aiohttp.WSMsgType.CLOSE else ""
        return None

    async def close(self, code: int, reason: str = "") -> None:
        """Close it, and tell why."""
        await self._opened.close(code=code, message=reason.encode())


class Transport:
    """Sends requests to one upstream.

    Args:
        base_url: Without a trailing slash.
        key: Sent as a bearer token to providers that want one; taken out of whatever upstream says.
    """

    def __init__(self, base_url: str, key: Secret | None) -> None:
        self._base_url = base_url
        self._key = key
        self._mask = Mask(key)
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

    async def send(self, request: OutgoingRequest, *, timeout_s: float, keep: Keep | None = None) -> WireAnswer:
        """Send a request and return its answer; redirects are answers, they are not followed.

        Args:
            request: The request.
            timeout_s: Longest wait for the whole answer.
            keep: Takes the bytes of a successful answer that is neither JSON nor a text.

        Raises:
            NotSent: No connection came about.
            Unconfirmed: The request left, and no whole answer came back.
        """
        asking = self._asking(request, "*/*" if keep else "application/json")
        with _told_apart(timeout_s):
            async with _Within(timeout_s), asking as response:
                return await self._answer(response, keep)

    async def _answer(self, response: aiohttp.ClientResponse, keep: Keep | None) -> WireAnswer:
        first = await response.content.readany()
        headers = {name.lower(): value for name, value in response.headers.items()}
        if keep is not None and _is_file(response, first):
            kept = await keep(_chunks(first, response))
            return WireAnswer(status=response.status, headers=headers, body=b"", kept=kept)
        body = self._mask.whole(await _read(first, response))
        return WireAnswer(status=response.status, headers=headers, body=body)

    @contextlib.asynccontextmanager
    async def streaming(self, request: OutgoingRequest, *, timeout_s: float) -> AsyncIterator[WireStream]:
        """Send a request and hand out its answer as it comes.

        Raises:
            NotSent: No connection came about.
            Unconfirmed: The request left, and no whole answer came back.
        """
        asking = self._asking(request, "text/event-stream")
        with _told_apart(timeout_s):
            async with _Within(timeout_s), asking as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                pieces = self._mask.pieces(response.content.iter_any())
                yield WireStream(status=response.status, headers=headers, pieces=pieces)

    @contextlib.asynccontextmanager
    async def socket(
        self, request: OutgoingRequest, *, largest_message_bytes: int = _MAX_ANSWER_BYTES
    ) -> AsyncIterator["WireSocket"]:
        """Open a WebSocket, and close it at the end of the block.

        Raises:
            NotSent: It was not opened; nothing was started. `SocketRefused` when upstream said so.
        """
        opened = await self._handshake(request, largest_message_bytes)
        try:
            yield WireSocket(opened, self._mask)
        finally:
            await opened.close()

    async def _handshake(self, request: OutgoingRequest, largest_bytes: int) -> aiohttp.ClientWebSocketResponse:
        session, headers = self._open_session(), self._headers(request, "*/*")
        timeout = aiohttp.ClientWSTimeout(ws_close=_SOCKET_CLOSE_S)
        try:
            async with asyncio.timeout(_SOCKET_OPEN_S):
                return await session.ws_connect(
                    self._url(request),
                    headers=headers,
                    max_msg_size=largest_bytes + 1,  # the first size that is refused
                    heartbeat=_SOCKET_PING_S,
                    timeout=timeout,
                )
        except aiohttp.WSServerHandshakeError as exc:
            headers = {name.lower(): value for name, value in (exc.headers or {}).items()}
            raise SocketRefused(exc.status, headers) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise NotSent(f"the WebSocket to upstream could not be opened: {_said(exc)}") from exc

    def _asking(
        self, request: OutgoingRequest, accept: str
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        data, content_type = _encoded(request)
        return self._open_session().request(
            request.method,
            self._url(request),
            data=data,
            headers=self._headers(request, accept) | content_type,
            allow_redirects=False,
            timeout=_TIMEOUT,
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise NotSent("the connection to upstream is closed")
        return self._session

    def _headers(self, request: OutgoingRequest, accept: str) -> dict[str, str]:
        headers = {"Accept": accept, **request.headers}
        if request.auth == "bearer" and self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return headers

    def _url(self, request: OutgoingRequest) -> URL:
        url = URL(address(self._base_url, request), encoded=True)
        if request.auth == "query" and self._key is not None:
            url = url.update_query(key=self._key.reveal())
        return url


class _Within:
    """Raises `TimeoutError` after a time; a process that stood still takes in first what has come meanwhile."""

    def __init__(self, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self._due_at = self._loop.time() + timeout_s
        self._timer = self._loop.call_at(self._due_at, self._end)

    def _end(self) -> None:
        late_s = self._loop.time() - self._due_at
        self._limit.reschedule(self._loop.time() + (_CATCH_UP_S if late_s > _STOOD_STILL_S else 0.0))

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, exc, traceback)


@contextlib.contextmanager
def _told_apart(timeout_s: float) -> Iterator[None]:
    """Turn the client's errors into the two that matter."""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as exc:
        raise NotSent(f"upstream could not be reached: {_said(exc)}") from exc
    except TimeoutError as exc:
        raise Unconfirmed(f"upstream did not answer within {timeout_s:g} s") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise Unconfirmed(f"the connection to upstream broke: {_said(exc)}") from exc


def _encoded(request: OutgoingRequest) -> tuple[aiohttp.FormData | bytes | None, dict[str, str]]:
    if request.form is not None:
        form = aiohttp.FormData(quote_fields=False, default_to_multipart=request.encoding == "multipart")
        for name, value in request.form:
            if isinstance(value, FilePart):
                content = value.path.open("rb") if value.path else value.data
                form.add_field(name, content, filename=value.filename, content_type=value.mime)
            else:
                form.add_field(name, value)
        return form, {}
    if request.body is None:
        return None, {}
    return msgspec.json.encode(request.body), {"Content-Type": "application/json"}


def _is_file(response: aiohttp.ClientResponse, first: bytes) -> bool:
    """Tell whether an answer is a file, by its type and by its first byte, since types are wrong at times."""
    kind = response.content_type
    is_text = kind.startswith("text/") or kind.endswith(("json", "xml"))
    return response.status < _FIRST_NON_SUCCESS and bool(first) and not is_text and first.lstrip()[:1] not in b"{[<"


async def _chunks(first: bytes, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    yield first
    async for chunk in response.content.iter_any():
        yield chunk


async def _read(first: bytes, response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [first], len(first)
    while size < _MAX_ANSWER_BYTES and (chunk := await response.content.readany()):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def _said(exc: Exception) -> str:
    """Name an error without its text, which may hold a URL."""
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    return getattr(cause, "strerror", None) or type(cause).__name__
