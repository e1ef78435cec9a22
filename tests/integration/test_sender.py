"""One exchange with one receiver, over real sockets; every receiver listens on a loopback address.

Names are resolved by resolvers of the tests only. Where an address outside loopback stands in a URL, sockets
are replaced by a hook that records the wish for one and refuses it.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import formatdate
from types import SimpleNamespace
from typing import NoReturn

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from service import egress
from service.delivery.sender import ANSWER_LIMIT_BYTES, Sender
from service.egress import EgressGuard, parse_networks
from service.errors import BlockedAddress

BODY = b'{"id":"evt_1"}'
HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}
NOW = 1_795_341_600.0
LOOPBACK = "127.0.0.0/8 ::1"

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(raw: bytes) -> Reply:
    """Make a reply that writes these bytes."""

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return reply


def status(line: str, *headers: str, body: bytes = b"") -> Reply:
    """Make a reply with a status line such as `410 Gone`."""
    head = "\r\n".join((f"HTTP/1.1 {line}", *headers, f"Content-Length: {len(body)}"))
    return answering(head.encode() + b"\r\n\r\n" + body)


OK = status("200 OK")


class Receiver:
    """A server that records the raw bytes of every request and answers as it is told."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.hung_up = asyncio.Event()

    @property
    def target(self) -> bytes:
        """The only request's target as it stood on the wire."""
        (head,) = self.heads
        return head.partition(b"\r\n")[0].removeprefix(b"POST ").removesuffix(b" HTTP/1.1")

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        """Return the receiver's URL."""
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the sender hangs up."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(len(BODY)))
                await self.reply(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        finally:
            writer.close()


@asynccontextmanager
async def receiving(reply: Reply = OK, address: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver(reply)
    async with await asyncio.start_server(receiver.serve, address, 0) as server:
        receiver.port = server.sockets[0].getsockname()[1]
        yield receiver


class Scripted(AbstractResolver):
    """Gives one prepared answer after the other, the last one for ever; asks nobody."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the next answer."""
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0) for one in addresses]

    async def close(self) -> None:
        """Hold nothing that would need closing."""


class NoNames(Scripted):
    """Fails for every name as the system's resolver does."""

    def __init__(self) -> None:
        super().__init__([])

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raise the errors of a name that cannot be looked up, or not even encoded."""
        await super().resolve(host, port, family)
        host.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class StoppedClock:
    """Stands still."""

    def now(self) -> float:
        """Return the one moment."""
        return NOW

    wall = now


@asynccontextmanager
async def sending(
    allow: str = LOOPBACK, timeout_s: float = 10.0, resolver: AbstractResolver | None = None
) -> AsyncIterator[Sender]:
    """Run a sender that never asks the system for a name."""
    guard = EgressGuard(parse_networks(allow))
    names = resolver or NoNames()
    sender = Sender(guard, timeout_s=timeout_s, resolver=names, clock=StoppedClock(), version="1.2.3")
    await sender.start()
    try:
        yield sender
    finally:
        await sender.close()


async def unused_port() -> int:
    """Return a port on which nothing listens any more."""
    async with receiving() as receiver:
        return receiver.port


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a%2Fb%2fc",
        "/%7Euser/~user",
        "/a+b%20c",
        "/a;v=1;w=2/b",
        "/hook?a=b%20c",
        "/hook?a=b+c",
        "/hook?a=1&a=2&a=1",
        "/hook?",
        "/hook??",
        "/hook?&&=",
        "/hook?a=%2f%2F%zz%",
        "/hook?next=http://other.test/?x=1&y=a/b:c@d",
        "/hook?t='\"<>[]{}|\\^`!$*(),",
        "/a/../b/./c//d/",
        "/../..",
        "//double",
        "/%",
        "/a:b@c",
        "/grüße?q=世界",
    ],
)
async def test_path_and_query_arrive_byte_for_byte(target: str):
    """What stands between host and fragment is what the receiver reads in the request line."""
    async with receiving() as receiver, sending() as sender:
        exchange = await sender.send(receiver.url(target), BODY, HEADERS)

    assert exchange.outcome == "delivered"
    assert receiver.target == target.encode()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("", b"/"),
        ("?a=1", b"/?a=1"),
        ("?", b"/?"),
        ("#part", b"/"),
        ("/hook#part", b"/hook"),
        ("/hook?a=1#part?b=2", b"/hook?a=1"),
        ("/hook?#", b"/hook?"),
    ],
)
async def test_http_itself_changes_only_these(given: str, sent: bytes):
    """A missing path becomes `/`, and a fragment stays here; HTTP has no other way."""
    async with receiving() as receiver, sending() as sender:
        await sender.send(receiver.url(given), BODY, HEADERS)

    assert receiver.target == sent


async def test_body_and_headers_arrive_as_given():
    """The body is unchanged, and only headers that HTTP needs are added; no cookie among them."""
    reply = status("200 OK", "Set-Cookie: a=b; Path=/")
    async with receiving(reply) as receiver, sending() as sender:
        await sender.send(receiver.url(), BODY, HEADERS)
        await sender.send(receiver.url(), BODY, HEADERS)

    lines = receiver.heads[1].decode().split("\r\n")[1:-2]
    assert receiver.bodies == [BODY, BODY]
    assert {line.partition(":")[0].lower() for line in lines} == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "webhook-id",
    }
    assert "User-Agent: Halley/1.2.3" in lines
    assert f"Host: 127.0.0.1:{receiver.port}" in lines


async def test_a_connection_is_used_again():
    """A second delivery to the same receiver does not connect anew."""
    reply = status("200 OK", body=b"thanks")
    async with receiving(reply) as receiver, sending() as sender:
        await sender.send(receiver.url(), BODY, HEADERS)
        await sender.send(receiver.url(), BODY, HEADERS)

    assert receiver.connections == 1


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch):
    """Proxies set in the environment are ignored, because they would connect unguarded."""
    async with receiving() as proxy, receiving() as receiver, sending() as sender:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert exchange.outcome == "delivered"
    assert proxy.connections == 0


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("200 OK", "delivered"),
        ("202 Accepted", "delivered"),
        ("299 Fine", "delivered"),
        ("304 Not Modified", "failed"),
        ("400 Bad Request", "failed"),
        ("401 Unauthorized", "failed"),
        ("404 Not Found", "failed"),
        ("410 Gone", "gone"),
        ("429 Too Many Requests", "throttled"),
        ("500 Internal Server Error", "failed"),
        ("501 Not Implemented", "failed"),
        ("502 Bad Gateway", "throttled"),
        ("503 Service Unavailable", "throttled"),
        ("504 Gateway Timeout", "throttled"),
        ("999 Odd", "failed"),
    ],
)
async def test_the_status_decides_the_outcome(line: str, outcome: str):
    """Only 2xx is a success; 410 and the signs of overload are told apart from other failures."""
    async with receiving(status(line)) as receiver, sending() as sender:
        exchange = await sender.send(receiver.url("/hook?token=hidden"), BODY, HEADERS)

    assert (exchange.outcome, exchange.status) == (outcome, int(line[:3]))
    assert line[:3] in exchange.reason
    assert exchange.latency_ms > 0


@pytest.mark.parametrize("line", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirects_are_not_followed(line: str):
    """A redirect is a failure that says so, and nobody connects to where it points."""
    async with receiving() as elsewhere:
        reply = status(line, f"Location: {elsewhere.url()}")
        async with receiving(reply) as receiver, sending() as sender:
            exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert exchange.outcome == "failed"
    assert "redirects are not followed" in exchange.reason
    assert (len(receiver.heads), elsewhere.connections) == (1, 0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30", 30.0), (formatdate(NOW + 90, usegmt=True), 90.0), ("soon", None)],
)
async def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None):
    """A receiver may ask for patience in seconds or with a date."""
    reply = status("429 Too Many Requests", f"Retry-After: {value}")
    async with receiving(reply) as receiver, sending() as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert (exchange.outcome, exchange.retry_after_s) == ("throttled", seconds)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"thanks", "thanks"),
        (b"", ""),
        (b"\xff\x00ok", "\ufffd\ufffdok"),
        (b"x" * ANSWER_LIMIT_BYTES, "x" * ANSWER_LIMIT_BYTES),
        (b"x" * (ANSWER_LIMIT_BYTES - 1) + "ü".encode(), "x" * (ANSWER_LIMIT_BYTES - 1) + "\ufffd"),
    ],
)
async def test_the_answer_is_kept_as_text(body: bytes, answer: str):
    """The first 2 KB are kept; what is no text or no database would take is replaced."""
    async with receiving(status("200 OK", body=body)) as receiver, sending() as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert exchange.answer == answer


async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 200 with a body that goes on as long as anyone reads it."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def test_a_huge_answer_is_cut_off():
    """After the first 2 KB the connection is dropped, long before the deadline."""
    async with receiving(endless) as receiver, sending(timeout_s=60) as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)
        await receiver.hung_up.wait()

    assert exchange.outcome == "delivered"
    assert exchange.answer == "x" * ANSWER_LIMIT_BYTES
    assert exchange.latency_ms < 30_000


async def test_a_compressed_answer_is_not_unpacked():
    """Compressed bytes are kept as they came, so that few of them cannot unfold into many."""
    reply = status("200 OK", "Content-Encoding: gzip", body=b"not really gzip")
    async with receiving(reply) as receiver, sending() as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert (exchange.outcome, exchange.answer) == ("delivered", "not really gzip")


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Say nothing until the sender hangs up."""
    await reader.readexactly(1)


async def trickling_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send one header after the other without end."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def interim_for_ever(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send one interim answer after the other without end."""
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("reply", [silent, trickling_head, interim_for_ever])
async def test_no_answer_before_the_deadline_is_a_timeout(reply: Reply):
    """The deadline counts from the beginning, so no trickle prolongs it, and the connection is dropped."""
    async with receiving(reply) as receiver, sending(timeout_s=0.3) as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)
        await receiver.hung_up.wait()

    assert (exchange.outcome, exchange.status) == ("timeout", None)
    assert exchange.latency_ms >= 299
    assert "0.3 s" in exchange.reason


async def trickling_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 200 with a body that comes byte by byte without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_a_trickling_body_ends_at_the_deadline():
    """The status has been heard, so it counts; the body is given up at the deadline."""
    async with receiving(trickling_body) as receiver, sending(timeout_s=0.3) as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)
        await receiver.hung_up.wait()

    assert (exchange.outcome, exchange.status) == ("delivered", 200)
    assert exchange.answer.startswith("x")
    assert exchange.latency_ms >= 299


class Hesitant(Scripted):
    """Never finds an answer."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()
        return await super().resolve(host, port, family)


async def test_a_name_that_takes_too_long_is_a_timeout():
    """The deadline holds for the name as well."""
    async with sending(timeout_s=0.1, resolver=Hesitant([])) as sender:
        exchange = await sender.send("http://receiver.test/", BODY, HEADERS)

    assert exchange.outcome == "timeout"


async def resetting(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection instead of answering."""
    linger_0 = b"\x01\0\0\0\0\0\0\0"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0)
    writer.transport.abort()


async def closing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close the connection instead of answering."""
    writer.close()


@pytest.mark.parametrize("reply", [resetting, closing])
async def test_a_broken_connection_is_a_failure(reply: Reply):
    """A connection that breaks before the answer is no delivery, and the receiver may have read it."""
    async with receiving(reply) as receiver, sending() as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert (exchange.outcome, exchange.status) == ("failed", None)
    assert "broke before" in exchange.reason


@pytest.mark.parametrize("raw", [b"SSH-2.0-server\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n\0:\r\n\r\n"])
async def test_an_answer_that_is_not_http_is_a_failure(raw: bytes):
    """What cannot be read as HTTP is no delivery."""
    async with receiving(answering(raw)) as receiver, sending() as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert (exchange.outcome, exchange.status) == ("failed", None)
    assert "not valid HTTP" in exchange.reason


async def test_an_endless_head_is_a_failure():
    """The head of an answer is bounded too."""
    raw = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000
    async with receiving(answering(raw)) as receiver, sending() as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert (exchange.outcome, exchange.status) == ("failed", None)


async def test_a_refused_port_is_unreachable():
    """Nobody listens, so nothing was delivered, and the reason names the cause."""
    port = await unused_port()

    async with sending() as sender:
        exchange = await sender.send(f"http://127.0.0.1:{port}/hook?token=hidden", BODY, HEADERS)

    assert (exchange.outcome, exchange.status) == ("unreachable", None)
    assert str(port) in exchange.reason
    assert "hidden" not in exchange.reason


async def test_a_receiver_without_tls_is_unreachable_over_https():
    """Where no TLS connection comes about, nothing of the request is sent."""
    heard: list[bytes] = []

    async def answer_in_clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_in_clear, "127.0.0.1", 0) as server, sending() as sender:
        port = server.sockets[0].getsockname()[1]
        exchange = await sender.send(f"https://127.0.0.1:{port}/hook", BODY, HEADERS)

    assert exchange.outcome == "unreachable"
    assert "TLS" in exchange.reason
    assert b"hook" not in b"".join(heard)


@pytest.mark.parametrize("host", ["nobody.test", "a..b.test"])
async def test_an_unknown_name_is_unreachable(host: str):
    """A name without an address cannot be posted to."""
    async with sending() as sender:
        exchange = await sender.send(f"http://{host}/hook?token=hidden", BODY, HEADERS)

    assert exchange.outcome == "unreachable"
    assert "has no address" in exchange.reason
    assert "hidden" not in exchange.reason


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "does not begin with http"),
        ("receiver.test/hook", "does not begin with http"),
        ("//receiver.test/hook", "does not begin with http"),
        ("http:/receiver.test", "does not begin with http"),
        ("ftp://receiver.test/", "does not begin with http"),
        ("file:///etc/passwd", "does not begin with http"),
        ("http://", "no host"),
        ("http:///hook", "no host"),
        ("http://:80/hook", "not valid"),
        ("http://#x", "no host"),
        ("http://receiver.test:port/", "not valid"),
        ("http://receiver.test:99999/", "not valid"),
        ("http://[::1/", "not valid"),
        ("http://127.0.0.1\\.receiver.test/", "not valid"),
        ("http://user:secret@127.0.0.1/", "user name or password"),
        ("http://user@127.0.0.1/", "user name or password"),
        ("http://@127.0.0.1/", "user name or password"),
        ("http://receiver.test\\@127.0.0.1/", "user name or password"),
        ("http://127.0.0.1/a b", "blank"),
        (" http://127.0.0.1/", "blank"),
        ("http://127.0.0.1/\r\nX-Injected: 1", "blank"),
        ("http://127.0.0.1/\ud800", "half a character"),
        ("http://2130706433/", "write IPv4 addresses as"),
        ("http://0177.0.0.1/", "write IPv4 addresses as"),
        ("http://127.1/", "write IPv4 addresses as"),
    ],
)
async def test_an_unusable_url_is_a_failure(url: str, reason: str, hooked_sockets: list[str]):
    """A URL that cannot be used is refused in one sentence that repeats no secret, and no socket is made."""
    async with sending(allow="0.0.0.0/0 ::/0") as sender:
        exchange = await sender.send(url, BODY, HEADERS)

    assert (exchange.outcome, exchange.status) == ("failed", None)
    assert reason in exchange.reason
    assert "secret" not in exchange.reason
    assert hooked_sockets == []


async def test_a_header_that_would_add_another_is_a_failure():
    """A line break in a header is refused before anything of the request is written."""
    async with receiving() as receiver, sending() as sender:
        exchange = await sender.send(receiver.url(), BODY, {"x-custom": "a\r\nx-injected: b"})

    assert exchange.outcome == "failed"
    assert "header" in exchange.reason
    assert receiver.heads == []


@pytest.fixture
def hooked_sockets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the guard make no socket, and record when it wants one."""
    wanted: list[str] = []

    def refuse(**kind: object) -> NoReturn:
        wanted.append(str(kind))
        raise PermissionError("this test makes no sockets")

    monkeypatch.setattr(egress, "socket", SimpleNamespace(socket=refuse))
    return wanted


async def test_the_hook_sees_sockets_of_allowed_addresses(hooked_sockets: list[str]):
    """The hook, on which the tests below rely, is in the way of every connection."""
    async with sending() as sender:
        exchange = await sender.send("http://127.0.0.1:9/", BODY, HEADERS)

    assert exchange.outcome == "unreachable"
    assert len(hooked_sockets) == 1


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "0.0.0.0",  # noqa: S104
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25eth0]",
        "[fd00::1]",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_refused_literal_is_blocked(scheme: str, host: str, hooked_sockets: list[str]):
    """Addresses that stand in the URL itself are judged too, and no socket is made for them."""
    async with sending(allow="") as sender:
        exchange = await sender.send(f"{scheme}://{host}:8080/hook?token=hidden", BODY, HEADERS)

    assert (exchange.outcome, exchange.status) == ("blocked", None)
    assert "is refused" in exchange.reason
    assert "HALLEY_EGRESS_ALLOW=" in exchange.reason
    assert "hidden" not in exchange.reason
    assert hooked_sockets == []


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["10.0.0.1", "192.168.0.1"], ["fd00::1", "10.0.0.1", "::1"]])
async def test_a_name_with_refused_addresses_is_blocked(addresses: list[str], hooked_sockets: list[str]):
    """A name is blocked by what it stands for, however many addresses it has."""
    async with sending(allow="", resolver=Scripted(addresses)) as sender:
        exchange = await sender.send("https://receiver.test/", BODY, HEADERS)

    assert exchange.outcome == "blocked"
    assert exchange.reason.startswith(f"{addresses[0]} is refused")
    assert hooked_sockets == []


@pytest.mark.parametrize("host", ["0x7f000001", "0x7f.1"])
async def test_an_odd_literal_is_judged_by_what_it_stands_for(host: str, hooked_sockets: list[str]):
    """Hexadecimal literals go to the resolver as names, and what it makes of them is judged."""
    resolver = Scripted(["127.0.0.1"])

    async with sending(allow="", resolver=resolver) as sender:
        exchange = await sender.send(f"http://{host}/", BODY, HEADERS)

    assert (exchange.outcome, resolver.asked) == ("blocked", [host])
    assert hooked_sockets == []


async def test_a_receiver_on_loopback_is_blocked_unless_allowed():
    """With an empty allow-list a real receiver on this machine sees no connection."""
    async with receiving() as receiver, sending(allow="") as sender:
        exchange = await sender.send(receiver.url(), BODY, HEADERS)

    assert exchange.outcome == "blocked"
    assert receiver.connections == 0


async def test_a_name_that_is_bound_anew_is_judged_anew():
    """A resolver that names an allowed address first and a refused one later gets through only once."""
    resolver = Scripted(["127.0.0.1"], ["127.0.0.2"])
    async with (
        receiving() as allowed,
        receiving(address="127.0.0.2") as refused,
        sending(allow="127.0.0.1/32", resolver=resolver) as sender,
    ):
        first = await sender.send(allowed.url(host="receiver.test"), BODY, HEADERS)
        second = await sender.send(refused.url(host="receiver.test"), BODY, HEADERS)

    assert (first.outcome, second.outcome) == ("delivered", "blocked")
    assert second.reason.startswith("127.0.0.2 is refused")
    assert (allowed.connections, refused.connections) == (1, 0)
    assert resolver.asked == ["receiver.test", "receiver.test"]


async def test_the_socket_factory_alone_stops_a_lying_resolver():
    """Even a connector whose resolver filters nothing makes no connection to a refused address."""
    guard = EgressGuard(parse_networks("127.0.0.1/32"))
    async with AsyncExitStack() as stack:
        refused = await stack.enter_async_context(receiving(address="127.0.0.2"))
        connector = aiohttp.TCPConnector(resolver=Scripted(["127.0.0.2"]), socket_factory=guard.socket_factory)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.post(refused.url(host="receiver.test"))

    assert isinstance(caught.value.os_error, BlockedAddress)
    assert refused.connections == 0


@pytest.mark.parametrize("addresses", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["::1", "127.0.0.1"]])
async def test_an_allowed_address_beside_a_refused_one_is_used(addresses: list[str]):
    """A name with both kinds of addresses is delivered to at the allowed one."""
    async with (
        receiving() as receiver,
        sending(allow="127.0.0.1/32", resolver=Scripted(addresses)) as sender,
    ):
        exchange = await sender.send(receiver.url(host="receiver.test"), BODY, HEADERS)

    assert exchange.outcome == "delivered"
    assert f"Host: receiver.test:{receiver.port}".encode() in receiver.heads[0]


@pytest.mark.parametrize("addresses", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
async def test_an_allowed_address_that_is_down_is_unreachable_in_any_order(addresses: list[str]):
    """When the allowed address refuses the connection, that is the reason, not the blocked one beside it."""
    port = await unused_port()

    async with sending(allow="127.0.0.1/32", resolver=Scripted(addresses)) as sender:
        exchange = await sender.send(f"http://receiver.test:{port}/", BODY, HEADERS)

    assert exchange.outcome == "unreachable"


async def test_one_stuck_receiver_does_not_delay_another():
    """Exchanges run side by side."""
    async with (
        receiving(silent) as stuck,
        receiving() as receiver,
        sending() as sender,
        asyncio.TaskGroup() as group,
    ):
        waiting = group.create_task(sender.send(stuck.url(), BODY, HEADERS))
        exchange = await sender.send(receiver.url(), BODY, HEADERS)
        was_waiting = not waiting.done()
        waiting.cancel()

    assert (exchange.outcome, was_waiting) == ("delivered", True)
