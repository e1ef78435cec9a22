"""Time as an argument: code that needs the time is given a clock, tests give it theirs."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Return the wall-clock time in epoch seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return the wall-clock time in epoch seconds."""
        return time.time()


def isoformat(epoch_s: float) -> str:
    """Write a moment as RFC 3339 in UTC with milliseconds: `2026-11-22T10:00:00.123Z`."""
    moment = datetime.fromtimestamp(epoch_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
