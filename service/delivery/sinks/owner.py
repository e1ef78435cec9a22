"""All sinks of a process: made from the setting, found by name, closed together."""

import asyncio
import functools
import logging
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import msgspec

from service.delivery.profiles import BROKER
from service.delivery.receivers import hash_url
from service.delivery.sinks.base import PUBLISHES_AT_ONCE, Sink
from service.delivery.sinks.urls import Kind, SinkUrl, Words
from service.errors import SettingsError
from service.lifecycle.endpoint import EVERYWHERE, Endpoint, EndpointChange
from service.store.base import Store

# Imported when a sink of the kind is named: clients cost memory and time, and are an extra.
_CLASSES: dict[Kind, tuple[str, str]] = {
    "nats": ("service.delivery.sinks.nats", "NatsSink"),
    "redis": ("service.delivery.sinks.redis", "RedisSink"),
    "kafka": ("service.delivery.sinks.kafka", "KafkaSink"),
    "amqp": ("service.delivery.sinks.rabbit", "RabbitSink"),
}

_MOST_KEPT = 1000

# What they complain of is told by the outcome of each publish; in an outage they would say it again and again.
_CHATTY = ("aio_pika", "aiormq", "aiokafka", "nats")


class Sinks:
    """The sinks that the operator has named. None of them connects before its first message.

    Args:
        urls: Where they are.

    Raises:
        SettingsError: The packages of a broker are not installed.
    """

    def __init__(self, urls: Iterable[SinkUrl[Words]]) -> None:
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._sinks = {url.name: _made(url) for url in urls}

    async def subscribe(self, store: Store, now: float) -> None:
        """Have events written for the sinks, and for none that the setting does not name any more."""
        for left in await store.endpoints(EVERYWHERE, limit=_MOST_KEPT):
            if left.id not in self._sinks:
                await store.delete_endpoint(EVERYWHERE, left.id)
        for sink in self._sinks.values():
            wanted = _endpoint(sink, now)
            await store.add_endpoint(wanted)
            await store.change_endpoint(sink.name, functools.partial(_told_anew, wanted=wanted))

    def get(self, name: str) -> Sink[Any, Words] | None:
        """Return a sink, or None when the setting does not name it any more."""
        return self._sinks.get(name)

    async def close(self) -> None:
        """Drop all connections, within a few seconds."""
        await asyncio.gather(*(sink.close() for sink in self._sinks.values()))


def _endpoint(sink: Sink[Any, Words], now: float) -> Endpoint:
    return Endpoint(
        id=sink.name,
        workspace=EVERYWHERE,
        url="",
        url_hash=hash_url(sink.name),
        origin=sink.name,
        types=sink.url.types,
        profile=BROKER.name,
        envelope=sink.url.words.envelope,
        concurrency=PUBLISHES_AT_ONCE,
        created_at=now,
    )


def _told_anew(current: Endpoint, wanted: Endpoint) -> EndpointChange | None:
    renewed = msgspec.structs.replace(wanted, created_at=current.created_at)
    return None if renewed == current else EndpointChange(endpoint=renewed)


def _made(url: SinkUrl[Words]) -> Sink[Any, Words]:
    module, name = _CLASSES[url.kind]
    try:
        sink: Sink[Any, Words] = getattr(import_module(module), name)(url)
    except ImportError:
        raise SettingsError(
            f"HALLEY_SINKS: {url.name} needs packages that are not installed: pip install 'halley[sinks]'"
        ) from None
    return sink
