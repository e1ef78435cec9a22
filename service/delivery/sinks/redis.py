"""Redis: an entry of a stream, with fields that any client can read.

FastStream's own publish packs headers and body into one binary field that only FastStream understands, so the entry is
added by the client that its broker gives out. The body stands in `data`, where a subscriber of FastStream finds it too.
"""

import logging
from typing import Any

import redis.exceptions
from faststream.redis import RedisBroker

from service.delivery.sinks.base import PUBLISHES_AT_ONCE, Failures, Message, Sink, filled
from service.delivery.sinks.urls import RedisWords

_REFUSED = (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError)


class RedisSink(Sink[tuple[RedisBroker, Any], RedisWords]):
    """Adds entries to a stream; the broker's answer is the entry's id."""

    failures: Failures = (
        (_REFUSED, "failed", "The broker refused the user or password: {error}."),
        (redis.exceptions.TimeoutError, "timeout", "The broker did not answer in time, {seconds} s at most."),
        (
            redis.exceptions.ConnectionError,
            "unreachable",
            "No connection to the broker could be made, or it broke: {error}.",
        ),
    )

    async def _open(self) -> tuple[RedisBroker, Any]:
        broker = RedisBroker(
            self.url.servers[0],
            client_name="halley",
            max_connections=PUBLISHES_AT_ONCE,
            logger=logging.getLogger(__name__),
        )
        return broker, await broker.connect()

    async def _publish(self, connection: tuple[RedisBroker, Any], message: Message) -> None:
        fields = {
            "id": message.event_id,
            "type": message.event_type,
            "subject": message.subject_id,
            "content-type": message.content_type,
            **message.headers,
            "data": message.body,
        }
        await connection[1].xadd(filled(self.url.words.stream, message), fields, maxlen=self.url.words.maxlen)

    async def _shut(self, connection: tuple[RedisBroker, Any]) -> None:
        await connection[0].stop()
