"""RabbitMQ: a persistent message that an exchange has put into a queue, confirmed by the broker."""

import aio_pika
import aio_pika.exceptions
from aio_pika.abc import AbstractRobustConnection
from faststream.rabbit import Channel, RabbitBroker, RabbitExchange

from service.delivery.sinks.base import Failures, Message, Sink, filled, told_headers
from service.delivery.sinks.urls import AmqpWords

_REFUSED = (aio_pika.exceptions.AuthenticationError, aio_pika.exceptions.ProbableAuthenticationError)


class RabbitSink(Sink[tuple[RabbitBroker, AbstractRobustConnection], AmqpWords]):
    """Publishes under publisher confirms; what no queue takes is a failure, not a loss."""

    failures: Failures = (
        (_REFUSED, "failed", "The broker refused the user or password."),
        (
            aio_pika.exceptions.ChannelNotFoundEntity,
            "failed",
            "There is no such exchange; declare it at the broker.",
        ),
        (
            aio_pika.exceptions.DeliveryError,
            "failed",
            "No queue took the message; bind one to the exchange, or name one that is there.",
        ),
        (
            aio_pika.exceptions.ChannelInvalidStateError,
            "unreachable",
            "The connection to the broker broke: {error}.",
        ),
    )

    breaking = (aio_pika.exceptions.ChannelClosed,)

    async def _open(self) -> tuple[RabbitBroker, AbstractRobustConnection]:
        await self._knock()
        broker = RabbitBroker(
            self.url.servers[0], app_id="halley", default_channel=Channel(on_return_raises=True), logger=None
        )
        return broker, await broker.connect()

    async def _knock(self) -> None:
        connection = await aio_pika.connect(self.url.servers[0])
        await connection.close()

    def _is_open(self, connection: tuple[RabbitBroker, AbstractRobustConnection]) -> bool:
        return connection[1].connected.is_set()

    async def _publish(self, connection: tuple[RabbitBroker, AbstractRobustConnection], message: Message) -> None:
        exchange, routing_key = (filled(place, message) for place in self.url.words.places)
        await connection[0].publish(
            message.body,
            exchange=RabbitExchange(exchange, declare=False) if exchange else None,
            routing_key=routing_key,
            persist=True,
            message_id=message.event_id,
            correlation_id=message.event_id,
            message_type=message.event_type,
            content_type=message.content_type,
            headers=dict(told_headers(message)),
        )

    async def _shut(self, connection: tuple[RabbitBroker, AbstractRobustConnection]) -> None:
        await connection[0].stop()
