"""What is written of runs, as rows: one `Writes` holds all that a set of decisions brings, for whichever engine.

The order of the fields is the order of the values in the engines' statements. Nothing here knows an engine.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from service.ids import new_id
from service.lifecycle.run import Change, Entry, Run, Webhook
from service.lifecycle.states import FINAL
from service.lifecycle.view import Sign, events_of
from service.store.base import (
    Allowance,
    Delivery,
    EventFilter,
    FileRecord,
    Idempotency,
    KeptEvent,
    KeyRecord,
    Place,
)

_encode = msgspec.json.Encoder().encode
_decode_run = msgspec.json.Decoder(Run).decode
decode_any = msgspec.json.Decoder().decode

Row = tuple[Any, ...]


class Update(NamedTuple):
    """A run after a change; `version` is the one that the decision was made on."""

    id: str
    version: int
    state: str
    due_at: float | None
    deadline_at: float | None
    leased_by: str | None
    doc: str


class Insert(NamedTuple):
    """A new run with its input, the idempotency key that it takes and the allowance that it counts against."""

    id: str
    workspace: str
    node: str
    lane: str
    state: str
    reference: str | None
    group_id: str | None
    callback_token: str
    created_at: float
    due_at: float | None
    deadline_at: float | None
    leased_by: str | None
    doc: str
    input: bytes
    scope: str | None
    key: str | None
    fingerprint: str | None
    keyed_at: float | None
    expires_at: float | None
    key_id: str | None
    day: str | None
    runs_per_day: int | None


class EventRow(NamedTuple):
    """An event in the outbox."""

    id: str
    workspace: str
    run_id: str
    sequence: int
    type: str
    created_at: float
    body: bytes


class DeliveryRow(NamedTuple):
    """An event on its way to one URL."""

    id: str
    event_id: str
    run_id: str
    workspace: str
    url: str
    due_at: float
    profile: str
    method: str
    until: float


class FinishRow(NamedTuple):
    """What became of an attempt of a delivery; `leased_until` is the token of whoever made it."""

    id: str
    leased_until: float
    state: str
    attempts: int
    due_at: float | None


class EntryRow(NamedTuple):
    """A line of a timeline."""

    run_id: str
    at: float
    kind: str
    detail: str


class CallbackRow(NamedTuple):
    """An inbound callback."""

    run_id: str
    received_at: float
    body: bytes


class Writes:
    """Rows that are written together: those of one run all or not at all."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.inserts: list[Insert] = []
        self.events: list[EventRow] = []
        self.deliveries: list[DeliveryRow] = []
        self.finishes: list[FinishRow] = []
        self.entries: list[EntryRow] = []
        self.callbacks: list[CallbackRow] = []

    def __bool__(self) -> bool:
        return bool(self.updates or self.inserts or self.callbacks or self.finishes)

    def run_ids(self) -> set[str]:
        """Return the runs that are inserted or changed."""
        return {row.id for row in self.updates} | {row.id for row in self.inserts}

    def add(self, other: "Writes") -> None:
        """Take in what belongs to other runs."""
        self.updates += other.updates
        self.inserts += other.inserts
        self.events += other.events
        self.deliveries += other.deliveries
        self.finishes += other.finishes
        self.entries += other.entries
        self.callbacks += other.callbacks

    def tell(self, change: Change, now: float, sign: Sign | None) -> None:
        """Add what is told of a change: its events, their deliveries, its timeline."""
        run = change.run
        for event in events_of(change, now, sign):
            self.events.append(
                EventRow(event.id, run.workspace, run.id, event.sequence, event.type, now, _encode(event))
            )
            if run.webhook is not None and event.type in run.webhook.events:
                self.deliveries.append(_delivery(run, run.webhook, event.id, now))
        self.entries += entry_rows(run.id, change.entries)


def _delivery(run: Run, webhook: Webhook, event_id: str, now: float) -> DeliveryRow:
    return DeliveryRow(
        id=new_id("dlv", now),
        event_id=event_id,
        run_id=run.id,
        workspace=run.workspace,
        url=webhook.url,
        due_at=now,
        profile=webhook.profile,
        method=webhook.method,
        until=run.deadline_at,
    )


def update(run: Run, version: int, owner: str) -> Update:
    """Return the row of a changed run; one that is being submitted belongs to whoever submits it."""
    return Update(
        id=run.id,
        version=version,
        state=run.state,
        due_at=run.due_at,
        deadline_at=_open_deadline(run),
        leased_by=owner if run.state == "submitting" else None,
        doc=_encode(run).decode(),
    )


def insert(
    run: Run,
    full_input: dict[str, Any],
    key: Idempotency | None,
    allowance: Allowance | None,
    *,
    owner: str,
    now: float,
) -> Insert:
    """Return the row of a new run, which the process that took it in may submit first."""
    return Insert(
        id=run.id,
        workspace=run.workspace,
        node=run.node,
        lane=run.lane,
        state=run.state,
        reference=run.reference,
        group_id=run.group,
        callback_token=run.callback_token,
        created_at=run.created_at,
        due_at=run.due_at,
        deadline_at=_open_deadline(run),
        leased_by=owner,
        doc=_encode(run).decode(),
        input=_encode(full_input),
        scope=key.scope if key else None,
        key=key.key if key else None,
        fingerprint=key.fingerprint if key else None,
        keyed_at=now if key else None,
        expires_at=now + key.kept_s if key else None,
        key_id=allowance.key_id if allowance else None,
        day=day_of(now) if allowance else None,
        runs_per_day=allowance.runs_per_day if allowance else None,
    )


def day_of(now: float) -> str:
    """Return the day (UTC) that a moment falls on."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _open_deadline(run: Run) -> float | None:
    return None if run.state in FINAL else run.deadline_at


def entry_rows(run_id: str, entries: Iterable[Entry]) -> list[EntryRow]:
    """Return the rows of timeline entries."""
    return [EntryRow(run_id, entry.at, entry.kind, _encode(entry.detail).decode()) for entry in entries]


def run_of(doc: str | bytes, due_at: float | None) -> Run:
    """Return the run of a row. The column is the truth: leases and wake-ups move it without the document."""
    return msgspec.structs.replace(_decode_run(doc), due_at=due_at)


def delivery_of(row: Row, leased_until: float) -> Delivery:
    """Return a claimed delivery."""
    ident, event_id, run_id, workspace, url, attempts, profile, method, first_at, until, event_type, body = row
    return Delivery(
        id=ident,
        event_id=event_id,
        event_type=event_type,
        run_id=run_id,
        workspace=workspace,
        url=url,
        attempts=attempts,
        body=body,
        leased_until=leased_until,
        profile=profile,
        method=method,
        first_at=first_at,
        until=until,
    )


def event_values(wanted: EventFilter, place: Place, limit: int) -> dict[str, Any]:
    """Return the values of a statement that lists events; a node's `*` becomes what SQL knows."""
    pattern = None if wanted.node is None else wanted.node.replace("_", r"\_").replace("*", "%")
    return {
        "workspace": wanted.workspace,
        "types": list(wanted.types),
        "node": pattern,
        "reference": wanted.reference,
        "run": wanted.run,
        "place": place.number,
        "id": place.event_id,
        "limit": limit,
    }


def event_of(row: Row) -> KeptEvent:
    """Return the event of a row."""
    number, ident, event_type, body = row
    return KeptEvent(id=ident, type=event_type, place=Place(number, ident), body=body)


def key_values(record: KeyRecord) -> dict[str, Any]:
    """Return an API key's columns."""
    return {**msgspec.structs.asdict(record), "nodes": _encode(record.nodes).decode()}


def key_of(row: Row) -> KeyRecord:
    """Return the API key of a row."""
    ident, name, workspace, hint, scope, nodes, runs_per_day, created_at, revoked_at = row
    return KeyRecord(
        id=ident,
        name=name,
        workspace=workspace,
        hint=hint,
        scope=scope,
        nodes=tuple(decode_any(nodes)),
        runs_per_day=runs_per_day,
        created_at=created_at,
        revoked_at=revoked_at,
    )


def file_of(row: Row) -> FileRecord:
    """Return the upload of a row."""
    return FileRecord(**dict(zip(FileRecord.__struct_fields__, row, strict=True)))
