"""Run states, which of them are final, and every transition that may happen."""

from typing import Literal

RunState = Literal[
    "queued",  # durable, nothing sent yet
    "submitting",  # committed before the first byte leaves
    "running",  # upstream has the task
    "submit_unknown",  # nobody can know whether upstream has it; never submitted again by itself
    "succeeded",
    "failed",
    "canceled",
    "timed_out",
]

FINAL: frozenset[RunState] = frozenset({"succeeded", "failed", "canceled", "timed_out"})
OPEN: frozenset[RunState] = frozenset({"queued", "submitting", "running", "submit_unknown"})

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    "queued": frozenset({"submitting", "failed", "canceled", "timed_out"}),
    # Back to queued only on an answer that says: definitely not accepted, later perhaps.
    "submitting": frozenset({"queued", "running", "succeeded", "failed", "canceled", "submit_unknown"}),
    "running": frozenset({"succeeded", "failed", "canceled", "timed_out"}),
    "submit_unknown": frozenset({"running", "succeeded", "failed", "timed_out"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "canceled": frozenset(),
    "timed_out": frozenset(),
}


def may_follow(before: RunState, after: RunState) -> bool:
    """Tell whether a run may go from one state to another."""
    return after in TRANSITIONS[before]
