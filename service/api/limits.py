"""What strangers may take of Halley: how large, how slow and how often. The numbers, the buckets, and the guard.

Nobody is refused because of a neighbour: behind one address there may be many callers (a proxy, an office), so a key
that was good a while ago passes however often others there have guessed. Unknown callback tokens and foreign links are
only answered differently when there are too many, since their 256 bits cannot be guessed.

Size and time of a request on the wire are kept by the server, see `serving`; sizes of bodies stand at the routes.
"""

import hashlib
import math
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Any

import msgspec
from litestar import Response
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Send
from msgspec import Struct

from service.api.problems import PROBLEM_MEDIA_TYPE, Problem, problem_response
from service.errors import StoreError, Unauthorized

_KEY_HEADERS = (b"authorization", b"x-api-key", b"sec-websocket-protocol")
KEY_PROTOCOL = "halley.key."  # how a browser sends a key with a WebSocket
_NETWORK_OF_ONE = 64  # bits of an IPv6 address that its owner cannot choose
# Here a key changes nothing, so a stray one, such as a proxy's own, is nobody's guess.
_KEYLESS = frozenset(
    {
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/asyncapi.json",
        "/.well-known/jwks.json",
        "/v1/callbacks/{token}",
    }
)
_LINKED = "/v1/artifacts/{artifact}"  # looks at a key where there is no signature
_TELLS_MORE = "/readyz"


class Rate(Struct, frozen=True, kw_only=True):
    """A token bucket: so many at once, and then so many a second."""

    burst: float
    per_s: float


class InboundLimits(Struct, frozen=True, kw_only=True):
    """How large, slow and frequent requests may be.

    Attributes:
        head_s: Longest wait for a request's line and headers, from their first byte or from the connection on.
        head_bytes: Their largest size.
        body_s: Longest wait for a body, to which its size adds time.
        body_bytes_per_s: The slowest that a large body may come.
        failures: Wrong keys, unknown callback tokens and foreign links of one client address, each counted apart. Keys
            that Halley makes cannot be guessed at any rate; this keeps a flood from the database, and guesses from a
            key that somebody thought up.
        callbacks: Callbacks of one run.
        remembered: How many addresses, runs and good keys are remembered at most, each.
        good_key_s: How long a good key is remembered.
    """

    head_s: float = 10.0
    head_bytes: int = 64 * 1024
    body_s: float = 30.0
    body_bytes_per_s: float = 16 * 1024
    failures: Rate = Rate(burst=1000, per_s=100)
    callbacks: Rate = Rate(burst=200, per_s=20)
    remembered: int = 10_000
    good_key_s: float = 3600.0

    def shared_by(self, processes: int) -> "InboundLimits":
        """Return the part of one of several processes, so that all of them together let no more through than one."""
        failures, callbacks = (
            Rate(burst=max(rate.burst / processes, 1.0), per_s=rate.per_s / processes)
            for rate in (self.failures, self.callbacks)
        )
        return msgspec.structs.replace(self, failures=failures, callbacks=callbacks)


class Buckets:
    """A token bucket for each name; the names that were asked about longest ago are forgotten first.

    Args:
        rate: Of each bucket.
        most: How many are kept.
    """

    def __init__(self, rate: Rate, most: int) -> None:
        self._rate = rate
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float) -> float:
        """Take a token; returns 0, or for how long there is none."""
        left = self._now_left(name, now)
        if left >= 1:
            self._left[name] = (left - 1, now)
            self._left.move_to_end(name)
            if len(self._left) > self._most:
                self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._rate.per_s

    def put_back(self, name: str) -> None:
        """Undo a taking."""
        if name in self._left:
            left, at = self._left[name]
            self._left[name] = (left + 1, at)

    def __len__(self) -> int:
        return len(self._left)

    def _now_left(self, name: str, now: float) -> float:
        left, at = self._left.get(name, (self._rate.burst, now))
        return min(self._rate.burst, left + max(0.0, now - at) * self._rate.per_s)


class Inbound:
    """Counts what strangers try, for one application.

    Args:
        limits: The numbers.
    """

    def __init__(self, limits: InboundLimits) -> None:
        self._limits = limits
        self._failures = Buckets(limits.failures, limits.remembered)
        self._callbacks = Buckets(limits.callbacks, limits.remembered)
        self._good: dict[bytes, float] = {}
        self._pepper = secrets.token_bytes(32)

    def failed(self, what: str, client: str, now: float) -> float:
        """Count a failure of a client address; returns for how long it has had too many, or 0.

        Args:
            what: `key`, `callback` or `link`.
            client: See `client_of`.
            now: The present.
        """
        return self._failures.take(f"{what} {client}", now)

    def did_not_fail(self, what: str, client: str) -> None:
        """Take back what was counted as a failure too soon."""
        self._failures.put_back(f"{what} {client}")

    def called_back(self, run_id: str, now: float) -> float:
        """Count a callback of a run; returns for how long there have been too many, or 0."""
        return self._callbacks.take(run_id, now)

    def digest(self, sent: Iterable[bytes]) -> bytes:
        """Return a name for a key as it was sent, from which the key cannot be told."""
        return hashlib.blake2b(b"\n".join(sent), key=self._pepper, digest_size=16).digest()

    def is_good(self, digest: bytes, now: float) -> bool:
        """Tell whether a key was good a while ago."""
        return 0 <= now - self._good.get(digest, -math.inf) < self._limits.good_key_s

    def remember(self, digest: bytes, now: float) -> None:
        """Remember that a key is good."""
        self._good.pop(digest, None)
        self._good[digest] = now
        if len(self._good) > self._limits.remembered:
            del self._good[next(iter(self._good))]


class KeyGuard(ASGIMiddleware):
    """Before every request that brings an API key: is it one of too many wrong ones from there?

    It asks itself whether a key is good, since routes that are open to all tell that too, in their own ways.
    """

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    async def handle(self, scope: Any, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on, or answer 429."""
        sent = [value for name, value in scope["headers"] if name in _KEY_HEADERS]
        wait_s = await _key_wait_s(scope, sent) if sent and not _is_keyless(scope) else 0.0
        if wait_s and scope["path_template"] == _TELLS_MORE:
            scope["headers"] = [each for each in scope["headers"] if each[0] not in _KEY_HEADERS]
        elif wait_s:
            await _refuse(scope, wait_s, receive, send)
            return
        await next_app(scope, receive, send)


def _is_keyless(scope: Any) -> bool:
    return scope["path_template"] in _KEYLESS or (scope["path_template"] == _LINKED and _is_link(scope))


def _is_link(scope: Any) -> bool:
    return any(part[:10] == b"signature=" and part[10:] for part in scope["query_string"].split(b"&"))


async def _key_wait_s(scope: Any, sent: list[bytes]) -> float:
    services = scope["litestar_app"].state["services"]
    inbound: Inbound = services.inbound
    now, digest = services.clock.now(), inbound.digest(sent)
    if inbound.is_good(digest, now):
        return 0.0
    client = client_of(scope)
    wait_s = inbound.failed("key", client, now)  # counted before it is known, since many may try at the same moment
    if wait_s:
        return wait_s
    try:
        await services.keys.identify(_key_headers(scope["headers"]))
        inbound.remember(digest, now)
    except Unauthorized:
        return 0.0  # the route says so
    except StoreError:
        pass  # the route says that too, and nothing is known of the key
    inbound.did_not_fail("key", client)
    return 0.0


def _key_headers(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    found = {name.decode(): value.decode("latin-1") for name, value in headers if name in _KEY_HEADERS}
    for protocol in found.pop("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(KEY_PROTOCOL):
            found.setdefault("x-api-key", protocol.strip().removeprefix(KEY_PROTOCOL))
    return found


def client_of(scope: Any) -> str:
    """Return a name for where a request comes from: an IPv4 address, or the network of an IPv6 address."""
    host = str((scope.get("client") or ("unknown",))[0])
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped or int(address) >> (128 - _NETWORK_OF_ONE))


def too_many(wait_s: float) -> Response[bytes]:
    """Answer who tries too often, and tell when to try again."""
    problem = _too_many(wait_s)
    return problem_response(problem, _retry_after(problem))


def _retry_after(problem: Problem) -> dict[str, str]:
    return {"Retry-After": str(problem.retry_after_s)}


def _too_many(wait_s: float) -> Problem:
    return Problem(
        type="urn:halley:problem:rate_limited",
        title="Too many requests",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        detail="There were too many of these from where you are; try again after the seconds of Retry-After.",
        code="rate_limited",
        retryable=True,
        retry_after_s=math.ceil(wait_s),
    )


async def _refuse(scope: Any, wait_s: float, receive: Receive, send: Send) -> None:
    prefix, problem = "", _too_many(wait_s)
    if scope["type"] == ScopeType.WEBSOCKET:
        prefix = "websocket."
        await receive()  # the handshake
    body = msgspec.json.encode(problem)
    headers = {"content-type": PROBLEM_MEDIA_TYPE, "content-length": str(len(body)), **_retry_after(problem)}
    written = [(name.encode(), value.encode()) for name, value in headers.items()]
    start: Any = {"type": f"{prefix}http.response.start", "status": int(problem.status), "headers": written}
    end: Any = {"type": f"{prefix}http.response.body", "body": body}
    await send(start)
    await send(end)
