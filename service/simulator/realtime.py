"""The realtime socket: a session in which text or sound goes in and text or speech comes out, one turn at a time.

What is said is decided where all text is; speech is a tone.
"""

import asyncio
import base64
import binascii
import math
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import WSMsgType, web
from msgspec import Meta

from service.simulator import faults
from service.simulator.aggregator import Refused, platform_error
from service.simulator.family import Json
from service.simulator.journal import Received
from service.simulator.marks import MarkError, scenario_of
from service.simulator.scenario import Scenario
from service.simulator.stage import Stage
from service.simulator.text.speech import Asked, Reply, pieces, reply_to

DEFAULT_MODEL: Final = "gpt-4o-realtime-preview-2025-06-03"
KEY_PROTOCOL: Final = "openai-insecure-api-key."
RATE_HZ: Final = 24_000
TONE_HZ: Final = 440
PIECE_MS: Final = 100
PIECES_OF_SOUND: Final = 3
PAUSE_S: Final = 0.004
BETA_NAMES: Final = ("output_text", "output_audio_transcript", "output_audio")


class Item(msgspec.Struct):
    """An item of the conversation."""

    type: Literal["message", "function_call", "function_call_output"]
    role: Literal["user", "assistant", "system"] = "user"
    content: list[Json] = []

    @property
    def text(self) -> str:
        """What it says."""
        return " ".join(str(part.get("text") or part.get("transcript") or "") for part in self.content)


class Session(msgspec.Struct, kw_only=True):
    """The settings of a session."""

    type: Literal["realtime"] = "realtime"
    model: str = DEFAULT_MODEL
    output_modalities: tuple[Literal["audio", "text"], ...] = ("audio",)
    instructions: str = ""
    audio: Json = {}
    tools: list[Json] = []
    tool_choice: str | Json = "auto"


class SessionUpdate(msgspec.Struct, tag="session.update"):
    """New settings; those that are not named stay."""

    session: Json


class ItemCreate(msgspec.Struct, tag="conversation.item.create"):
    """A new item."""

    item: Item
    previous_item_id: str | None = None


class Append(msgspec.Struct, tag="input_audio_buffer.append"):
    """A piece of sound, as Base64."""

    audio: Annotated[str, Meta(min_length=1)]


class Commit(msgspec.Struct, tag="input_audio_buffer.commit"):
    """The sound so far is an item."""


class Clear(msgspec.Struct, tag="input_audio_buffer.clear"):
    """The sound so far is forgotten."""


class ResponseOptions(msgspec.Struct):
    """What holds for one answer only."""

    output_modalities: list[Literal["audio", "text"]] | None = None
    instructions: str | None = None


class ResponseCreate(msgspec.Struct, tag="response.create"):
    """An answer is wanted."""

    response: ResponseOptions = msgspec.field(default_factory=ResponseOptions)


Said = SessionUpdate | ItemCreate | Append | Commit | Clear | ResponseCreate
_DECODER = msgspec.json.Decoder(Said)


class Realtime:
    """`/v1/realtime`, played on one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def routes(self) -> list[web.RouteDef]:
        """List the one route; the key may come as a sub-protocol, so it is checked here."""
        return [web.get("/v1/realtime", self._stage.recorded(self._talk, key="none"))]

    async def _talk(self, request: web.Request, received: Received) -> web.StreamResponse:
        received.operation = "realtime"
        self._require_key(request)
        socket = web.WebSocketResponse(protocols=("realtime",))
        if not socket.can_prepare(request):
            raise Refused(self._refusal(HTTPStatus.BAD_REQUEST, "a WebSocket handshake is wanted here", ""))
        await socket.prepare(request)
        await Conversation(self._stage, request, socket).run()
        return socket

    def _require_key(self, request: web.Request) -> None:
        key = _key_of(request)
        if not key or self._stage.options.api_key not in (None, key):
            raise Refused(self._refusal(HTTPStatus.UNAUTHORIZED, "invalid token", "invalid_api_key"))

    def _refusal(self, status: int, text: str, code: str) -> web.Response:
        request_id = self._stage.ids.next()
        answer = platform_error(status, text, code, request_id)
        answer.headers["x-cometapi-request-id"] = request_id
        return answer


def _key_of(request: web.Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer":
        return key.strip()
    offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    keys = [each.removeprefix(KEY_PROTOCOL) for each in offered if each.startswith(KEY_PROTOCOL)]
    return keys[0] if keys and "realtime" in offered else ""


def tone(milliseconds: int) -> bytes:
    """Make a tone as PCM of 16 bits, little-endian."""
    count = RATE_HZ * milliseconds // 1000
    wave = (int(8000 * math.sin(2 * math.pi * TONE_HZ * at / RATE_HZ)) for at in range(count))
    return b"".join(value.to_bytes(2, "little", signed=True) for value in wave)


class Conversation:
    """One session on one socket."""

    def __init__(self, stage: Stage, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._stage = stage
        self._request = request
        self._socket = socket
        self._session = Session(model=request.query.get("model", DEFAULT_MODEL))
        self._beta = "realtime=v1" in request.headers.get("OpenAI-Beta", "")
        self._last_text = ""
        self._sound = bytearray()

    async def run(self) -> None:
        """Greet, then answer one message after the other until the socket closes."""
        await self._send("session.created", session=self._session)
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                await self._error("invalid_request_error", "invalid_event", "only text messages are taken")
                continue
            try:
                await self._take(_DECODER.decode(message.data))
            except (msgspec.DecodeError, MarkError) as error:
                await self._error("invalid_request_error", "invalid_value", str(error))

    async def _take(self, said: Said) -> None:
        match said:
            case SessionUpdate():
                self._session = msgspec.convert(msgspec.to_builtins(self._session) | said.session, Session)
                await self._send("session.updated", session=self._session)
            case ItemCreate():
                self._last_text = said.item.text
                await self._add_item(said.item)
            case Append():
                await self._append(said.audio)
            case Commit():
                await self._commit()
            case Clear():
                self._sound.clear()
                await self._send("input_audio_buffer.cleared")
            case ResponseCreate():
                await self._respond(said.response)

    async def _add_item(self, item: Item) -> None:
        told = msgspec.to_builtins(item) | {"id": self._id("item"), "status": "completed"}
        await self._send("conversation.item.added", item=told)
        await self._send("conversation.item.done", item=told)

    async def _append(self, audio: str) -> None:
        try:
            self._sound += base64.b64decode(audio, validate=True)
        except binascii.Error:
            await self._error("invalid_request_error", "invalid_value", "audio is not Base64")

    async def _commit(self) -> None:
        if not self._sound:
            await self._error("invalid_request_error", "input_audio_buffer_commit_empty", "the buffer is empty")
            return
        self._last_text = f"a sound of {len(self._sound) * 1000 // (2 * RATE_HZ)} ms"
        self._sound.clear()
        await self._send("input_audio_buffer.committed", item_id=self._id("item"))
        await self._add_item(Item(type="message", content=[{"type": "input_audio", "transcript": self._last_text}]))

    async def _respond(self, options: ResponseOptions) -> None:
        scenario = scenario_of(self._stage.scenario, [self._last_text, self._session.instructions])
        modalities = options.output_modalities or self._session.output_modalities
        turn = _Turn(
            number=self._stage.ids.next(),
            speaks="audio" in modalities,
            reply=reply_to(Asked(text=self._last_text), scenario),
            scenario=scenario,
        )
        await self._send("response.created", response=turn.response("in_progress"))
        events = turn.events() if scenario.outcome in ("succeed", "moderation") else []
        fault = faults.AFTER.get(scenario.fault)
        for kind, data in events[: len(events) // 2] if fault else events:
            await self._send(kind, **data)
            await asyncio.sleep(PAUSE_S)
        if fault:
            await self._stage.strike(fault, self._request, scenario)
            return
        await self._send("response.done", response=turn.ended())

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._stage.ids.next()}"

    async def _error(self, kind: str, code: str, text: str) -> None:
        await self._send("error", error={"type": kind, "code": code, "message": text, "param": None})

    async def _send(self, kind: str, **data: Any) -> None:
        told = {"type": _old_name(kind) if self._beta else kind, "event_id": self._id("event")} | data
        await self._socket.send_str(msgspec.json.encode(told).decode())


def _old_name(kind: str) -> str:
    """Give the name that the beta protocol had."""
    family, _, rest = kind.partition(".")
    name = rest.partition(".")[0]
    return f"{family}.{rest.removeprefix('output_')}" if family == "response" and name in BETA_NAMES else kind


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to be played."""

    number: str
    speaks: bool
    reply: Reply
    scenario: Scenario

    @property
    def _part(self) -> Json:
        if self.speaks:
            return {"type": "output_audio", "transcript": self.reply.text}
        return {"type": "output_text", "text": self.reply.text}

    @property
    def _item(self) -> Json:
        item = {"id": f"item_{self.number}", "type": "message", "role": "assistant", "status": "completed"}
        return item | {"content": [self._part]}

    def events(self) -> list[tuple[str, Json]]:
        """List what comes between the answer's beginning and its end."""
        if not self.reply.text:
            return []
        place: Json = {"response_id": f"resp_{self.number}", "item_id": f"item_{self.number}", "output_index": 0}
        inside = place | {"content_index": 0}
        return [
            ("response.output_item.added", place | {"item": self._item | {"status": "in_progress", "content": []}}),
            ("response.content_part.added", inside | {"part": {"type": self._part["type"]}}),
            *((kind, inside | data) for kind, data in (self._spoken() if self.speaks else self._written())),
            ("response.content_part.done", inside | {"part": self._part}),
            ("response.output_item.done", place | {"item": self._item}),
        ]

    def _written(self) -> list[tuple[str, Json]]:
        deltas = [("response.output_text.delta", {"delta": piece}) for piece in pieces(self.reply.text)]
        return [*deltas, ("response.output_text.done", {"text": self.reply.text})]

    def _spoken(self) -> list[tuple[str, Json]]:
        sound = {"delta": base64.b64encode(tone(PIECE_MS)).decode()}
        words = [("response.output_audio_transcript.delta", {"delta": piece}) for piece in pieces(self.reply.text)]
        return [
            *words,
            *[("response.output_audio.delta", sound)] * PIECES_OF_SOUND,
            ("response.output_audio.done", {}),
            ("response.output_audio_transcript.done", {"transcript": self.reply.text}),
        ]

    def response(self, status: str, **more: Any) -> Json:
        """Write the response object."""
        told = {"id": f"resp_{self.number}", "object": "realtime.response", "status": status, "status_details": None}
        return told | {"output": [], "output_modalities": ["audio" if self.speaks else "text"], "usage": None} | more

    def ended(self) -> Json:
        """Write the response as it ends."""
        usage = {"total_tokens": 12 + self.reply.tokens, "input_tokens": 12, "output_tokens": self.reply.tokens}
        if self.scenario.outcome in ("fail", "gave_up"):
            text = self.scenario.failure_text or "The server had an error"
            error = {"type": "failed", "error": {"type": "server_error", "code": "server_error", "message": text}}
            return self.response("failed", status_details=error)
        if not self.reply.text:
            reason = "content_filter" if self.reply.ending == "moderation" else "max_output_tokens"
            return self.response("incomplete", status_details={"type": "incomplete", "reason": reason}, usage=usage)
        return self.response("completed", output=[self._item], usage=usage)
