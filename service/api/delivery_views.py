"""What users see of a delivery, in the log and beside its run."""

from typing import Any

from msgspec import Struct

from service.clock import isoformat
from service.store.outbox import DeliveryRecord, DeliveryState


class DeliveryView(Struct, frozen=True, kw_only=True):
    """An event on its way to one receiver.

    Attributes:
        event: Id of the event.
        type: Its type.
        about: The run, group or endpoint that it tells of.
        endpoint: The endpoint; null for the `webhook_url` of a run or group.
        attempts: Attempts made.
        outcome: How the last one ended.
        status: HTTP status of the last answer.
        attempted_at: When the last attempt ended.
        next_attempt_at: When the next one is made; null also while one is under way.
    """

    id: str
    event: str
    type: str
    about: str
    endpoint: str | None
    state: DeliveryState
    attempts: int
    outcome: str | None
    status: int | None
    attempted_at: str | None
    next_attempt_at: str | None


def delivery_view(record: DeliveryRecord) -> DeliveryView:
    """Return what users see of a delivery."""
    return DeliveryView(**delivery_words(record))


def delivery_words(record: DeliveryRecord) -> dict[str, Any]:
    """Return the same as the words of a `DeliveryView`."""
    return {
        "id": record.id,
        "event": record.event_id,
        "type": record.event_type,
        "about": record.run_id,
        "endpoint": record.endpoint_id,
        "state": record.state,
        "attempts": record.attempts,
        "outcome": record.outcome,
        "status": record.status,
        "attempted_at": None if record.attempted_at is None else isoformat(record.attempted_at),
        "next_attempt_at": None if record.due_at is None else isoformat(record.due_at),
    }
