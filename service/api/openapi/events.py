"""The requests that Halley makes to receivers: `webhooks` of the document and `callbacks` of every start."""

from typing import Any

from service.api.openapi.schemas import schema_ref
from service.lifecycle.run import EventType

_MEANINGS: dict[EventType, str] = {
    "run.queued": "The run was accepted",
    "run.running": "Upstream works on the run",
    "run.progressed": "The progress of the run has moved",
    "run.succeeded": "The result is there",
    "run.failed": "The run has ended without a result",
    "run.canceled": "The run was canceled",
    "run.timed_out": "The run was given up at its deadline",
    "run.submit_unknown": "Nobody can know whether upstream accepted the run",
    "run.recovered": "The result of a run that had timed out has come after all",
}
_DELIVERY = (
    "Sent at least once and signed by Standard Webhooks. `webhook-id` tells repetitions, `sequence` in the body "
    "tells the order of a run's events. Only 2xx counts as delivered; redirects are not followed. With "
    "`webhook_profile=plain` the body is the run alone, with `webhook_method=GET` there is none."
)
_SIGNATURE = {
    "webhook-id": "Id of the event, the same on every attempt.",
    "webhook-timestamp": "When this attempt was made, in epoch seconds.",
    "webhook-signature": "Signatures over `id.timestamp.body`, separated by spaces: `v1,` and the Base64 of an "
    "HMAC-SHA256 for each secret, `v1a,` and the Base64 of an ed25519 signature for each key of "
    "`/.well-known/jwks.json`.",
}


def webhooks() -> dict[str, Any]:
    """Describe the request that tells of each type of event."""
    return {name: {"post": event_request(name, meaning)} for name, meaning in _MEANINGS.items()}


def event_request(name: EventType | None = None, summary: str = "An event of the run") -> dict[str, Any]:
    """Describe a request that tells of an event, of a certain type or of any."""
    event = schema_ref("EventView")
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
            for header, about in _SIGNATURE.items()
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
