"""Bounds of the retry ladder and the reading of `Retry-After`."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.delivery.ladder import LADDER_S, RETRY_AFTER_CAP_S, next_delay_s
from service.retry_after import parse_retry_after

NOW = 784_111_777.0 - 100  # 100 s before the moment that RFC 9110 uses as its example

chance = st.floats(0, 1)
steps = st.integers(0, len(LADDER_S) - 1)
asked = st.none() | st.floats(0, 1e9)


def test_the_ladder_is_the_documented_one():
    """The steps are 0, 5 s, 1 m, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h."""
    hours = [2, 5, 10, 14, 20, 24]

    assert list(LADDER_S) == [0, 5, 60, 300, 1800, *(3600 * hour for hour in hours)]


def test_the_first_attempt_is_made_at_once():
    """Before the first attempt there is no wait, whatever the chance."""
    assert next_delay_s(0, random=1.0, retry_after_s=None, throttled=False) == 0


@given(st.integers(len(LADDER_S), 1000), chance, asked, st.booleans())
def test_the_ladder_ends(attempt: int, random: float, retry_after_s: float | None, throttled: bool):  # noqa: FBT001
    """After as many attempts as there are steps there is no next one, even if the receiver asks for it."""
    assert next_delay_s(attempt, random=random, retry_after_s=retry_after_s, throttled=throttled) is None


@given(steps, chance)
def test_a_step_is_spread_by_a_fifth(attempt: int, random: float):
    """Without any wish of the receiver the delay stays within 20 % of the step."""
    delay_s = next_delay_s(attempt, random=random, retry_after_s=None, throttled=False)

    assert delay_s is not None
    assert LADDER_S[attempt] * 0.8 <= delay_s <= LADDER_S[attempt] * 1.2 + 1e-6


def test_chance_reaches_both_ends_of_the_spread():
    """The spread is used in full."""
    low = next_delay_s(2, random=0.0, retry_after_s=None, throttled=False)
    high = next_delay_s(2, random=1.0, retry_after_s=None, throttled=False)

    assert (low, high) == (pytest.approx(48), pytest.approx(72))


@given(steps, chance)
def test_a_throttling_receiver_is_given_twice_the_time(attempt: int, random: float):
    """With the same chance, the delay of a throttled delivery is at least double."""
    plain = next_delay_s(attempt, random=random, retry_after_s=None, throttled=False)
    throttled = next_delay_s(attempt, random=random, retry_after_s=None, throttled=True)

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
    delay_s = next_delay_s(attempt, random=random, retry_after_s=retry_after_s, throttled=throttled)
    step_s = next_delay_s(attempt, random=random, retry_after_s=None, throttled=throttled)

    assert delay_s is not None
    assert step_s is not None
    assert delay_s >= min(retry_after_s, RETRY_AFTER_CAP_S)
    assert step_s <= delay_s <= max(step_s, RETRY_AFTER_CAP_S)


def test_a_shorter_retry_after_changes_nothing():
    """A receiver can ask for patience, not for haste."""
    delay_s = next_delay_s(3, random=0.5, retry_after_s=1.0, throttled=False)

    assert delay_s == pytest.approx(300)


def test_deliveries_that_were_asked_to_wait_alike_are_spread():
    """Two deliveries with the same Retry-After do not come due at the same moment."""
    one = next_delay_s(1, random=0.1, retry_after_s=600, throttled=True)
    other = next_delay_s(1, random=0.9, retry_after_s=600, throttled=True)

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
