"""Starts that are answered in server-sent events: the run, upstream's own events as they come, the run at its end.

The run is stored, submitted and told to everybody else as ever; a caller who goes away loses nothing but the view.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from service.api.deps import Services
from service.api.starts import AnyRequest, started_headers
from service.definitions.catalog import CompiledNode
from service.definitions.stream import is_stream
from service.lifecycle.run import Run
from service.lifecycle.view import view
from service.store.starts import Started
from service.workers.live import Hearing

EVENT_STREAM = "text/event-stream"
RUN_EVENT = "halley.run"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_KEEP_ALIVE = b": keep-alive\n\n"
_RECHECK_S = 1.0  # another process may end the run; its word reaches us through the store alone
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r){2}")


def wants_events(request: AnyRequest) -> bool:
    """Tell whether the caller accepts server-sent events."""
    accepted = request.headers.get("accept", "").lower().split(",")
    return any(each.partition(";")[0].strip() == EVENT_STREAM for each in accepted)


def live_response(
    started: Started, node: CompiledNode, services: Services, hearing: Hearing, stack: contextlib.ExitStack
) -> Stream:
    """Answer a start in events.

    Args:
        started: The stored run.
        node: Its node.
        services: The services.
        hearing: What is heard of its submission.
        stack: Ends the hearing; closed after the answer.
    """
    stack.enter_context(services.switchboard.waking(started.run.id, hearing.turn))
    hearing.turn()  # whatever happened before somebody watched
    headers = STREAM_HEADERS | {"Location": started.run.status_url} | started_headers(started)
    answer = _LiveAnswer(started.run, node, services, hearing)
    ending = BackgroundTask(stack.close)
    return Stream(answer.events(), status_code=200, media_type=EVENT_STREAM, headers=headers, background=ending)


class _LiveAnswer:
    """One answer on its way."""

    def __init__(self, run: Run, node: CompiledNode, services: Services, hearing: Hearing) -> None:
        self._run = run
        self._told = run.state
        self._has_pieces = node.reader.stream is not None
        self._services = services
        self._hearing = hearing
        self._whole = WholeEvents()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the run, upstream's events as they come, and the run at its end."""
        keep_alive_s, clock = self._services.keep_alive_s, asyncio.get_running_loop().time
        yield self._run_event()
        spoke_at = clock()
        while not _is_settled(self._run) and self._services.is_ready():
            if told := await self._next(min(_RECHECK_S, keep_alive_s)):
                yield told
                spoke_at = clock()
            elif clock() - spoke_at >= keep_alive_s:
                yield _KEEP_ALIVE
                spoke_at = clock()
        pieces, _ = self._hearing.take()
        yield self._whole.feed(pieces) + self._whole.rest() + self._run_event()

    async def _next(self, timeout_s: float) -> bytes:
        """Return what came, or nothing when there was silence for so long."""
        await self._hearing.wait(timeout_s)
        pieces, has_turned = self._hearing.take()
        if has_turned or not pieces:
            self._run = await self._services.store.run(self._run.id) or self._run
        told = self._whole.feed(pieces)
        if self._has_pieces or self._run.state == self._told or _is_settled(self._run):
            return told
        return told + self._run_event()

    def _run_event(self) -> bytes:
        self._told = self._run.state
        return event(RUN_EVENT, view(self._run, self._services.clock.now(), self._services.links.for_answer))


def _is_settled(run: Run) -> bool:
    """Tell whether nothing more will come unless somebody acts."""
    return run.is_final or run.state == "submit_unknown" or run.awaits_input


def event(name: str, data: Any) -> bytes:
    """Write a server-sent event; JSON has no line ends."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


class WholeEvents:
    """Passes on whole events of a stream, byte for byte, so that ours can stand between them.

    What is no stream of events, such as JSON from an upstream that cannot stream, is not passed on at all.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._is_stream: bool | None = None

    def feed(self, piece: bytes) -> bytes:
        """Take a piece; return the events that it completes."""
        held = self._rest + piece
        end = max((found.end() for found in _BLANK_LINE.finditer(held)), default=0)
        whole, self._rest = held[:end], held[end:]
        return self._passed(whole)

    def rest(self) -> bytes:
        """Return a last event that lacks its blank line; one that was cut in the middle of a line is lost."""
        rest, self._rest = self._rest, b""
        return self._passed(rest + b"\n") if rest.endswith((b"\n", b"\r")) else b""

    def _passed(self, whole: bytes) -> bytes:
        if self._is_stream is None and whole.strip():
            self._is_stream = is_stream(whole.decode("utf-8", "replace"))
        return whole if self._is_stream else b""
