"""What all sinks have in common: one publish with a deadline, over a connection that is made when it is needed.

FastStream's brokers do the talking. Here is what they leave open: a connection is made lazily and shared, forgotten
when it breaks, and made again by the next publish, so a broker that is down keeps nothing from starting and needs
nobody to wake it.
"""

import asyncio
import contextlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from service.delivery.sender import Exchange, Outcome
from service.delivery.sinks.urls import SinkUrl, WordsT_co

# More publishes than this at once wait, and their deadline runs meanwhile.
PUBLISHES_AT_ONCE = 64

_CLOSE_S = 2.0
_REASON_CHARS = 300

Connection = TypeVar("Connection")

Failures = Sequence[tuple[type[Exception] | tuple[type[Exception], ...], Outcome, str]]


class Message(Struct, frozen=True, kw_only=True):
    """An event on its way to a sink.

    Attributes:
        event_id: Id of the message too, the same on every attempt.
        event_type: Its type.
        workspace: Whose it is.
        subject_id: Run or group that it tells of; messages of one subject keep their order where the broker can.
        node: Node of the run, None for what is not one.
        body: Sent as it is.
        content_type: Of the body.
        headers: Sent beside the body, as the envelope made them.
    """

    event_id: str
    event_type: str
    workspace: str
    subject_id: str
    node: str | None
    body: bytes
    content_type: str
    headers: Mapping[str, str] = {}


class Sink(ABC, Generic[Connection, WordsT_co]):
    """A place at a broker.

    Args:
        url: Where it is.
        timeout_s: Deadline of a publish, from the connection to the broker's confirmation.
    """

    # What an error of the client means, the first that fits; and refusals after which the connection is of no use.
    failures: Failures = ()
    breaking: tuple[type[Exception], ...] = ()

    def __init__(self, url: SinkUrl[WordsT_co], *, timeout_s: float = 15.0) -> None:
        self.url = url
        self.name = url.name
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(PUBLISHES_AT_ONCE)
        self._opening: asyncio.Task[Connection] | None = None
        self._closing = set[asyncio.Task[None]]()

    async def publish(self, message: Message) -> Exchange:
        """Publish a message and report what became of it; failures are outcomes, not exceptions.

        `delivered` means that the broker has confirmed it.
        """
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                await self._publish_once(message)
            exchange = Exchange(outcome="delivered", reason="The broker has confirmed the message.")
        except Exception as error:  # noqa: BLE001 - four clients and their transports raise what they like
            exchange = self._told(error)
        return msgspec.structs.replace(exchange, latency_ms=(time.perf_counter() - begun) * 1000)

    async def close(self) -> None:
        """Drop the connection, within a few seconds."""
        self._forget(self._opening)
        await asyncio.gather(*self._closing)

    @abstractmethod
    async def _open(self) -> Connection:
        """Connect; nothing that was begun goes on when it fails.

        FastStream's brokers give out their client only when it is connected, so one that fails, or is cancelled, is
        left behind half made: it keeps its socket, and some go on trying for ever. Where that is so, a client that can
        be closed knocks first.
        """

    @abstractmethod
    async def _publish(self, connection: Connection, message: Message) -> None:
        """Publish and wait for the broker's confirmation."""

    @abstractmethod
    async def _shut(self, connection: Connection) -> None:
        """Close a connection, which may be broken."""

    def _is_open(self, connection: Connection) -> bool:  # noqa: ARG002 - for those who can tell
        """Return whether a connection can still be used."""
        return True

    async def _publish_once(self, message: Message) -> None:
        opening = self._opened()
        try:
            # Others may wait for the same connection: it is not given up because one of them ran out of time.
            connection = await asyncio.shield(opening)
            await self._publish(connection, message)
        except BaseException as error:
            if self._is_breaking(error):
                self._forget(opening)
            raise

    def _is_breaking(self, error: BaseException) -> bool:
        if not isinstance(error, Exception):  # the deadline, or the end of the process, in the middle of a message
            return True
        return isinstance(error, self.breaking) or self._outcome(error)[0] in ("unreachable", "timeout")

    def _opened(self) -> asyncio.Task[Connection]:
        if self._opening is not None and self._opening.done() and not self._is_usable(self._opening):
            self._forget(self._opening)
        if self._opening is None:
            self._opening = asyncio.create_task(self._open_in_time())
        return self._opening

    def _is_usable(self, opening: asyncio.Task[Connection]) -> bool:
        return not opening.cancelled() and opening.exception() is None and self._is_open(opening.result())

    async def _open_in_time(self) -> Connection:
        async with asyncio.timeout(self._timeout_s):
            return await self._open()

    def _forget(self, opening: asyncio.Task[Connection] | None) -> None:
        if opening is None or opening is not self._opening:
            return
        self._opening = None
        closing = asyncio.create_task(self._end(opening))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _end(self, opening: asyncio.Task[Connection]) -> None:
        opening.cancel()  # does nothing to one that is done
        await asyncio.wait((opening,), timeout=_CLOSE_S)
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await self._shut(opening.result())

    def _told(self, error: Exception) -> Exchange:
        outcome, sentence = self._outcome(error)
        told = sentence.format(error=error, seconds=f"{self._timeout_s:g}")
        return Exchange(outcome=outcome, reason=self._masked(told)[:_REASON_CHARS])

    def _outcome(self, error: Exception) -> tuple[Outcome, str]:
        found = next(((outcome, told) for kinds, outcome, told in self.failures if isinstance(error, kinds)), None)
        return found or next((outcome, told) for kind, outcome, told in _FAILURES if isinstance(error, kind))

    def _masked(self, text: str) -> str:
        """Return a text without the credentials of the URL, should a client have put them there."""
        login = self.url.login.reveal().removesuffix("@")
        for secret in (login, login.partition(":")[2], self.url.password.reveal()):
            text = text.replace(secret, "********") if secret else text
        return text


_FAILURES: tuple[tuple[type[Exception], Outcome, str], ...] = (
    (TimeoutError, "timeout", "The broker did not answer in time, {seconds} s at most."),
    (OSError, "unreachable", "No connection to the broker could be made, or it broke: {error}."),
    (Exception, "failed", "The message could not be published: {error}."),
)


def filled(template: str, message: Message) -> str:
    """Return where a message goes: the template with its slots filled in characters that every broker takes."""
    slots = {
        "{workspace}": re.sub(r"[^A-Za-z0-9_-]", "_", message.workspace),
        "{type}": message.event_type,
        "{node}": re.sub(r"[^A-Za-z0-9._-]", "_", message.node or "_"),
    }
    return re.sub(r"\{\w+\}", lambda slot: slots[slot[0]], template)


def told_headers(message: Message) -> dict[str, str]:
    """Return the headers of a message for brokers that carry some."""
    return {
        "Halley-Event-Id": message.event_id,
        "Halley-Event": message.event_type,
        **message.headers,
        "content-type": message.content_type,
    }
