"""One turn over a WebSocket: what the definition says is sent, and what comes back is put together into one answer."""

import asyncio
import base64
import binascii
import io
import wave
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from msgspec import UNSET

from service.definitions.request import OutgoingRequest
from service.definitions.schema import Socket, seconds
from service.errors import Unconfirmed
from service.upstream.transport import Transport, WireAnswer

_OK = 200
_BYTES_PER_SAMPLE = 2


async def hold_turn(
    transport: Transport, request: OutgoingRequest, socket: Socket, inputs: Mapping[str, Any]
) -> WireAnswer:
    """Hold one turn and return it as an answer: the last event, with the joined texts and sounds beside it.

    Raises:
        NotSent: The socket was not opened.
        Unconfirmed: It broke, or the turn did not end in time.
    """
    limit_s = seconds(socket.limit)
    async with transport.socket(request) as wire:
        try:
            async with asyncio.timeout(limit_s):
                answer = await _Turn(socket, inputs).held(wire)
        except TimeoutError as exc:
            raise Unconfirmed(f"the turn did not end within {limit_s:g} s") from exc
    return WireAnswer(status=_OK, headers={}, body=msgspec.json.encode(answer))


class _Turn:
    """A turn in the making."""

    def __init__(self, socket: Socket, inputs: Mapping[str, Any]) -> None:
        self._socket = socket
        filled = (_filled(event, inputs) for event in socket.send)
        self._events = [event for event in filled if event is not UNSET]
        self._texts: dict[str, list[str]] = defaultdict(list)
        self._sounds: dict[str, list[bytes]] = defaultdict(list)

    async def held(self, wire: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        waiting = self._socket.after is not None
        if not waiting:
            await self._send(wire)
        async for message in wire:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            event = _object(message.data)
            kind = event.get("type")
            if waiting and kind == self._socket.after:
                waiting = False
                await self._send(wire)
            elif kind == self._socket.until or event.get("error"):
                return {**event, **self._joined()}
            else:
                self._add(kind, event.get("delta"))
        raise Unconfirmed("upstream closed the WebSocket before the turn ended")

    async def _send(self, wire: aiohttp.ClientWebSocketResponse) -> None:
        for event in self._events:
            await wire.send_str(msgspec.json.encode(event).decode())

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


def _object(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
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
        out.setnchannels(1)
        out.setsampwidth(_BYTES_PER_SAMPLE)
        out.setframerate(rate)
        out.writeframes(samples)
    return base64.b64encode(file.getvalue()).decode()
