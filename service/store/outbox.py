"""Deliveries: events on their way to those who wait, as the store keeps them. Values and verbs, no SQL."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from service.lifecycle.run import Entry, WebhookMethod

DeliveryState = Literal["pending", "delivered", "failed"]


class DueTarget(NamedTuple):
    """A receiver that has due deliveries.

    Attributes:
        target: Names it: the id of an endpoint, or what stands in `Webhook.target`.
        workspace: Whose events are due.
        concurrency: Most attempts at a time, where its endpoint says so.
        rate_per_s: Most attempts a second, where its endpoint says so.
    """

    target: str
    workspace: str
    concurrency: int | None
    rate_per_s: float | None


class Delivery(Struct, frozen=True, kw_only=True):
    """An event on its way to one receiver, claimed for one attempt.

    Attributes:
        run_id: The run, group or endpoint that the event tells of.
        url: Where it goes; "" for an endpoint's, which knows that itself.
        endpoint_id: The endpoint; None for the `webhook_url` of a run or group.
        target: Names the receiver: what has the same target shares its limits.
        leased_until: When the claim ends.
        profile: How the receiver's answers are understood.
        method: How the receiver is called.
        first_at: When the first attempt was begun.
        until: The run's deadline; None for those that were written before it was kept.
    """

    id: str
    event_id: str
    event_type: str
    run_id: str
    workspace: str
    url: str
    endpoint_id: str | None = None
    target: str = ""
    attempts: int
    body: bytes
    leased_until: float
    profile: str
    method: WebhookMethod
    first_at: float
    until: float | None


class DeliveryResult(Struct, frozen=True, kw_only=True):
    """What became of a delivery attempt."""

    state: DeliveryState
    attempts: int
    due_at: float | None
    outcome: str = ""
    status: int | None = None
    entry: Entry


class DeliveryRecord(Struct, frozen=True, kw_only=True):
    """A delivery as the log shows it.

    Attributes:
        run_id: The run, group or endpoint that the event tells of.
        endpoint_id: The endpoint; None for the `webhook_url` of a run or group.
        due_at: When it is tried next.
        outcome: How the last attempt ended.
        status: HTTP status of the last answer.
        attempted_at: When the last attempt ended.
    """

    id: str
    event_id: str
    event_type: str
    run_id: str
    workspace: str
    endpoint_id: str | None
    state: DeliveryState
    attempts: int
    due_at: float | None
    outcome: str | None
    status: int | None
    attempted_at: float | None


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Which deliveries to list; `before` is the id after which a page goes on."""

    workspace: str
    endpoint: str | None = None
    run: str | None = None
    event: str | None = None
    state: DeliveryState | None = None
    before: str | None = None
    limit: int = 50


class Outbox(Protocol):
    """Deliveries: claimed, finished, looked at, sent again."""

    async def due_targets(self, now: float) -> list[DueTarget]:
        """Return the receivers that have due deliveries, the one that has waited longest first."""

    async def claim_deliveries(self, now: float, rooms: Mapping[str, int], lease_s: float) -> list[Delivery]:
        """Lease due deliveries for one attempt each: for each target in `rooms` so many at most."""

    async def finish_delivery(self, delivery: Delivery, result: DeliveryResult) -> None:
        """Write what became of an attempt, unless another has been begun meanwhile; what was delivered stays so."""

    async def note_attempt(self, record: DeliveryRecord, entry: Entry) -> None:
        """Keep what became of an attempt that was made beside the ladder."""

    async def deliveries(self, wanted: DeliveryFilter) -> list[DeliveryRecord]:
        """List deliveries, newest first."""

    async def delivery(self, workspace: str, delivery_id: str) -> DeliveryRecord | None:
        """Return a delivery."""

    async def attempts(self, delivery_id: str) -> list[Entry]:
        """Return what became of each attempt of a delivery, oldest first."""

    async def send_again(self, delivery_ids: Sequence[str], now: float) -> int:
        """Make deliveries due now, from the bottom of their ladders; returns how many there are.

        One whose attempt is under way is left to it, unless it has come to an end.
        """

    async def replay(self, workspace: str, event_id: str, endpoint_id: str | None, now: float) -> int:
        """Send an event again: to all that it went to, or to one endpoint, whether it had it or not.

        Returns:
            How many deliveries are due by it.
        """

    async def recover(self, endpoint_id: str, since: float, now: float) -> int:
        """Send an endpoint all that it should have got since a moment and has not, or that was given up since.

        Returns:
            How many deliveries are due by it.
        """

    async def body_of(self, workspace: str, event_id: str) -> tuple[str, bytes] | None:
        """Return the type and the body of an event."""
