"""Bounds of the retry ladders and the reading of `Retry-After`."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.delivery.ladder import DAY_S, RESUME, RETRY_AFTER_CAP_S, SUBSCRIPTION, Ladder, SoFar, next_delay_s
from service.retry_after import parse_retry_after

NOW = 784_111_777.0 - 100  # 100 s before the moment that RFC 9110 uses as its example
STEPS_S = SUBSCRIPTION.steps_s

chance = st.floats(0, 1)
steps = st.integers(0, len(STEPS_S) - 1)
asked = st.none() | st.floats(0, 1e9)


def wait_s(
    attempts: int,
    random: float = 0.5,
    *,
    retry_after_s: float | None = None,
    throttled: bool = False,
) -> float | None:
    """Return the wait after some attempts on the ladder of subscriptions."""
    so_far = SoFar(attempts=attempts)
    return next_delay_s(SUBSCRIPTION, so_far, random=random, retry_after_s=retry_after_s, throttled=throttled)


def moments(ladder: Ladder, deadline_s: float, random: float) -> list[float]:
    """Return when the attempts of a delivery are made that never succeeds, in seconds after its event."""
    made = [0.0]
    while True:
        so_far = SoFar(attempts=len(made), since_first_s=made[-1], deadline_in_s=deadline_s - made[-1])
        delay_s = next_delay_s(ladder, so_far, random=random, retry_after_s=None, throttled=False)
        if delay_s is None:
            return made
        made.append(made[-1] + delay_s)


def test_the_ladder_is_the_documented_one():
    """The steps are 0, 5 s, 1 m, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h."""
    hours = [2, 5, 10, 14, 20, 24]

    assert list(STEPS_S) == [0, 5, 60, 300, 1800, *(3600 * hour for hour in hours)]


@pytest.mark.parametrize(("random", "hours"), [(0.0, 0.8 * 75.6), (0.5, 75.6), (1.0, 1.2 * 75.6)])
def test_the_ladder_of_subscriptions_spans_three_days_and_ignores_the_deadline(random: float, hours: float):
    """Eleven attempts in about 76 hours, more or less by the jitter, however soon the run's deadline is."""
    made = moments(SUBSCRIPTION, deadline_s=60, random=random)

    assert len(made) == 11
    assert made[-1] / 3600 == pytest.approx(hours, rel=0.001)


def test_a_resume_url_is_tried_densely_for_a_quarter_of_an_hour():
    """The first minute has many attempts, and until 15 minutes are over no pause is longer than ten seconds."""
    made = moments(RESUME, deadline_s=2 * DAY_S, random=0.5)
    dense = [moment for moment in made if moment <= 900]
    pauses = [after - before for before, after in pairwise(dense)]

    assert made[:9] == [0, 1, 2, 4, 6, 9, 14, 19, 29]
    assert 900 - dense[-1] <= 10
    assert max(pauses) == 10


@pytest.mark.parametrize("deadline_s", [3 * DAY_S, DAY_S + 60, 30, -600])
def test_a_resume_url_is_then_tried_every_five_minutes_to_the_deadline(deadline_s: float):
    """Each later pause is five minutes; the last attempt is the first after the deadline, or after a day."""
    made = moments(RESUME, deadline_s, random=0.5)
    late = [moment for moment in made if moment > 915]
    end_s = max(deadline_s, DAY_S)

    assert {after - before for before, after in pairwise(late)} == {300}
    assert end_s <= made[-1] < end_s + 300


@given(chance, st.floats(-1e6, 1e6), st.integers(1, 500), st.floats(0, 1e6))
def test_steps_of_the_resume_ladder_are_spread_by_a_fifth(random: float, deadline: float, made: int, since: float):
    """Dense or not, a pause stays within 20 % of what the table says."""
    so_far = SoFar(attempts=made, since_first_s=since, deadline_in_s=deadline)
    delay_s = next_delay_s(RESUME, so_far, random=random, retry_after_s=None, throttled=False)
    step_s = RESUME.steps_s[min(made, 8)] if since < 900 else 300

    assert delay_s is None or step_s * 0.8 - 1e-6 <= delay_s <= step_s * 1.2 + 1e-6
    assert (delay_s is None) == (since >= DAY_S and deadline <= 0)


def test_a_delivery_without_a_known_deadline_ends_after_a_day():
    """Rows of an older version have no deadline."""
    ended = SoFar(attempts=400, since_first_s=DAY_S)
    going = SoFar(attempts=400, since_first_s=DAY_S - 1)

    assert next_delay_s(RESUME, ended, random=0.5, retry_after_s=None, throttled=False) is None
    assert next_delay_s(RESUME, going, random=0.5, retry_after_s=None, throttled=False) == 300


def test_patience_can_be_asked_for_on_the_dense_ladder_too():
    """`Retry-After` and signs of overload slow it down as well, an hour at most."""
    so_far = SoFar(attempts=3, since_first_s=10, deadline_in_s=1000)

    def after(retry_after_s: float | None, *, throttled: bool) -> float | None:
        return next_delay_s(RESUME, so_far, random=0.5, retry_after_s=retry_after_s, throttled=throttled)

    assert after(None, throttled=False) == 2
    assert after(None, throttled=True) == 4
    assert after(100, throttled=True) == pytest.approx(110)
    assert after(1e6, throttled=True) == RETRY_AFTER_CAP_S


def test_the_first_attempt_is_made_at_once():
    """Before the first attempt there is no wait, whatever the chance."""
    assert wait_s(0, 1.0, retry_after_s=None, throttled=False) == 0


@given(st.integers(len(STEPS_S), 1000), chance, asked, st.booleans())
def test_the_ladder_ends(attempt: int, random: float, retry_after_s: float | None, throttled: bool):  # noqa: FBT001
    """After as many attempts as there are steps there is no next one, even if the receiver asks for it."""
    assert wait_s(attempt, random, retry_after_s=retry_after_s, throttled=throttled) is None


@given(steps, chance)
def test_a_step_is_spread_by_a_fifth(attempt: int, random: float):
    """Without any wish of the receiver the delay stays within 20 % of the step."""
    delay_s = wait_s(attempt, random, retry_after_s=None, throttled=False)

    assert delay_s is not None
    assert STEPS_S[attempt] * 0.8 <= delay_s <= STEPS_S[attempt] * 1.2 + 1e-6


def test_chance_reaches_both_ends_of_the_spread():
    """The spread is used in full."""
    low = wait_s(2, 0.0, retry_after_s=None, throttled=False)
    high = wait_s(2, 1.0, retry_after_s=None, throttled=False)

    assert (low, high) == (pytest.approx(48), pytest.approx(72))


@given(steps, chance)
def test_a_throttling_receiver_is_given_twice_the_time(attempt: int, random: float):
    """With the same chance, the delay of a throttled delivery is at least double."""
    plain = wait_s(attempt, random, retry_after_s=None, throttled=False)
    throttled = wait_s(attempt, random, retry_after_s=None, throttled=True)

    assert plain is not None
    assert throttled is not None
    assert throttled >= 2 * plain - 1e-6


@given(steps, chance, st.floats(0, 1e9), st.booleans())
def test_a_receiver_is_not_disturbed_earlier_than_it_asked(
    attempt: int,
    random: float,
    retry_after_s: float,
    throttled: bool,  # noqa: FBT001
):
    """The delay is never shorter than Retry-After up to its cap, nor longer than cap or step demand."""
    delay_s = wait_s(attempt, random, retry_after_s=retry_after_s, throttled=throttled)
    step_s = wait_s(attempt, random, retry_after_s=None, throttled=throttled)

    assert delay_s is not None
    assert step_s is not None
    assert delay_s >= min(retry_after_s, RETRY_AFTER_CAP_S)
    assert step_s <= delay_s <= max(step_s, RETRY_AFTER_CAP_S)


def test_a_shorter_retry_after_changes_nothing():
    """A receiver can ask for patience, not for haste."""
    delay_s = wait_s(3, 0.5, retry_after_s=1.0, throttled=False)

    assert delay_s == pytest.approx(300)


def test_deliveries_that_were_asked_to_wait_alike_are_spread():
    """Two deliveries with the same Retry-After do not come due at the same moment."""
    one = wait_s(1, 0.1, retry_after_s=600, throttled=True)
    other = wait_s(1, 0.9, retry_after_s=600, throttled=True)

    assert one != other


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("+7", 7),
        ("-5", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 100),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 100),
        ("Sun Nov  6 08:49:37 1994", 100),
        ("Sun, 06 Nov 1994 08:40:00 GMT", 0),
    ],
)
def test_both_forms_of_retry_after_are_read(value: str, seconds: float):
    """Seconds and the three notations of an HTTP date are understood; the past is no wait."""
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "soon",
        "1e3",
        "nan",
        "inf",
        "0x10",
        "١٢",
        "9" * 5000,
        "1,5",
        "12 s",
        "Sun, 06 Nov",
        "--5",
    ],
)
def test_garbage_is_no_retry_after(value: str | None):
    """What is neither seconds nor a date is as good as absent."""
    assert parse_retry_after(value, NOW) is None


@given(st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,9} Nov [0-9]{1,9} [0-9:]{1,12} [A-Z+0-9-]{1,6}\Z"))
def test_no_header_breaks_the_reader(value: str):
    """Whatever a receiver sends, the result is None or a finite wait."""
    seconds = parse_retry_after(value, NOW)

    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
