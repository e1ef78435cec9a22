"""What users see of a run and of an event: the JSON of the API and of completion events.

Artifacts that Halley keeps have no lasting URL: each view of them carries a fresh link, made by a `Sign`.
"""

import math
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from service.clock import isoformat
from service.ids import new_id
from service.lifecycle.run import Artifact, Change, EventType, Mode, Run, RunError
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
    type: EventType
    timestamp: str
    sequence: int
    data: RunView


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
        submitted_at=None if run.submitted_at is None else isoformat(run.submitted_at),
        finished_at=None if run.finished_at is None else isoformat(run.finished_at),
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


def events_of(change: Change, now: float, sign: Sign | None = None) -> list[EventView]:
    """Return the events of a change, numbered."""
    shown = view(change.run, now, sign)
    first = change.run.sequence - len(change.events) + 1
    ids = sorted(new_id("evt", now) for _ in change.events)  # what is told at once is told in order
    return [
        EventView(
            id=ids[place],
            type=event_type,
            timestamp=isoformat(now),
            sequence=first + place,
            data=shown,
        )
        for place, event_type in enumerate(change.events)
    ]
