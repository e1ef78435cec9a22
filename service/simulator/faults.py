"""What can go wrong with one answer: it is another than it should be, is cut, broken, late or never comes.

Two tables say which faults strike before anything is created and which after. Which of them strikes is the
scenario's matter.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web

from service.simulator import aggregator

NOT_ANSWERED = 499
LINGER_NONE = struct.pack("ii", 1, 0)


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault works on.

    Attributes:
        status: HTTP status for the faults that have one.
        answer: What would have been answered; None before anything is created.
        closing: Set when the simulator stops, which ends what hangs.
    """

    request: web.Request
    request_id: str
    status: int = 0
    answer: web.Response | None = None
    closing: asyncio.Event


Fault = Callable[[Wire], Awaitable[web.Response]]


def _cut() -> web.Response:
    """Stand in for the answer on a connection that is gone: the server finds it closed and sends nothing."""
    return web.Response(status=NOT_ANSWERED)


async def hang(wire: Wire) -> web.Response:
    """Never answer."""
    await wire.closing.wait()
    return await reset(wire)


async def reset(wire: Wire) -> web.Response:
    """Send RST instead of an answer."""
    transport = wire.request.transport
    if transport is not None:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        transport.abort()
    return _cut()


async def close(wire: Wire) -> web.Response:
    """Close in good order, without an answer."""
    return _send_and_close(wire, b"")


async def garbage(wire: Wire) -> web.Response:
    """Send something that is not HTTP."""
    return _send_and_close(wire, b"\x15\x03\x01 not a status line\r\n\r\n")


async def truncated(wire: Wire) -> web.Response:
    """Promise the whole answer in its headers and send half of it."""
    body = wire.answer.body if wire.answer is not None else b""
    if not isinstance(body, bytes):
        raise TypeError("only answers held in memory can be cut")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return _send_and_close(wire, head.encode() + body[: len(body) // 2])


def _send_and_close(wire: Wire, data: bytes) -> web.Response:
    transport = wire.request.transport
    if isinstance(transport, asyncio.Transport):
        transport.write(data)
        transport.close()
    return _cut()


async def _html(_wire: Wire) -> web.Response:
    return aggregator.page()


async def _redirect(_wire: Wire) -> web.Response:
    return aggregator.moved()


async def _not_mounted(_wire: Wire) -> web.Response:
    return aggregator.not_mounted()


async def _proxy(wire: Wire) -> web.Response:
    return aggregator.proxy_error(wire.status, wire.request_id)


async def _quota(wire: Wire) -> web.Response:
    return aggregator.platform_error(
        HTTPStatus.FORBIDDEN, "user quota is not enough", "insufficient_user_quota", wire.request_id
    )


BEFORE: dict[str, Fault] = {
    "hang_before": hang,
    "reset_before": reset,
    "http": _proxy,
    "html": _html,
    "redirect": _redirect,
    "not_mounted": _not_mounted,
    "quota": _quota,
}
AFTER: dict[str, Fault] = {
    "hang": hang,
    "reset_after": reset,
    "close_after": close,
    "garbage": garbage,
    "truncated": truncated,
    "http_after": _proxy,
}
