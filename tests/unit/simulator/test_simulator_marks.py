"""Marks: every row of the table can be written as documented, and nothing else is taken."""

import pytest

from service.simulator import MARKS, Mark, MarkError, Scenario, SimulatorOptions
from service.simulator.faults import AFTER, BEFORE
from service.simulator.marks import base_scenario, scenario_of, texts_of

ARGUMENTS = {
    "TEXT": "the cat ran away",
    "N": "2",
    "FACTOR": "3",
    "SECONDS": "0.5",
    "CODE": "1301",
    "STATUS": "503",
}


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark.name)
def test_each_mark_changes_the_scenario_as_its_row_says(mark: Mark) -> None:
    """A mark written with its documented argument gives a scenario that differs from the plain one."""
    choices = mark.argument.split("|") if "|" in mark.argument else [ARGUMENTS.get(mark.argument, "")]
    written = f"a comet [[{mark.name}{':' if mark.argument else ''}{choices[-1]}]] at dawn"

    scenario = scenario_of(Scenario(), [written])

    assert scenario != Scenario()


@pytest.mark.parametrize("mark", [mark for mark in MARKS if mark.default is not None], ids=lambda m: m.name)
def test_a_mark_with_a_default_needs_no_argument(mark: Mark) -> None:
    """`[[busy]]` is `[[busy:1]]`."""
    bare = scenario_of(Scenario(), [f"[[{mark.name}]]"])
    explicit = scenario_of(Scenario(), [f"[[{mark.name}:{mark.default}]]"])

    assert bare == explicit


def test_every_fault_that_can_strike_is_reached_by_a_mark() -> None:
    """The tables of faults hold nothing that no prompt can ask for."""
    reached = {scenario_of(Scenario(), [f"[[{name}]]"]).fault for name in (*BEFORE, *AFTER)}

    assert reached == {*BEFORE, *AFTER}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("nonsense", "unknown mark [[nonsense]]; known: [[fail:TEXT]]"),
        ("Fail", "unknown mark"),
        ("hang:3", "takes no argument"),
        ("duration", "needs its argument"),
        ("busy:many", "a whole number is wanted"),
        ("http:200", "an HTTP status from 400 to 599 is wanted"),
        ("slow:-1", "a number of seconds is wanted"),
        ("callback:sideways", "one of changes, last"),
        ("", "unknown mark"),
    ],
)
def test_a_wrong_mark_is_named(written: str, said: str) -> None:
    """An unknown mark, a missing argument or an unreadable one is refused in words that help."""
    with pytest.raises(MarkError) as caught:
        scenario_of(Scenario(), [f"[[{written}]]"])

    assert said in str(caught.value)


def test_marks_of_the_text_win_over_marks_of_the_options() -> None:
    """Options set the scene for all requests, one request's text changes it."""
    base = base_scenario(SimulatorOptions(marks=("slow:3", "fail"), callbacks="never"))

    scenario = scenario_of(base, ["[[slow:1]]", "[[callback:twice]] [[callback:new]]"])

    assert (scenario.slow_s, scenario.outcome) == (1.0, "fail")
    assert (scenario.callback, scenario.callback_shape) == ("twice", "new")


def test_text_without_marks_leaves_the_scenario_alone() -> None:
    """Brackets that are no mark mean nothing, and no new scenario is made."""
    base = Scenario()

    assert scenario_of(base, ["a matrix [[1,2],[3,4]] and [one] bracket"]) is base


def test_texts_are_found_at_any_depth_but_not_in_files() -> None:
    """Marks may stand in nested fields; strings too long for text are not searched."""
    body = {"prompt": "a", "multi_prompt": [{"prompt": "b"}], "image": "x" * 5000, "n": 3}

    assert list(texts_of(body)) == ["a", "b"]
