"""What the store asks of a database engine. The store decides what is written; an engine carries it out.

Statements have names and stand in `sql/<engine>/store.sql`; values have names too, and an engine takes those that its
statement mentions.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from service.store.rows import Row, Writes

T = TypeVar("T")
RIDE_S = 0.02  # so long what can wait stays for others to go with


class Plan(Struct, Generic[T], frozen=True):
    """What a decision writes, and what its caller is told once that is on disk."""

    writes: Writes
    result: T


class Unit(Struct, Generic[T], frozen=True, kw_only=True):
    """One read, one decision, one write, of which nothing can come between.

    Attributes:
        select: Statement whose rows the decision is made on; "" when it needs none.
        key: Its values `k1`, `k2` …
        touches: Names of what is written; units that touch the same are carried out one after the other.
        plan: The decision. It may be made again, on newer rows, when somebody else was quicker.
        can_wait: Nobody waits for it, so it may stay for a moment (`RIDE_S`) until others go that it can go with.
    """

    select: str
    key: tuple[Any, ...]
    touches: frozenset[str]
    plan: Callable[[Sequence[Row]], Plan[T]]
    can_wait: bool = False


class Engine(Protocol):
    """A database."""

    @property
    def is_shared(self) -> bool:
        """Whether several processes may work on it."""

    async def open(self) -> None:
        """Connect, and bring an empty database to this version's schema; raises `StoreError` with what to do."""

    async def close(self) -> None:
        """Finish what is being written and disconnect."""

    async def read(self, name: str, /, **values: Any) -> list[Row]:
        """Run a statement that reads."""

    async def write(self, name: str, /, **values: Any) -> list[Row]:
        """Run a statement that writes, in a transaction of its own, and return its rows."""

    async def count(self, name: str, /, **values: Any) -> int:
        """Run a statement that writes, in a transaction of its own, and return how many rows it wrote."""

    async def count_each(self, names: Sequence[str], /, **values: Any) -> list[int]:
        """Run statements that write, in one transaction, and return how many rows each wrote."""

    async def settle(self, unit: Unit[T]) -> T:
        """Carry out a unit, together with others that wait."""

    async def sweep(self, select: str, values: dict[str, Any], plan: Callable[[Sequence[Row]], Writes]) -> set[str]:
        """Decide on many rows at once; returns the ids of the runs for which nobody else was quicker."""
