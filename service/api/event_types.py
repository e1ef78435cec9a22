"""All types of events: what each says, the Struct that is sent, and an example of it.

One table, which both documents, OpenAPI and AsyncAPI, are made from: a new type is a line of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from service.clock import isoformat
from service.definitions.catalog import Catalog
from service.lifecycle.endpoint import Endpoint, disabled
from service.lifecycle.group import Group, looked_at
from service.lifecycle.run import END_EVENTS, Artifact, Change, EventType, Run, RunError, UpstreamRef
from service.lifecycle.transitions import canceled, expired
from service.lifecycle.view import EndpointEventView, EventView, GroupEventView, endpoint_view, group_view, view

EVENT_ID = "evt_01kq0n9w7dm3rj8v5t2xhy4c6b"
_RUN_ID = "run_01kq0n8x2pe7f4h9s6d3wvz5kt"
_GROUP_ID = "grp_01kq0n8m4sj6c9y2d7f5gtk3ha"
_TASK = "861309198188019719"
_ACCEPTED_AT = 1_795_341_600.0  # 2026-11-22T10:00:00Z
_SENT_AT, _ENDED_AT = _ACCEPTED_AT + 0.214, _ACCEPTED_AT + 67.12
_DEADLINE_AT = _ACCEPTED_AT + 3600
_LATE = _DEADLINE_AT + 600


class Told(Struct, frozen=True):
    """A row of the table.

    Attributes:
        about: What the event says.
        body: What is sent.
        data: Makes the `data` of the example, from a run as it was accepted and the moment of the event.
        at: That moment.
        sequence: Number of the event.
    """

    about: str
    body: type[Struct]
    data: Callable[[Run, float], Struct]
    at: float = _ENDED_AT
    sequence: int = 3


def _run(**words: Any) -> Callable[[Run, float], Struct]:
    return lambda run, at: view(msgspec.structs.replace(run, **words), at)


def _ended(change: Callable[[Run, float], Change | None], **words: Any) -> Callable[[Run, float], Struct]:
    """Show what becomes of a run at upstream by the rule that ends it."""

    def data(run: Run, at: float) -> Struct:
        running = msgspec.structs.replace(run, **_AT_UPSTREAM)
        ended = change(running, at)
        return view(msgspec.structs.replace(ended.run if ended else running, **words), at)

    return data


_SENT: dict[str, Any] = {"submitted_at": _SENT_AT, "upstream_task_id": _TASK, "upstream_status": "processing"}
_AT_UPSTREAM = {**_SENT, "state": "running", "due_at": _ENDED_AT + 5}
_DONE = {**_SENT, "finished_at": _ENDED_AT, "due_at": None}
_RESULT = {
    "progress": 1.0,
    "upstream_status": "succeed",
    "artifacts": (
        Artifact(
            id=f"{_RUN_ID.replace('run', 'art')}00",
            kind="video",
            role="output",
            index=0,
            url="https://files.example.com/comet.mp4",
            mime="video/mp4",
            seconds=5.1,
        ),
    ),
}
_REFUSED = RunError(
    code="moderation",
    message="The prompt was refused by the content filter.",
    phase="generate",
    retryable=False,
    billed="no",
    upstream=UpstreamRef(status=200, code="1301"),
)
_UNKNOWN = {
    "state": "submit_unknown",
    "submitted_at": _SENT_AT,
    "error": RunError(
        code="submit_unknown",
        message="The connection broke before upstream answered. The generation may have started and may be billed; it "
        "is not sent again by itself.",
        phase="submit",
        retryable=False,
        billed="unknown",
    ),
}


def _group(run: Run, at: float) -> Struct:
    group = Group(
        id=_GROUP_ID,
        workspace=run.workspace,
        size=1,
        metadata={"order": 42},
        base_url="https://halley.example.com",
        created_at=run.created_at,
        deadline_at=run.deadline_at,
    )
    done = msgspec.structs.replace(run, **_DONE | _RESULT, state="succeeded", group=_GROUP_ID)
    completed = looked_at(group, (done,), at)
    return group_view(completed.group if completed else group, (done,), at)


def _endpoint(run: Run, at: float) -> Struct:
    endpoint = Endpoint(
        id="ep_01kq0n7d3vh5m2x8r9s4tzw6bc",
        workspace=run.workspace,
        url="",
        url_hash="",
        origin="https://hooks.example.com",
        types=END_EVENTS,
        created_at=run.created_at,
    )
    change = disabled(endpoint, at, "gone")
    return endpoint_view(change.endpoint if change else endpoint)


_late = _ended(lambda run, _: expired(run, _DEADLINE_AT), **_RESULT)

EVENT_TYPES: Mapping[EventType, Told] = {
    "run.queued": Told("The run was accepted", EventView, _run(), _ACCEPTED_AT, 1),
    "run.running": Told("Upstream works on the run", EventView, _run(**_AT_UPSTREAM), _SENT_AT, 2),
    "run.progressed": Told("The progress of the run has moved", EventView, _run(**_AT_UPSTREAM, progress=0.3)),
    "run.succeeded": Told("The result is there", EventView, _run(**_DONE | _RESULT, state="succeeded")),
    "run.failed": Told("The run has ended without a result", EventView, _run(**_DONE, state="failed", error=_REFUSED)),
    "run.canceled": Told("The run was canceled", EventView, _ended(canceled)),
    "run.timed_out": Told("The run was given up at its deadline", EventView, _ended(expired), _DEADLINE_AT),
    "run.submit_unknown": Told("Nobody can know whether upstream accepted the run", EventView, _run(**_UNKNOWN)),
    "run.recovered": Told("The result of a run that had timed out has come after all", EventView, _late, _LATE, 4),
    "group.completed": Told("The runs of a group have come far enough", GroupEventView, _group, sequence=1),
    "endpoint.disabled": Told("Nothing more is sent to an endpoint", EndpointEventView, _endpoint, sequence=1),
}


def example(name: EventType, run: Run, event_id: str = EVENT_ID) -> Struct:
    """Return an example of an event, as it is sent."""
    told = EVENT_TYPES[name]
    words = {"id": event_id, "type": name, "timestamp": isoformat(told.at), "sequence": told.sequence}
    return told.body(**words, data=told.data(run, told.at))


def sample_run(catalog: Catalog) -> Run:
    """Return a run as it was accepted: of the first node whose task makes a video, if there is one."""
    nodes = sorted(catalog.nodes.values(), key=lambda node: (node.node.kind, node.node.result) != ("task", "video"))
    return Run(
        id=_RUN_ID,
        workspace="default",
        node=nodes[0].id,
        lane=nodes[0].provider.provider,
        state="queued",
        mode="live",
        input=nodes[0].example(),
        status_url=f"https://halley.example.com/v1/runs/{_RUN_ID}",
        callback_token="",
        external_id="",
        created_at=_ACCEPTED_AT,
        deadline_at=_DEADLINE_AT,
        due_at=_ACCEPTED_AT,
        reference="order-42",
        metadata={"customer": 7},
    )
