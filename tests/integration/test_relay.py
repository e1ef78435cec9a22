"""WebSockets through Halley: messages as they are, keys, limits, and how each side hears of the other's end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from service.api.deps import RelayLimits
from service.api.relay import RELAY_MESSAGE_BYTES
from service.app import Mock, create_app
from service.log import silent_log
from service.serving import local_url, open_socket, serving
from service.settings import load_settings
from service.simulator import Simulator, SimulatorOptions
from tests.fakes.house import API_KEY, TUNING, House, house, shipped_catalog
from tests.fakes.realtime import FakeRealtime

PATH = "/v1/nodes/text.realtime/socket"
KEY = {"X-API-Key": API_KEY}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


@pytest.fixture
def upstream() -> FakeRealtime:
    """An upstream that sends everything back."""
    return FakeRealtime()


@contextlib.asynccontextmanager
async def relaying(folder: Path, upstream: FakeRealtime, limits: RelayLimits) -> AsyncIterator[House]:
    """Run a Halley in front of an upstream, with these limits."""
    tuning = msgspec.structs.replace(TUNING, relay_limits=limits)
    async with (
        Simulator(SimulatorOptions(), families=upstream.families) as sim,
        house(folder, sim, tuning=tuning) as running,
    ):
        yield running


@pytest.fixture
async def relay(tmp_path: Path, upstream: FakeRealtime) -> AsyncIterator[House]:
    """A Halley in front of the upstream."""
    async with relaying(tmp_path / "relay", upstream, RelayLimits()) as running:
        yield running


async def _closed(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """Return code and reason of the end that comes next."""
    message = await socket.receive(timeout=10)
    assert message.type is aiohttp.WSMsgType.CLOSE, message
    return message.data, message.extra or ""


async def test_a_turn_passes_through(halley: House, session: aiohttp.ClientSession) -> None:
    """The caller speaks upstream's protocol; the model goes along, our key stays here, and no run is stored."""
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello there"}]}
    events = (
        {"type": "session.update", "session": {"output_modalities": ["text"]}},
        {"type": "conversation.item.create", "item": said},
        {"type": "response.create"},
    )

    async with session.ws_connect(f"{halley.url}{PATH}?mode=mock&model=gpt-realtime", headers=KEY) as socket:
        for each in events:
            await socket.send_json(each)
        heard = [await socket.receive_json(timeout=10)]
        while heard[-1]["type"] != "response.done":
            heard.append(await socket.receive_json(timeout=10))

    text = "".join(each["delta"] for each in heard if each["type"] == "response.output_text.delta")
    assert text == "You said: hello there"
    assert heard[0]["session"]["model"] == "gpt-realtime"
    assert (await halley.client.get("/v1/runs")).json()["data"] == []


async def test_texts_and_bytes_pass_both_ways_as_they_are(
    relay: House, upstream: FakeRealtime, session: aiohttp.ClientSession
) -> None:
    """Up to the limit, in order, each as what it was."""
    messages: list[str | bytes] = ["ü" * 100, b"\0\xff", "", b"", "x" * RELAY_MESSAGE_BYTES]

    async with session.ws_connect(relay.url + PATH, headers=KEY, max_msg_size=0) as socket:
        for each in messages:
            await (socket.send_str(each) if isinstance(each, str) else socket.send_bytes(each))
        heard = [(await socket.receive(timeout=10)).data for _ in messages]

    assert heard == messages
    assert upstream.requests[0].headers["Authorization"] == "Bearer sk-canary-upstream-key"
    assert "X-API-Key" not in upstream.requests[0].headers


async def test_a_browser_sends_its_key_as_a_sub_protocol(relay: House, session: aiohttp.ClientSession) -> None:
    """The key is taken and never sent back; the protocol that is offered beside it is chosen."""
    protocols = ("realtime", f"halley.key.{API_KEY}")

    async with session.ws_connect(relay.url + PATH, protocols=protocols) as socket:
        await socket.send_str("hello")
        heard = await socket.receive_str(timeout=10)

    assert heard == "hello"
    assert socket.protocol == "realtime"


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        (PATH, {}, 401, "auth"),
        (PATH, {"Sec-WebSocket-Protocol": "realtime, halley.key.wrong"}, 401, "auth"),
        ("/v1/nodes/text.nothing/socket", KEY, 404, "not_found"),
        ("/v1/nodes/text.chat/socket", KEY, 404, "not_found"),
        (PATH + "?model=m&mode=preview", KEY, 422, "invalid_request"),
        (PATH + "?prompt=hello", KEY, 422, "invalid_request"),
    ],
)
async def test_a_wrong_request_is_a_problem_in_place_of_a_handshake(
    relay: House, upstream: FakeRealtime, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    """The answer says what is wrong, as everywhere, and upstream hears nothing."""
    answer = await _handshake(relay.url + path, headers)

    assert answer[0] == status
    assert answer[1]["code"] == code
    assert upstream.requests == []


@pytest.mark.parametrize(("refusal", "code"), [(401, "auth"), (429, "rate_limited"), (403, "auth")])
async def test_what_upstream_refuses_is_told(relay: House, upstream: FakeRealtime, refusal: int, code: str) -> None:
    """Its status is read as an error of any node's answer."""
    upstream.refusal = refusal

    status, problem = await _handshake(relay.url + PATH, KEY)

    assert (status, problem["code"]) == (502, code)


async def test_an_upstream_that_is_not_there_is_told(relay: House) -> None:
    """The caller may try again, since nothing was started."""
    await relay.sim.stop()

    status, problem = await _handshake(relay.url + PATH, KEY)

    assert (status, problem["retryable"]) == (502, True)


async def _handshake(url: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Ask for a WebSocket and return the HTTP answer."""
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with aiohttp.ClientSession() as client, client.get(url, headers=asked | headers) as answer:
        assert answer.content_type == "application/problem+json"
        return answer.status, msgspec.json.decode(await answer.read())


async def test_the_caller_s_end_reaches_upstream(
    relay: House, upstream: FakeRealtime, session: aiohttp.ClientSession
) -> None:
    """With the very code."""
    ended = asyncio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        ended.set()

    upstream.talk = talk
    async with session.ws_connect(relay.url + PATH, headers=KEY) as socket:
        await socket.close(code=4001)
    async with asyncio.timeout(10):
        await ended.wait()
        while upstream.closed_with is None:
            await relay.client.get("/healthz")

    assert upstream.closed_with == 4001


async def test_upstream_s_end_reaches_the_caller(
    relay: House, upstream: FakeRealtime, session: aiohttp.ClientSession
) -> None:
    """With code and reason."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.close(code=4002, message=b"enough")

    upstream.talk = talk
    async with session.ws_connect(relay.url + PATH, headers=KEY) as socket:
        ending = await _closed(socket)

    assert ending == (4002, "enough")


async def test_an_upstream_that_breaks_off_is_told(
    relay: House, upstream: FakeRealtime, session: aiohttp.ClientSession
) -> None:
    """A lost connection has no code of its own; the caller hears of an error."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str("hello")
        transport = upstream.requests[-1].transport
        assert transport is not None
        transport.abort()

    upstream.talk = talk
    async with session.ws_connect(relay.url + PATH, headers=KEY) as socket:
        await socket.receive_str(timeout=10)
        code, _ = await _closed(socket)

    assert code == 1011


async def test_a_message_over_the_limit_ends_the_conversation(relay: House, session: aiohttp.ClientSession) -> None:
    """Whichever side it comes from."""
    async with session.ws_connect(relay.url + PATH, headers=KEY) as socket:
        await socket.send_bytes(bytes(RELAY_MESSAGE_BYTES + 1))
        code, _ = await _closed(socket)

    assert code == 1009


async def test_a_large_message_of_upstream_ends_the_conversation(
    relay: House, upstream: FakeRealtime, session: aiohttp.ClientSession
) -> None:
    """It is not passed on."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(bytes(RELAY_MESSAGE_BYTES + 1))
        await socket.receive()

    upstream.talk = talk
    async with session.ws_connect(relay.url + PATH, headers=KEY) as socket:
        code, _ = await _closed(socket)

    assert code == 1009


@pytest.mark.parametrize("limits", [RelayLimits(idle_s=0.1), RelayLimits(whole_s=0.1)])
async def test_time_limits_close_both_sides(
    tmp_path: Path, upstream: FakeRealtime, session: aiohttp.ClientSession, limits: RelayLimits
) -> None:
    """A conversation that is silent, or open, for too long is ended by Halley."""
    async with (
        relaying(tmp_path, upstream, limits) as running,
        session.ws_connect(running.url + PATH, headers=KEY) as socket,
    ):
        code, reason = await _closed(socket)

    assert code == 1001
    assert "too long" in reason
    assert upstream.closed_with == 1001


async def test_messages_keep_an_open_conversation_from_being_idle(
    tmp_path: Path, upstream: FakeRealtime, session: aiohttp.ClientSession
) -> None:
    """Every message, of either side, begins the time of silence anew; the whole time does not wait."""
    limits = RelayLimits(idle_s=0.5, whole_s=1.2)
    async with (
        relaying(tmp_path, upstream, limits) as running,
        session.ws_connect(running.url + PATH, headers=KEY) as socket,
    ):
        await socket.send_str("still here")
        while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            await socket.send_str("still here")

    assert message.extra == "open for too long"


async def test_the_server_of_halley_speaks_websocket(
    tmp_path: Path, upstream: FakeRealtime, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """As `halley serve` starts it; a refused handshake leaves no error in the log, a stop tells who is connected."""
    caplog.set_level(logging.INFO)
    settings = load_settings({"HALLEY_DATA_DIR": str(tmp_path), "HALLEY_API_KEY": API_KEY})
    async with Simulator(SimulatorOptions(), families=upstream.families) as sim, contextlib.AsyncExitStack() as stack:
        mock = Mock(url=sim.url, callback_base="http://127.0.0.1:1")
        app = create_app(settings, silent_log(), mock=mock, catalog=shipped_catalog(), tuning=TUNING)
        listener = open_socket("127.0.0.1", 0)
        url = local_url(listener) + PATH
        await stack.enter_async_context(serving(app, listener))
        status, _ = await _handshake(url, {})
        socket = await session.ws_connect(url + "?mode=mock", headers=KEY)
        await socket.send_str("hello")
        heard = await socket.receive_str(timeout=10)
        await stack.aclose()
        code, _ = await _closed(socket)

    assert (status, heard, code) == (401, "hello", 1012)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
