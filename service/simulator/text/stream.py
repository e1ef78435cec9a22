"""Answers that come in pieces: server-sent events, one by one, and what can go wrong between two of them."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from service.simulator import faults
from service.simulator.family import Call

PAUSE_S: Final = 0.004
DONE: Final = b"data: [DONE]\n\n"
BROKEN: Final = b'data: {"choices":[{"delta":{"con\n\n'


def event(data: Any, name: str = "") -> bytes:
    """Write one event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"


async def stream(call: Call, events: Sequence[bytes], failure: bytes = b"") -> web.StreamResponse:
    """Send events a few milliseconds apart.

    Half of them come when the scenario has a fault for what was accepted, or a failure: then the connection is struck,
    the stream ends without its end, or `failure` (a broken event for garbage) is its last event.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await asyncio.sleep(call.scenario.slow_s)
    await response.prepare(call.request)
    fault = call.scenario.fault if call.scenario.fault in faults.AFTER else ""
    for each in events[: len(events) // 2] if fault or failure else events:
        await response.write(each)
        await asyncio.sleep(PAUSE_S)
    if failure or fault == "garbage":
        await response.write(failure or BROKEN)
    elif fault in ("hang", "reset_after", "close_after"):
        await call.stage.strike(faults.AFTER[fault], call.request, call.scenario)
    return response
