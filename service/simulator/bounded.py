"""A mapping that forgets its oldest entries, so that a simulator left running keeps its size."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Holds the newest entries, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the entry, or None when it was never put or has been forgotten."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> V | None:
        """Store an entry and return the one that had to go for it."""
        self._entries[key] = value
        return self._entries.popitem(last=False)[1] if len(self._entries) > self._limit else None

    def values(self) -> list[V]:
        """List the entries, oldest first."""
        return list(self._entries.values())

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
