"""Where events go: servers, channels, and what Halley does with each of them."""

from typing import Any, get_args

from msgspec import Struct

from service.api.asyncapi.messages import refs
from service.api.event_types import EVENT_TYPES
from service.api.parameters import EVENT_STREAM_OPTIONS
from service.definitions.json_schema import object_schema
from service.delivery.sinks.urls import KafkaWords, NatsWords, RedisWords
from service.lifecycle.run import EventType

_ALL: list[EventType] = list(EVENT_TYPES)
_OF_THE_CALLER = [name for name in _ALL if not name.startswith("endpoint.")]


class Broker(Struct, frozen=True):
    """A kind of broker that events go to.

    Attributes:
        protocol: Its name in AsyncAPI.
        host: Where it usually is.
        about: What its address is.
        address: Where events go unless the operator says otherwise; None where that must be said.
    """

    protocol: str
    host: str
    about: str
    address: str | None


_BROKERS = {
    "nats": Broker("nats", "localhost:4222", "NATS JetStream: the address is the subject.", NatsWords().subject),
    "kafka": Broker("kafka", "localhost:9092", "Kafka: the address is the topic.", KafkaWords().topic),
    "rabbitmq": Broker("amqp", "localhost:5672", "RabbitMQ: an exchange or a queue, which the operator names.", None),
    "redis": Broker("redis", "localhost:6379", "Redis: the address is the key of a stream.", RedisWords().stream),
}
_HTTP = "0.3.0"


def servers() -> dict[str, Any]:
    """Return who events are exchanged with: Halley itself, receivers, brokers."""
    brokers = {
        name: {
            "host": "{host}",
            "protocol": broker.protocol,
            "description": broker.about,
            "variables": {"host": {"default": broker.host}},
        }
        for name, broker in _BROKERS.items()
    }
    return {
        "halley": {"host": "127.0.0.1:2061", "protocol": "http", "description": "Where Halley serves its API."},
        "receiver": {
            "host": "{host}",
            "protocol": "https",
            "description": "Whatever URL was given, https or http; it is called byte for byte as it stands.",
            "variables": {"host": {"description": "Host and port of that URL."}},
        },
        **brokers,
    }


def channels() -> dict[str, Any]:
    """Return the channels."""
    return {
        "webhook_url": {
            "address": None,
            "title": "The webhook URL of a run or a group",
            "description": "The `webhook_url` that a start gave, with those types that its `webhook_events` name; "
            "by default those that end a run, `run.submit_unknown` and `run.recovered`.",
            "servers": _on("receiver"),
            "messages": refs(_OF_THE_CALLER, is_webhook=True),
        },
        "endpoint": {
            "address": None,
            "title": "An endpoint of `/v1/endpoints`",
            "description": "The URL that subscribed, with those types and runs that its filter names.",
            "servers": _on("receiver"),
            "messages": refs(_ALL, is_webhook=True),
        },
        "event_stream": {
            "address": "/v1/events/stream",
            "title": "Events as they come",
            "description": "Server-sent events: `id` is the event's, `event` its type, `data` the body. With "
            "`Last-Event-ID`, what came after that event is told first. `run.progressed` is told only when asked for.",
            "servers": _on("halley"),
            "messages": refs(_ALL),
        },
        **{name: _broker_channel(name, broker) for name, broker in _BROKERS.items()},
    }


def _broker_channel(name: str, broker: Broker) -> dict[str, Any]:
    slots = {
        "workspace": {"description": "Whose event it is.", "examples": ["default"]},
        "type": {"description": "The event's type.", "enum": list(get_args(EventType))},
    }
    used = {slot: about for slot, about in slots.items() if f"{{{slot}}}" in (broker.address or "")}
    return {
        "address": broker.address,
        "title": f"A message broker: {name}",
        "description": "At least once; the id of the event is the id of the message and tells repetitions. The address "
        "is the one that `HALLEY_SINKS` has by default.",
        "servers": _on(name),
        **({"parameters": used} if used else {}),
        "messages": refs(_ALL),
    }


def operations() -> dict[str, Any]:
    """Return what Halley does: it sends, everywhere."""
    signed = [{"$ref": "#/components/securitySchemes/standardWebhooks"}]
    query = object_schema(EVENT_STREAM_OPTIONS, ())
    keys = [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("apiKey", "bearer")]
    return {
        "post_to_webhook_url": _sends(
            "webhook_url",
            "Post an event to the URL that a start gave",
            "Sent again, for days, until it is answered with 2xx or 410. With `webhook_profile=plain` the body is "
            "`data` alone, with `webhook_method=GET` there is none.",
            security=signed,
            bindings={"http": {"method": "POST", "bindingVersion": _HTTP}},
        ),
        "post_to_endpoint": _sends(
            "endpoint",
            "Post an event to a subscriber",
            "Sent again, for days, until it is answered with 2xx or 410. With its `envelope` `run` the body is `data` "
            "alone; with `cloudevents` or `cloudevents-binary` the event is a CloudEvent 1.0.",
            security=signed,
            bindings={"http": {"method": "POST", "bindingVersion": _HTTP}},
        ),
        "stream_events": _sends(
            "event_stream",
            "Tell events to whoever listens",
            "Ends when Halley stops, and after an hour; come back with `Last-Event-ID`, and nothing is missed.",
            security=keys,
            bindings={"http": {"method": "GET", "query": query, "bindingVersion": _HTTP}},
        ),
        **{
            f"publish_to_{name}": _sends(name, f"Publish an event: {name}", "If the operator has set one up.")
            for name in _BROKERS
        },
    }


def _on(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/servers/{name}"} for name in names]


def _sends(channel: str, title: str, about: str, **words: Any) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "title": title,
        "description": about,
        **words,
    }
