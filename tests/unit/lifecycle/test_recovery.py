"""Looking at runs past their deadline: for a day, more and more rarely, and never another state."""

import msgspec

from service.definitions.catalog import CompiledPace
from service.definitions.error_reader import ReadError
from service.definitions.reader import Reading
from service.definitions.results import ReadArtifact
from service.lifecycle.recovery import called_back_late, looked_late
from service.lifecycle.run import Run
from tests.unit.lifecycle.test_transitions import a_run

PACE = CompiledPace(first_s=10, every_s=10, growth=1.2, at_most_s=60, deadline_s=3600, with_callback=2)
FOUND = ReadArtifact(kind="video", url="https://cdn.example/a.mp4")


def late_run(**words: object) -> Run:
    """Return a run that timed out at 1000 and is looked at."""
    given = {"upstream_task_id": "t", "finished_at": 1000.0, "due_at": 1000.0, "sequence": 3, **words}
    return msgspec.structs.replace(a_run("timed_out"), **given)


def test_looks_become_rare_and_end_after_a_day() -> None:
    """Each wait is longer than the one before, some twenty looks make the day, and then there is none."""
    run, now, waits = late_run(), 1000.0, list[float]()
    while run.due_at is not None:
        now = run.due_at
        change = looked_late(run, Reading(state="running"), now, PACE)
        assert change is not None
        run = change.run
        waits += [run.due_at - now] if run.due_at is not None else []

    assert waits == sorted(waits)
    assert 15 < len(waits) < 60
    assert now < 1000.0 + 86400
    assert run.state == "timed_out"


def test_a_late_result_is_added_once() -> None:
    """The result is told by one event with the next number; nothing is looked at any more."""
    change = looked_late(late_run(), Reading(state="succeeded", artifacts=(FOUND,), has_result=True), 2000.0, PACE)

    assert change is not None
    assert (change.run.state, change.run.due_at, change.events) == ("timed_out", None, ("run.recovered",))
    assert change.run.sequence == 4
    assert looked_late(change.run, Reading(state="succeeded", has_result=True), 2001.0, PACE) is None
    assert called_back_late(change.run, Reading(state="succeeded"), 2001.0) is None


def test_a_late_failure_ends_the_looks() -> None:
    """What failed upstream will not come; the run stays as it is."""
    error = ReadError(code="generation_failed", message="no", retryable=False)
    change = looked_late(late_run(), Reading(state="failed", error=error), 2000.0, PACE)

    assert change is not None
    assert (change.run.state, change.run.due_at, change.events) == ("timed_out", None, ())
