"""The store's interface and the values that cross it. No SQL here.

Every change of a run goes through `change`: the engine reads the run, calls the given pure function, and writes the
run, its events, its deliveries and its timeline in one transaction. What the function returns is what happened.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Struct

from service.lifecycle.run import Change, Entry, Run
from service.lifecycle.states import RunState
from service.store.groups import Groups
from service.store.outbox import Delivery, Outbox
from service.store.prompt import Prompt
from service.store.sketches import Sketches
from service.store.starts import Allowance, Idempotency, Started
from service.store.subscriptions import Subscriptions

Decide = Callable[[Run], Change | None]
Listener = Callable[[Change], None]
KeyScope = Literal["read", "run", "admin"]
Kind = Literal["runs", "groups", "events"]


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs to list; `before` is the id after which a page goes on."""

    workspace: str
    state: RunState | None = None
    node: str | None = None
    reference: str | None = None
    group: str | None = None
    before: str | None = None
    limit: int = 50


class Place(NamedTuple):
    """Where an event stands in the order in which a workspace's events became visible: nothing new ever stands before.

    Attributes:
        number: Grows with every commit; what one commit wrote may share it.
        event_id: Tells apart what shares a number; "" is before all of them.
    """

    number: int
    event_id: str


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events to list.

    Attributes:
        workspace: Whose.
        types: Of these types.
        node: Of runs of nodes that fit, such as `text.*`.
        reference: Of runs with this reference.
        run: Of this run.
    """

    workspace: str
    types: tuple[str, ...]
    node: str | None = None
    reference: str | None = None
    run: str | None = None


class KeptEvent(Struct, frozen=True, kw_only=True):
    """An event as it was written; `body` is what is delivered."""

    id: str
    type: str
    place: Place
    body: bytes


class KeyRecord(Struct, frozen=True, kw_only=True):
    """An API key, without the key.

    Attributes:
        id: `key_…`.
        name: For people.
        workspace: Whose runs it sees and starts.
        hint: How the key begins.
        scope: `read` sees, `run` starts and cancels as well, `admin` may do everything.
        nodes: Patterns of the nodes that it may run, such as `text.*`; empty for all.
        runs_per_day: How many runs it may start in a day (UTC); None for any number.
        created_at: When it was made.
        revoked_at: When it was revoked.
    """

    id: str
    name: str
    workspace: str
    hint: str
    scope: KeyScope = "admin"
    nodes: tuple[str, ...] = ()
    runs_per_day: int | None = None
    created_at: float
    revoked_at: float | None = None


class FileRecord(Struct, frozen=True, kw_only=True):
    """An upload, without its bytes.

    Attributes:
        id: `file_…`, its name in the vault.
        workspace: Whose it is.
        name: File name for people.
        mime: Media type, told by its first bytes.
        size_bytes: Its size.
        sha256: Its hash, in hexadecimal.
        created_at: When it was taken in.
        expires_at: When it is deleted.
    """

    id: str
    workspace: str
    name: str
    mime: str
    size_bytes: int
    sha256: str
    created_at: float
    expires_at: float


class Addressed(NamedTuple):
    """The run that a callback token leads to, and its node."""

    run_id: str
    node: str


class Store(Outbox, Subscriptions, Groups, Sketches, Protocol):
    """Everything that is kept."""

    async def open(self) -> None:
        """Open the database, migrating it when it is new; raises `StoreError` with what to do."""

    async def close(self) -> None:
        """Finish what is being written and close."""

    async def check(self) -> None:
        """Raise `StoreError` when the database cannot be written."""

    def listen(self, listener: Listener) -> None:
        """Call the listener with every committed change of a run."""

    def hand_over(self, looks: Prompt[Run], attempts: Prompt[Delivery]) -> None:
        """Hand what commits make due at once to who works on it: looks at runs, and deliveries of their events."""

    async def enroll(self) -> None:
        """Say that this process works from now on."""

    async def is_first(self) -> bool:
        """Tell whether of those that began before this process nobody works: they signed off, or are silent for 5 s."""

    async def beat(self) -> int:
        """Say that this process lives; returns how many do. One that has not said so for 15 s is taken for dead."""

    async def leave(self, owner: str | None = None) -> None:
        """Say that this process works no more, or that another one is dead, before its silence tells."""

    async def start(
        self,
        change: Change,
        full_input: dict[str, Any],
        key: Idempotency | None,
        allowance: Allowance | None = None,
    ) -> Started:
        """Write a new run, unless its idempotency key has one already or its API key may start no more today."""

    async def run_of_key(self, scope: str, key: str, now: float) -> tuple[str, Run] | None:
        """Return the run that an idempotency key has started, and the fingerprint of that request."""

    async def run(self, run_id: str) -> Run | None:
        """Return a run."""

    async def addressed(self, token: str) -> Addressed | None:
        """Return what a callback token leads to."""

    async def run_input(self, run_id: str) -> dict[str, Any]:
        """Return the whole input of a run."""

    async def runs(self, wanted: RunFilter) -> list[Run]:
        """List runs, newest first."""

    async def events_before(self, wanted: EventFilter, before: Place | None, limit: int) -> list[KeptEvent]:
        """List events that stand before a place, newest first; without a place the newest."""

    async def events_after(self, wanted: EventFilter, after: Place, limit: int) -> list[KeptEvent]:
        """List events that stand after a place, oldest first."""

    async def newest_place(self, workspace: str) -> Place:
        """Return the place of a workspace's newest event, or one before all that will come."""

    async def place_of(self, workspace: str, event_id: str) -> Place:
        """Return the place of an event; for one that is not there, the place before all that were made after it."""

    async def timeline(self, run_id: str) -> list[Entry]:
        """Return a run's timeline, oldest first."""

    async def open_runs(self) -> dict[str, int]:
        """Count the runs that have not ended, by state."""

    async def change(self, run_id: str, decide: Decide) -> Change | None:
        """Apply a fact to a run; returns what changed, or None when it changes nothing."""

    async def record_callback(self, run_id: str, body: bytes, now: float, decide: Decide) -> Change | None:
        """Keep an inbound callback and apply it, in one transaction; raises `NotFound` when the run is gone."""

    async def due_lanes(self, state: RunState, now: float) -> list[str]:
        """Return the lanes that have due runs in a state."""

    async def resting(self, run_ids: Sequence[str]) -> list[str]:
        """Return those of the runs that go on by themselves no more (see `Run.rests`)."""

    async def claim(
        self,
        state: RunState,
        lane: str,
        now: float,
        limit: int,
        *,
        lease_s: float,
        ahead_s: float = 0.0,
        nodes: Sequence[str] | None = None,
    ) -> list[Run]:
        """Lease due runs for one look at each: those due within `ahead_s`, of some nodes only, if they are named.

        The due time of a returned run is the end of its lease, and a token: a run whose due time is another by now has
        been leased to somebody else.
        """

    async def wake(self, lane: str, task_id: str, now: float) -> int:
        """Make the runs of a lane due that wait for input to a task; returns how many there were."""

    async def make_due(self, run_id: str, now: float) -> None:
        """Make a running run due now, unless it is sooner."""

    async def count_running(self, lane: str) -> int:
        """Count the runs of a lane that upstream works on."""

    async def claim_submissions(self, lane: str, now: float, limit: int, decide: Decide) -> list[Run]:
        """Apply `decide` to due queued runs and return those that changed."""

    async def expire(self, now: float, limit: int, decide: Decide) -> int:
        """Apply `decide` to runs past their deadline; returns how many there were."""

    async def take_over(self, now: float, settle: Decide, *, was_nobody_there: bool) -> int:
        """Take up what dead processes left: settle their submissions, release their leases.

        Args:
            now: The present.
            settle: Applied to each run that was being submitted.
            was_nobody_there: Every running run is looked at soon, as callbacks may have been missed.

        Returns:
            How many submissions were settled.
        """

    async def add_key(self, record: KeyRecord, key_hash: str) -> bool:
        """Keep an API key's hash; False when the name is taken."""

    async def key_by_hash(self, key_hash: str) -> KeyRecord | None:
        """Return the valid key of that hash."""

    async def keys(self) -> list[KeyRecord]:
        """List all keys."""

    async def revoke_key(self, name: str, now: float) -> bool:
        """Revoke a key; False when there is no valid one of that name."""

    async def add_file(self, record: FileRecord) -> None:
        """Keep what is known of an upload."""

    async def file(self, file_id: str) -> FileRecord | None:
        """Return an upload, expired or not."""

    async def delete_file(self, file_id: str) -> None:
        """Forget an upload, if it is there."""

    async def expired_files(self, now: float, limit: int) -> list[str]:
        """Return the ids of uploads whose time is over."""

    async def forgettable(self, before: float, now: float, after: str, limit: int) -> list[Run]:
        """Return runs that ended before a moment and that nobody needs any more, oldest first.

        Needed are runs that are watched, whose events are on their way, whose idempotency key holds, and what belongs
        to a flow or a group that is not over.

        Args:
            before: They ended before this.
            now: The present.
            after: Id after which to go on; empty at first.
            limit: How many at most.
        """

    async def forgettable_events(self, before: float, after: str, limit: int) -> list[str]:
        """Return the ids of events of endpoints that were made before a moment and are on their way no more."""

    async def count_rows(self, ids: Sequence[str], kind: Kind = "runs") -> dict[str, int]:
        """Count the rows of runs, groups or events with all that belongs to them, by table."""

    async def forget(self, ids: Sequence[str], kind: Kind = "runs") -> dict[str, int]:
        """Delete runs, groups or events with all that belongs to them, in one transaction; returns numbers by table."""

    async def count_old_keys(self, now: float) -> int:
        """Count the idempotency keys that hold no more."""

    async def forget_keys(self, now: float, limit: int) -> int:
        """Delete idempotency keys that hold no more; returns how many there were."""

    async def forget_usage(self, now: float) -> None:
        """Delete what keys started on days that are over."""

    async def stray_rows(self) -> dict[str, int]:
        """Count rows whose counterpart is missing, by what they are."""
