"""A node's WebSocket, opened through Halley: messages pass both ways as they are, and no run is stored.

Whoever holds the conversation speaks upstream's own protocol; Halley adds the key, the limits and two log lines. One
turn as a run, with its result kept, is the node's other route.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec
from litestar import WebSocket, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect
from litestar.types import Message
from msgspec import Struct

from service.api.auth import Caller
from service.api.deps import RelayLimits, Services, Using
from service.api.limits import KEY_PROTOCOL
from service.api.node_routes import NodeName, node_for
from service.api.problems import PROBLEM_MEDIA_TYPE, STORE_PROBLEM, Problem, caller_problem, upstream_problem
from service.api.scopes import needed_scope
from service.api.starts import refuse_impossible
from service.definitions.catalog import CompiledNode
from service.definitions.inputs import InputCheck
from service.definitions.schema import Field
from service.errors import (
    BeyondKey,
    CallerError,
    Fault,
    InvalidInput,
    NotFound,
    NotSent,
    SocketRefused,
    StoreError,
    Unconfirmed,
)
from service.lifecycle.run import Mode
from service.upstream.client import handshake_error
from service.upstream.transport import WireSocket

RELAY_MESSAGE_BYTES = 1024 * 1024
_MODE = Field(type="string", enum=["live", "mock"])
_NORMAL, _AWAY, _NO_CODE, _LOST, _TOO_BIG, _BROKEN, _TLS_FAILED = 1000, 1001, 1005, 1006, 1009, 1011, 1015
_REASON_BYTES = 123

AnySocket = WebSocket[Any, Any, State]


class Ending(Struct, frozen=True, kw_only=True):
    """Who ended a conversation, and with which words."""

    by: Literal["caller", "upstream", "limit"]
    code: int
    reason: str = ""


@websocket("/v1/nodes/{node:str}/socket")
async def relay_socket(socket: AnySocket, node: NodeName, services: Using) -> None:
    """Open a node's WebSocket at upstream and pass messages both ways."""
    await socket.receive()  # the handshake, which is answered once upstream has answered its own
    try:
        caller = await _caller(socket, services)
        found = _socket_node(services, caller, node)
        mode, inputs = _asked(socket, found, services)
        facts = {"node": node, "mode": mode, "key": caller.key_id}
        await _relay(socket, found, inputs, facts, services)
    except CallerError as exc:
        await _refuse(socket, caller_problem(exc))
    except StoreError as exc:
        services.log.error("store.failed", error=str(exc))  # noqa: TRY400 - the text says all there is
        await _refuse(socket, STORE_PROBLEM)


async def _relay(
    socket: AnySocket, node: CompiledNode, inputs: Mapping[str, Any], facts: Mapping[str, Any], services: Services
) -> None:
    client = services.clients[facts["mode"]]
    try:
        async with client.socket(node, inputs, largest_message_bytes=RELAY_MESSAGE_BYTES) as wire:
            await _accept(socket)
            await _hold(_Relay(socket, wire, services.relay_limits), facts, services)
    except SocketRefused as exc:
        error = handshake_error(node, exc)
        await _refuse(socket, upstream_problem(error.message, code=error.code, retryable=error.retryable))
    except NotSent as exc:
        await _refuse(socket, upstream_problem(str(exc), code="server", retryable=True))


async def _caller(socket: AnySocket, services: Services) -> Caller:
    """Find out who calls, and whether the key is for this.

    Raises:
        Unauthorized: No key, or one that is unknown or revoked.
        BeyondKey: Its scope is too narrow, or it may start only so many runs, and nobody counts conversations.
    """
    caller = await services.keys.identify(_headers(socket))
    caller.require_scope(needed_scope("GET", socket.scope["path_template"]))
    if caller.runs_per_day is not None:
        raise BeyondKey(
            "This API key may start only so many runs a day, and a WebSocket is no run that could be counted; "
            "use a key without such a limit."
        )
    return caller


def _headers(socket: AnySocket) -> dict[str, str]:
    """Return the headers, with the key that a browser can only send as a sub-protocol."""
    headers = {name.lower(): value for name, value in socket.headers.items()}
    keys = [each.removeprefix(KEY_PROTOCOL) for each in _protocols(socket) if each.startswith(KEY_PROTOCOL)]
    return {"x-api-key": keys[0], **headers} if keys else headers


def _protocols(socket: AnySocket) -> list[str]:
    return list(socket.scope["subprotocols"])


def _chosen_protocol(socket: AnySocket) -> str | None:
    """Return the first that is offered besides the key, which is never sent back."""
    return next((each for each in _protocols(socket) if not each.startswith(KEY_PROTOCOL)), None)


def _socket_node(services: Services, caller: Caller, node: str) -> CompiledNode:
    found = node_for(caller, node, services)
    if found.node.socket is None:
        raise NotFound(f"{node} has no WebSocket; start it with POST /v1/nodes/{node}/runs.")
    return found


def _asked(socket: AnySocket, node: CompiledNode, services: Services) -> tuple[Mode, dict[str, Any]]:
    """Return mode and inputs: of the inputs only those that stand in the request, since the caller says the rest."""
    fields = {name: field for name, field in node.fields.items() if not field.local}
    sent = {name: value for name, value in socket.query_params.items() if value != ""}
    try:
        values = InputCheck({**fields, "mode": _MODE}, (), {}).check(sent)
    except InvalidInput as exc:
        raise InvalidInput(tuple(_in_query(fault) for fault in exc.faults)) from None
    mode: Mode = "mock" if values.pop("mode", "live") == "mock" else "live"
    refuse_impossible(mode, services)
    return mode, values


def _in_query(fault: Fault) -> Fault:
    return msgspec.structs.replace(fault, pointer="query:" + fault.pointer.removeprefix("/"))


async def _accept(socket: AnySocket) -> None:
    accepted: dict[str, Any] = {"type": "websocket.accept", "subprotocol": _chosen_protocol(socket), "headers": []}
    await socket.send(cast("Message", accepted))


async def _refuse(socket: AnySocket, problem: Problem) -> None:
    """Answer the handshake with a problem in place of a WebSocket."""
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode())]
    start = {"type": "websocket.http.response.start", "status": int(problem.status), "headers": headers}
    await socket.send(cast("Message", start))
    await socket.send(cast("Message", {"type": "websocket.http.response.body", "body": msgspec.json.encode(problem)}))


async def _hold(relay: "_Relay", facts: Mapping[str, Any], services: Services) -> None:
    """Pass messages until one side ends, and log begin and end without a word of what was said."""
    log, begun_at = services.log.bind(**facts), services.clock.now()
    log.info("relay.begun")
    ending = await relay.held()
    log.info(
        "relay.ended",
        by=ending.by,
        code=ending.code,
        seconds=round(services.clock.now() - begun_at, 1),
        up_bytes=relay.up_bytes,
        down_bytes=relay.down_bytes,
    )


class _Relay:
    """One conversation under way.

    Attributes:
        up_bytes: What went to upstream.
        down_bytes: What came from it.
    """

    def __init__(self, socket: AnySocket, wire: WireSocket, limits: RelayLimits) -> None:
        self._socket = socket
        self._wire = wire
        self._limits = limits
        self._idle = asyncio.timeout(limits.idle_s)
        self.up_bytes = 0
        self.down_bytes = 0

    async def held(self) -> Ending:
        """Pass messages both ways until one side or a limit ends it; then close both."""
        ways = [asyncio.create_task(self._up()), asyncio.create_task(self._down())]
        try:
            async with asyncio.timeout(self._limits.whole_s), self._idle:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            ending: Ending = next(way for way in ways if way.done()).result()
        except TimeoutError:
            reason = "no message for too long" if self._idle.expired() else "open for too long"
            ending = Ending(by="limit", code=_AWAY, reason=reason)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        await self._close(ending)
        return ending

    async def _up(self) -> Ending:
        """Pass on what the caller says; each message waits until upstream has taken the one before."""
        while (message := cast("dict[str, Any]", await self._socket.receive()))["type"] == "websocket.receive":
            text, data = message.get("text"), message.get("bytes")
            said = text if text is not None else data or b""
            size_bytes = _size_bytes(said)
            if size_bytes > RELAY_MESSAGE_BYTES:
                return Ending(by="limit", code=_TOO_BIG, reason="a message may have 1 MiB")
            self.up_bytes += size_bytes
            self._stir()
            try:
                await self._wire.send(said)
            except Unconfirmed:
                return self._ended_by_upstream()
        return Ending(by="caller", code=message.get("code", _NO_CODE), reason=message.get("reason") or "")

    async def _down(self) -> Ending:
        """Pass on what upstream says, no faster than the caller takes it."""
        while (message := await self._wire.receive()) is not None:
            self.down_bytes += _size_bytes(message)
            self._stir()
            kind = "text" if isinstance(message, str) else "bytes"
            try:
                await self._socket.send(cast("Message", {"type": "websocket.send", kind: message}))
            except OSError:
                return Ending(by="caller", code=_LOST)
        return self._ended_by_upstream()

    def _ended_by_upstream(self) -> Ending:
        return Ending(by="upstream", code=self._wire.close_code or _LOST, reason=self._wire.close_reason)

    def _stir(self) -> None:
        self._idle.reschedule(asyncio.get_running_loop().time() + self._limits.idle_s)

    async def _close(self, ending: Ending) -> None:
        code, reason = _sendable(ending.code), _short(ending.reason)
        if ending.by != "caller":
            with contextlib.suppress(OSError, WebSocketDisconnect):
                await self._socket.send({"type": "websocket.close", "code": code, "reason": reason})
        if ending.by != "upstream":
            await self._wire.close(code, reason)


def _size_bytes(message: str | bytes) -> int:
    return len(message.encode()) if isinstance(message, str) else len(message)


def _sendable(code: int) -> int:
    """Return a code that may be sent; some only tell that none came."""
    if code == _NO_CODE:
        return _NORMAL
    return _BROKEN if code in (_LOST, _TLS_FAILED) else code


def _short(reason: str) -> str:
    return reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore")
