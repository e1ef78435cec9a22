"""What users see of a run and of an event: the JSON of the API and of completion events.

Artifacts that Halley keeps have no lasting URL: each view of them carries a fresh link, made by a `Sign`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

from msgspec import Struct
from msgspec.structs import asdict

from service.clock import isoformat
from service.ids import new_id
from service.lifecycle.endpoint import DisabledReason, Endpoint, EndpointChange, Envelope
from service.lifecycle.group import Group, GroupChange, Reason
from service.lifecycle.run import Artifact, Change, EventType, Mode, Run, RunError, RunEventType
from service.lifecycle.states import RunState

_MOST_POLL_AFTER_S = 15

# (artifact id, base URL, now) -> (link, when it expires)
Sign = Callable[[str, str, float], tuple[str, float]]


class ArtifactView(Struct, frozen=True, kw_only=True):
    """One result of a run, as users see it.

    Attributes:
        id: `art_…`; other nodes take it as an input.
        kind: video, image, audio, model3d or file.
        role: `output`, or what else it is.
        index: Place among the artifacts of its role.
        url: Where it can be fetched.
        mime: Media type, where known.
        seconds: Length, where known.
        expires_at: When the URL dies, where known.
        upstream_id: The provider's id of it, which other nodes may ask for.
        size_bytes: Its size, where known.
    """

    id: str
    kind: str
    role: str
    index: int
    url: str | None
    mime: str | None
    seconds: float | None
    expires_at: str | None
    upstream_id: str | None
    size_bytes: int | None


class UpstreamView(Struct, frozen=True, kw_only=True):
    """The task at upstream, in upstream's words."""

    task_id: str | None
    status: str | None


class RunView(Struct, frozen=True, kw_only=True):
    """A run as the API shows it and events carry it.

    Attributes:
        awaits_input: Nothing goes on until a node of `data.next` is called.
        parent: The flow that it is a step of.
    """

    id: str
    node: str
    state: RunState
    mode: Mode
    progress: float | None
    awaits_input: bool
    artifacts: tuple[ArtifactView, ...]
    text: str | None
    data: dict[str, Any] | None
    error: RunError | None
    warnings: tuple[str, ...]
    upstream: UpstreamView
    reference: str | None
    metadata: dict[str, Any]
    group: str | None
    retry_of: str | None
    parent: str | None
    input: dict[str, Any]
    created_at: str
    submitted_at: str | None
    finished_at: str | None
    deadline_at: str
    status_url: str
    poll_after_s: int


class EventView(Struct, frozen=True, kw_only=True):
    """A fact about a run, with the run as it was then."""

    id: str
    type: RunEventType
    timestamp: str
    sequence: int
    data: RunView


class GroupSummary(Struct, frozen=True, kw_only=True):
    """A group as lists show it.

    Attributes:
        name: The caller's word for it; runs give it, or the id, as `group`.
        size: How many runs belong to it; null while nobody has said that no more come.
        needed: How many of them must succeed; null for: all must have ended.
        reason: Why it completed.
        states: How many of its runs are in which state.
    """

    id: str
    name: str | None
    state: Literal["open", "completed"]
    size: int | None
    needed: int | None
    cancel_rest: bool
    reason: Reason | None
    states: dict[str, int]
    reference: str | None
    metadata: dict[str, Any]
    created_at: str
    deadline_at: str
    completed_at: str | None
    status_url: str


class GroupView(GroupSummary, frozen=True, kw_only=True):
    """A group as the API shows it and its event carries it.

    Attributes:
        runs: All its runs, oldest first.
    """

    runs: tuple[RunView, ...]


class GroupEventView(Struct, frozen=True, kw_only=True):
    """The one event of a group, with all its runs as they were then."""

    id: str
    type: Literal["group.completed"]
    timestamp: str
    sequence: int
    data: GroupView


class EndpointView(Struct, frozen=True, kw_only=True):
    """A subscription as the API shows it and events carry it; nothing secret stands in it.

    Attributes:
        url: Where events go; in an event only its scheme and host, since whoever knows all of it can act as Halley.
        nodes: Patterns of nodes whose runs are told of; empty for all.
        headers: Names of the headers that are sent besides; their values are not shown.
        profile: How its answers are understood.
        disabled_reason: `gone`: it answered 410. `failing`: nothing else for five days; it is probed now and then.
        expiration_date: When it ends by itself.
        failing_since: Since when every attempt has failed.
    """

    id: str
    url: str
    types: tuple[EventType, ...]
    nodes: tuple[str, ...]
    reference_prefix: str | None
    group: str | None
    description: str | None
    headers: tuple[str, ...]
    profile: str
    envelope: Envelope
    rate_per_s: float | None
    concurrency: int | None
    state: Literal["enabled", "disabled"]
    disabled_reason: DisabledReason | None
    disabled_at: str | None
    failing_since: str | None
    expiration_date: str | None
    created_at: str


class EndpointEventView(Struct, frozen=True, kw_only=True):
    """A fact about an endpoint, with the endpoint as it was then."""

    id: str
    type: Literal["endpoint.disabled"]
    timestamp: str
    sequence: int
    data: EndpointView


AnyEventView = EventView | GroupEventView | EndpointEventView


def view(run: Run, now: float, sign: Sign | None = None) -> RunView:
    """Return what users see of a run.

    Args:
        run: The run.
        now: The present.
        sign: Makes the links to artifacts that Halley keeps; without it they have none.
    """
    return RunView(
        id=run.id,
        node=run.node,
        state=run.state,
        mode=run.mode,
        progress=run.progress,
        awaits_input=run.awaits_input,
        artifacts=tuple(artifact_view(each, run, now, sign) for each in run.artifacts),
        text=run.text,
        data=run.data,
        error=run.error,
        warnings=run.warnings,
        upstream=UpstreamView(task_id=run.upstream_task_id, status=run.upstream_status),
        reference=run.reference,
        metadata=run.metadata,
        group=run.group,
        retry_of=run.retry_of,
        parent=run.parent,
        input=run.input,
        created_at=isoformat(run.created_at),
        submitted_at=_moment(run.submitted_at),
        finished_at=_moment(run.finished_at),
        deadline_at=isoformat(run.deadline_at),
        status_url=run.status_url,
        poll_after_s=poll_after_s(run, now),
    )


def artifact_view(artifact: Artifact, run: Run, now: float, sign: Sign | None = None) -> ArtifactView:
    """Return what users see of an artifact."""
    url, expires_at = artifact.url, artifact.expires_at
    if artifact.stored and sign is not None:
        url, expires = sign(artifact.id, run.status_url.removesuffix(f"/v1/runs/{run.id}"), now)
        expires_at = isoformat(expires)
    return ArtifactView(
        id=artifact.id,
        kind=artifact.kind,
        role=artifact.role,
        index=artifact.index,
        url=url,
        mime=artifact.mime,
        seconds=artifact.seconds,
        expires_at=expires_at,
        upstream_id=artifact.upstream_id,
        size_bytes=artifact.size_bytes,
    )


def poll_after_s(run: Run, now: float) -> int:
    """Return when it is worth while to ask for a run again, in whole seconds; 0 when it has ended."""
    if run.is_final:
        return 0
    wait_s = 1.0 if run.due_at is None else run.due_at - now
    return min(max(math.ceil(wait_s), 1), _MOST_POLL_AFTER_S)


def group_view(group: Group, runs: Iterable[Run], now: float, sign: Sign | None = None) -> GroupView:
    """Return what users see of a group and its runs."""
    shown = tuple(view(run, now, sign) for run in runs)
    return GroupView(**asdict(group_summary(group, Counter(run.state for run in shown))), runs=shown)


def group_summary(group: Group, states: Mapping[str, int]) -> GroupSummary:
    """Return what lists show of a group, with the numbers of its runs by state."""
    return GroupSummary(
        id=group.id,
        name=group.name,
        state=group.state,
        size=group.size,
        needed=group.needed,
        cancel_rest=group.cancel_rest,
        reason=group.reason,
        states=dict(states),
        reference=group.reference,
        metadata=group.metadata,
        created_at=isoformat(group.created_at),
        deadline_at=isoformat(group.deadline_at),
        completed_at=_moment(group.completed_at),
        status_url=f"{group.base_url}/v1/groups/{group.id}",
    )


def endpoint_view(endpoint: Endpoint, url: str | None = None) -> EndpointView:
    """Return what users see of an endpoint.

    Args:
        endpoint: The endpoint.
        url: Its URL, where its owner asks; without it only scheme and host are told.
    """
    return EndpointView(
        id=endpoint.id,
        url=endpoint.origin if url is None else url,
        types=endpoint.types,
        nodes=endpoint.nodes,
        reference_prefix=endpoint.reference_prefix,
        group=endpoint.group,
        description=endpoint.description,
        headers=endpoint.header_names,
        profile=endpoint.profile,
        envelope=endpoint.envelope,
        rate_per_s=endpoint.rate_per_s,
        concurrency=endpoint.concurrency,
        state=endpoint.state,
        disabled_reason=endpoint.disabled_reason,
        disabled_at=_moment(endpoint.disabled_at),
        failing_since=_moment(endpoint.failing_since),
        expiration_date=_moment(endpoint.expires_at),
        created_at=isoformat(endpoint.created_at),
    )


def _moment(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else isoformat(epoch_s)


def events_of(change: Change, now: float, sign: Sign | None = None) -> list[EventView]:
    """Return the events of a change of a run, numbered."""
    if not change.events:
        return []
    shown = view(change.run, now, sign)
    first = change.run.sequence - len(change.events) + 1
    ids = sorted(new_id("evt", now) for _ in change.events)  # what is told at once is told in order
    return [
        EventView(
            id=ids[place],
            type=cast("RunEventType", event_type),
            timestamp=isoformat(now),
            sequence=first + place,
            data=shown,
        )
        for place, event_type in enumerate(change.events)
    ]


def group_event(change: GroupChange, now: float, sign: Sign | None = None) -> GroupEventView | None:
    """Return the event of a change of a group, if there is one; a group completes once."""
    if not change.events:
        return None
    return GroupEventView(
        id=new_id("evt", now),
        type="group.completed",
        timestamp=isoformat(now),
        sequence=1,
        data=group_view(change.group, change.runs, now, sign),
    )


def endpoint_event(change: EndpointChange, now: float) -> EndpointEventView | None:
    """Return the event of a change of an endpoint, if there is one."""
    if not change.events:
        return None
    return EndpointEventView(
        id=new_id("evt", now),
        type="endpoint.disabled",
        timestamp=isoformat(now),
        sequence=change.endpoint.sequence,
        data=endpoint_view(change.endpoint),
    )
