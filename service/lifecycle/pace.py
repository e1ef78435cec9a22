"""When to look, and when to try again: schedules as pure functions. All times in seconds."""

from service.definitions.catalog import CompiledPace
from service.lifecycle.plan import LookPlan

_JITTER = 0.1
_BACKOFF_FIRST_S = 1.0
_BACKOFF_MOST_S = 60.0


def next_look_s(pace: CompiledPace, looks: int, jitter: float, *, expects_callback: bool) -> float:
    """Return the wait before the next look, or before the first one.

    Args:
        pace: The node's pace.
        looks: Looks made so far; before the first one the wait is counted from the answer to the submission.
        jitter: 0 to 1; spreads the looks of runs that began together.
        expects_callback: Looks are fewer while a callback is expected.
    """
    if not looks:
        wait_s = pace.first_s
    else:
        grown = pace.every_s * pace.growth ** (looks - 1) if looks < 100 else pace.at_most_s  # noqa: PLR2004
        wait_s = min(grown, pace.at_most_s)
    return _spread(wait_s * (pace.with_callback if expects_callback else 1.0), jitter)


def planned_look_s(plan: LookPlan, age_s: float, jitter: float, with_callback: float) -> float:
    """Return the wait before the next look where it is known how long such tasks take.

    Args:
        plan: When to look.
        age_s: Time since the submission; the task has not ended yet.
        jitter: As above.
        with_callback: How many times longer waits are; 1 where no callback is expected.
    """
    return plan.wait_s(age_s / with_callback, jitter) * with_callback


def backoff_s(attempts: int, jitter: float, retry_after_s: float | None) -> float:
    """Return the wait before a refused submission is sent again: doubling, or longer where upstream says so."""
    doubled = min(_BACKOFF_FIRST_S * 2 ** min(attempts - 1, 10), _BACKOFF_MOST_S)
    return max(_spread(doubled, jitter), retry_after_s or 0.0)


def _spread(wait_s: float, jitter: float) -> float:
    return wait_s * (1 - _JITTER + 2 * _JITTER * jitter)
