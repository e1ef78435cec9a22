"""Time for tests."""


class ManualClock:
    """A clock that tells what it is told."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        """Return the time."""
        return self.time
