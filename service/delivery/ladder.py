"""When a delivery is tried again, as pure functions of what has happened so far.

Neither the clock nor chance is asked here: both come in as numbers.
"""

MINUTE_S = 60.0
HOUR_S = 60 * MINUTE_S

# The wait before each attempt, the first included. The ladder spans a little over three days.
LADDER_S = (
    0.0,
    5.0,
    MINUTE_S,
    5 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    5 * HOUR_S,
    10 * HOUR_S,
    14 * HOUR_S,
    20 * HOUR_S,
    24 * HOUR_S,
)

# A receiver may ask for patience, but a wrong Retry-After must not silence a delivery for days.
RETRY_AFTER_CAP_S = HOUR_S

JITTER = 0.2
THROTTLED_FACTOR = 2.0


def next_delay_s(attempt: int, *, random: float, retry_after_s: float | None, throttled: bool) -> float | None:
    """Return how long to wait before the next attempt, or None when the ladder is used up.

    A step is spread by 20 % to either side. A longer `Retry-After` takes its place, spread upwards only so
    that nothing is sent earlier than asked, and never over `RETRY_AFTER_CAP_S`.

    Args:
        attempt: Number of attempts already made.
        random: Evenly spread in 0..1.
        retry_after_s: What the receiver asked for.
        throttled: The receiver said that it is overloaded, which doubles the step.
    """
    if attempt >= len(LADDER_S):
        return None
    step_s = LADDER_S[attempt] * (THROTTLED_FACTOR if throttled else 1.0)
    delay_s = step_s * (1 - JITTER + 2 * JITTER * random)
    asked_s = (retry_after_s or 0.0) * (1 + JITTER * random)
    return max(delay_s, min(asked_s, RETRY_AFTER_CAP_S))
