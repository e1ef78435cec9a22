"""Speech and transcription over real sockets: files as they are, JSON and bare text."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator, audio
from service.simulator.audio import Audio
from service.simulator.family import sample

SPEECH, TRANSCRIBE, TRANSLATE = "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator that plays this family alone."""
    async with (
        Simulator(families=lambda stage: Audio(stage).routes()) as simulator,
        aiohttp.ClientSession(simulator.url, headers={"Authorization": "Bearer sk-test"}) as session,
    ):
        yield session


def recording(
    fields: dict[str, str], *, filename: str = "talk.wav", data: bytes | None = None, content_type: str = "audio/wav"
) -> aiohttp.FormData:
    """Make the form of a transcription."""
    form = aiohttp.FormData(fields)
    form.add_field("file", sample("wav") if data is None else data, filename=filename, content_type=content_type)
    return form


async def written(client: aiohttp.ClientSession, path: str, form: aiohttp.FormData) -> tuple[int, str, str]:
    """Have a recording written down; return status, content type and body."""
    async with client.post(path, data=form) as response:
        return response.status, response.content_type, await response.text()


@pytest.mark.parametrize(
    ("response_format", "content_type", "head"),
    [("mp3", "audio/mpeg", b"ID3"), ("opus", "audio/ogg", b"OggS"), ("flac", "audio/flac", b"fLaC")],
)
async def test_speech_is_the_file_itself(
    client: aiohttp.ClientSession, response_format: str, content_type: str, head: bytes
) -> None:
    """The body is audio of the wanted format, not JSON."""
    body = {"model": "tts-1", "input": "Good morning", "voice": "alloy", "response_format": response_format}

    async with client.post(SPEECH, json=body) as response:
        kind, sound = response.content_type, await response.read()

    assert (kind, sound[: len(head)]) == (content_type, head)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "tts-1", "input": "Good morning"},
        {"model": "tts-1", "input": "x" * 4097, "voice": "alloy"},
        {"model": "tts-1", "input": "x", "voice": "alloy", "speed": 5},
        {"model": "tts-1", "input": "x", "voice": "alloy", "stream_format": "sse"},
    ],
    ids=["no-voice", "long", "fast", "sse"],
)
async def test_wrong_speech_is_refused(client: aiohttp.ClientSession, body: dict[str, Any]) -> None:
    """A missing or wrong field is refused as JSON."""
    async with client.post(SPEECH, json=body) as response:
        answer = await response.json()

    assert (response.status, answer["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("response_format", "content_type", "beginning"),
    [
        ("json", "application/json", '{"text":'),
        ("verbose_json", "application/json", '{"task":"transcribe"'),
        ("text", "text/plain", "The beach"),
        ("srt", "text/plain", "1\n00:00:00,000 -->"),
        ("vtt", "text/plain", "WEBVTT\n"),
    ],
)
async def test_a_transcription_comes_in_the_wanted_format(
    client: aiohttp.ClientSession, response_format: str, content_type: str, beginning: str
) -> None:
    """JSON formats come as JSON, the others as bare text."""
    form = recording({"model": "whisper-1", "response_format": response_format})

    status, kind, text = await written(client, TRANSCRIBE, form)

    assert (status, kind, text[: len(beginning)]) == (200, content_type, beginning)


async def test_a_translation_says_that_it_is_one(client: aiohttp.ClientSession) -> None:
    """The detailed form names its task."""
    form = recording({"model": "whisper-1", "response_format": "verbose_json", "temperature": "0.2"})

    _, _, text = await written(client, TRANSLATE, form)

    assert text.startswith('{"task":"translate","language":"english"')


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (recording({"model": "whisper-1"}, filename="talk"), 400),
        (recording({"model": "whisper-1"}, data=b""), 400),
        (recording({"model": "gpt-4o-transcribe", "response_format": "srt"}), 400),
        (recording({"model": "whisper-1", "timestamp_granularities[]": "word"}), 400),
        (
            aiohttp.FormData({"model": "whisper-1", "file": "https://cdn.example/talk.wav"}, default_to_multipart=True),
            400,
        ),
    ],
    ids=["no-suffix", "empty", "format", "granularity", "link"],
)
async def test_a_wrong_recording_is_refused(client: aiohttp.ClientSession, form: aiohttp.FormData, status: int) -> None:
    """The file must be a real part with a proper name and size, and formats must suit the model."""
    found, kind, _ = await written(client, TRANSCRIBE, form)

    assert (found, kind) == (status, "application/json")


async def test_a_large_recording_is_refused(client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above the limit is refused with 413 and the upstream's odd texts for null."""
    monkeypatch.setattr(audio, "MAX_FILE_BYTES", 1000)

    status, _, text = await written(client, TRANSCRIBE, recording({"model": "whisper-1"}))

    assert (status, '"code":"null"' in text) == (413, True)
