"""The requests that Halley makes to receivers: `webhooks` of the document and `callbacks` of every start."""

from typing import Any

from msgspec import Struct

from service.api.event_types import EVENT_TYPES
from service.api.openapi.schemas import schema_ref
from service.lifecycle.run import EventType
from service.lifecycle.view import EventView

_DELIVERY = (
    "Sent at least once and signed by Standard Webhooks. `webhook-id` tells repetitions, `sequence` in the body "
    "tells the order of a run's events. Only 2xx counts as delivered; redirects are not followed. With "
    "`webhook_profile=plain` the body is the run alone, with `webhook_method=GET` there is none."
)
SIGNATURE_HEADERS = {
    "webhook-id": "Id of the event, the same on every attempt.",
    "webhook-timestamp": "When this attempt was made, in epoch seconds.",
    "webhook-signature": "Signatures over `id.timestamp.body`, separated by spaces: `v1,` and the Base64 of an "
    "HMAC-SHA256 for each secret, `v1a,` and the Base64 of an ed25519 signature for each key of "
    "`/.well-known/jwks.json`.",
}


def webhooks() -> dict[str, Any]:
    """Describe the request that tells of each type of event."""
    return {name: {"post": event_request(name, told.about, told.body)} for name, told in EVENT_TYPES.items()}


def event_request(
    name: EventType | None = None, summary: str = "An event of the run", body: type[Struct] = EventView
) -> dict[str, Any]:
    """Describe a request that tells of an event, of a certain type or of any."""
    event = schema_ref(body.__name__)
    only = {"type": "object", "properties": {"type": {"const": name}}}
    return {
        "summary": summary,
        "description": _DELIVERY,
        "parameters": [
            {
                "name": header,
                "in": "header",
                "required": True,
                "description": about,
                "schema": {"type": "string"},
            }
            for header, about in SIGNATURE_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"allOf": [event, only]} if name else event}},
        },
        "responses": {
            "2XX": {"description": "Taken."},
            "410": {"description": "Not wanted any more; it is not sent again."},
            "default": {"description": "Not taken; it is sent again, with growing pauses."},
        },
        "security": [],
    }
