"""One turn over a WebSocket as a run: what is said, what is kept, and what its troubles mean."""

import base64
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from service.simulator import Simulator, SimulatorOptions
from tests.fakes.house import House, house
from tests.fakes.realtime import FakeRealtime

NODE = "text.realtime"
DONE = {"type": "response.done", "response": {"status": "completed", "output": []}}
DELTA = {"type": "response.output_text.delta", "delta": "Hello."}


def wav(*, rate: int = 24_000, channels: int = 1, samples: bytes = bytes(range(100)) * 4) -> str:
    """Return a sound file in Base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples)
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def upstream() -> FakeRealtime:
    """An upstream that answers a turn."""
    fake = FakeRealtime()
    fake.talk = fake.turn(DELTA, DONE)
    return fake


@pytest.fixture
async def turning(tmp_path: Path, upstream: FakeRealtime) -> AsyncIterator[House]:
    """A Halley in front of the upstream."""
    async with (
        Simulator(SimulatorOptions(), families=upstream.families) as sim,
        house(tmp_path / "turn", sim) as running,
    ):
        yield running


async def ended(running: House, body: dict[str, Any]) -> dict[str, Any]:
    """Return a run of the turn once it has ended."""
    return await running.end((await running.start(NODE, body)).json()["id"])


async def test_a_written_turn(halley: House) -> None:
    """The joined text is the run's, with upstream's usage beside it."""
    run = await ended(halley, {"prompt": "hello there", "modalities": ["text"]})

    assert (run["state"], run["text"], run["artifacts"]) == ("succeeded", "You said: hello there", [])
    assert run["data"]["usage"]["output_tokens"] > 0


async def test_a_spoken_turn(halley: House) -> None:
    """Speech is what is asked for by default: a wav file that Halley keeps, and its words as the text."""
    run = await ended(halley, {"prompt": "hello there"})
    (speech,) = run["artifacts"]
    async with httpx.AsyncClient() as client:
        answer = await client.get(speech["url"])

    assert (run["state"], run["text"]) == ("succeeded", "You said: hello there")
    assert (speech["kind"], speech["mime"]) == ("audio", "audio/wav")
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert file.getnframes() == 24_000 * 3 // 10


async def test_what_is_said_is_filled_in(turning: House, upstream: FakeRealtime) -> None:
    """Defaults count as inputs; an event with an input that is not given is left out."""
    run = await ended(turning, {"prompt": "hi"})

    update, item, create = upstream.heard
    session = update["session"]
    assert run["text"] == "Hello."
    assert (session["output_modalities"], session["audio"]["output"]["voice"]) == (["audio"], "alloy")
    assert item["item"]["content"] == [{"type": "input_text", "text": "hi"}]
    assert create == {"type": "response.create"}
    assert upstream.requests[0].query["model"].startswith("gpt-4o-realtime")


async def test_a_sound_is_sent_as_its_samples(turning: House, upstream: FakeRealtime) -> None:
    """Upstream takes bare samples, so the header of a wav file stays here."""
    samples = bytes(range(200)) * 2

    run = await ended(turning, {"audio": wav(samples=samples), "instructions": "Be brief."})

    said = [event for event in upstream.heard if event["type"] == "conversation.item.create"]
    (part,) = said[0]["item"]["content"]
    assert run["state"] == "succeeded"
    assert len(said) == 1
    assert base64.b64decode(part["audio"]) == samples
    assert upstream.heard[1]["session"]["instructions"] == "Be brief."


@pytest.mark.parametrize("sound", [wav(rate=44_100), wav(channels=2), wav()[:40]])
async def test_a_sound_that_upstream_does_not_take_is_refused_here(
    turning: House, upstream: FakeRealtime, sound: str
) -> None:
    """The run says what is wanted, and nothing is sent."""
    run = await ended(turning, {"audio": sound})

    assert (run["state"], run["error"]["code"], run["error"]["billed"]) == ("failed", "invalid_request", "no")
    assert "16 bit at 24000 Hz" in run["error"]["message"]
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"type": "invalid_request_error", "code": "invalid_value", "message": "no such voice"}, "invalid_request"),
        ({"type": "invalid_request_error", "code": "invalid_api_key", "message": "invalid token"}, "auth"),
    ],
)
async def test_an_error_event_fails_the_run(
    turning: House, upstream: FakeRealtime, error: dict[str, Any], code: str
) -> None:
    """It is read like any error answer, in upstream's words."""
    upstream.talk = upstream.turn({"type": "error", "error": error})

    run = await ended(turning, {"prompt": "hi"})

    assert (run["state"], run["error"]["code"], run["error"]["message"]) == ("failed", code, error["message"])


async def test_a_detail_that_failed_does_not_end_the_turn(turning: House, upstream: FakeRealtime) -> None:
    """Only events of the type error do; others may tell of an error of their own."""
    detail = {"type": "conversation.item.input_audio_transcription.failed", "error": {"message": "too short"}}
    upstream.talk = upstream.turn(detail, DELTA, DONE)

    run = await ended(turning, {"prompt": "hi"})

    assert (run["state"], run["text"]) == ("succeeded", "Hello.")


async def test_a_failed_response_fails_the_run(halley: House) -> None:
    """The turn ends as ever, and its end says what happened."""
    run = await ended(halley, {"prompt": "[[fail:lost]]", "modalities": ["text"]})

    assert (run["state"], run["error"]["message"]) == ("failed", "lost")


async def test_a_refused_handshake_is_an_error_answer(turning: House, upstream: FakeRealtime) -> None:
    """A wrong key fails the run at once, and costs nothing."""
    upstream.refusal = 401

    run = await ended(turning, {"prompt": "hi"})

    assert (run["state"], run["error"]["code"], run["error"]["billed"]) == ("failed", "auth", "no")
    assert run["error"]["upstream"]["status"] == 401
    assert len(upstream.requests) == 1


async def test_a_handshake_that_fails_is_made_again(turning: House, upstream: FakeRealtime) -> None:
    """Nothing was started, so a server in trouble is asked again by itself."""
    upstream.refusal = 503
    started = (await turning.start(NODE, {"prompt": "hi"}, wait=0)).json()
    while not upstream.requests:
        await turning.client.get("/healthz")
    upstream.refusal = None

    run = await turning.end(started["id"])

    assert (run["state"], len(upstream.requests)) == ("succeeded", 2)


async def test_a_turn_that_breaks_off_is_never_held_again(turning: House, upstream: FakeRealtime) -> None:
    """Once something was said, it may be billed: nobody can know."""
    upstream.talk = upstream.turn(DELTA)

    started = (await turning.start(NODE, {"prompt": "hi"}, wait=0)).json()
    run = await turning.until(started["id"], "submit_unknown")

    assert run["error"]["billed"] == "unknown"
    assert len(upstream.requests) == 1


async def test_a_socket_that_closes_before_anything_was_said_is_opened_again(
    turning: House, upstream: FakeRealtime
) -> None:
    """Nothing was started."""
    answering = upstream.talk

    async def talk(socket: web.WebSocketResponse) -> None:
        upstream.talk = answering
        await socket.close()

    upstream.talk = talk

    run = await ended(turning, {"prompt": "hi"})

    assert (run["state"], len(upstream.requests)) == ("succeeded", 2)
