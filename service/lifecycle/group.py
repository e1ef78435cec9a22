"""Groups: runs that complete together, and what may happen to them. Values and rules, no I/O."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from service.lifecycle.run import EventType, Run, Webhook

MOST_RUNS = 1000  # its one event holds them all

Reason = Literal["all_ended", "enough_succeeded", "deadline"]

_AGAIN_S = 1.0  # a run that is just being submitted cannot be canceled yet


class Group(Struct, frozen=True, kw_only=True):
    """Runs that complete together. Times are epoch seconds.

    Attributes:
        id: `grp_…`.
        workspace: Whose it is.
        name: The caller's word for it, which runs give as `group`; without one they give its id.
        state: Whether it has completed, which it does once.
        size: How many runs belong to it; None while nobody has said that no more come.
        needed: How many of them must succeed; None for: all must have ended.
        cancel_rest: Runs that are still open when it completes are canceled.
        canceling: Somebody has canceled it: its open runs are canceled until there are none.
        identity: Names the idempotency key that it was made with, where no run holds the key.
        fingerprint: Hash of the request that it was made by.
        outcomes: What became of each run that was to be started with it: its id, or the problem with it.
        reference: The caller's own id of it.
        metadata: Comes back with it.
        webhook: Where its one event goes.
        base_url: Where its caller reaches Halley.
        created_at: When it was made.
        deadline_at: When it completes with what there is.
        completed_at: When it completed.
        reason: Why it completed.
        due_at: When a sweep must look at it.
    """

    id: str
    workspace: str
    name: str | None = None
    state: Literal["open", "completed"] = "open"
    size: int | None = None
    needed: int | None = None
    cancel_rest: bool = False
    canceling: bool = False
    identity: str | None = None
    fingerprint: str | None = None
    outcomes: tuple[str | dict[str, Any], ...] = ()
    reference: str | None = None
    metadata: dict[str, Any] = {}
    webhook: Webhook | None = None
    base_url: str = ""
    created_at: float
    deadline_at: float
    completed_at: float | None = None
    reason: Reason | None = None
    due_at: float | None = None

    @property
    def key(self) -> str:
        """What its runs give as `group`."""
        return self.name or self.id

    @property
    def cancels(self) -> bool:
        """Whether its open runs are not wanted any more."""
        return self.canceling or (self.cancel_rest and self.state == "completed")

    def is_full(self, count: int) -> bool:
        """Tell whether it takes no more runs when it has so many."""
        return count >= (MOST_RUNS if self.size is None else self.size)


class GroupChange(Struct, frozen=True, kw_only=True):
    """A group after a fact, with the events that tell of it and the runs that they hold."""

    group: Group
    events: tuple[EventType, ...] = ()
    runs: tuple[Run, ...] = ()


def looked_at(group: Group, runs: Sequence[Run], now: float) -> GroupChange | None:
    """Complete a group whose runs have come far enough, and say when it must be looked at again."""
    change = _completed(group, runs, now) if group.state == "open" else None
    after = change.group if change else group
    due_at = _due_at(after, runs, now)
    if change is None and due_at == group.due_at:
        return None
    after = msgspec.structs.replace(after, due_at=due_at)
    return GroupChange(group=after, events=change.events if change else (), runs=change.runs if change else ())


def closed(group: Group, count: int, now: float) -> GroupChange | None:
    """Let no more runs come than the group has."""
    if group.state == "completed" or group.size == count:
        return None
    return GroupChange(group=msgspec.structs.replace(group, size=count, due_at=now))


def canceled(group: Group, count: int, now: float) -> GroupChange | None:
    """Want none of the runs any more that are still open, and let no more come."""
    size = count if group.state == "open" else group.size
    after = msgspec.structs.replace(group, size=size, canceling=True, due_at=now)
    return None if group.canceling and group.size == size else GroupChange(group=after)


def _completed(group: Group, runs: Sequence[Run], now: float) -> GroupChange | None:
    reason = _reason(group, runs, now)
    if reason is None:
        return None
    done = msgspec.structs.replace(group, state="completed", completed_at=now, reason=reason)
    return GroupChange(group=done, events=("group.completed",), runs=tuple(runs))


def _reason(group: Group, runs: Sequence[Run], now: float) -> Reason | None:
    if group.needed is not None and sum(run.state == "succeeded" for run in runs) >= group.needed:
        return "enough_succeeded"
    if group.size is not None and len(runs) >= group.size and all(run.is_final for run in runs):
        return "all_ended"
    return "deadline" if now >= group.deadline_at else None


def _due_at(group: Group, runs: Sequence[Run], now: float) -> float | None:
    is_open = group.state == "open"
    if group.cancels and not all(run.is_final for run in runs):
        times = [now + _AGAIN_S, *([group.due_at] if group.due_at else []), *([group.deadline_at] if is_open else [])]
        return min(at for at in times if at > now)
    return group.deadline_at if is_open else None
