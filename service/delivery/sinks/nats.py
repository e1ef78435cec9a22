"""NATS: a message in a JetStream stream, which confirms it and drops repetitions of its id."""

import asyncio
from typing import Any, NamedTuple

import nats.errors
import nats.js.errors
from faststream.nats import NatsBroker
from nats.aio.client import Client

from service.delivery.sinks.base import Failures, Message, Sink, filled, told_headers
from service.delivery.sinks.urls import NatsWords

# The sink connects anew by itself. The client would try for minutes, and keep messages in memory meanwhile.
_OPTIONS: dict[str, Any] = {
    "name": "halley",
    "connect_timeout": 5,
    "allow_reconnect": False,
    "max_reconnect_attempts": 1,
    "reconnect_time_wait": 0,
}
# FastStream wants a time for the acknowledgement; the deadline of the whole publish is shorter and kept by the sink.
_ACK_S = 3600.0


class _Line(NamedTuple):
    broker: NatsBroker
    client: Client
    closed: asyncio.Event


class NatsSink(Sink[_Line, NatsWords]):
    """Publishes to JetStream and waits for its acknowledgement."""

    failures: Failures = (
        (nats.errors.MaxPayloadError, "failed", "The event is larger than the broker takes; raise max_payload there."),
        (
            nats.js.errors.NoStreamResponseError,
            "failed",
            "No JetStream stream takes the subject; `nats stream add` makes one.",
        ),
        (
            (
                nats.errors.NoServersError,
                nats.errors.ConnectionClosedError,
                nats.errors.OutboundBufferLimitError,
                nats.errors.StaleConnectionError,
            ),
            "unreachable",
            "No connection to the broker could be made, or it broke: {error}.",
        ),
        (nats.errors.TimeoutError, "timeout", "The broker did not answer in time, {seconds} s at most."),
        (nats.errors.Error, "failed", "The broker refused this: {error}."),
    )

    async def _open(self) -> _Line:
        closed = asyncio.Event()

        async def close() -> None:
            closed.set()

        await self._knock()
        broker = NatsBroker(self.url.servers, closed_cb=close, logger=None, **_OPTIONS)
        return _Line(broker, await broker.connect(), closed)

    async def _knock(self) -> None:
        client = Client()
        try:
            await client.connect(self.url.servers, error_cb=_say_nothing, **_OPTIONS)
        finally:
            await client.close()

    def _is_open(self, connection: _Line) -> bool:
        return connection.client.is_connected

    async def _publish(self, connection: _Line, message: Message) -> None:
        # The client goes on waiting for an acknowledgement after its connection has broken.
        confirmed = asyncio.create_task(self._confirmed(connection.broker, message))
        broken = asyncio.create_task(connection.closed.wait())
        try:
            await asyncio.wait((confirmed, broken), return_when=asyncio.FIRST_COMPLETED)
            if not confirmed.done():
                raise ConnectionError("it broke before the message was confirmed")
            await confirmed
        finally:
            confirmed.cancel()
            broken.cancel()

    async def _confirmed(self, broker: NatsBroker, message: Message) -> None:
        await broker.publish(
            message.body,
            filled(self.url.words.subject, message),
            headers={"Nats-Msg-Id": message.event_id, **told_headers(message)},
            correlation_id=message.event_id,
            stream=self.url.words.stream,
            timeout=_ACK_S,
        )

    async def _shut(self, connection: _Line) -> None:
        await connection.client.close()


async def _say_nothing(_: Exception) -> None:
    """Take an error that is raised as well, and that the client would log."""
