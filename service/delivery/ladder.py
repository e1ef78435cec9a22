"""When a delivery is tried again: ladders as data, and the arithmetic as a pure function of what has happened so far.

Neither the clock nor chance is asked here: both come in as numbers. Which receiver is on which ladder stands in
`profiles`.
"""

from msgspec import Struct

MINUTE_S = 60.0
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S

# A receiver may ask for patience, but a wrong Retry-After must not silence a delivery for days.
RETRY_AFTER_CAP_S = HOUR_S

JITTER = 0.2
THROTTLED_FACTOR = 2.0


class Tail(Struct, frozen=True, kw_only=True):
    """How a ladder goes on after its last step, for receivers that are not ready rather than broken.

    Attributes:
        dense_for_s: The last step is repeated for so long, counted from the first attempt.
        every_s: After that, a step of this length until the run's deadline.
        at_least_s: A run may end at its deadline, so the steps go on for so long in any case.
    """

    dense_for_s: float
    every_s: float
    at_least_s: float


class Ladder(Struct, frozen=True, kw_only=True):
    """The waits before each attempt.

    Attributes:
        steps_s: The wait before each attempt, the first included.
        tail: What follows the last step; without it the ladder ends there.
    """

    steps_s: tuple[float, ...]
    tail: Tail | None = None


class SoFar(Struct, frozen=True, kw_only=True):
    """What has happened to a delivery.

    Attributes:
        attempts: Number of attempts made.
        since_first_s: How long ago the first one was begun.
        deadline_in_s: How long the run's deadline is away, less than 0 when it has passed; None when it is not known.
    """

    attempts: int
    since_first_s: float = 0.0
    deadline_in_s: float | None = None


# A little over three days: receivers that subscribe to something come back from an outage of a weekend.
SUBSCRIPTION = Ladder(
    steps_s=(
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
)

# For one execution of a flow that will be ready in a moment: whoever looks at the flow sees every second of delay.
RESUME = Ladder(
    steps_s=(0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 10.0),
    tail=Tail(dense_for_s=15 * MINUTE_S, every_s=5 * MINUTE_S, at_least_s=DAY_S),
)

# For infrastructure of our own: once it is up again, nothing shall wait for long.
OUTAGE = Ladder(
    steps_s=(0.0, 1.0, 2.0, 5.0, 10.0, 30.0),
    tail=Tail(dense_for_s=DAY_S, every_s=5 * MINUTE_S, at_least_s=7 * DAY_S),
)


def next_delay_s(
    ladder: Ladder, so_far: SoFar, *, random: float, retry_after_s: float | None, throttled: bool
) -> float | None:
    """Return how long to wait before the next attempt, or None when the ladder is used up.

    A step is spread by 20 % to either side. A longer `Retry-After` takes its place, spread upwards only so
    that nothing is sent earlier than asked, and never over `RETRY_AFTER_CAP_S`.

    Args:
        ladder: The ladder.
        so_far: What has happened.
        random: Evenly spread in 0..1.
        retry_after_s: What the receiver asked for.
        throttled: The receiver said that it is overloaded, which doubles the step.
    """
    plain_s = _step_s(ladder, so_far)
    if plain_s is None:
        return None
    step_s = plain_s * (THROTTLED_FACTOR if throttled else 1.0)
    delay_s = step_s * (1 - JITTER + 2 * JITTER * random)
    asked_s = (retry_after_s or 0.0) * (1 + JITTER * random)
    return max(delay_s, min(asked_s, RETRY_AFTER_CAP_S))


def _step_s(ladder: Ladder, so_far: SoFar) -> float | None:
    if ladder.tail is None:
        return ladder.steps_s[so_far.attempts] if so_far.attempts < len(ladder.steps_s) else None
    return _tailed_step_s(ladder.steps_s, ladder.tail, so_far)


def _tailed_step_s(steps_s: tuple[float, ...], tail: Tail, so_far: SoFar) -> float | None:
    if so_far.since_first_s < tail.dense_for_s:
        return steps_s[min(so_far.attempts, len(steps_s) - 1)]
    left_s = max(so_far.deadline_in_s or 0.0, tail.at_least_s - so_far.since_first_s)
    return tail.every_s if left_s > 0 else None
