"""Kafka: a record that all in-sync replicas have, keyed by run so that the events of one run keep their order."""

import ssl

import aiokafka.errors
from aiokafka.client import AIOKafkaClient
from faststream.kafka import KafkaBroker
from faststream.kafka.security import parse_security
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from service.delivery.sinks.base import Failures, Message, Sink, filled, told_headers
from service.delivery.sinks.urls import KafkaWords

# The broker's own limit decides, not the client's.
_MOST_BYTES = 64 * 1024 * 1024
_MECHANISMS = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}


class KafkaSink(Sink[KafkaBroker, KafkaWords]):
    """Publishes records and waits until they are acknowledged by all replicas."""

    failures: Failures = (
        (
            (aiokafka.errors.AuthenticationFailedError, aiokafka.errors.SaslAuthenticationFailed),
            "failed",
            "The broker refused the user or password.",
        ),
        (
            (aiokafka.errors.KafkaTimeoutError, aiokafka.errors.RequestTimedOutError),
            "timeout",
            "The broker did not answer in time, {seconds} s at most.",
        ),
        (
            (aiokafka.errors.KafkaConnectionError, aiokafka.errors.NodeNotReadyError, aiokafka.errors.ProducerClosed),
            "unreachable",
            "No connection to the broker could be made, or it broke: {error}.",
        ),
        (aiokafka.errors.MessageSizeTooLargeError, "failed", "The event is larger than the topic takes."),
    )

    async def _open(self) -> KafkaBroker:
        security = self._security()
        await self._knock(security)
        broker = KafkaBroker(
            list(self.url.hosts),
            client_id="halley",
            acks="all",
            enable_idempotence=True,
            max_request_size=_MOST_BYTES,
            security=security,
            logger=None,
        )
        await broker.connect()
        return broker

    async def _knock(self, security: BaseSecurity | None) -> None:
        client = AIOKafkaClient(bootstrap_servers=list(self.url.hosts), **parse_security(security))
        try:
            await client.bootstrap()
        finally:
            await client.close()

    async def _publish(self, connection: KafkaBroker, message: Message) -> None:
        await connection.publish(
            message.body,
            filled(self.url.words.topic, message),
            key=message.subject_id.encode(),
            headers=told_headers(message),
            correlation_id=message.event_id,
        )

    async def _shut(self, connection: KafkaBroker) -> None:
        await connection.stop()

    def _security(self) -> BaseSecurity | None:
        words = self.url.words
        context = ssl.create_default_context() if words.security_protocol.endswith("SSL") else None
        if words.security_protocol.startswith("SASL"):
            login = _MECHANISMS[words.sasl_mechanism]
            return login(self.url.user, self.url.password.reveal(), ssl_context=context, use_ssl=context is not None)
        return BaseSecurity(ssl_context=context, use_ssl=True) if context else None
