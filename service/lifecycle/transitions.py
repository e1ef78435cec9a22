"""Every change a run can go through: `(run, fact) -> Change`, pure.

A `Change` holds the run after it, the events that tell of it and the timeline entries that explain it; the store
writes all of them in one transaction. `None` means that the fact changes nothing any more.
"""

from typing import Any

import msgspec
from msgspec import Struct

from service.definitions.catalog import CompiledPace
from service.definitions.error_reader import ReadError
from service.definitions.reader import Reading, seen_data
from service.definitions.schema import ErrorCode
from service.lifecycle.artifacts import numbered
from service.lifecycle.durations import Span
from service.lifecycle.pace import backoff_s, next_look_s, planned_look_s
from service.lifecycle.plan import LookPlan
from service.lifecycle.recovery import called_back_late, task_named_late
from service.lifecycle.run import Billed, Change, Entry, EventType, FlowState, Phase, Run, RunError, UpstreamRef
from service.lifecycle.states import RunState, may_follow

_EVENT_OF: dict[RunState, EventType] = {
    "queued": "run.queued",
    "running": "run.running",
    "succeeded": "run.succeeded",
    "failed": "run.failed",
    "canceled": "run.canceled",
    "timed_out": "run.timed_out",
    "submit_unknown": "run.submit_unknown",
}
_EMPTY_LOOKS = 2  # a success without results is asked about so often before it is believed
_CONFIRM_AGAIN_S = (1.0, 2.0, 4.0, 8.0)  # a callback ran ahead of the query it must be confirmed by
_PROGRESS_EVENT_S = 2.0
_NOT_YET_VISIBLE_S = 60.0  # for so long "no such task" may only mean that upstream does not show it yet


def queued(run: Run) -> Change:
    """Take a new run in."""
    if run.webhook is None:
        return _told(run, run, run.created_at, "accepted")
    hook = {"profile": run.webhook.profile, "guessed": run.webhook.guessed, "method": run.webhook.method}
    return _told(run, run, run.created_at, "accepted", webhook=hook)


def submission_begun(run: Run, now: float) -> Change | None:
    """Mark a queued run as being submitted, before the first byte leaves."""
    if run.state != "queued":
        return None
    begun = _replace(run, state="submitting", attempts=run.attempts + 1, due_at=None, submitted_at=now)
    return _told(run, begun, now, f"submission {begun.attempts} begins")


def undefined(run: Run, now: float) -> Change | None:
    """End a queued run whose node has left the catalogue."""
    if run.state != "queued":
        return None
    message = f"the node {run.node} is no longer defined; nothing was sent"
    return _ended(run, "failed", now, _error("not_found", message, "submit", "no"))


class Accepted(Struct, frozen=True, kw_only=True):
    """Upstream accepted a submission and said this; `path` is where it was sent."""

    reading: Reading
    path: str


class Refused(Struct, frozen=True, kw_only=True):
    """Upstream definitely did not accept a submission."""

    error: ReadError
    status: int | None = None
    retry_after_s: float | None = None


class Unknown(Struct, frozen=True, kw_only=True):
    """Nobody can know whether upstream accepted a submission."""

    reason: str
    path: str
    status: int | None = None


SubmissionOutcome = Accepted | Refused | Unknown


class Following(Struct, frozen=True, kw_only=True):
    """How a run's task is followed.

    Attributes:
        pace: When it is asked about.
        plan: When it is asked about where it is known how long such tasks take.
        expects_callback: Upstream was given a callback URL, so looks are fewer.
        needs_result: A success without a result is not believed at once.
        jitter: 0 to 1, drawn anew for each fact.
        tells_progress: Somebody besides the run's webhook wants to hear of every step of its progress.
    """

    pace: CompiledPace
    expects_callback: bool
    needs_result: bool
    jitter: float
    tells_progress: bool = False
    plan: LookPlan | None = None


def is_held(run: Run, claimed: Run) -> bool:
    """Tell whether a claimed run is still leased to whoever claimed it: the end of a lease is its token."""
    return run.due_at == claimed.due_at


def submission_ended(
    run: Run, outcome: SubmissionOutcome, now: float, following: Following, *, attempt: int
) -> Change | None:
    """Apply the outcome of a submission.

    Args:
        run: The run as it is now.
        outcome: What became of it.
        now: The present.
        following: How its task is followed.
        attempt: Which submission it was; one that has been given up meanwhile is told by `_told_late`.
    """
    if attempt != run.attempts or run.state not in ("submitting", "submit_unknown", "timed_out"):
        return None
    if run.state != "submitting":
        return _told_late(run, outcome, now, following)
    if isinstance(outcome, Accepted):
        return _accepted(run, outcome, now, following)
    if isinstance(outcome, Unknown):
        return _unconfirmed(run, outcome, now)
    wait_s = backoff_s(run.attempts, following.jitter, outcome.retry_after_s)
    reason = f"upstream did not accept it: {outcome.error.message}"
    if outcome.error.retryable and now + wait_s < run.deadline_at:
        again = _replace(run, state="queued", due_at=now + wait_s)
        return _told(run, again, now, f"{reason}; again in {wait_s:.1f} s", event=False)
    return _failed(run, outcome.error, now, phase="submit", billed="no", status=outcome.status)


def _told_late(run: Run, outcome: SubmissionOutcome, now: float, following: Following) -> Change | None:
    """Take up an answer that came after its submission had been given up, as when the process was frozen."""
    if isinstance(outcome, Unknown) or run.submitted_at is None or run.upstream_task_id is not None:
        return None
    if run.state == "timed_out":
        return task_named_late(run, outcome.reading.task_id, now) if isinstance(outcome, Accepted) else None
    if isinstance(outcome, Accepted):
        return _accepted(_replace(run, error=None), outcome, now, following)
    return _failed(run, outcome.error, now, phase="submit", billed="no", status=outcome.status)


def _accepted(run: Run, outcome: Accepted, now: float, following: Following) -> Change:
    reading = outcome.reading
    has_ended = reading.state in ("succeeded", "failed", "canceled")
    run = _replace(run, open_at=None if has_ended or reading.awaits_input else now)
    wait_s = 0.0 if run.hinted else _wait_s(run, now, following)
    started = _replace(
        run,
        state="running",
        upstream_task_id=reading.task_id,
        upstream_status=reading.raw_status,
        upstream_path=outcome.path,
        progress=reading.progress,
        data=seen_data(reading) if reading.awaits_input else None,
        awaits_input=reading.awaits_input,
        due_at=None if reading.awaits_input else now + wait_s,
    )
    told = _told(run, started, now, "upstream accepted it", task_id=reading.task_id)
    if has_ended:
        ended = observed(started, reading, now, following)
        return ended if ended and ended.run.is_final else told
    return told


def _unconfirmed(run: Run, outcome: Unknown, now: float) -> Change:
    error = RunError(
        code="submit_unknown",
        message=f"{outcome.reason}. The generation may have started and may be billed; it is not sent again by itself.",
        phase="submit",
        retryable=False,
        billed="unknown",
        upstream=UpstreamRef(status=outcome.status),
    )
    lost = _replace(run, state="submit_unknown", error=error, upstream_path=outcome.path, due_at=now)
    return _told(run, lost, now, outcome.reason)


def observed(run: Run, reading: Reading, now: float, following: Following) -> Change | None:
    """Apply what a poll said about a running task."""
    if run.state != "running":
        return None
    change = _seen(run, reading, now, following)
    return msgspec.structs.replace(change, took=_took(run, now)) if change and change.run.is_final else change


def _took(run: Run, now: float) -> Span | None:
    """Return how long a task took whose end has just been seen, where its age tells."""
    if run.open_at is None or run.submitted_at is None:
        return None
    return Span(run.open_at - run.submitted_at, now - run.submitted_at)


def _seen(run: Run, reading: Reading, now: float, following: Following) -> Change | None:
    if reading.may_be_early and reading.error and now - (run.submitted_at or now) < _NOT_YET_VISIBLE_S:
        return unanswered(run, reading.error, now, following)
    looked = _replace(
        run,
        looks=run.looks + 1,
        looked_at=now,
        upstream_status=reading.raw_status or run.upstream_status,
        upstream_task_id=run.upstream_task_id or reading.task_id,
    )
    if reading.state == "succeeded":
        return _succeeded(looked, reading, now, following)
    if reading.state == "failed":
        error = reading.error or ReadError(code="generation_failed", message="no reason given", retryable=False)
        looked = _replace(looked, artifacts=numbered(reading.artifacts, run.id))
        return _failed(looked, error, now, phase="generate", billed="unknown", status=None)
    if reading.state == "canceled":
        return _ended(looked, "canceled", now, _error("canceled", "canceled at upstream", "generate", "unknown"))
    go_on = _parked if reading.awaits_input else _still_open
    return go_on(looked, reading, now, following)


def _parked(run: Run, reading: Reading, now: float, following: Following) -> Change:
    """Stop looking at a task that waits for the user; the node that goes on with it has it looked at again."""
    parked = _replace(
        run,
        awaits_input=True,
        data=seen_data(reading),
        due_at=None,
        hinted=False,
        progress=reading.progress,
        open_at=None,  # how long it takes is now up to the user
    )
    entry = Entry(at=now, kind="poll", detail={"status": reading.raw_status, "note": "the task waits for input"})
    if run.awaits_input or not _progress_wanted(run, following):
        return Change(run=parked, entries=(entry,))
    told = _replace(parked, sequence=run.sequence + 1, progressed_at=now)
    return Change(run=told, events=("run.progressed",), entries=(entry,))


def _still_open(run: Run, reading: Reading, now: float, following: Following) -> Change:
    run = _replace(run, open_at=run.open_at and now)
    wait_s = _wait_s(run, now, following)
    hinted, confirms = run.hinted, run.confirms
    if hinted and confirms < len(_CONFIRM_AGAIN_S):
        wait_s, confirms = min(wait_s, _CONFIRM_AGAIN_S[confirms]), confirms + 1
    elif hinted:
        hinted, confirms = False, 0
    progress = run.progress if reading.progress is None else max(reading.progress, run.progress or 0.0)
    again = _replace(
        run, due_at=now + wait_s, progress=progress, hinted=hinted, confirms=confirms, awaits_input=False, data=None
    )
    detail: dict[str, Any] = {
        "state": reading.state,
        "status": reading.raw_status,
        "again_in_s": round(wait_s, 1),
    }
    if not reading.known_status:
        detail["note"] = "unknown upstream status; the run goes on"
    entry = Entry(at=now, kind="poll", detail=detail)
    return _with_progress_event(run, again, now, entry, following)


def _progress_wanted(run: Run, following: Following) -> bool:
    return following.tells_progress or (run.webhook is not None and "run.progressed" in run.webhook.events)


def _with_progress_event(before: Run, run: Run, now: float, entry: Entry, following: Following) -> Change:
    moved = run.progress != before.progress
    rested = now - (run.progressed_at or 0.0) >= _PROGRESS_EVENT_S
    if not (moved and rested and _progress_wanted(run, following)):
        return Change(run=run, entries=(entry,))
    told = _replace(run, sequence=run.sequence + 1, progressed_at=now)
    return Change(run=told, events=("run.progressed",), entries=(entry,))


def _wait_s(run: Run, now: float, following: Following) -> float:
    """Return the wait before the next look at a task that is at work: as planned, or at the pace of the definition."""
    pace, jitter = following.pace, following.jitter
    if following.plan is not None and run.open_at is not None and run.submitted_at is not None:
        with_callback = pace.with_callback if following.expects_callback else 1.0
        return planned_look_s(following.plan, now - run.submitted_at, jitter, with_callback)
    return next_look_s(pace, run.looks, jitter, expects_callback=following.expects_callback)


def unanswered(
    run: Run, error: ReadError, now: float, following: Following, retry_after_s: float | None = None
) -> Change | None:
    """Note a poll that said nothing about the task; it never fails a run."""
    if run.state not in ("running", "submit_unknown"):
        return None
    # A plan supposes that the last look told something; without an answer the definition's pace goes on.
    paced_s = next_look_s(following.pace, run.looks + 1, following.jitter, expects_callback=following.expects_callback)
    wait_s = max(paced_s, retry_after_s or 0.0)
    detail = {"error": error.code, "message": error.message, "again_in_s": round(wait_s, 1)}
    later = _replace(run, looks=run.looks + 1, looked_at=now, due_at=now + wait_s)
    return Change(run=later, entries=(Entry(at=now, kind="poll", detail=detail),))


def hinted(run: Run, reading: Reading, now: float, *, min_interval_s: float) -> Change | None:
    """Apply a callback: a hint that brings the next look forward, never a result by itself."""
    if run.is_final:
        return called_back_late(run, reading, now)
    entry = Entry(at=now, kind="callback", detail={"state": reading.state, "status": reading.raw_status})
    if run.state in ("submitting", "submit_unknown") and reading.task_id:
        run = _replace(run, hinted_task_id=reading.task_id)
    if run.state == "submit_unknown":
        return Change(run=_replace(run, due_at=now), entries=(entry,))
    if reading.state not in ("succeeded", "failed", "canceled", None):
        return Change(run=run, entries=(entry,))
    due_at = run.due_at
    if run.state == "running":
        soonest = now if run.looked_at is None else max(now, run.looked_at + min_interval_s)
        due_at = soonest if due_at is None else min(due_at, soonest)
    called = _replace(run, hinted=True, confirms=0, due_at=due_at, open_at=run.open_at and now)
    return Change(run=called, entries=(entry,))


def reconciled(run: Run, reading: Reading, now: float) -> Change | None:
    """Take up a submission of unknown outcome whose task was found by our external id."""
    if run.state != "submit_unknown" or not reading.task_id:
        return None
    return _told(run, _adopted(run, reading.task_id, now), now, "upstream knows the task by our id")


def unreconcilable(run: Run, now: float) -> Change | None:
    """Settle a submission of unknown outcome that upstream cannot be asked about by our id.

    The task that a callback named is taken up: it exists, and its id is the best there is, though behind a relay
    it may be another than queries want. Without one the run is left to a callback, an operator or its deadline.
    """
    if run.state != "submit_unknown":
        return None
    if run.hinted_task_id:
        return _told(run, _adopted(run, run.hinted_task_id, now), now, "a callback named the task")
    note = "upstream cannot be asked by our id; adopt or abandon the run, or wait for a callback"
    entry = Entry(at=now, kind="poll", detail={"note": note})
    return Change(run=_replace(run, due_at=None), entries=(entry,))


def adopted(run: Run, task_id: str, now: float) -> Change | None:
    """Take an operator's word for the task that a submission of unknown outcome led to."""
    if run.state != "submit_unknown":
        return None
    return _told(run, _adopted(run, task_id, now), now, "adopted by the operator", task_id=task_id)


def _adopted(run: Run, task_id: str, now: float) -> Run:
    return _replace(run, state="running", upstream_task_id=task_id, error=None, due_at=now, hinted=False)


def abandoned(run: Run, now: float) -> Change | None:
    """Give up a submission of unknown outcome on an operator's word."""
    if run.state != "submit_unknown" or run.error is None:
        return None
    return _ended(run, "failed", now, run.error, reason="abandoned by the operator")


def canceled(run: Run, now: float) -> Change | None:
    """End a run that the user no longer wants; what upstream has begun goes on there (`detached`)."""
    if run.state == "queued":
        error = _error("canceled", "canceled before anything was sent", "submit", "no")
    elif run.state == "running":
        message = "detached: upstream cannot cancel, the generation goes on there and may still be billed"
        error = _error("canceled", message, "generate", "unknown")
    else:
        return None
    return _ended(run, "canceled", now, error)


def expired(run: Run, now: float) -> Change | None:
    """End a run whose deadline has passed. One that is just being submitted is left until its outcome is known."""
    if run.is_final or run.state == "submitting" or now < run.deadline_at:
        return None
    if run.state == "queued":
        error = _error("timed_out", "the deadline passed before upstream accepted it", "deadline", "no")
    else:
        error = _error("timed_out", "the deadline passed; upstream may still finish and bill it", "deadline", "unknown")
    ended = _ended(run, "timed_out", now, error)
    if run.state != "running" or run.upstream_task_id is None:
        return ended
    # It is looked at for a day: what upstream finishes after all is kept (see `recovery`).
    return msgspec.structs.replace(ended, run=_replace(ended.run, due_at=now))


def flow_advanced(run: Run, flow: FlowState, child: Run, now: float, wait_s: float) -> Change | None:
    """Note where a flow stands; the end of its step has it looked at sooner than `wait_s`."""
    if run.state != "running":
        return None
    step = flow.steps[-1][0]
    # Somebody has to decide about a step of unknown outcome, so the flow says where it stands.
    status = f"{step}: {child.id} is submit_unknown" if child.state == "submit_unknown" else step
    later = _replace(run, flow=flow, due_at=now + wait_s, looked_at=now, upstream_status=status)
    if run.flow == flow and run.upstream_status == status:
        return Change(run=later)
    entry = Entry(at=now, kind="state", detail={"step": step, "run": child.id, "step_state": child.state})
    return Change(run=later, entries=(entry,))


def flow_ended(run: Run, flow: FlowState, last: Run, now: float) -> Change | None:
    """End a flow whose last step has ended well: its results are the flow's."""
    if run.state != "running":
        return None
    data = {**(last.data or {}), "steps": [{"step": name, "run": run_id} for name, run_id in flow.steps]}
    filled = _replace(run, flow=flow, artifacts=last.artifacts, text=last.text, data=data, progress=1.0)
    filled = _replace(filled, upstream_task_id=last.upstream_task_id)
    return _ended(filled, "succeeded", now, None)


def flow_failed(run: Run, step: str, last: Run | None, now: float, reason: str = "") -> Change | None:
    """End a flow of which a step has not ended well, or cannot be started."""
    if run.state != "running":
        return None
    if reason or last is None or last.error is None:
        error = _error("invalid_request", reason or f"the step {step} did not succeed", "generate", "unknown")
    else:
        error = msgspec.structs.replace(last.error, message=f"step {step} ({last.id}): {last.error.message}")
    steps = [{"step": name, "run": run_id} for name, run_id in (run.flow or FlowState()).steps]
    return _ended(_replace(run, data={"steps": steps}), "failed", now, error)


def interrupted(run: Run, now: float, *, is_free: bool = False) -> Change | None:
    """Settle a submission that the process did not live to see the end of; one that costs nothing is sent again."""
    if run.state != "submitting":
        return None
    if is_free:
        again = _replace(run, state="queued", due_at=now)
        return _told(run, again, now, "Halley was stopped while asking; asking again costs nothing", event=False)
    outcome = Unknown(reason="Halley was stopped while submitting", path=run.upstream_path or "")
    return _unconfirmed(run, outcome, now)


def _succeeded(run: Run, reading: Reading, now: float, following: Following) -> Change:
    found = reading.has_result or not following.needs_result
    if not found and run.empty_looks < _EMPTY_LOOKS:
        wait_s = _CONFIRM_AGAIN_S[run.empty_looks]
        again = _replace(run, empty_looks=run.empty_looks + 1, due_at=now + wait_s)
        detail = {"state": "succeeded", "note": "no result in the answer", "again_in_s": wait_s}
        return Change(run=again, entries=(Entry(at=now, kind="poll", detail=detail),))
    if not found:
        message = "upstream says succeeded but gives no result"
        return _ended(run, "failed", now, _error("no_output", message, "collect", "unknown"))
    filled = _replace(
        run,
        artifacts=numbered(reading.artifacts, run.id),
        awaits_input=False,
        text=reading.text,
        data=seen_data(reading),
        upstream_task_id=run.upstream_task_id or reading.task_id,
        progress=1.0,
    )
    return _ended(filled, "succeeded", now, None)


def _failed(run: Run, error: ReadError, now: float, *, phase: Phase, billed: Billed, status: int | None) -> Change:
    upstream = UpstreamRef(status=status, code=error.upstream_code)
    told = RunError(
        code=error.code,
        message=error.message,
        phase=phase,
        retryable=error.retryable,
        billed=billed,
        upstream=upstream,
    )
    return _ended(run, "failed", now, told)


def _error(code: ErrorCode, message: str, phase: Phase, billed: Billed) -> RunError:
    return RunError(code=code, message=message, phase=phase, retryable=False, billed=billed)


def _ended(run: Run, state: RunState, now: float, error: RunError | None, reason: str | None = None) -> Change:
    ended = _replace(run, state=state, error=error, finished_at=now, due_at=None, hinted=False, awaits_input=False)
    return _told(run, ended, now, reason or (error.message if error else "upstream delivered the result"))


def _told(
    before: Run,
    after: Run,
    now: float,
    reason: str,
    *,
    event: bool = True,
    entries: tuple[Entry, ...] = (),
    **detail: object,
) -> Change:
    if before is not after and not may_follow(before.state, after.state):
        raise ValueError(f"a run cannot go from {before.state} to {after.state}")
    entry = Entry(at=now, kind="state", detail={"state": after.state, "reason": reason, **detail})
    event_type = _EVENT_OF.get(after.state) if event else None
    if event_type is None:
        return Change(run=after, entries=(*entries, entry))
    numbered_run = _replace(after, sequence=after.sequence + 1)
    return Change(run=numbered_run, events=(event_type,), entries=(*entries, entry))


def _replace(run: Run, **words: Any) -> Run:
    return msgspec.structs.replace(run, **words)
