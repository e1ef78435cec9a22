"""Time as an argument: code that needs the time is given a clock, tests give it theirs."""

import functools
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

_CATCHING_UP = 0.01  # share of the time that passes: a deadline of an hour is off by 36 s at most
_COMPARED_S = 1.0  # the wall clock is looked at so often


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Return the time in epoch seconds; it never goes back and never jumps while the process lives."""
        ...

    def wall(self) -> float:
        """Return what the machine's wall clock says, in epoch seconds, for those who compare it with their own."""
        ...


def _stopwatch() -> Callable[[], float]:
    """Return what tells seconds that nobody can set, with those that the machine slept where it tells."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boottime is None else functools.partial(time.clock_gettime, boottime)


_elapsed = _stopwatch()


class SystemClock:
    """The machine's clock, undisturbed by being set.

    It begins with the wall clock's time, counts what passes and catches up slowly with what the wall clock says later:
    a time server's corrections are taken over within minutes, a jump of hours ends no deadline, lease or wait.

    Args:
        wall: The wall clock, in epoch seconds.
        elapsed: Seconds that only ever grow.
    """

    def __init__(self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = _elapsed) -> None:
        self.wall = wall
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._compared = elapsed(), wall(), 0.0

    def now(self) -> float:
        """Return the time in epoch seconds; it never goes back and never jumps while the process lives."""
        compared_at, then, missing_s = self._compared
        passed_s = self._elapsed() - compared_at
        most_s = passed_s * _CATCHING_UP
        caught_up_s = missing_s if -most_s <= missing_s <= most_s else math.copysign(most_s, missing_s)
        now = then + passed_s + caught_up_s
        if passed_s >= _COMPARED_S:
            self._compare(compared_at + passed_s, now)
        return now

    def _compare(self, read_at: float, now: float) -> None:
        """Take note of what is missing to the wall clock, unless another thread has done so since."""
        with self._lock:
            if self._compared[0] < read_at:
                self._compared = read_at, now, self.wall() - now


@functools.lru_cache(maxsize=1024)  # a run tells the same few moments again and again
def isoformat(epoch_s: float) -> str:
    """Write a moment as RFC 3339 in UTC with milliseconds: `2026-11-22T10:00:00.123Z`."""
    second = math.floor(epoch_s)
    over, microseconds = divmod(round((epoch_s - second) * 1e6), 1_000_000)
    return f"{_isoformat_s(second + over)}.{microseconds // 1000:03d}Z"


@functools.lru_cache(maxsize=1024)  # most moments that are written are of the same few seconds
def _isoformat_s(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def parse_moment(text: str) -> float:
    """Read a moment as people and tools write it, in epoch seconds; without a time zone it is UTC.

    Raises:
        ValueError: It is none.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
