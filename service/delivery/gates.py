"""How much may be under way at a time: for each receiver, for each workspace, and for all of them together.

A receiver begins with a few attempts at a time and earns more with each that it takes; one that lets its callers wait,
or says that it is overloaded, is left with a single one until it answers well. So one that hangs holds up nobody else,
and nor does a tenant with a flood.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from service.store.outbox import DueTarget

IN_FLIGHT = 256
_OF_A_WORKSPACE = IN_FLIGHT // 2
_FIRST = 8
_MOST = 32
_KEPT = 10_000  # gates that are at rest; a receiver that is forgotten begins anew


class Gate:
    """What is under way to one receiver in this process.

    Attributes:
        in_flight: Attempts under way.
        limit: Attempts at a time, as the receiver has earned them.
    """

    def __init__(self, now: float) -> None:
        self.in_flight = 0
        self.limit = _FIRST
        self._tokens: float | None = None
        self._filled_at = now

    def room(self, due: DueTarget, sharers: int, now: float) -> int:
        """Return how many attempts may be begun now; what an endpoint may have is shared by all processes."""
        most = self.limit if due.concurrency is None else max(min(self.limit, due.concurrency // sharers), 1)
        free = max(most - self.in_flight, 0)
        return free if due.rate_per_s is None else min(free, self._within_rate(due.rate_per_s / sharers, now))

    def _within_rate(self, per_s: float, now: float) -> int:
        most = max(per_s, 1.0)
        before = most if self._tokens is None else self._tokens
        self._tokens = min(before + max(now - self._filled_at, 0.0) * per_s, most)
        self._filled_at = now
        return int(self._tokens)

    def begin(self) -> None:
        """Count an attempt as under way."""
        self.in_flight += 1
        if self._tokens is not None:
            self._tokens -= 1

    def end(self, *, is_quick: bool) -> None:
        """Count it as done."""
        self.in_flight -= 1
        self.limit = min(self.limit + 1, _MOST) if is_quick else 1


class Gates:
    """The gates of all receivers.

    Args:
        now: Seconds that only ever grow.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._gates: dict[str, Gate] = {}
        self._of_workspace: defaultdict[str, int] = defaultdict(int)
        self._in_flight = 0
        self._full = set[str]()  # receivers for which more was due than there was room for
        self._is_short = False  # somebody had to wait for others
        self._sharers = 1

    def share(self, processes: int) -> None:
        """Leave their part of what endpoints may have to the other processes."""
        self._sharers = max(processes, 1)

    def rooms(self, due: Sequence[DueTarget]) -> dict[str, int]:
        """Return how many attempts may be begun now, by target; those that have none are left out."""
        left, of_workspace = IN_FLIGHT - self._in_flight, dict(self._of_workspace)
        rooms: dict[str, int] = {}
        self._is_short = False
        self._full.clear()
        for each in due:
            busy, gate = of_workspace.get(each.workspace, 0), self._gate(each.target)
            free = gate.room(each, self._sharers, self._now())
            room = max(min(free, left, _OF_A_WORKSPACE - busy), 0)
            if not free:
                self._full.add(each.target)
            self._is_short = self._is_short or room < free
            if room:
                rooms[each.target] = room
                left -= room
                of_workspace[each.workspace] = busy + room
        return rooms

    def taken(self, rooms: Mapping[str, int], claimed: Mapping[str, int]) -> None:
        """Note which receivers used up their room, so that more may be due for them."""
        self._full.update(target for target, room in rooms.items() if claimed.get(target, 0) >= room)

    def enter(self, target: str, workspace: str) -> bool:
        """Begin an attempt that has just come up, unless others wait before it or there is no room."""
        gate = self._gate(target)
        is_open = (
            target not in self._full
            and gate.in_flight < gate.limit
            and self._in_flight < IN_FLIGHT
            and self._of_workspace.get(workspace, 0) < _OF_A_WORKSPACE
        )
        if is_open:
            self.begin(target, workspace)
        return is_open

    def begin(self, target: str, workspace: str) -> None:
        """Count an attempt as under way."""
        self._gate(target).begin()
        self._of_workspace[workspace] += 1
        self._in_flight += 1

    def leave(self, target: str, workspace: str) -> None:
        """Undo a beginning: nothing was attempted."""
        self._gate(target).in_flight -= 1
        self._count_out(workspace)

    def end(self, target: str, workspace: str, *, is_quick: bool) -> bool:
        """Count it as done; returns whether it is time to look for more."""
        gate = self._gate(target)
        gate.end(is_quick=is_quick)
        left_of_workspace = self._count_out(workspace)
        self._forget()
        # Not for each: what is claimed together is committed together.
        is_roomy = 2 * self._in_flight <= IN_FLIGHT and 2 * left_of_workspace <= _OF_A_WORKSPACE
        return (self._is_short and is_roomy) or (target in self._full and 2 * gate.in_flight <= gate.limit)

    def _count_out(self, workspace: str) -> int:
        self._in_flight -= 1
        self._of_workspace[workspace] -= 1
        left = self._of_workspace[workspace]
        if not left:
            del self._of_workspace[workspace]
        return left

    def _gate(self, target: str) -> Gate:
        if target not in self._gates:
            self._gates[target] = Gate(self._now())
        return self._gates[target]

    def _forget(self) -> None:
        if len(self._gates) > _KEPT:
            self._gates = {target: gate for target, gate in self._gates.items() if gate.in_flight}
