"""The rules of a run's life, without clock, network or disk."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.definitions.catalog import CompiledPace
from service.definitions.error_reader import ReadError
from service.definitions.reader import Reading
from service.definitions.results import ReadArtifact
from service.lifecycle import transitions as rules
from service.lifecycle.pace import backoff_s, next_look_s
from service.lifecycle.plan import LookPlan
from service.lifecycle.run import FlowState, Run, RunError, Webhook
from service.lifecycle.states import FINAL, OPEN, TRANSITIONS, RunState, may_follow
from service.lifecycle.transitions import Accepted, Following, Refused, Unknown

PACE = CompiledPace(first_s=15, every_s=10, growth=2, at_most_s=60, deadline_s=3600, with_callback=4)
FOLLOWING = Following(pace=PACE, expects_callback=False, needs_result=True, jitter=0.5)
TRUSTING = msgspec.structs.replace(FOLLOWING, needs_result=False)
DONE = Reading(task_id="t", state="succeeded", artifacts=(ReadArtifact(kind="video", url="https://x/v.mp4"),))
BUSY = ReadError(code="rate_limited", message="slow down", retryable=True)
STATES = get_args(RunState)


def a_run(state: RunState = "queued", **words: object) -> Run:
    """Return a run in a state."""
    return Run(
        **{
            "id": "run_1",
            "workspace": "w",
            "node": "p.n",
            "lane": "p",
            "state": state,
            "mode": "live",
            "input": {},
            "status_url": "http://h/v1/runs/run_1",
            "callback_token": "tok",
            "external_id": "ext",
            "created_at": 100.0,
            "deadline_at": 3700.0,
            "due_at": 100.0,
            "upstream_task_id": "t" if state == "running" else None,
            "error": RunError(code="submit_unknown", message="?", phase="submit", retryable=False, billed="unknown")
            if state == "submit_unknown"
            else None,
            **words,
        }
    )


def test_final_states_lead_nowhere_and_every_open_state_can_end() -> None:
    """No transition leaves a final state, and from each open state a final one can be reached."""
    assert all(not TRANSITIONS[state] for state in FINAL)
    assert set(STATES) == FINAL | OPEN
    for state in OPEN:
        reached = {state}
        for _ in STATES:
            reached |= {after for before in reached for after in TRANSITIONS[before]}
        assert reached & FINAL


FACTS = {
    "undefine": lambda run: rules.undefined(run, 200.0),
    "begin": lambda run: rules.submission_begun(run, 200.0),
    "accepted": lambda run: rules.submission_ended(
        run, Accepted(reading=Reading(task_id="t", state="queued"), path="/p"), 200.0, FOLLOWING, attempt=run.attempts
    ),
    "refused": lambda run: rules.submission_ended(
        run,
        Refused(error=ReadError(code="quota", message="no", retryable=False)),
        200.0,
        FOLLOWING,
        attempt=run.attempts,
    ),
    "busy": lambda run: rules.submission_ended(run, Refused(error=BUSY), 200.0, FOLLOWING, attempt=run.attempts),
    "unknown": lambda run: rules.submission_ended(
        run, Unknown(reason="reset", path="/p"), 200.0, FOLLOWING, attempt=run.attempts
    ),
    "seen_running": lambda run: rules.observed(run, Reading(state="running", progress=0.5), 200.0, FOLLOWING),
    "seen_done": lambda run: rules.observed(run, DONE, 200.0, FOLLOWING),
    "seen_failed": lambda run: rules.observed(run, Reading(state="failed"), 200.0, FOLLOWING),
    "seen_empty": lambda run: rules.observed(run, Reading(state="succeeded"), 200.0, FOLLOWING),
    "poll_error": lambda run: rules.unanswered(run, BUSY, 200.0, FOLLOWING, 5.0),
    "callback": lambda run: rules.hinted(run, DONE, 200.0, min_interval_s=1),
    "reconciled": lambda run: rules.reconciled(run, DONE, 200.0),
    "unreconcilable": lambda run: rules.unreconcilable(run, 200.0),
    "adopt": lambda run: rules.adopted(run, "t", 200.0),
    "abandon": lambda run: rules.abandoned(run, 200.0),
    "cancel": lambda run: rules.canceled(run, 200.0),
    "expire": lambda run: rules.expired(run, 5000.0),
    "interrupt": lambda run: rules.interrupted(run, 200.0),
}


@given(st.lists(st.sampled_from(sorted(FACTS)), max_size=30))
def test_any_order_of_facts_keeps_the_rules(names: list[str]) -> None:
    """In any order: only drawn transitions, nothing after an end, every event numbered, no open run forgotten."""
    run = rules.queued(a_run()).run
    for name in names:
        change = FACTS[name](run)
        if change is None:
            continue
        after = change.run
        # A late answer to a submission may name the task of a run that timed out; nothing else comes after an end.
        assert not run.is_final or (run.state == after.state == "timed_out" and not change.events)
        if after.state != run.state:
            assert may_follow(run.state, after.state)
        assert after.sequence == run.sequence + len(change.events)
        assert (after.finished_at is not None) == after.is_final
        if after.state in ("queued", "running"):
            assert after.due_at is not None
        if after.is_final and after.due_at is not None:  # a task that was given up may still end well
            assert (after.state, after.upstream_task_id is None) == ("timed_out", False)
        if after.is_final and not run.is_final:
            assert len(change.events) == 1
        run = after


@pytest.mark.parametrize("state", sorted(FINAL))
def test_no_fact_moves_a_run_that_has_ended(state: RunState) -> None:
    """Late, repeated and forged facts change nothing."""
    ended = a_run(state, finished_at=150.0, due_at=None)

    assert [name for name, fact in FACTS.items() if fact(ended) is not None] == []


def test_an_unconfirmed_callback_is_asked_about_densely_and_then_at_the_usual_pace() -> None:
    """After a final hint the looks come after 1, 2, 4 and 8 s; then the pace takes over again."""
    run = a_run("running")
    change = rules.hinted(run, DONE, 200.0, min_interval_s=1)
    assert change is not None
    waits = []
    for _ in range(5):
        change = rules.observed(change.run, Reading(state="running"), 200.0, FOLLOWING)
        assert change is not None
        waits.append((change.run.due_at or 0) - 200.0)

    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[4] == 60.0
    assert not change.run.hinted


def test_callbacks_cannot_make_halley_ask_without_rest() -> None:
    """However many final hints come, the next look keeps its distance from the last."""
    run = a_run("running", looked_at=199.8, due_at=260.0)

    change = rules.hinted(run, DONE, 200.0, min_interval_s=1)

    assert change is not None
    assert change.run.due_at == pytest.approx(200.8)


def test_an_early_callback_makes_the_first_look_immediate() -> None:
    """A final hint that overtakes the submit answer is confirmed as soon as the task id is known."""
    hinted = rules.hinted(a_run("submitting"), DONE, 200.0, min_interval_s=1)
    assert hinted is not None

    change = FACTS["accepted"](hinted.run)

    assert change is not None
    assert change.run.due_at == 200.0


@pytest.mark.parametrize("state", ["submitting", "submit_unknown"])
def test_a_callback_names_the_task_of_a_submission_of_unknown_outcome(state: RunState) -> None:
    """The named task is taken up when upstream cannot be asked by our id, whether it was named early or late."""
    change = rules.hinted(a_run(state), DONE, 200.0, min_interval_s=1)
    assert change is not None
    run = change.run
    if state == "submitting":
        lost = rules.submission_ended(run, Unknown(reason="reset", path="/p"), 200.0, FOLLOWING, attempt=run.attempts)
        assert lost is not None
        run = lost.run
    assert (run.state, run.due_at) == ("submit_unknown", 200.0)

    settled = rules.unreconcilable(run, 201.0)

    assert settled is not None
    assert (settled.run.state, settled.run.upstream_task_id, settled.run.due_at) == ("running", "t", 201.0)


LATE = Accepted(reading=Reading(task_id="t", state="queued"), path="/p")


def test_an_answer_that_comes_after_its_submission_was_given_up_is_taken_up() -> None:
    """A process that was frozen brings its answer late: the run goes on with its task, nothing is sent again."""
    given_up = a_run("submit_unknown", attempts=1, submitted_at=100.0)

    late = rules.submission_ended(given_up, LATE, 200.0, FOLLOWING, attempt=1)
    refused = rules.submission_ended(given_up, Refused(error=BUSY), 200.0, FOLLOWING, attempt=1)

    assert late is not None
    assert (late.run.state, late.run.upstream_task_id, late.run.error) == ("running", "t", None)
    assert refused is not None
    assert refused.run.error is not None
    assert (refused.run.state, refused.run.error.billed) == ("failed", "no")


def test_a_late_answer_to_a_run_that_timed_out_has_it_watched() -> None:
    """The run stays timed out; its task is known now, and asked about."""
    run = a_run("timed_out", attempts=1, submitted_at=100.0, finished_at=150.0, due_at=None)

    late = rules.submission_ended(run, LATE, 200.0, FOLLOWING, attempt=1)

    assert late is not None
    assert (late.run.state, late.run.upstream_task_id, late.run.due_at) == ("timed_out", "t", 200.0)


def test_an_answer_to_another_attempt_changes_nothing() -> None:
    """A question that was asked again meanwhile is answered by its own answer."""
    for state in ("submitting", "submit_unknown"):
        run = a_run(state, attempts=2, submitted_at=100.0)
        assert rules.submission_ended(run, LATE, 200.0, FOLLOWING, attempt=1) is None


def test_a_busy_upstream_is_left_alone_as_long_as_it_asks() -> None:
    """`Retry-After` is the least wait before a refused submission is sent again."""
    outcome = Refused(error=BUSY, retry_after_s=30.0)

    change = rules.submission_ended(a_run("submitting", attempts=1), outcome, 200.0, FOLLOWING, attempt=1)

    assert change is not None
    assert (change.run.state, change.run.due_at) == ("queued", 230.0)


def test_progress_never_goes_back() -> None:
    """A lower figure after a higher one is not shown."""
    run = a_run("running", progress=0.7)

    change = rules.observed(run, Reading(state="running", progress=0.4), 200.0, FOLLOWING)

    assert change is not None
    assert change.run.progress == 0.7


def test_progress_is_told_only_to_who_asked_and_not_too_often() -> None:
    """`run.progressed` is an event every two seconds at most, and only where it was asked for."""
    webhook = Webhook(url="https://x", events=("run.progressed",))
    silent = rules.observed(a_run("running"), Reading(state="running", progress=0.1), 200.0, FOLLOWING)
    told = rules.observed(a_run("running", webhook=webhook), Reading(state="running", progress=0.1), 200.0, FOLLOWING)
    assert told is not None
    soon = rules.observed(told.run, Reading(state="running", progress=0.2), 201.0, FOLLOWING)
    later = rules.observed(told.run, Reading(state="running", progress=0.2), 203.0, FOLLOWING)

    assert [c.events for c in (silent, told, soon, later) if c] == [
        (),
        ("run.progressed",),
        (),
        ("run.progressed",),
    ]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_looks_grow_to_the_cap_and_stay_there(looks: int, jitter: float) -> None:
    """Waits never exceed the cap by more than the jitter and never fall below the first interval by more."""
    wait_s = next_look_s(PACE, looks, jitter, expects_callback=False)

    assert PACE.every_s * 0.9 <= wait_s <= PACE.at_most_s * 1.1
    assert next_look_s(PACE, looks, jitter, expects_callback=True) == pytest.approx(4 * wait_s)


def test_backoff_doubles_and_first_looks_are_spread() -> None:
    """Waits between submissions double up to a minute; runs that began together are looked at apart."""
    waits = [backoff_s(n, 0.5, None) for n in range(1, 9)]

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert next_look_s(PACE, 0, 0.0, expects_callback=False) == 13.5
    assert next_look_s(PACE, 0, 1.0, expects_callback=False) == 16.5


def test_an_end_tells_between_which_looks_it_was() -> None:
    """A task that was seen at work and then over took a time between the two, counted from its submission."""
    open_ = Reading(task_id="t", state="running")
    started = rules.submission_ended(
        a_run("submitting", attempts=1, submitted_at=100.0),
        Accepted(reading=open_, path="/p"),
        103.0,
        TRUSTING,
        attempt=1,
    )
    assert started is not None
    looked = rules.observed(started.run, open_, 118.0, TRUSTING)
    assert looked is not None
    unheard = rules.unanswered(looked.run, BUSY, 125.0, TRUSTING)
    assert unheard is not None
    ended = rules.observed(unheard.run, DONE, 131.0, TRUSTING)

    assert ended is not None
    assert ended.took == (18.0, 31.0)
    assert (started.took, looked.took, unheard.took) == (None, None, None)


def test_a_callback_tells_the_moment_of_the_end() -> None:
    """What the look after a callback confirms happened when it came; a callback that lied tells nothing."""
    called = rules.hinted(a_run("running", submitted_at=100.0, open_at=103.0), DONE, 120.0, min_interval_s=1.0)
    assert called is not None
    confirmed = rules.observed(called.run, DONE, 120.2, TRUSTING)
    refuted = rules.observed(called.run, Reading(task_id="t", state="running"), 120.2, TRUSTING)
    assert refuted is not None
    later = rules.observed(refuted.run, DONE, 140.0, TRUSTING)

    assert confirmed is not None
    assert confirmed.took == pytest.approx((20.0, 20.2))
    assert later is not None
    assert later.took == pytest.approx((20.2, 40.0))


def test_what_waited_for_its_user_tells_nothing_of_durations() -> None:
    """A task that was parked once is neither learned from nor looked at by what was learned."""
    parked = rules.observed(
        a_run("running", submitted_at=100.0, open_at=103.0),
        Reading(task_id="t", state="running", awaits_input=True),
        120.0,
        TRUSTING,
    )
    assert parked is not None
    goes_on = rules.observed(parked.run, Reading(task_id="t", state="running"), 500.0, TRUSTING)
    assert goes_on is not None
    ended = rules.observed(goes_on.run, DONE, 510.0, TRUSTING)

    assert ended is not None
    assert ended.run.is_final
    assert ended.took is None


def test_a_plan_says_when_to_look_and_an_answerless_look_does_not_move_it() -> None:
    """Looks come when the plan says for the age of the task, later in proportion while a callback is expected."""
    plan = LookPlan(ages_s=(0.0, 20.0, 24.0), next_s=(20.0, 24.0), gaps_s=(4.0, 4.0), at_least_s=1, at_most_s=60)
    planned = msgspec.structs.replace(FOLLOWING, plan=plan)
    called = msgspec.structs.replace(planned, expects_callback=True)
    open_ = Reading(task_id="t", state="running")

    def due_at(run: Run, following: Following, now: float) -> float | None:
        change = rules.observed(run, open_, now, following)
        assert change is not None
        return change.run.due_at

    run = a_run("running", submitted_at=100.0, open_at=101.0)
    assert due_at(run, planned, 105.0) == pytest.approx(120.0)
    assert due_at(run, planned, 120.1) == pytest.approx(124.0)
    assert due_at(run, called, 105.0) == pytest.approx(100.0 + 4 * 20)
    assert due_at(msgspec.structs.replace(run, open_at=None), planned, 105.0) == pytest.approx(115.0)
    unheard = rules.unanswered(run, BUSY, 105.0, planned)
    assert unheard is not None
    assert unheard.run.due_at == pytest.approx(115.0)


def test_runs_survive_the_store_format() -> None:
    """A run is the same after it was written and read."""
    run = a_run("running", webhook=Webhook(url="https://x"), metadata={"a": [1]})

    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run


def test_a_flow_says_that_somebody_has_to_decide_about_its_step() -> None:
    """A step of unknown outcome is named, once, in the timeline and where the flow stands."""
    flow = a_run("running", flow=FlowState())
    steps = FlowState(steps=(("draw", "run_2"),))
    lost = a_run("submit_unknown", id="run_2")

    begun = rules.flow_advanced(flow, steps, a_run("running", id="run_2"), 200.0, 10.0)
    assert begun is not None
    told = rules.flow_advanced(begun.run, steps, lost, 210.0, 10.0)
    assert told is not None
    again = rules.flow_advanced(told.run, steps, lost, 220.0, 10.0)

    assert again is not None
    assert (told.run.state, told.run.upstream_status) == ("running", "draw: run_2 is submit_unknown")
    assert [len(change.entries) for change in (begun, told, again)] == [1, 1, 0]
