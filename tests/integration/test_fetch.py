"""Fetching users' URLs, over real sockets on loopback; names are resolved by the tests' own resolvers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from service import egress
from service.artifacts.fetch import Fetcher
from service.artifacts.vault import FolderVault
from service.egress import EgressGuard, parse_networks
from service.errors import MediaUnavailable, TooLarge

PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A web site on loopback; a handler per path, and what it was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, Handler] = {}
        self.asked: list[web.Request] = []
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return the URL of a page."""
        return f"http://{host}:{self.port}{path}"

    def answers(self, path: str, status: int = 200, body: bytes = PNG, **headers: str) -> str:
        """Let a page give this answer; returns its URL."""

        async def page(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

        self.pages[path] = page
        return self.url(path)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self.asked.append(request)
        return await self.pages[request.path](request)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A running web site."""
    running = Site()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", running.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    running.port = runner.addresses[0][1]
    yield running
    await runner.cleanup()


class Names(AbstractResolver):
    """Knows the names it was given; asks nobody."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name."""
        if host not in self.names:
            raise OSError("there is no such name")
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0)
            for one in self.names[host]
        ]

    async def close(self) -> None:
        """Hold nothing."""


@asynccontextmanager
async def fetching(
    folder: Path, *, allow: str = "127.0.0.0/8", names: Names | None = None, total_s: float = 10.0
) -> AsyncIterator[Fetcher]:
    """Open a fetcher into a vault of its own."""
    vault = FolderVault(folder / "artifacts")
    await vault.open()
    guard = EgressGuard(parse_networks(allow))
    async with Fetcher(guard, vault, resolver=names or Names(), total_s=total_s) as fetcher:
        yield fetcher


def left_over(folder: Path) -> list[Path]:
    """Return every file in a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_a_url_leads_to_is_fetched(tmp_path: Path, site: Site) -> None:
    """The bytes are on disk, with size and type; nothing but the address was told to the server."""
    site.answers("/a%20b.png")
    site.pages["/a b.png"] = site.pages["/a%20b.png"]

    async with fetching(tmp_path) as fetcher:
        spooled = await fetcher.fetch(site.url("/a%20b.png?x=%2F#part"), limit_bytes=10_000)

    (asked,) = site.asked
    assert spooled.path.read_bytes() == PNG
    assert (spooled.size_bytes, spooled.mime) == (len(PNG), "image/png")
    assert asked.raw_path == "/a%20b.png?x=%2F"
    assert not {"cookie", "authorization"} & {name.lower() for name in asked.headers}


async def test_redirects_are_followed_a_few_times(tmp_path: Path, site: Site) -> None:
    """Three lead on, relative ones too; a fourth does not."""
    site.answers("/0", 302, Location=site.url("/1"))
    site.answers("/1", 307, Location="2")
    site.answers("/2", 301, Location="/3")
    site.answers("/3")
    site.answers("/more", 302, Location="/0")

    async with fetching(tmp_path) as fetcher:
        spooled = await fetcher.fetch(site.url("/0"), limit_bytes=10_000)
        with pytest.raises(MediaUnavailable, match="redirects"):
            await fetcher.fetch(site.url("/more"), limit_bytes=10_000)

    assert spooled.size_bytes == len(PNG)


@pytest.fixture
def wanted_sockets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record sockets that the guard makes for addresses beyond loopback, and refuse them."""
    wanted: list[str] = []
    real = egress.EgressGuard.socket_factory

    def recording(self: EgressGuard, info: tuple[object, ...]) -> socket.socket:
        address = str(info[4][0])  # type: ignore[index]
        if not address.startswith("127."):
            self.check(address)
            wanted.append(address)
            refuse()
        return real(self, info)  # type: ignore[arg-type]

    def refuse() -> NoReturn:
        raise OSError("beyond loopback")

    monkeypatch.setattr(egress.EgressGuard, "socket_factory", recording)
    return wanted


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/a.png",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/a.png",
        "http://[::ffff:10.0.0.1]/a.png",
        "http://inside.example/a.png",
    ],
)
@pytest.mark.parametrize("redirected", [False, True])
async def test_refused_addresses_are_never_connected_to(
    tmp_path: Path, site: Site, wanted_sockets: list[str], target: str, *, redirected: bool
) -> None:
    """Whether the user names them or a public server leads there, by number or by name."""
    url = site.answers("/away", 302, Location=target) if redirected else target
    names = Names(inside_example=["192.168.0.1"])

    async with fetching(tmp_path, names=names) as fetcher:
        with pytest.raises(MediaUnavailable, match="is refused"):
            await fetcher.fetch(url, limit_bytes=10_000)

    assert wanted_sockets == []
    assert left_over(tmp_path) == []


async def test_loopback_itself_is_refused_unless_allowed(tmp_path: Path, site: Site) -> None:
    """Halley's own network is out of reach of its users."""
    url = site.answers("/a.png")

    async with fetching(tmp_path, allow="") as fetcher:
        with pytest.raises(MediaUnavailable, match="loopback"):
            await fetcher.fetch(url, limit_bytes=10_000)

    assert site.asked == []


@pytest.mark.parametrize(
    ("status", "retryable"), [(404, False), (403, False), (204, False), (429, True), (500, True), (503, True)]
)
async def test_other_answers_are_told(tmp_path: Path, site: Site, status: int, *, retryable: bool) -> None:
    """The status is named, and whether it may pass."""
    url = site.answers("/a.png", status, b"")

    async with fetching(tmp_path) as fetcher:
        with pytest.raises(MediaUnavailable, match=f"HTTP {status}") as caught:
            await fetcher.fetch(f"{url}?token=secret", limit_bytes=10_000)

    assert caught.value.retryable is retryable
    assert "secret" not in str(caught.value)
    assert "nothing was sent upstream" in str(caught.value)


@pytest.mark.parametrize("told", [True, False])
async def test_the_limit_holds_whether_or_not_the_size_is_told(tmp_path: Path, site: Site, *, told: bool) -> None:
    """A body over the limit is dropped as soon as that is known."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if told:
            response.content_length = len(PNG)
        await response.prepare(request)
        await response.write(PNG)
        return response

    site.pages["/a.png"] = stream

    async with fetching(tmp_path) as fetcher:
        with pytest.raises(TooLarge):
            await fetcher.fetch(site.url("/a.png"), limit_bytes=len(PNG) - 1)
        exact = await fetcher.fetch(site.url("/a.png"), limit_bytes=len(PNG))

    assert left_over(tmp_path) == [exact.path]


async def test_a_server_that_never_ends_is_left(tmp_path: Path, site: Site) -> None:
    """The deadline covers the whole answer, not only its beginning."""
    hung_up = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await hung_up.wait()
        return response

    site.pages["/a.png"] = drip

    async with fetching(tmp_path, total_s=0.3) as fetcher:
        with pytest.raises(MediaUnavailable, match=r"within 0\.3 s") as caught:
            await fetcher.fetch(site.url("/a.png"), limit_bytes=10_000)
    hung_up.set()

    assert caught.value.retryable
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://127.0.0.1/a.png", "only http"),
        ("file:///etc/passwd", "only http"),
        ("http://user:pass@127.0.0.1/a.png", "user name or password"),
        ("http://nowhere.example/a.png", "no address"),
        ("http://127.0.0.1:1/a.png", "no connection"),
        ("http://127.0.0.1:99999/a.png", "not a valid URL"),
    ],
)
async def test_urls_that_lead_nowhere_say_why(tmp_path: Path, url: str, words: str) -> None:
    """The reason is told in words."""
    async with fetching(tmp_path) as fetcher:
        with pytest.raises(MediaUnavailable, match=words):
            await fetcher.fetch(url, limit_bytes=10_000)


async def test_compressed_and_empty_answers_are_no_media(tmp_path: Path, site: Site) -> None:
    """Neither is handed on as if it were the file."""
    compressed = site.answers("/a.png", Content_Encoding="gzip")
    empty = site.answers("/b.png", body=b"")

    async with fetching(tmp_path) as fetcher:
        with pytest.raises(MediaUnavailable, match="compressed"):
            await fetcher.fetch(compressed, limit_bytes=10_000)
        with pytest.raises(MediaUnavailable, match="nothing"):
            await fetcher.fetch(empty, limit_bytes=10_000)

    assert left_over(tmp_path) == []
