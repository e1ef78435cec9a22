"""All sinks of a process: made from the setting, found by name, closed together."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from service.delivery.sinks.base import Sink
from service.delivery.sinks.urls import Kind, SinkUrl, Words
from service.errors import SettingsError

# Imported when a sink of the kind is named: clients cost memory and time, and are an extra.
_CLASSES: dict[Kind, tuple[str, str]] = {
    "nats": ("service.delivery.sinks.nats", "NatsSink"),
    "redis": ("service.delivery.sinks.redis", "RedisSink"),
    "kafka": ("service.delivery.sinks.kafka", "KafkaSink"),
    "amqp": ("service.delivery.sinks.rabbit", "RabbitSink"),
}

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

    @property
    def names(self) -> Sequence[str]:
        """Names of all sinks, as the setting lists them."""
        return list(self._sinks)

    def wanting(self, event_type: str) -> Sequence[str]:
        """Return the names of the sinks that events of a type go to."""
        return [sink.name for sink in self._sinks.values() if sink.url.wants(event_type)]

    def get(self, name: str) -> Sink[Any, Words] | None:
        """Return a sink, or None when the setting does not name it any more."""
        return self._sinks.get(name)

    async def close(self) -> None:
        """Drop all connections, within a few seconds."""
        await asyncio.gather(*(sink.close() for sink in self._sinks.values()))


def _made(url: SinkUrl[Words]) -> Sink[Any, Words]:
    module, name = _CLASSES[url.kind]
    try:
        sink: Sink[Any, Words] = getattr(import_module(module), name)(url)
    except ImportError:
        raise SettingsError(
            f"HALLEY_SINKS: {url.name} needs packages that are not installed: pip install 'halley[sinks]'"
        ) from None
    return sink
