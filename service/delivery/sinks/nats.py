"""NATS: a message in a JetStream stream, which confirms it and drops repetitions of its id."""

import nats.errors
import nats.js.errors
from faststream.nats import NatsBroker
from nats.aio.client import Client

from service.delivery.sinks.base import Failures, Message, Sink, filled, told_headers
from service.delivery.sinks.urls import NatsWords

_CONNECT_S = 5
# FastStream wants a time for the acknowledgement; the deadline of the whole publish is shorter and kept by the sink.
_ACK_S = 3600.0


class NatsSink(Sink[tuple[NatsBroker, Client], NatsWords]):
    """Publishes to JetStream and waits for its acknowledgement."""

    failures: Failures = (
        (nats.errors.AuthorizationError, "failed", "The broker refused the user, password or token."),
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
    )

    async def _open(self) -> tuple[NatsBroker, Client]:
        # The sink connects anew by itself. The client would try for minutes, and keep messages in memory meanwhile.
        broker = NatsBroker(
            self.url.servers,
            name="halley",
            connect_timeout=_CONNECT_S,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            logger=None,
        )
        return broker, await broker.connect()

    def _is_open(self, connection: tuple[NatsBroker, Client]) -> bool:
        return connection[1].is_connected

    async def _publish(self, connection: tuple[NatsBroker, Client], message: Message) -> None:
        await connection[0].publish(
            message.body,
            filled(self.url.words.subject, message),
            headers={"Nats-Msg-Id": message.event_id, **told_headers(message)},
            correlation_id=message.event_id,
            stream=self.url.words.stream,
            timeout=_ACK_S,
        )

    async def _shut(self, connection: tuple[NatsBroker, Client]) -> None:
        await connection[1].close()
