"""What a commit makes due at once, its process takes along: leased in the same transaction, and begun after it.

Otherwise it would be written as due, found by a sweep, and written once more as leased. What there is no room for is
left to the sweep.
"""

from typing import Protocol, TypeVar

from service.lifecycle.run import Run
from service.store.outbox import Delivery

T_contra = TypeVar("T_contra", contravariant=True)
_Item = TypeVar("_Item", Run, Delivery)


class Prompt(Protocol[T_contra]):
    """Whoever works on what has become due.

    Attributes:
        lease_s: For how long it is leased.
    """

    lease_s: float

    def reserve(self, item: T_contra) -> bool:
        """Keep a place for it, unless there is none; it is being committed."""

    def release(self, item: T_contra) -> None:
        """Give the place back: it was not committed after all."""

    def begin(self, item: T_contra) -> None:
        """Work on it: it is committed."""

    def ring(self) -> None:
        """Look for what is due: there is some for which no place was kept."""


class Nobody:
    """Nobody works here, as in a command that only writes."""

    lease_s = 0.0

    def reserve(self, _item: object) -> bool:
        """Refuse."""
        return False

    def release(self, _item: object) -> None:
        """Do nothing; nothing was reserved."""

    def begin(self, _item: object) -> None:
        """Do nothing; nothing was reserved."""

    def ring(self) -> None:
        """Ring nobody."""


class Handover:
    """What one transaction hands over; its decision may be made more than once, and come to nothing.

    Args:
        looks: Who looks at running runs.
        attempts: Who attempts deliveries.
    """

    def __init__(self, looks: Prompt[Run], attempts: Prompt[Delivery]) -> None:
        self._looks = looks
        self._attempts = attempts
        self._runs: list[Run] = []
        self._deliveries: list[Delivery] = []
        self._is_over = False

    def look(self, run: Run) -> bool:
        """Hand over a run, leased already; returns whether there is room for it."""
        return self._is_handed(run, self._looks, self._runs)

    def attempt(self, delivery: Delivery) -> bool:
        """Hand over a delivery, leased already; returns whether there is room for it."""
        return self._is_handed(delivery, self._attempts, self._deliveries)

    def _is_handed(self, item: _Item, prompt: Prompt[_Item], handed: list[_Item]) -> bool:
        is_handed = not self._is_over and prompt.reserve(item)
        if is_handed:
            handed.append(item)
        return is_handed

    def undo(self, *, is_over: bool = False) -> None:
        """Give all places back, before the decision is made again, or for good."""
        self._is_over = is_over
        for run in self._runs:
            self._looks.release(run)
        for delivery in self._deliveries:
            self._attempts.release(delivery)
        self._runs, self._deliveries = [], []

    def begin(self) -> None:
        """Have the work begun: the transaction is committed."""
        for run in self._runs:
            self._looks.begin(run)
        for delivery in self._deliveries:
            self._attempts.begin(delivery)
