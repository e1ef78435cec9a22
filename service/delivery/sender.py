"""One HTTP exchange with one receiver: a request, and what became of it.

Strangers choose the URL and write the answer, so nothing here trusts either: the address is judged by the
egress guard, the time and the size of the answer are bounded, redirects, cookies and proxies are out. When to
try again, and what to do with an endpoint that is gone, is decided elsewhere.
"""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Mapping
from typing import Literal

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from yarl import URL

from service.clock import Clock, SystemClock
from service.delivery.profiles import STANDARD, Meaning, Profile, patience_s, understood
from service.egress import BlockedConnectionError, EgressGuard, GuardedResolver
from service.errors import HalleyError
from service.lifecycle.run import WebhookMethod
from service.retry_after import parse_retry_after

Outcome = Literal[Meaning, "blocked", "unreachable", "timeout"]

ANSWER_LIMIT_BYTES = 2048

# More deliveries than this to one host at once wait for a connection, and their deadline runs meanwhile.
CONNECTIONS_PER_HOST = 64

# Below the five seconds after which common servers drop an idle connection: a POST that meets one fails.
KEEPALIVE_S = 4

DNS_CACHE_S = 10

_MINUTE_S = 60

_PARTS = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?]*)(?P<target>.*)", re.IGNORECASE | re.DOTALL)
_NEVER_SENT = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")


# The first that fits. Only the causes of failed connections are repeated: other messages may hold the URL.
_FAILURES: tuple[tuple[type[Exception], Outcome, str], ...] = (
    (aiohttp.ClientConnectorDNSError, "unreachable", "The host of the URL has no address: {cause}."),
    (aiohttp.ClientSSLError, "unreachable", "No TLS connection to the receiver could be made: {cause}."),
    (aiohttp.ClientConnectorError, "unreachable", "No connection to the receiver could be made: {cause}."),
    (aiohttp.InvalidURL, "failed", "The host of the URL is not valid; write IPv4 addresses as 192.0.2.1."),
    (aiohttp.ServerDisconnectedError, "failed", "The connection broke before the receiver answered."),
    (OSError, "failed", "The connection broke before the receiver answered."),
    (aiohttp.ClientError, "failed", "The receiver's answer is not valid HTTP."),
    (ValueError, "failed", "The request cannot be written as HTTP: a header holds a forbidden character."),
)


class UrlError(HalleyError):
    """Nothing can be posted to this URL; the message says why, without repeating it."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request.

    Attributes:
        outcome: What the answer means to the receiver's profile; `failed` also when there was none that could be
            read, or the URL cannot be used; `blocked` refused by the egress guard; `unreachable` no connection;
            `timeout` no answer before the deadline.
        status: HTTP status, as soon as there was one.
        latency_ms: From the call to the end of the exchange.
        answer: The first 2 KB of the answer's body.
        retry_after_s: What the receiver asked for, or needs by what is known of it.
        reason: One sentence for a person, without the URL's path and query.
    """

    outcome: Outcome
    reason: str
    status: int | None = None
    latency_ms: float = 0.0
    answer: str = ""
    retry_after_s: float | None = None


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver said when it was asked whether it wants CloudEvents.

    Attributes:
        allowed: Whether it agrees; every delivery then carries `WebHook-Request-Origin`.
        reason: One sentence for a person.
        rate_per_s: How many deliveries it takes in a second, None when it named no limit.
    """

    allowed: bool
    reason: str
    rate_per_s: float | None = None


class Sender:
    """Calls receivers over one pool of connections.

    Args:
        guard: Judges every address before a socket is made.
        timeout_s: Deadline of a whole exchange, from the name to the end of the answer.
        resolver: Asked for the addresses of names, the system's if not given; closed with the sender.
        clock: Read when a receiver names a date in `Retry-After`.
        version: Stands in the User-Agent, the installed one if not given.
    """

    def __init__(
        self,
        guard: EgressGuard,
        *,
        timeout_s: float = 15.0,
        resolver: AbstractResolver | None = None,
        clock: Clock | None = None,
        version: str | None = None,
    ) -> None:
        self._guard = guard
        self._timeout_s = timeout_s
        self._resolver = resolver
        self._clock = clock or SystemClock()
        self._version = version
        self._closing = contextlib.AsyncExitStack()
        self._session: aiohttp.ClientSession

    async def start(self) -> None:
        """Open the pool; in the event loop that will use it."""
        resolver = GuardedResolver(self._guard, self._resolver or aiohttp.ThreadedResolver())
        self._closing.push_async_callback(resolver.close)
        session = _session(_connector(self._guard, resolver), self._version or _installed_version())
        self._session = await self._closing.enter_async_context(session)

    async def close(self) -> None:
        """Drop all connections."""
        await self._closing.aclose()

    async def send(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        method: WebhookMethod = "POST",
        profile: Profile = STANDARD,
    ) -> Exchange:
        """Send a body to a receiver and report what became of it; failures are outcomes, not exceptions.

        Args:
            url: Path and query go out byte for byte as given, a fragment does not go out.
            body: Sent as it is; an empty one is not sent at all.
            headers: Sent in addition to those that HTTP needs.
            method: How the receiver is called.
            profile: How its answer is understood.
        """
        begun = time.perf_counter()
        try:
            response, answer = await self._exchange(method, request_url(url), body, headers)
            exchange = self._told(response, answer, profile)
        except (UrlError, aiohttp.ClientError, OSError, ValueError) as error:
            outcome, reason = self._explain(error)
            exchange = Exchange(outcome=outcome, reason=reason)
        return msgspec.structs.replace(exchange, latency_ms=(time.perf_counter() - begun) * 1000)

    async def handshake(self, url: str, origin: str, *, rate_per_s: float | None = None) -> Handshake:
        """Ask a receiver for permission by the rules of CloudEvents; failures are refusals, not exceptions.

        Only the headers of its answer count, whatever the status: a server that answers OPTIONS for other reasons has
        not agreed to anything. Permission that comes later by `WebHook-Request-Callback` is not asked for.

        Args:
            url: Where deliveries will go.
            origin: DNS name of this sender.
            rate_per_s: Deliveries per second that are asked for.
        """
        asked = {"WebHook-Request-Origin": origin}
        if rate_per_s is not None:
            asked["WebHook-Request-Rate"] = str(max(1, math.ceil(rate_per_s * _MINUTE_S)))
        try:
            response, _ = await self._exchange("OPTIONS", request_url(url), b"", asked)
        except (UrlError, aiohttp.ClientError, OSError, ValueError) as error:
            return Handshake(allowed=False, reason=self._explain(error)[1])
        return _permission(response, origin)

    async def _exchange(
        self, method: WebhookMethod | Literal["OPTIONS"], url: URL, body: bytes, headers: Mapping[str, str]
    ) -> tuple[aiohttp.ClientResponse, str]:
        response, answer = None, bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._session.request(
                    method, url, data=body or None, headers=headers, allow_redirects=False
                )
                while len(answer) < ANSWER_LIMIT_BYTES and (piece := await response.content.readany()):
                    answer += piece
        except (TimeoutError, aiohttp.ClientError):
            if response is None:
                raise
            # A body that breaks off or never ends does not undo the status.
        finally:
            if response is not None:
                response.close()
        # Databases that hold text refuse NUL.
        return response, answer[:ANSWER_LIMIT_BYTES].decode(errors="replace").replace("\0", "\ufffd")

    def _told(self, response: aiohttp.ClientResponse, answer: str, profile: Profile) -> Exchange:
        outcome, reason = understood(profile, response.status, answer)
        asked_s = parse_retry_after(response.headers.get("Retry-After"), self._clock.wall())
        return Exchange(
            outcome=outcome,
            reason=reason,
            status=response.status,
            answer=answer,
            retry_after_s=asked_s or patience_s(profile, response.status, answer),
        )

    def _explain(self, error: Exception) -> tuple[Outcome, str]:
        if isinstance(error, TimeoutError):
            return "timeout", f"The receiver did not answer within {self._timeout_s:g} s."
        return _explain(error)


def _connector(guard: EgressGuard, resolver: AbstractResolver) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(
        limit=0,
        limit_per_host=CONNECTIONS_PER_HOST,
        keepalive_timeout=KEEPALIVE_S,
        resolver=resolver,
        socket_factory=guard.socket_factory,
        ttl_dns_cache=DNS_CACHE_S,
    )


def _session(connector: aiohttp.TCPConnector, version: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # Kept as it came: a few compressed bytes could otherwise unfold into gigabytes.
        auto_decompress=False,
        headers={"User-Agent": f"Halley/{version}", "Accept-Encoding": "identity"},
        read_bufsize=2 * ANSWER_LIMIT_BYTES,
        # The sender keeps the deadline itself.
        timeout=aiohttp.ClientTimeout(total=None),
    )


def request_url(url: str) -> URL:
    """Return a URL whose path and query are put on the wire as they stand.

    Path and query together are given to yarl as an encoded path: it changes nothing there, while it would
    drop a bare `?` at the end if it could see it.

    Raises:
        UrlError: It is not http or https, has no host, holds credentials, blanks or control characters.
    """
    parts = _PARTS.fullmatch(url.partition("#")[0])
    if _NEVER_SENT.search(url):
        raise UrlError("The URL holds a blank, a control character or half a character; percent-encode it.")
    if not parts:
        raise UrlError("The URL does not begin with http:// or https://.")
    if "@" in parts["authority"]:
        raise UrlError("The URL holds a user name or password, which is not supported.")
    origin = _origin(parts["scheme"], parts["authority"])
    target = parts["target"] if parts["target"].startswith("/") else "/" + parts["target"]
    return URL.build(scheme=origin.scheme, authority=origin.raw_authority, path=target, encoded=True)


def _origin(scheme: str, authority: str) -> URL:
    try:
        origin = URL(f"{scheme}://{authority}")
    except ValueError:
        raise UrlError("The host or port of the URL is not valid.") from None
    if not origin.raw_host:
        raise UrlError("The URL has no host.")
    return origin


def _permission(response: aiohttp.ClientResponse, origin: str) -> Handshake:
    allowed = response.headers.get("WebHook-Allowed-Origin", "").strip()
    if response.status // 100 == 3:  # noqa: PLR2004 - 3xx
        return Handshake(
            allowed=False,
            reason=f"The receiver answered {response.status}: redirects are not followed, give the final URL.",
        )
    if not allowed:
        return Handshake(
            allowed=False, reason=f"The receiver answered {response.status} without WebHook-Allowed-Origin."
        )
    if allowed != "*" and allowed.lower() != origin.lower():
        return Handshake(allowed=False, reason="The receiver allows another origin than this one.")
    rate = re.fullmatch("[1-9][0-9]{0,8}", response.headers.get("WebHook-Allowed-Rate", "").strip())
    return Handshake(
        allowed=True,
        reason="The receiver agreed.",
        rate_per_s=int(rate[0]) / _MINUTE_S if rate else None,
    )


def _explain(error: Exception) -> tuple[Outcome, str]:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(cause, BlockedConnectionError):
        return "blocked", str(cause)
    if isinstance(error, UrlError):
        return "failed", str(error)
    outcome, sentence = next((word, told) for kind, word, told in _FAILURES if isinstance(error, kind))
    return outcome, sentence.format(cause=cause)


def _installed_version() -> str:
    # Imported here because it is slow, and needed once.
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version("halley")
    except metadata.PackageNotFoundError:
        return "uninstalled"
