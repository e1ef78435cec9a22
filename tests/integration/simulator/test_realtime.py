"""The realtime socket against its reference page."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator, SimulatorOptions
from service.simulator.realtime import Realtime

Json = dict[str, Any]
KEY = "sk-good"
PROTOCOLS = ("realtime", f"openai-insecure-api-key.{KEY}")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Start a simulator with the socket, which takes one key only."""
    async with Simulator(SimulatorOptions(api_key=KEY), families=lambda stage: Realtime(stage).routes()) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client."""
    async with aiohttp.ClientSession() as opened:
        yield opened


def _url(simulator: Simulator) -> str:
    return f"{simulator.url}/v1/realtime?model=gpt-realtime"


async def _until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> list[Json]:
    """Receive events up to the one of a kind."""
    events: list[Json] = []
    while not events or events[-1]["type"] != kind:
        events.append(await socket.receive_json(timeout=5))
    return events


def _says(text: str) -> Json:
    content = [{"type": "input_text", "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


async def test_a_turn_of_text(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    """The session is greeted and changed, the deltas make up the answer, and its end has the usage."""
    update = {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}}

    async with session.ws_connect(_url(simulator), protocols=PROTOCOLS) as socket:
        for each in (update, _says("hello there"), {"type": "response.create"}):
            await socket.send_json(each)
        events = await _until(socket, "response.done")

    kinds = [event["type"] for event in events]
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert kinds[:2] == ["session.created", "session.updated"]
    assert text == "You said: hello there"
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["usage"]["output_tokens"] > 0


async def test_a_turn_of_sound(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    """Sound goes in by append and commit, sound and its transcript come out; the key may be a header."""
    sound = base64.b64encode(bytes(48_000)).decode()
    headers = {"Authorization": f"Bearer {KEY}"}

    async with session.ws_connect(_url(simulator), headers=headers) as socket:
        for each in ({"type": "input_audio_buffer.append", "audio": sound}, {"type": "input_audio_buffer.commit"}):
            await socket.send_json(each)
        await socket.send_json({"type": "response.create"})
        events = await _until(socket, "response.done")

    heard = b"".join(
        base64.b64decode(event["delta"]) for event in events if event["type"] == "response.output_audio.delta"
    )
    transcript = next(event for event in events if event["type"] == "response.output_audio_transcript.done")
    assert len(heard) == 24_000 * 2 * 3 // 10
    assert transcript["transcript"] == "You said: a sound of 1000 ms"


async def test_old_clients_get_the_old_names(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    """The beta header takes `output_` out of the deltas' names."""
    headers = {"Authorization": f"Bearer {KEY}", "OpenAI-Beta": "realtime=v1"}

    async with session.ws_connect(_url(simulator), headers=headers) as socket:
        for each in (_says("hello"), {"type": "response.create"}):
            await socket.send_json(each)
        kinds = {event["type"] for event in await _until(socket, "response.done")}

    assert {"response.audio.delta", "response.audio_transcript.delta", "response.output_item.done"} <= kinds


@pytest.mark.parametrize(
    "offer",
    [
        {},
        {"headers": {"Authorization": "Bearer sk-bad"}},
        {"protocols": ("realtime", "openai-insecure-api-key.sk-bad")},
    ],
)
async def test_a_wrong_key_is_a_plain_401(
    simulator: Simulator, session: aiohttp.ClientSession, offer: dict[str, Any]
) -> None:
    """The handshake fails with an HTTP answer that names the request."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(_url(simulator), **offer)

    assert caught.value.status == 401
    assert caught.value.headers is not None
    assert caught.value.headers["x-cometapi-request-id"]


async def test_mistakes_and_failures_are_told_and_the_session_goes_on(
    simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    """A wrong event is an error event, a failed answer a response with that status."""
    async with session.ws_connect(_url(simulator), protocols=PROTOCOLS) as socket:
        for each in ({"type": "nonsense"}, {"type": "input_audio_buffer.commit"}, _says("[[fail:lost]]")):
            await socket.send_json(each)
        await socket.send_json({"type": "response.create"})
        events = await _until(socket, "response.done")

    codes = [event["error"]["code"] for event in events if event["type"] == "error"]
    assert codes == ["invalid_value", "input_audio_buffer_commit_empty"]
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["status_details"]["error"]["message"] == "lost"
