"""One turn over a WebSocket: what the definition says is sent, and what comes back is put together into one answer.

A conversation that somebody else holds is no matter of this room; it is passed through by `api/relay`.
"""

import asyncio
import base64
import binascii
import io
import wave
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from service.definitions.catalog import CompiledNode
from service.definitions.conditions import holds
from service.definitions.media import data_part
from service.definitions.request import OutgoingRequest
from service.definitions.schema import Socket, seconds
from service.errors import Fault, InvalidInput, NotSent, Unconfirmed
from service.upstream.transport import Transport, WireAnswer, WireSocket

_OK = 200
_CHANNELS = 1
_BYTES_PER_SAMPLE = 2
_WAV_START = b"RIFF"


def turn_inputs(node: CompiledNode, inputs: Mapping[str, Any], rate: int) -> dict[str, Any]:
    """Return what the events of a turn are filled with: defaults too, and of sound files the bare samples.

    Args:
        node: Its node.
        inputs: What the user gave, media made ready.
        rate: Samples per second that upstream takes.

    Raises:
        InvalidInput: A sound is recorded in another way than upstream takes.
    """
    fields = node.fields
    values = {
        name: field.default
        for name, field in fields.items()
        if field.default is not UNSET and (field.default_when is None or holds(field.default_when, fields, inputs))
    } | dict(inputs)
    sounds = [name for name, value in values.items() if fields[name].media == "audio" and isinstance(value, str)]
    return values | {name: _samples(values[name], name, rate) for name in sounds}


def _samples(text: str, name: str, rate: int) -> str:
    """Return the samples of a sound in Base64; whatever has no header is taken for samples."""
    data = data_part(text)
    if data is None or not (content := base64.b64decode(data)).startswith(_WAV_START):
        return data or text
    try:
        with wave.open(io.BytesIO(content)) as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            samples = file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        raise _unfit(name, rate, "this wav file cannot be read") from None
    if form != (_CHANNELS, _BYTES_PER_SAMPLE, rate):
        raise _unfit(name, rate, f"this has {form[0]} channels of {8 * form[1]} bit at {form[2]} Hz")
    return base64.b64encode(samples).decode()


def _unfit(name: str, rate: int, what: str) -> InvalidInput:
    message = f"{what}; upstream takes one channel of 16 bit at {rate} Hz"
    return InvalidInput((Fault(pointer=f"/{name}", code="format", message=message),))


async def hold_turn(
    transport: Transport, request: OutgoingRequest, socket: Socket, inputs: Mapping[str, Any]
) -> WireAnswer:
    """Hold one turn and return it as an answer: the last event, with the joined texts and sounds beside it.

    Raises:
        NotSent: The socket was not opened, or closed before anything was said.
        Unconfirmed: It broke, or the turn did not end in time.
    """
    limit_s = seconds(socket.limit)
    turn = _Turn(socket, inputs)
    async with transport.socket(request) as wire:
        try:
            async with asyncio.timeout(limit_s):
                answer = await turn.held(wire)
        except TimeoutError as exc:
            raise turn.lost(f"the turn did not end within {limit_s:g} s") from exc
    return WireAnswer(status=_OK, headers={}, body=msgspec.json.encode(answer))


class _Turn:
    """A turn in the making."""

    def __init__(self, socket: Socket, inputs: Mapping[str, Any]) -> None:
        self._socket = socket
        filled = (_filled(event, inputs) for event in socket.send)
        self._events = [event for event in filled if event is not UNSET]
        self._has_begun = False
        self._texts: dict[str, list[str]] = defaultdict(list)
        self._sounds: dict[str, list[bytes]] = defaultdict(list)

    async def held(self, wire: WireSocket) -> dict[str, Any]:
        """Say what is to be said, and return what came of it."""
        if self._socket.after is None:
            await self._begin(wire)
        while (message := await wire.receive()) is not None:
            event = _object(message)
            kind = event.get("type")
            if kind == self._socket.until or _is_error(event):
                return {**event, **self._joined()}
            if kind == self._socket.after and not self._has_begun:
                await self._begin(wire)
            self._add(kind, event.get("delta"))
        raise self.lost(f"upstream closed the WebSocket before the turn ended (code {wire.close_code})")

    def lost(self, reason: str) -> NotSent | Unconfirmed:
        """Return the error for a turn that did not end: before anything was said, nothing was started."""
        return Unconfirmed(reason) if self._has_begun else NotSent(reason)

    async def _begin(self, wire: WireSocket) -> None:
        self._has_begun = True
        for event in self._events:
            await wire.send(msgspec.json.encode(event).decode())

    def _add(self, kind: Any, delta: Any) -> None:
        if not isinstance(delta, str):
            return
        for name, kinds in self._socket.joined.items():
            if kind in kinds:
                self._texts[name].append(delta)
        for name, kinds in self._socket.sound.items():
            if kind in kinds:
                self._sounds[name].append(_decoded(delta))

    def _joined(self) -> dict[str, str]:
        texts = {name: "".join(parts) for name, parts in self._texts.items()}
        return texts | {name: _wav(b"".join(parts), self._socket.rate) for name, parts in self._sounds.items()}


def _is_error(event: Mapping[str, Any]) -> bool:
    """Tell an error from an event about a detail that failed, which has a type of its own."""
    kind = event.get("type")
    return kind == "error" or (kind is None and bool(event.get("error")))


def _filled(value: Any, inputs: Mapping[str, Any]) -> Any:
    """Fill `@name` with inputs; UNSET where one is not given, which takes its whole event away."""
    if isinstance(value, dict):
        parts = {key: _filled(part, inputs) for key, part in value.items()}
        return UNSET if UNSET in parts.values() else parts
    if isinstance(value, list):
        items = [_filled(part, inputs) for part in value]
        return UNSET if UNSET in items else items
    if isinstance(value, str) and value.startswith("@"):
        return inputs.get(value[1:], UNSET)
    return value


def _object(message: str | bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _decoded(delta: str) -> bytes:
    try:
        return base64.b64decode(delta)
    except (binascii.Error, ValueError):
        return b""


def _wav(samples: bytes, rate: int) -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(_CHANNELS)
        out.setsampwidth(_BYTES_PER_SAMPLE)
        out.setframerate(rate)
        out.writeframes(samples)
    return base64.b64encode(file.getvalue()).decode()
