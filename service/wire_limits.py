"""How long the server waits for a request, and how large a head it takes: what its library leaves open.

uvicorn closes a connection that is silent between two requests, and no other: a client that sends a byte now and then
is waited for without end, and headers may be of any size. Here a timer runs while a request is coming in. Slow readers
of answers are not looked at, and the sizes of bodies stand at the routes.
"""

import asyncio
from http import HTTPStatus
from itertools import chain
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.limits import InboundLimits
from service.wire_writes import JoinedWrites

_WORDS = {
    HTTPStatus.BAD_REQUEST: "The request is not valid HTTP.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not come in time.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request line and headers are too large.",
}


class LimitedProtocol(HttpToolsProtocol):
    """A connection on which heads have `head_s` and `head_bytes`, and bodies `body_s` and a least speed.

    The first head is waited for from the connection on, later ones from their first byte on. A request that comes whole
    starts no timer.

    Args:
        limits: The numbers.
        given: What uvicorn makes its protocols with.
    """

    def __init__(self, *, limits: InboundLimits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._waits_for: Literal["head", "body"] | None = None
        self._in_body = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_begun_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wire = transport
        self.transport = JoinedWrites(transport, self.loop)  # type: ignore[assignment]  # whatever uvicorn calls is there
        self._wait_for("head")

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_for(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what came, and wait for the rest of it."""
        if self.transport.is_closing():
            return
        if not self._in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        lacking: Literal["head", "body"] | None = "body" if self._in_body else "head" if self._head_bytes else None
        if lacking != self._waits_for:
            self._wait_for(lacking)

    def on_headers_complete(self) -> None:
        """Judge the size of a head; from here on a body comes, if only one of no bytes."""
        self._head_bytes = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if self._head_bytes > self._limits.head_bytes:
            raise ValueError("the head is too large")  # seen by the parser; uvicorn asks for `send_400_response`
        self._head_bytes, self._in_body = 0, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count what came."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait no longer: the request is here."""
        self._in_body = False
        self._wait_for(None)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; whoever takes it has limits of its own."""
        self._head_bytes, self._in_body = 0, False
        self._wait_for(None)
        self.transport = self._wire
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read, in other words than uvicorn's."""
        del msg
        is_large = self._head_bytes > self._limits.head_bytes
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if is_large else HTTPStatus.BAD_REQUEST)

    def _wait_for(self, lacking: Literal["head", "body"] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waits_for = lacking
        if lacking == "head":
            self._timer = self.loop.call_later(self._limits.head_s, self._give_up)
        elif lacking == "body":
            self._body_bytes, self._body_begun_at = 0, self.loop.time()
            self._timer = self.loop.call_later(self._limits.body_s, self._judge_body)

    def _judge_body(self) -> None:
        """Give up a body that is behind its time; look again later at one that is not."""
        if self.flow.read_paused:  # the application takes nothing more, which is not the client's fault
            self._wait_for("body")
            return
        earned_s = self._limits.body_s + self._body_bytes / self._limits.body_bytes_per_s
        left_s = self._body_begun_at + earned_s - self.loop.time()
        if left_s <= 0 or self.cycle.response_complete:
            self._give_up()
        else:
            self._timer = self.loop.call_later(max(left_s, self._limits.body_s / 10), self._judge_body)

    def _give_up(self) -> None:
        if self._head_bytes or self._in_body:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()  # nothing was asked, so nothing is answered

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer, unless an answer is under way or made, and hang up."""
        self._wait_for(None)
        if self.transport.is_closing():
            return
        if self._awaits_answer():
            self.transport.write(_answer(status))
        self.transport.close()

    def _awaits_answer(self) -> bool:
        """Tell whether the next answer on the wire is that to what is coming in, and has not begun."""
        if self._in_body:
            return not self.cycle.response_started and not self.pipeline
        return self.cycle is None or self.cycle.response_complete


def _answer(status: HTTPStatus) -> bytes:
    text = _WORDS[status]
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}",
        "content-type: text/plain; charset=utf-8",
        f"content-length: {len(text)}",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "connection: close",
    )
    return "\r\n".join((*head, "", text)).encode()
