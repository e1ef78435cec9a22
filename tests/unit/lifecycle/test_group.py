"""When a group completes, and when it is looked at again."""

from typing import Any

import msgspec
import pytest

from service.lifecycle.group import MOST_RUNS, Group, canceled, closed, looked_at
from service.lifecycle.run import Run
from service.lifecycle.states import RunState
from tests.unit.lifecycle.test_transitions import a_run


def a_group(**words: Any) -> Group:
    """Return an open group of three runs."""
    given = {"size": 3, "due_at": 1000.0, **words}
    return Group(id="grp_1", workspace="w", created_at=100.0, deadline_at=1000.0, **given)


def runs(*states: RunState) -> list[Run]:
    """Return runs in these states."""
    return [a_run(state, id=f"run_{number}") for number, state in enumerate(states)]


@pytest.mark.parametrize(
    ("words", "states", "reason"),
    [
        ({}, ("succeeded", "failed", "timed_out"), "all_ended"),
        ({}, ("succeeded", "failed", "running"), None),
        ({}, ("succeeded", "canceled", "submit_unknown"), None),
        ({}, ("succeeded", "succeeded"), None),
        ({}, ("succeeded",) * 4, "all_ended"),
        ({}, ("succeeded", "succeeded", "succeeded", "queued"), None),
        ({"size": None}, ("succeeded",) * 3, None),
        ({"size": 0}, (), "all_ended"),
        ({"needed": 1}, ("failed", "succeeded", "running"), "enough_succeeded"),
        ({"needed": 2}, ("failed", "succeeded", "running"), None),
        ({"needed": 2, "size": None}, ("succeeded", "succeeded"), "enough_succeeded"),
        ({"needed": 2}, ("failed", "failed", "succeeded"), "all_ended"),
    ],
)
def test_a_group_completes_when_its_runs_have_come_far_enough(
    words: dict[str, Any], states: tuple[RunState, ...], reason: str | None
) -> None:
    """Not before the run that is needed last, whatever became of the others, and with all runs in its event."""
    members = runs(*states)
    change = looked_at(a_group(**words), members, 500.0)

    if reason is None:
        assert change is None
    else:
        assert change is not None
        assert (change.group.state, change.group.reason, change.group.completed_at) == ("completed", reason, 500.0)
        assert (change.events, change.runs, change.group.due_at) == (("group.completed",), tuple(members), None)
        assert looked_at(change.group, members, 600.0) is None


def test_a_group_completes_at_its_deadline() -> None:
    """With what there is, and not a moment before."""
    assert looked_at(a_group(), runs("running"), 999.9) is None
    change = looked_at(a_group(), runs("running"), 1000.0)

    assert change is not None
    assert (change.group.reason, change.group.due_at) == ("deadline", None)


def test_a_first_look_is_followed_by_one_at_the_deadline() -> None:
    """A new group is looked at once, since its runs may have come before it."""
    change = looked_at(a_group(size=None, due_at=100.0), [], 100.0)

    assert change is not None
    assert (change.events, change.group.due_at) == ((), 1000.0)


def test_runs_that_nobody_wants_are_looked_at_until_all_have_ended() -> None:
    """The event is told once, and the group stays due until the last run is canceled, beyond a death in between."""
    group = a_group(needed=1, cancel_rest=True)
    first = looked_at(group, runs("succeeded", "running", "submitting"), 500.0)
    assert first is not None
    early = looked_at(first.group, runs("succeeded", "canceled", "submitting"), 500.2)
    again = looked_at(first.group, runs("succeeded", "canceled", "submitting"), 501.0)
    assert again is not None
    last = looked_at(again.group, runs("succeeded", "canceled", "canceled"), 501.5)

    assert (first.group.cancels, first.group.due_at) == (True, 501.0)
    assert early is None
    assert (again.events, again.group.due_at) == ((), 502.0)
    assert last is not None
    assert (last.events, last.group.due_at) == ((), None)


def test_closing_fixes_the_size() -> None:
    """A group that is closed is looked at at once; closing it again changes nothing, nor does closing what is over."""
    change = closed(a_group(size=None), 2, 500.0)
    assert change is not None
    over = msgspec.structs.replace(change.group, state="completed")

    assert (change.group.size, change.group.due_at, change.events) == (2, 500.0, ())
    assert closed(change.group, 2, 500.0) is None
    assert closed(over, 3, 500.0) is None


def test_canceling_closes_and_goes_on_until_all_have_ended() -> None:
    """What is being submitted is canceled later; the deadline is kept nevertheless."""
    change = canceled(a_group(size=None), 2, 500.0)
    assert change is not None
    look = looked_at(change.group, runs("canceled", "submitting"), 500.0)
    late = looked_at(change.group, runs("canceled", "submitting"), 1000.0)

    assert (change.group.size, change.group.cancels, change.group.due_at) == (2, True, 500.0)
    assert canceled(change.group, 2, 501.0) is None
    assert look is not None
    assert (look.events, look.group.due_at) == ((), 501.0)
    assert late is not None
    assert (late.group.reason, late.group.due_at) == ("deadline", 1001.0)


def test_a_group_takes_no_more_than_its_size() -> None:
    """Without a size as many as one event can tell."""
    assert [a_group().is_full(count) for count in (2, 3)] == [False, True]
    assert [a_group(size=None).is_full(count) for count in (MOST_RUNS - 1, MOST_RUNS)] == [False, True]
