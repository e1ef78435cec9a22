"""Groups: runs that complete together, and what may happen to them. Values and rules, no I/O."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from service.lifecycle.run import EventType, Run, Webhook


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
    reference: str | None = None
    metadata: dict[str, Any] = {}
    webhook: Webhook | None = None
    base_url: str = ""
    created_at: float
    deadline_at: float
    completed_at: float | None = None
    reason: Literal["all_ended", "enough_succeeded", "deadline"] | None = None
    due_at: float | None = None

    @property
    def key(self) -> str:
        """What its runs give as `group`."""
        return self.name or self.id


class GroupChange(Struct, frozen=True, kw_only=True):
    """A group after a fact, with the events that tell of it and the runs that they hold."""

    group: Group
    events: tuple[EventType, ...] = ()
    runs: tuple[Run, ...] = ()


def looked_at(group: Group, runs: Sequence[Run], now: float) -> GroupChange | None:
    """Complete a group whose runs have come far enough."""
    reason = _reason(group, runs, now) if group.state == "open" else None
    if reason is None:
        return None
    done = msgspec.structs.replace(group, state="completed", completed_at=now, reason=reason, due_at=None)
    return GroupChange(group=done, events=("group.completed",), runs=tuple(runs))


def _reason(
    group: Group, runs: Sequence[Run], now: float
) -> Literal["all_ended", "enough_succeeded", "deadline"] | None:
    if group.needed is not None and sum(run.state == "succeeded" for run in runs) >= group.needed:
        return "enough_succeeded"
    if group.size is not None and len(runs) >= group.size and all(run.is_final for run in runs):
        return "all_ended"
    return "deadline" if now >= group.deadline_at else None
