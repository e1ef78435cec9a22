"""Examples of events, for those who try whether an endpoint works and what it makes of one."""

from service.clock import isoformat
from service.ids import new_id
from service.lifecycle.endpoint import Endpoint
from service.lifecycle.group import Group
from service.lifecycle.run import END_EVENTS, Artifact, EventType, Run, RunError, RunEventType
from service.lifecycle.states import RunState
from service.lifecycle.view import (
    AnyEventView,
    EndpointEventView,
    EventView,
    GroupEventView,
    endpoint_view,
    group_view,
    view,
)

_STATES: dict[RunEventType, RunState] = {
    "run.queued": "queued",
    "run.running": "running",
    "run.progressed": "running",
    "run.succeeded": "succeeded",
    "run.failed": "failed",
    "run.canceled": "canceled",
    "run.timed_out": "timed_out",
    "run.submit_unknown": "submit_unknown",
    "run.recovered": "timed_out",
}
_ARTIFACT_URL = "https://example.com/example.mp4"


def sample_event(endpoint: Endpoint, now: float) -> AnyEventView:
    """Return an example of the first type of event that an endpoint subscribes to; its metadata says that it is one."""
    wanted: EventType = endpoint.types[0] if endpoint.types else END_EVENTS[0]
    event_id, timestamp = new_id("evt", now), isoformat(now)
    if wanted == "endpoint.disabled":
        return EndpointEventView(
            id=event_id, type=wanted, timestamp=timestamp, sequence=1, data=endpoint_view(endpoint)
        )
    if wanted == "group.completed":
        group = _group(endpoint, now)
        data = group_view(group, (_run(endpoint, "succeeded", now),), now)
        return GroupEventView(id=event_id, type=wanted, timestamp=timestamp, sequence=1, data=data)
    data_of_run = view(_run(endpoint, _STATES[wanted], now), now)
    return EventView(id=event_id, type=wanted, timestamp=timestamp, sequence=1, data=data_of_run)


def _group(endpoint: Endpoint, now: float) -> Group:
    return Group(
        id=new_id("grp", now),
        workspace=endpoint.workspace,
        name=endpoint.group,
        state="completed",
        size=1,
        metadata={"test": True},
        created_at=now - 60,
        deadline_at=now + 3600,
        completed_at=now,
        reason="all_ended",
    )


def _run(endpoint: Endpoint, state: RunState, now: float) -> Run:
    run_id, is_good = new_id("run", now), state == "succeeded"
    error = None
    if state in ("failed", "canceled", "timed_out", "submit_unknown"):
        error = RunError(
            code="generation_failed", message="an example", phase="generate", retryable=False, billed="unknown"
        )
    return Run(
        id=run_id,
        workspace=endpoint.workspace,
        node=endpoint.nodes[0].replace("*", "example") if endpoint.nodes else "example.text_to_video",
        lane="example",
        state=state,
        mode="mock",
        input={"prompt": "A comet over a winter sea at dawn"},
        status_url=f"https://example.com/v1/runs/{run_id}",
        callback_token="",
        external_id="",
        created_at=now - 60,
        deadline_at=now + 3600,
        due_at=None,
        progress=1.0 if is_good else 0.5,
        artifacts=(Artifact(id=f"art_{run_id[4:]}00", kind="video", role="output", index=0, url=_ARTIFACT_URL),)
        if is_good
        else (),
        error=error,
        reference=endpoint.reference_prefix,
        metadata={"test": True},
        group=endpoint.group,
        submitted_at=now - 59,
        finished_at=None if state in ("queued", "running", "submit_unknown") else now,
    )
