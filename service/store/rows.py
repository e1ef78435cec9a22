"""What is written of runs, as rows: one `Writes` holds all that a set of decisions brings, for whichever engine.

The order of the fields is the order of the values in the engines' statements. Nothing here knows an engine.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from service.ids import new_id
from service.lifecycle.endpoint import EVERYWHERE, Endpoint, EndpointChange
from service.lifecycle.group import Group, GroupChange
from service.lifecycle.run import Change, Entry, Run, Webhook
from service.lifecycle.states import FINAL
from service.lifecycle.view import AnyEventView, Sign, endpoint_event, events_of, group_event
from service.store.base import EventFilter, FileRecord, KeptEvent, KeyRecord, Place
from service.store.outbox import Delivery
from service.store.starts import Allowance, Idempotency

_encode = msgspec.json.Encoder().encode
_decode_run = msgspec.json.Decoder(Run).decode
_decode_endpoint = msgspec.json.Decoder(Endpoint).decode
_decode_group = msgspec.json.Decoder(Group).decode
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
    """A new run with its input, the idempotency key that it takes and the allowance that it counts against.

    `leader` is the run without which it is not inserted: its own id, or that of the first run of a group.
    """

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
    leader: str


class EventRow(NamedTuple):
    """An event in the outbox; `run_id` names what it tells of: a run, a group or an endpoint."""

    id: str
    workspace: str
    run_id: str
    sequence: int
    type: str
    created_at: float
    body: bytes


class FanRow(NamedTuple):
    """An event and what endpoints are matched by: each that wants it gets a delivery."""

    event_id: str
    run_id: str
    workspace: str
    type: str
    node: str | None
    reference: str | None
    group_id: str | None
    at: float


class DeliveryRow(NamedTuple):
    """An event on its way to one URL."""

    id: str
    event_id: str
    run_id: str
    workspace: str
    url: str
    target: str
    due_at: float
    profile: str
    method: str
    until: float
    leased_by: str | None = None
    first_at: float | None = None


class FinishRow(NamedTuple):
    """What became of an attempt of a delivery; `leased_until` is the token of whoever made it."""

    id: str
    leased_until: float
    state: str
    attempts: int
    due_at: float | None
    outcome: str
    status: int | None
    attempted_at: float


class EntryRow(NamedTuple):
    """A line of a timeline."""

    run_id: str
    at: float
    kind: str
    detail: str
    delivery_id: str | None = None


class EndpointRow(NamedTuple):
    """An endpoint after a change; `version` is the one that the decision was made on."""

    id: str
    version: int
    url_hash: str
    identity: str
    state: str
    types: str
    nodes: str
    reference_prefix: str | None
    group_key: str | None
    expires_at: float | None
    due_at: float | None
    concurrency: int | None
    rate_per_s: float | None
    doc: str


class GroupRow(NamedTuple):
    """A group, new or after a change.

    `version` is the one that the decision was made on; `leader` is the run without which a new one is not inserted.
    """

    id: str
    version: int
    workspace: str
    group_key: str
    state: str
    due_at: float | None
    doc: str
    leader: str | None = None
    identity: str | None = None


class NewsRow(NamedTuple):
    """A run of a group has ended, so somebody must look at the group."""

    workspace: str
    group_key: str


class CallbackRow(NamedTuple):
    """An inbound callback."""

    run_id: str
    received_at: float
    body: bytes


class Writes:
    """Rows that are written together: those of one run all or not at all.

    Attributes:
        is_fanned_out: Said by the engine that wrote them: endpoints have deliveries of these events.
    """

    def __init__(self) -> None:
        self.is_fanned_out = False
        self.updates: list[Update] = []
        self.inserts: list[Insert] = []
        self.endpoints: list[EndpointRow] = []
        self.new_groups: list[GroupRow] = []
        self.groups: list[GroupRow] = []
        self.events: list[EventRow] = []
        self.fans: list[FanRow] = []
        self.deliveries: list[DeliveryRow] = []
        self.finishes: list[FinishRow] = []
        self.entries: list[EntryRow] = []
        self.callbacks: list[CallbackRow] = []
        self.news: list[NewsRow] = []

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def changed_ids(self) -> set[str]:
        """Return the runs, endpoints and groups that are inserted or changed."""
        runs = {row.id for row in self.updates} | {row.id for row in self.inserts}
        return runs | {row.id for row in self.endpoints} | {row.id for row in (*self.new_groups, *self.groups)}

    def add(self, other: "Writes") -> None:
        """Take in what belongs to others."""
        for name, rows in vars(other).items():
            if isinstance(rows, list):
                vars(self)[name] += rows

    def tell(self, change: Change, now: float, sign: Sign | None) -> None:
        """Add what is told of a change of a run: its events, their deliveries, its timeline."""
        run = change.run
        for event in events_of(change, now, sign):
            fan = FanRow(event.id, run.id, run.workspace, event.type, run.node, run.reference, run.group, now)
            self._tell(event, fan, run.webhook, until=run.deadline_at)
        self.entries += entry_rows(run.id, change.entries)
        if run.is_final and run.group is not None:
            self.news.append(NewsRow(run.workspace, run.group))

    def tell_group(self, change: GroupChange, now: float, sign: Sign | None) -> None:
        """Add what is told of a change of a group."""
        group, event = change.group, group_event(change, now, sign)
        if event is not None:
            fan = FanRow(event.id, group.id, group.workspace, event.type, None, group.reference, group.key, now)
            self._tell(event, fan, group.webhook, until=group.deadline_at)

    def tell_endpoint(self, change: EndpointChange, now: float) -> None:
        """Add what is told of a change of an endpoint."""
        endpoint, event = change.endpoint, endpoint_event(change, now)
        if event is not None and endpoint.workspace != EVERYWHERE:
            fan = FanRow(event.id, endpoint.id, endpoint.workspace, event.type, None, None, None, now)
            self._tell(event, fan, None, until=now)

    def _tell(self, event: AnyEventView, fan: FanRow, webhook: Webhook | None, *, until: float) -> None:
        self.events.append(
            EventRow(fan.event_id, fan.workspace, fan.run_id, event.sequence, fan.type, fan.at, _encode(event))
        )
        self.fans.append(fan)
        if webhook is not None and event.type in webhook.events:
            self.deliveries.append(
                DeliveryRow(
                    id=new_id("dlv", fan.at),
                    event_id=fan.event_id,
                    run_id=fan.run_id,
                    workspace=fan.workspace,
                    url=webhook.url,
                    target=webhook.target,
                    due_at=fan.at,
                    profile=webhook.profile,
                    method=webhook.method,
                    until=until,
                )
            )


def update(run: Run, version: int, owner: str, *, is_leased: bool = False) -> Update:
    """Return the row of a changed run; one that is leased or being submitted belongs to whoever has it in hand."""
    return Update(
        id=run.id,
        version=version,
        state=run.state,
        due_at=run.due_at,
        deadline_at=_open_deadline(run),
        leased_by=owner if is_leased or run.state == "submitting" else None,
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
    leader: str | None = None,
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
        leader=leader or run.id,
    )


def day_of(now: float) -> str:
    """Return the day (UTC) that a moment falls on."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _open_deadline(run: Run) -> float | None:
    return None if run.state in FINAL else run.deadline_at


def entry_rows(run_id: str, entries: Iterable[Entry], delivery_id: str | None = None) -> list[EntryRow]:
    """Return the rows of timeline entries; those of a delivery's attempts are found by it as well."""
    return [EntryRow(run_id, entry.at, entry.kind, _encode(entry.detail).decode(), delivery_id) for entry in entries]


def entry_of(row: Row) -> Entry:
    """Return a line of a timeline."""
    at, kind, detail = row
    return Entry(at=at, kind=kind, detail=decode_any(detail))


def run_of(doc: str | bytes, due_at: float | None) -> Run:
    """Return the run of a row. The column is the truth: leases and wake-ups move it without the document."""
    run = _decode_run(doc)
    return run if run.due_at == due_at else msgspec.structs.replace(run, due_at=due_at)


def endpoint_row(endpoint: Endpoint, version: int) -> EndpointRow:
    """Return the row of an endpoint."""
    return EndpointRow(
        id=endpoint.id,
        version=version,
        url_hash=endpoint.url_hash,
        identity=endpoint.identity,
        state=endpoint.state,
        types=_encode(endpoint.types).decode(),
        nodes=_encode([like(pattern) for pattern in endpoint.nodes]).decode(),
        reference_prefix=endpoint.reference_prefix,
        group_key=endpoint.group,
        expires_at=endpoint.expires_at,
        due_at=endpoint.due_at,
        concurrency=endpoint.concurrency,
        rate_per_s=endpoint.rate_per_s,
        doc=_encode(endpoint).decode(),
    )


def group_row(group: Group, version: int, leader: str | None = None) -> GroupRow:
    """Return the row of a group."""
    doc = _encode(group).decode()
    return GroupRow(
        id=group.id,
        version=version,
        workspace=group.workspace,
        group_key=group.key,
        state=group.state,
        due_at=group.due_at,
        doc=doc,
        leader=leader,
        identity=group.identity,
    )


def like(pattern: str) -> str:
    """Write a pattern of nodes as SQL knows it."""
    return pattern.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_").replace("*", "%")


def endpoint_of(doc: str | bytes) -> Endpoint:
    """Return the endpoint of a row."""
    return _decode_endpoint(doc)


def group_of(doc: str | bytes) -> Group:
    """Return the group of a row."""
    return _decode_group(doc)


def new_delivery(row: DeliveryRow, event: EventRow) -> Delivery:
    """Return a delivery that is written leased."""
    return Delivery(
        id=row.id,
        event_id=row.event_id,
        event_type=event.type,
        run_id=row.run_id,
        workspace=row.workspace,
        url=row.url,
        target=row.target,
        attempts=0,
        body=event.body,
        leased_until=row.due_at,
        profile=row.profile,
        method="GET" if row.method == "GET" else "POST",
        first_at=event.created_at,
        until=row.until,
    )


def delivery_of(row: Row, leased_until: float) -> Delivery:
    """Return a claimed delivery."""
    ident, event_id, run_id, workspace, url, endpoint_id, target, attempts, *told = row
    profile, method, first_at, until, event_type, body = told
    return Delivery(
        id=ident,
        event_id=event_id,
        event_type=event_type,
        run_id=run_id,
        workspace=workspace,
        url=url,
        endpoint_id=endpoint_id,
        target=target,
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
    pattern = None if wanted.node is None else like(wanted.node)
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
