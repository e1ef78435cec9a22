"""What this process has written a moment ago and will want back: kept in memory, so that it need not be read."""

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """The newest values, by name; what is not here is in the database.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[str, V] = {}

    def put(self, name: str, value: V) -> None:
        """Keep a value, in place of the oldest one if there are too many."""
        self._kept[name] = value
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def get(self, name: str) -> V | None:
        """Return a value, if it is here."""
        return self._kept.get(name)

    def take(self, name: str) -> V | None:
        """Return a value that will not be wanted again, if it is here."""
        return self._kept.pop(name, None)
