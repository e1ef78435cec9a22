"""Speech from text and text from speech, at once: files as they are, JSON, or bare text.

Speech inside a chat belongs to the text family.
"""

import base64
import re
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import Refused, json_answer, platform_error
from service.simulator.family import Call, Family, Json, Operation, sample
from service.simulator.scenario import Scenario
from service.simulator.uploads import Upload, refuse_strangers, taken

MAX_FILE_BYTES = 26_214_400
SUFFIXES = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
ALL_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
FORMATS = {
    "gpt-4o-transcribe-diarize": ("json", "text", "diarized_json"),
    "gpt-4o-transcribe": ("json",),
    "gpt-4o-mini-transcribe": ("json",),
}
SPOKEN = "The beach was a popular spot on a hot summer day."
TRANSLATED = "Hello, my name is Wolfgang and I come from Germany."
SECONDS = 2.0
# The size has a refusal of its own, so the upload as such knows no limit.
RECORDING = Upload(names=("file",), content_types=(), max_bytes=2 * MAX_FILE_BYTES)

Word = Annotated[str, Meta(min_length=1)]
Temperature = Annotated[float, Meta(ge=0, le=1)]


class Voice(msgspec.Struct, frozen=True):
    """A voice of one's own."""

    id: Word


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """Text to be spoken."""

    model: Word
    input: Annotated[str, Meta(min_length=1, max_length=4096)]
    voice: Word | Voice
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Meta(ge=0.25, le=4)] = 1.0
    instructions: str = ""
    stream_format: Literal["audio", "sse"] = "audio"

    def __post_init__(self) -> None:
        if self.stream_format == "sse" and self.model.startswith("tts-1"):
            raise ValueError(f"stream_format sse is not supported by {self.model}")


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """A recording to be written down in English."""

    model: Word
    prompt: str = ""
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: Temperature = 0.0


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """A recording to be written down."""

    model: Word
    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}$")] | None = None
    prompt: str = ""
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] = "json"
    temperature: Temperature = 0.0
    granularities: list[Literal["word", "segment"]] = msgspec.field(name="timestamp_granularities[]", default=[])
    include: list[Literal["logprobs"]] = msgspec.field(name="include[]", default=[])
    chunking_strategy: str = ""
    known_speaker_names: Annotated[list[Word], Meta(max_length=4)] = msgspec.field(
        name="known_speaker_names[]", default=[]
    )
    known_speaker_references: Annotated[list[Annotated[str, Meta(pattern=r"^data:")]], Meta(max_length=4)] = (
        msgspec.field(name="known_speaker_references[]", default=[])
    )
    stream: bool = False

    def __post_init__(self) -> None:
        formats = FORMATS.get(self.model, ALL_FORMATS)
        if self.response_format not in formats:
            raise ValueError(f"response_format {self.response_format} is not taken by {self.model}: {formats}")
        if self.granularities and self.response_format != "verbose_json":
            raise ValueError("timestamp_granularities needs response_format verbose_json")
        if self.prompt and "diarize" in self.model:
            raise ValueError("prompt is not taken by models that tell speakers apart")


class Audio(Family):
    """The three operations on sound."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (
            Operation(name="create_speech", path="/v1/audio/speech", answer=self._speak, body=Speech),
            Operation(
                name="create_transcription",
                path="/v1/audio/transcriptions",
                answer=self._transcribe,
                body=Transcription,
                encoding=("form",),
            ),
            Operation(
                name="create_translation",
                path="/v1/audio/translations",
                answer=self._translate,
                body=Translation,
                encoding=("form",),
            ),
        )

    def _refuse_as_told(self, scenario: Scenario) -> None:
        request_id = self.stage.ids.next()
        if scenario.outcome == "moderation":
            message, code = "the text violates the content policy", "content_policy_violation"
            raise Refused(platform_error(HTTPStatus.BAD_REQUEST, message, code, request_id))
        if scenario.outcome != "succeed":
            message = scenario.failure_text or "do request failed"
            raise Refused(platform_error(HTTPStatus.INTERNAL_SERVER_ERROR, message, "", request_id))

    async def _speak(self, call: Call) -> web.Response:
        self._refuse_as_told(call.scenario)
        speech: Speech = call.body
        sound = b"" if call.scenario.empty else sample(speech.response_format)
        if speech.stream_format == "sse":
            return _stream(sound)
        return web.Response(body=sound, content_type=CONTENT_TYPES[speech.response_format])

    async def _transcribe(self, call: Call) -> web.Response:
        self._check_recording(call)
        return _written(call, "" if call.scenario.empty else SPOKEN, "transcribe")

    async def _translate(self, call: Call) -> web.Response:
        self._check_recording(call)
        return _written(call, "" if call.scenario.empty else TRANSLATED, "translate")

    def _check_recording(self, call: Call) -> None:
        refuse_strangers(call, (RECORDING,), self.invalid)
        (recording,) = taken(call, RECORDING, self.invalid)
        if recording.size_bytes > MAX_FILE_BYTES:
            raise Refused(_too_large(recording.size_bytes))
        if recording.filename.rpartition(".")[2].lower() not in SUFFIXES:
            raise Refused(self.invalid(f"Invalid file format. Supported formats: {list(SUFFIXES)}"))
        self._refuse_as_told(call.scenario)


def _too_large(size_bytes: int) -> web.Response:
    message = f"Maximum content size limit ({MAX_FILE_BYTES}) exceeded ({size_bytes} bytes read)"
    error = {"message": message, "type": "server_error", "param": "null", "code": "null"}
    return json_answer({"error": error}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _stream(sound: bytes) -> web.Response:
    delta = {"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()}
    done = {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}}
    text = "".join(f"data: {msgspec.json.encode(event).decode()}\n\n" for event in (delta, done))
    return web.Response(text=text, content_type="text/event-stream")


def _written(call: Call, text: str, task: str) -> web.Response:
    body: Transcription | Translation = call.body
    usage = {"type": "duration", "seconds": round(SECONDS)}
    match body.response_format:
        case "json":
            return json_answer({"text": text, "usage": usage})
        case "verbose_json":
            return json_answer(_verbose(body, text, task) | {"usage": usage})
        case "diarized_json":
            return json_answer(_diarized(body, text) | {"usage": usage})
        case other:
            return web.Response(text=_bare(text, other), content_type="text/plain")


def _bare(text: str, response_format: str) -> str:
    if response_format == "srt":
        return f"1\n00:00:00,000 --> 00:00:02,000\n{text}\n\n"
    if response_format == "vtt":
        return f"WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{text}\n\n"
    return f"{text}\n"


def _verbose(body: Transcription | Translation, text: str, task: str) -> Json:
    wanted = getattr(body, "granularities", None) or ["segment"]
    answer: Json = {"task": task, "language": "english", "duration": SECONDS, "text": text}
    if "segment" in wanted:
        answer["segments"] = [_segment(body, text)]
    if "word" in wanted:
        answer["words"] = _words(text)
    return answer


def _segment(body: Transcription | Translation, text: str) -> Json:
    return {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": SECONDS,
        "text": f" {text}",
        "tokens": [50364, 440, 7534],
        "temperature": body.temperature,
        "avg_logprob": -0.28,
        "compression_ratio": 1.23,
        "no_speech_prob": 0.009,
    }


def _words(text: str) -> list[Json]:
    words = re.findall(r"\w+", text)
    each_s = SECONDS / max(1, len(words))
    return [
        {"word": word, "start": round(index * each_s, 2), "end": round((index + 1) * each_s, 2)}
        for index, word in enumerate(words)
    ]


def _diarized(body: Any, text: str) -> Json:
    speaker = next(iter(body.known_speaker_names), "A")
    segment = {"type": "transcript.text.segment", "id": "seg_001", "start": 0.0, "end": SECONDS, "text": text}
    return {"task": "transcribe", "duration": SECONDS, "text": text, "segments": [segment | {"speaker": speaker}]}
