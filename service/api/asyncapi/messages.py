"""Messages: one for each type of event as it is told anywhere, and one with the headers of a webhook."""

from typing import Any

import msgspec

from service.api.event_types import EVENT_ID, EVENT_TYPES, Told, example
from service.api.openapi.events import SIGNATURE_HEADERS
from service.api.openapi.schemas import schema_ref, schemas_of
from service.lifecycle.run import EventType, Run

_WEBHOOK = "webhook."
_EXAMPLE_HEADERS = {
    "webhook-id": EVENT_ID,
    "webhook-timestamp": "1795341667",
    "webhook-signature": "v1,Base64 v1a,Base64",
}


def refs(names: list[EventType], *, is_webhook: bool = False) -> dict[str, Any]:
    """Refer to the messages of a channel, by their types."""
    prefix = _WEBHOOK if is_webhook else ""
    return {name: {"$ref": f"#/components/messages/{prefix}{name}"} for name in names}


def messages(run: Run) -> dict[str, Any]:
    """Return all messages.

    Args:
        run: What examples tell of.
    """
    plain: dict[str, Any] = {name: _message(name, told, run) for name, told in EVENT_TYPES.items()}
    signed = {f"{_WEBHOOK}{name}": _signed(message) for name, message in plain.items()}
    return {**plain, **signed}


def schemas() -> dict[str, Any]:
    """Return the schema of each type's body, and of all that stands in it."""
    bodies: dict[str, Any] = {
        name: {
            "title": name,
            "allOf": [
                schema_ref(told.body.__name__),
                {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]},
            ],
        }
        for name, told in EVENT_TYPES.items()
    }
    return {**bodies, **schemas_of(tuple({told.body: None for told in EVENT_TYPES.values()}))}


def traits() -> dict[str, Any]:
    """Return what messages have in common."""
    return {
        "signed": {
            "headers": {
                "type": "object",
                "properties": {
                    name: {"type": "string", "description": about} for name, about in SIGNATURE_HEADERS.items()
                },
                "required": list(SIGNATURE_HEADERS),
            },
            "correlationId": {
                "location": "$message.header#/webhook-id",
                "description": "The same on every attempt; it tells repetitions.",
            },
        }
    }


def _message(name: EventType, told: Told, run: Run) -> dict[str, Any]:
    return {
        "name": name,
        "title": told.about,
        "contentType": "application/json",
        "payload": schema_ref(name),
        "tags": [{"name": name.partition(".")[0]}],
        "examples": [{"name": name, "payload": msgspec.to_builtins(example(name, run))}],
    }


def _signed(message: dict[str, Any]) -> dict[str, Any]:
    examples = [{**each, "headers": _EXAMPLE_HEADERS} for each in message["examples"]]
    return {**message, "traits": [{"$ref": "#/components/messageTraits/signed"}], "examples": examples}
