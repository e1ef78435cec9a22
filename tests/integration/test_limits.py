"""What strangers may take: sizes of every route, tries of every kind, and the time of a request on the wire."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from service.api.limits import InboundLimits, Rate
from service.api.surface import ROUTES
from service.app import create_app
from service.artifacts.files import FILE_LIMIT_BYTES
from service.log import silent_log
from service.serving import local_url, open_socket, serving
from service.settings import load_settings
from service.simulator import Simulator
from tests.fakes.house import API_KEY, TUNING, House, house, shipped_catalog

T2V = "kling.text_to_video"
HTTP_ROUTES = [each for each in ROUTES if isinstance(each, HTTPRouteHandler)]
FEW = msgspec.structs.replace(
    TUNING, inbound=InboundLimits(failures=Rate(burst=3, per_s=0.001), callbacks=Rate(burst=3, per_s=0.001))
)
QUICK = InboundLimits(head_s=0.4, head_bytes=2000, body_s=0.4, body_bytes_per_s=2000)


async def test_every_route_has_a_largest_body(halley: House) -> None:
    """Each route that takes a body refuses one that is announced a byte too large; the others answer without one."""
    walked = []
    for route in halley.app.routes:
        for handler in (each for each in getattr(route, "route_handlers", ()) if isinstance(each, HTTPRouteHandler)):
            method = next(iter(handler.http_methods))
            if method == "OPTIONS":
                continue
            limit = handler.resolve_request_max_body_size()
            path = route.path_format.replace("{node}", T2V)
            assert limit is not None, path
            assert limit <= FILE_LIMIT_BYTES + 1024 * 1024, path
            walked.append((method, path, await _announced(halley, method, path, limit + 1)))

    assert len(walked) == len(HTTP_ROUTES)
    refused = {path for method, path, status in walked if (method, status) == ("POST", 413)}
    assert refused >= {f"/v1/nodes/{T2V}/runs", "/v1/files", "/v1/callbacks/{token}", "/v1/runs/{run}/adopt"}
    assert {status for method, _, status in walked if method == "POST"} == {404, 413}, walked
    assert {status // 100 for method, _, status in walked if method != "POST"} <= {2, 4}, walked


async def _announced(halley: House, method: str, path: str, size: int) -> int:
    """Announce a body, send a byte of it, and return the status of what is answered."""
    host, port = halley.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {API_KEY}\r\nContent-Length: {size}\r\n\r\nx"
    writer.write(head.encode())
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    return int(line.split()[1])


@contextlib.asynccontextmanager
async def few(folder: Path, sim: Simulator) -> AsyncIterator[House]:
    """Run a Halley that lets everybody fail three times."""
    async with house(folder, sim, tuning=FEW) as running:
        yield running


async def test_guessing_keys_ends_in_429_and_good_keys_pass(tmp_path: Path, sim: Simulator) -> None:
    """After three wrong keys no new key is looked at, not even the right one; a key that was good before passes."""
    async with few(tmp_path, sim) as halley, httpx.AsyncClient(base_url=halley.url) as stranger:
        known = await halley.client.get("/v1/runs")
        guesses = [await stranger.get("/v1/runs", headers={"X-API-Key": f"guess-{n}"}) for n in range(5)]
        right = await stranger.get("/v1/runs", headers={"Authorization": f"Bearer {API_KEY}"})
        upload = await stranger.post("/v1/files", headers={"X-API-Key": "guess"}, content=b"x")
        still = await halley.client.get("/v1/runs")

    assert [answer.status_code for answer in guesses] == [401, 401, 401, 429, 429]
    assert (right.status_code, upload.status_code) == (429, 429)
    assert [known.status_code, still.status_code] == [200, 200]
    assert int(guesses[-1].headers["retry-after"]) == guesses[-1].json()["retry_after_s"] > 0
    assert guesses[-1].headers["content-type"] == "application/problem+json"
    assert (guesses[-1].json()["code"], guesses[-1].json()["retryable"]) == ("rate_limited", True)


async def test_open_routes_stay_open_and_tell_nobody_whether_a_key_is_right(tmp_path: Path, sim: Simulator) -> None:
    """Probes with a stray key are answered as ever; who guesses at `/readyz` is counted and then told no more."""
    open_paths = ("/healthz", "/metrics", "/openapi.json", "/asyncapi.json", "/.well-known/jwks.json")
    async with few(tmp_path, sim) as halley, httpx.AsyncClient(base_url=halley.url) as stranger:
        for number in range(4):
            await stranger.get("/readyz", headers={"X-API-Key": f"guess-{number}"})
        strays = [await stranger.get(path, headers={"Authorization": "Basic eDp5"}) for path in open_paths * 2]
        right = await stranger.get("/readyz", headers={"X-API-Key": API_KEY})
        refused = await stranger.get("/v1/runs", headers={"X-API-Key": "guess"})

    assert {answer.status_code for answer in strays} == {200}
    assert (right.status_code, right.json()["details"]) == (200, [])
    assert refused.status_code == 429


@pytest.mark.parametrize(
    "path", ["/v1/runs?signature=x", "/v1/artifacts/art_1?xsignature=x", "/v1/artifacts/a?signature="]
)
async def test_no_query_makes_a_guess_a_link(tmp_path: Path, sim: Simulator, path: str) -> None:
    """Only a signature in its place makes a key needless; whatever else stands there, a wrong key is counted."""
    async with few(tmp_path, sim) as halley, httpx.AsyncClient(base_url=halley.url) as stranger:
        statuses = [(await stranger.get(path, headers={"X-API-Key": f"guess-{n}"})).status_code for n in range(5)]

    assert statuses[:3] in ([401] * 3, [403] * 3)
    assert statuses[3:] == [429, 429]


async def test_guesses_at_the_same_moment_are_counted_too(tmp_path: Path, sim: Simulator) -> None:
    """Of twenty at once no more than three are looked at."""
    async with few(tmp_path, sim) as halley, httpx.AsyncClient(base_url=halley.url) as stranger:
        answers = await asyncio.gather(
            *(stranger.get("/v1/runs", headers={"X-API-Key": f"guess-{n}"}) for n in range(20))
        )

    assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 17


async def test_guesses_by_websocket_are_counted_alike(tmp_path: Path, sim: Simulator) -> None:
    """A key in the handshake's sub-protocol or header is a key: the fourth wrong one is not looked at."""
    statuses = []
    async with few(tmp_path, sim) as halley:
        url = halley.url.replace("http", "ws") + "/v1/nodes/no.node/socket"
        for number in range(5):
            with pytest.raises(InvalidStatus) as caught:
                await connect(url, subprotocols=[Subprotocol(f"halley.key.guess-{number}")], proxy=None)
            statuses.append(caught.value.response.status_code)
        refused = caught.value.response

    assert statuses == [401, 401, 401, 429, 429]
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["Content-Type"] == "application/problem+json"


async def test_asking_without_a_key_is_no_guess(tmp_path: Path, sim: Simulator) -> None:
    """A browser that knows no key is told so as often as it asks, and nobody behind its address suffers."""
    async with few(tmp_path, sim) as halley, httpx.AsyncClient(base_url=halley.url) as stranger:
        answers = [await stranger.get("/v1/runs") for _ in range(6)]
        right = await stranger.get("/v1/runs", headers={"X-API-Key": API_KEY})

    assert {answer.status_code for answer in answers} == {401}
    assert right.status_code == 200


async def test_unknown_tokens_and_foreign_links_end_in_429(tmp_path: Path, sim: Simulator) -> None:
    """Each kind is counted apart, and neither a known token nor a good link is refused because of them."""
    async with few(tmp_path, sim) as halley, httpx.AsyncClient(base_url=halley.url) as stranger:
        run = (await halley.start(T2V, {"prompt": "x [[duration:60]] [[callback:never]]"})).json()
        token = (await halley.app.state.services.store.run(run["id"])).callback_token
        file_url = (await halley.client.post("/v1/files", content=b"\x89PNG\r\n\x1a\n")).json()["url"]
        foreign = "/v1/artifacts/art_1?expires=1&signature=00"
        tokens = [(await stranger.post(f"/v1/callbacks/{n}", json={})).status_code for n in range(5)]
        links = [(await stranger.get(foreign)).status_code for _ in range(5)]
        known = await stranger.post(f"/v1/callbacks/{token}", json={})
        good = await stranger.get(file_url)

    assert tokens == [404, 404, 404, 429, 429]
    assert links == [403, 403, 403, 429, 429]
    assert (known.status_code, good.status_code) == (200, 200)


async def test_a_flood_of_callbacks_of_one_run_is_refused_and_not_swallowed(tmp_path: Path, sim: Simulator) -> None:
    """What is answered with 200 is stored; the rest is 429 with a time, and other runs' callbacks pass."""
    async with few(tmp_path, sim) as halley:
        runs = [(await halley.start(T2V, {"prompt": f"{n} [[duration:60]] [[callback:never]]"})).json() for n in "ab"]
        stored = [await halley.app.state.services.store.run(run["id"]) for run in runs]
        urls = [f"/v1/callbacks/{run.callback_token}" for run in stored]
        flood = [await halley.client.post(urls[0], json={}) for _ in range(5)]
        other = await halley.client.post(urls[1], json={})
        timeline = await halley.timeline(runs[0]["id"])

    assert [answer.status_code for answer in flood] == [200, 200, 200, 429, 429]
    assert int(flood[-1].headers["retry-after"]) > 0
    assert other.status_code == 200
    assert len([entry for entry in timeline if entry["kind"] == "callback"]) == 3


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[tuple[str, int]]:
    """A Halley behind its own server, with short times; where it listens."""
    stop, up = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(_serve(tmp_path, up, stop))  # opened and closed in one task, as lifespans have to be
    yield await up
    stop.set()
    await running


async def _serve(folder: Path, up: "asyncio.Future[tuple[str, int]]", stop: asyncio.Event) -> None:
    settings = load_settings({"HALLEY_DATA_DIR": str(folder), "HALLEY_API_KEY": API_KEY})
    with open_socket("127.0.0.1", 0) as listener:
        app = create_app(settings, silent_log(), catalog=shipped_catalog(), tuning=TUNING)
        async with serving(app, listener, limits=QUICK):
            host, port = local_url(listener).removeprefix("http://").split(":")
            up.set_result((host, int(port)))
            await stop.wait()


async def _trickle(address: tuple[str, int], first: bytes, piece: bytes, every_s: float) -> tuple[bytes, float]:
    """Send bytes until the server hangs up; returns what it said and how long it bore it."""
    reader, writer = await asyncio.open_connection(*address)
    begun = time.monotonic()

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(first)
            while not writer.is_closing():
                await asyncio.sleep(every_s)
                writer.write(piece)
                await writer.drain()

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(15):
            said = await _all(reader)
            return said, time.monotonic() - begun
    finally:
        sending.cancel()
        writer.close()


async def _all(reader: asyncio.StreamReader) -> bytes:
    said = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            said += piece
    return bytes(said)


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/callbacks/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"


async def test_a_head_that_trickles_is_cut(quick: tuple[str, int]) -> None:
    """A header line now and then keeps no connection open, the first byte counts, and the answer says why."""
    said, took_s = await _trickle(quick, HEAD, b"X-A: b\r\n", 0.05)

    assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close\r\n" in said
    assert QUICK.head_s * 0.9 <= took_s < 10


async def test_who_says_nothing_is_told_nothing(quick: tuple[str, int]) -> None:
    """A connection without a request is closed without an answer, and so is one that sends only line ends."""
    reader, writer = await asyncio.open_connection(*quick)
    async with asyncio.timeout(10):
        silent = await _all(reader)
    writer.close()

    assert silent == b""


async def test_a_second_head_that_trickles_is_cut(quick: tuple[str, int]) -> None:
    """On a connection that was good once a slow request gets no more time than on a new one."""
    said, _ = await _trickle(quick, HEAD + b"\r\n" + HEAD, b"X-A: b\r\n", 0.05)

    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 408 " in said


async def test_line_ends_between_requests_keep_nothing_open(quick: tuple[str, int]) -> None:
    """What the parser skips before a request counts as its begin."""
    said, took_s = await _trickle(quick, HEAD + b"\r\n", b"\r\n", 0.05)

    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert took_s < 10


async def test_a_body_that_trickles_is_cut(quick: tuple[str, int]) -> None:
    """Bytes that come slower than the least speed do not buy more time."""
    said, took_s = await _trickle(quick, POST + b"\r\n", b"x", 0.05)

    assert said.startswith(b"HTTP/1.1 408 ")
    assert took_s >= QUICK.body_s * 0.9


async def test_a_body_that_comes_steadily_has_more_time(quick: tuple[str, int]) -> None:
    """A large body is not cut for being large: its size adds time."""
    body = b"x" * 8000
    reader, writer = await asyncio.open_connection(*quick)
    writer.write(b"POST /v1/callbacks/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8000\r\n\r\n")
    begun = time.monotonic()
    for at in range(0, len(body), 500):
        await asyncio.sleep(0.06)
        writer.write(body[at : at + 500])
    async with asyncio.timeout(10):
        said = await _all(reader)
    took_s = time.monotonic() - begun
    writer.close()

    assert said.startswith(b"HTTP/1.1 404 ")
    assert took_s > 2 * QUICK.body_s


async def test_a_body_that_nobody_wants_is_not_taken_for_ever(quick: tuple[str, int]) -> None:
    """A request that was answered before its body came is cut, however fast the rest comes."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    said, took_s = await _trickle(quick, head, b"x" * 1000, 0.01)

    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.count(b"HTTP/1.1 ") == 1
    assert took_s < 10


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_head_that_is_too_large_is_refused(quick: tuple[str, int], *, is_whole: bool) -> None:
    """It is refused when it came at once and when it has no end; one just below passes."""
    head = HEAD + b"X-A: " + b"a" * QUICK.head_bytes + (b"\r\n\r\n" if is_whole else b"")
    said, _ = await _trickle(quick, head, b"", 60)
    fits, _ = await _trickle(quick, HEAD + b"Connection: close\r\nX-A: " + b"a" * 1800 + b"\r\n\r\n", b"", 60)

    assert said.startswith(b"HTTP/1.1 431 ")
    assert fits.startswith(b"HTTP/1.1 200 ")


async def test_a_long_path_is_refused(quick: tuple[str, int]) -> None:
    """The request line counts as well."""
    said, _ = await _trickle(quick, b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"", 60)

    assert said.startswith(b"HTTP/1.1 431 ")


async def test_what_is_no_http_is_refused_in_few_words(quick: tuple[str, int]) -> None:
    """Garbage gets 400 and the end of the connection."""
    said, _ = await _trickle(quick, b"\x16\x03\x01 hello\r\n\r\n", b"", 60)

    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"server:" not in said.lower()


async def test_waiting_for_an_answer_is_not_slowness(quick: tuple[str, int]) -> None:
    """A request that is whole may be answered long after the times for heads and bodies."""
    async with httpx.AsyncClient(base_url=f"http://{quick[0]}:{quick[1]}", headers={"X-API-Key": API_KEY}) as client:
        body: dict[str, Any] = {"prompt": "x"}
        run = await client.post(f"/v1/nodes/{T2V}/runs", json=body, params={"mode": "preview"})
        first = await client.get("/healthz")
        await asyncio.sleep(QUICK.head_s * 2)
        again = await client.get("/healthz")

    assert [run.status_code, first.status_code, again.status_code] == [200, 200, 200]
