"""Tasks and their clockwork: where a task stands follows from the time alone, nothing has to tick.

What a family says about a task (status words, envelopes, results) does not belong here.
"""

from typing import Any, Literal

import msgspec

from service.clock import Clock
from service.simulator.bounded import Bounded
from service.simulator.scenario import Scenario

Phase = Literal["submitted", "processing", "succeeded", "failed"]
PROCESSING_FROM = 0.1
ID_SHIFT = 19
RELAY_ID_OFFSET = 10**18


class Snowflakes:
    """Makes ids of 18 digits from the clock, so that none comes back after a restart."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> str:
        """Make the next id."""
        self._last = max(self._last + 1, int(self._clock.now() * 1000) << ID_SHIFT)
        return str(self._last)


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """One callback that was posted, and what came of it: an HTTP status or the error's name."""

    phase: Phase
    posted_at: float
    outcome: int | str


class Task(msgspec.Struct, kw_only=True, eq=False):
    """One generation.

    Attributes:
        id: The provider's id, carried by callbacks.
        public_id: The id in the submit answer, asked for by queries; the same unless a relay mints its own.
        path: The create path, to which queries must be addressed.
        base_url: How the creator reached the simulator; result links start with it.
        callback_refused: Why nothing is ever posted to the callback URL; empty when it is.
        facts: What the family wants to remember of the request.
        played: How often each counted mark has been played.
    """

    id: str
    public_id: str
    operation: str
    path: str
    base_url: str
    external_id: str
    scenario: Scenario
    created_at: float
    finished_at: float
    callback_url: str = ""
    callback_refused: str = ""
    callbacks: list[Posted] = []
    facts: Any = None
    played: dict[str, int] = {}

    @property
    def processing_at(self) -> float:
        """The moment at which the task leaves the queue."""
        return self.created_at + PROCESSING_FROM * (self.finished_at - self.created_at)

    @property
    def final_phase(self) -> Phase:
        """The phase in which the task ends."""
        return "succeeded" if self.scenario.outcome == "succeed" else "failed"

    def phase(self, now: float) -> Phase:
        """Tell where the task stands."""
        if now >= self.finished_at:
            return self.final_phase
        return "processing" if now >= self.processing_at else "submitted"

    def entered_at(self, phase: Phase) -> float:
        """Tell when the task enters a phase."""
        return {"submitted": self.created_at, "processing": self.processing_at}.get(phase, self.finished_at)

    def percent(self, now: float) -> int:
        """Tell the progress from 0 to 100."""
        span_s = self.finished_at - self.created_at
        return 100 if now >= self.finished_at else int(100 * (now - self.created_at) / span_s)

    def plays(self, mark: str) -> bool:
        """Count one occasion for a counted mark; tell whether the mark is still to be played."""
        limit: int = getattr(self.scenario, mark)
        done = self.played.get(mark, 0)
        if done >= limit:
            return False
        self.played[mark] = done + 1
        return True


class TaskTable:
    """The newest tasks, by the id that queries ask for and by the caller's own id."""

    def __init__(self, limit: int) -> None:
        self._by_id: Bounded[str, Task] = Bounded(limit)
        self._by_external_id: dict[str, list[Task]] = {}

    def add(self, task: Task) -> None:
        """Store a task; the oldest goes when the table is full."""
        if task.external_id:
            self._by_external_id.setdefault(task.external_id, []).append(task)
        forgotten = self._by_id.put(task.public_id, task)
        if forgotten is not None and forgotten.external_id:
            self._forget_external(forgotten)

    def _forget_external(self, task: Task) -> None:
        siblings = self._by_external_id[task.external_id]
        siblings.remove(task)
        if not siblings:
            del self._by_external_id[task.external_id]

    def by_id(self, public_id: str) -> Task | None:
        """Find a task by the id of its submit answer."""
        return self._by_id.get(public_id)

    def by_external_id(self, external_id: str) -> list[Task]:
        """List the tasks that were created under one external id, oldest first."""
        return list(self._by_external_id.get(external_id, ()))

    def all(self) -> list[Task]:
        """List all tasks, oldest first."""
        return self._by_id.values()

    def clear(self) -> None:
        """Forget all tasks."""
        self._by_id.clear()
        self._by_external_id.clear()
