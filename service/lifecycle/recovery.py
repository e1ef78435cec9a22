"""Runs that timed out and may still succeed upstream: asked about for a day, more and more rarely, and kept if they do.

The state stays `timed_out`, since terminal states are final; the result is added and told by an event of its own.
"""

import msgspec

from service.definitions.catalog import CompiledPace
from service.definitions.reader import Reading, seen_data
from service.lifecycle.artifacts import numbered
from service.lifecycle.run import Change, Entry, Run

_WATCHED_S = 86400.0
_SHARE_OF_AGE = 0.5  # each wait is half of what has passed already: about twenty looks in the day
_MOST_WAIT_S = 7200.0


def watched_again_at(run: Run, now: float, pace: CompiledPace) -> float | None:
    """Return when to look next at a run that timed out, or None when a day has passed."""
    age_s = now - (run.finished_at or now)
    wait_s = min(max(pace.at_most_s, age_s * _SHARE_OF_AGE), _MOST_WAIT_S)
    return now + wait_s if age_s + wait_s <= _WATCHED_S else None


def task_named_late(run: Run, task_id: str | None, now: float) -> Change | None:
    """Take note of the task of a run that timed out before the answer to its submission came: it is watched now."""
    if task_id is None or now - (run.finished_at or now) > _WATCHED_S:
        return None
    entry = Entry(at=now, kind="submission", detail={"task_id": task_id, "note": "answered after the deadline"})
    return Change(run=msgspec.structs.replace(run, upstream_task_id=task_id, due_at=now), entries=(entry,))


def looked_late(run: Run, reading: Reading, now: float, pace: CompiledPace) -> Change | None:
    """Apply what upstream says of a run after its deadline."""
    if run.state != "timed_out" or run.due_at is None:
        return None
    if reading.state == "succeeded" and reading.has_result:
        return _recovered(run, reading, now)
    is_over = reading.state in ("failed", "canceled") and not reading.may_be_early
    due_at = None if is_over else watched_again_at(run, now, pace)
    detail = {"state": reading.state, "status": reading.raw_status, "note": "after the deadline"}
    later = msgspec.structs.replace(run, looks=run.looks + 1, looked_at=now, due_at=due_at)
    return Change(run=later, entries=(Entry(at=now, kind="poll", detail=detail),))


def _recovered(run: Run, reading: Reading, now: float) -> Change:
    filled = msgspec.structs.replace(
        run,
        artifacts=numbered(reading.artifacts, run.id),
        text=reading.text,
        data=seen_data(reading),
        upstream_status=reading.raw_status or run.upstream_status,
        progress=1.0,
        looks=run.looks + 1,
        looked_at=now,
        due_at=None,
        sequence=run.sequence + 1,
    )
    entry = Entry(at=now, kind="state", detail={"state": run.state, "reason": "upstream delivered after the deadline"})
    return Change(run=filled, events=("run.recovered",), entries=(entry,))


def called_back_late(run: Run, reading: Reading, now: float) -> Change | None:
    """Apply a callback about a run that timed out: it is looked at now."""
    if run.state != "timed_out" or run.due_at is None or reading.state in ("queued", "running"):
        return None
    entry = Entry(at=now, kind="callback", detail={"state": reading.state, "status": reading.raw_status})
    return Change(run=msgspec.structs.replace(run, due_at=now), entries=(entry,))
