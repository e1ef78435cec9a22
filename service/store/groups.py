"""Groups as the store keeps them: the verbs, no SQL."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from service.lifecycle.group import Group, GroupChange
from service.lifecycle.run import Change, Run
from service.store.starts import Allowance, Idempotency, Started

DecideGroup = Callable[[Group], GroupChange | None]


class Member(NamedTuple):
    """A run that a group starts with."""

    change: Change
    full_input: dict[str, Any]


class News(Struct, frozen=True, kw_only=True):
    """A group of which runs have ended, or whose time has come.

    Attributes:
        group: The group; None when nobody made one of that name.
        ids: What tells of it, to be forgotten once it has been looked at.
    """

    group: Group | None
    ids: tuple[int, ...]


class Groups(Protocol):
    """Runs that complete together."""

    async def add_group(self, group: Group) -> Group:
        """Keep a group whose runs come by themselves; returns it, or the one of its identity or name that is there."""

    async def start_group(
        self, group: Group, members: Sequence[Member], key: Idempotency | None, allowance: Allowance | None
    ) -> Started:
        """Write a group and its runs, all or nothing; the runs give its id as their group.

        Returns:
            What became of the first of its runs, which stands for all of them: where it had been there before, so had
            the others.
        """

    async def group(self, workspace: str, key: str) -> Group | None:
        """Return a group by its id or its name."""

    async def group_of_identity(self, workspace: str, identity: str) -> Group | None:
        """Return the group that an idempotency key made, if no run holds the key."""

    async def groups(
        self, workspace: str, *, state: str | None = None, before: str | None = None, limit: int = 50
    ) -> list[Group]:
        """List groups, newest first; `before` is the id after which a page goes on."""

    async def group_states(self, workspace: str, keys: Sequence[str]) -> dict[str, dict[str, int]]:
        """Count the runs of groups by state, for each of these keys."""

    async def group_runs(self, workspace: str, key: str, limit: int) -> list[Run]:
        """Return the runs of a group, oldest first."""

    async def change_group(self, group_id: str, decide: DecideGroup) -> GroupChange | None:
        """Apply a fact to a group, with its events; returns what changed, or None."""

    async def group_news(self, now: float, limit: int) -> list[News]:
        """Return the groups that must be looked at."""

    async def forget_news(self, ids: Sequence[int]) -> None:
        """Forget what told of groups that have been looked at."""

    async def forgettable_groups(self, before: float, now: float, after: str, limit: int) -> list[str]:
        """Return the ids of groups that completed before a moment and that nobody needs any more, oldest first.

        Args:
            before: They completed before this.
            now: The present.
            after: Id after which to go on; empty at first.
            limit: How many at most.
        """
