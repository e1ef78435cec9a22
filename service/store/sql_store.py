"""The store over a database engine: what is read and written for each verb, the same for every engine.

Every change is read, decided and written as one unit, so a decision is never applied to a run that it has not seen.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from service.clock import Clock
from service.errors import NotFound
from service.ids import made_at, new_id
from service.lifecycle.group import Group
from service.lifecycle.run import Change, Entry, Run
from service.lifecycle.states import RunState
from service.lifecycle.view import Sign
from service.store.base import (
    Addressed,
    Decide,
    EventFilter,
    FileRecord,
    KeptEvent,
    KeyRecord,
    Kind,
    Listener,
    Place,
    RunFilter,
)
from service.store.engine import Engine, Plan, Unit
from service.store.groups import Member
from service.store.outbox import Delivery
from service.store.prompt import Handover, Nobody, Prompt
from service.store.queries import STRAY
from service.store.recent import Recent
from service.store.rows import (
    CallbackRow,
    Row,
    Writes,
    day_of,
    decode_any,
    entry_of,
    event_of,
    event_values,
    file_of,
    group_row,
    insert,
    key_of,
    key_values,
    new_delivery,
    run_of,
    update,
)
from service.store.sql_groups import SqlGroups
from service.store.sql_outbox import SqlOutbox
from service.store.sql_sketches import SqlSketches
from service.store.sql_subscriptions import SqlSubscriptions
from service.store.starts import Allowance, Idempotency, Started

_TIMELINE_LIMIT = 1000
_TAKE_OVER_BATCH = 1000
_RELEASE_BATCH = 20_000
_ALIVE_S = 15.0  # a process that has not said so for this long is taken for dead
_SILENT_S = 5.0  # and perhaps is so, after this long: it says so every three seconds
_OWN_S = 1.0  # a start is left to the process that took it in for so long
_TOKENS, _INPUTS = 10_000, 1000  # of so many new runs
_SMALL_INPUT_BYTES = 4096
_WINDOW = 5000  # events that one look passes by
_OFTEN = frozenset({"run.queued", "run.running", "run.progressed", "run.succeeded"})
_BEFORE_ALL, _AFTER_ALL = Place(0, ""), Place(2**62, "")
# What belongs to what is forgotten: the table, and what begins the names of its statements. Deliveries lead to lines of
# the timeline, so these go before them.
_BELONGINGS: dict[Kind, dict[str, str]] = {
    "runs": {name: name for name in ("runs", "inputs", "events", "deliveries", "timeline", "callbacks")},
    "groups": {name: name for name in ("groups", "events", "deliveries", "timeline")},
    "events": {name: f"told_{name}" for name in ("timeline", "deliveries", "events")},
}

# Named here, since a function within a function evaluates its annotations whenever it is made.
_Rows = Sequence[Row]
_Settled = Plan[Change | None]
_Begun = Plan[Started]


class SqlStore(SqlOutbox, SqlSubscriptions, SqlGroups, SqlSketches):
    """A `Store` over an engine.

    Args:
        engine: The database.
        clock: Tells when events happen.
        sign: Makes the links to stored artifacts that stand in events.
        owner: What this process is known by among those that share the database.
    """

    def __init__(self, engine: Engine, clock: Clock, *, sign: Sign | None = None, owner: str | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._sign = sign
        self._listeners: list[Listener] = []
        self._looks: Prompt[Run] = Nobody()
        self._attempts: Prompt[Delivery] = Nobody()
        self._tokens: Recent[Addressed] = Recent(_TOKENS)
        self._inputs: Recent[bytes] = Recent(_INPUTS)
        self._owner = owner or new_id("own", clock.now())

    # -- life of the store itself

    async def open(self) -> None:
        """Open the database; see `Engine.open`."""
        await self._engine.open()

    async def close(self) -> None:
        """Finish what is being written and close."""
        await self._engine.close()

    async def check(self) -> None:
        """Raise `StoreError` when the database cannot be written."""
        await self._engine.count("replica_seen", owner=self._owner, now=self._clock.now())

    def listen(self, listener: Listener) -> None:
        """Call the listener with every committed change of a run."""
        self._listeners.append(listener)

    def hand_over(self, looks: Prompt[Run], attempts: Prompt[Delivery]) -> None:
        """Hand what commits make due at once to who works on it: looks at runs, and deliveries of their events."""
        self._looks, self._attempts = looks, attempts

    def _announce(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for listener in self._listeners:
                listener(change)

    # -- processes

    async def enroll(self) -> None:
        """Say that this process works from now on."""
        if not self._engine.is_shared:
            await self._engine.count("replicas_forget_all")
        await self._engine.count("replica_beat", owner=self._owner, now=self._clock.now())

    async def is_first(self) -> bool:
        """Tell whether of those that began before this process nobody works: they signed off, or are silent for 5 s."""
        return not (await self._engine.read("replicas_before", owner=self._owner, alive_s=_SILENT_S))[0][0]

    async def beat(self) -> int:
        """Say that this process lives; returns how many do."""
        if self._engine.is_shared:
            await self._engine.count("replica_beat", owner=self._owner, now=self._clock.now())
        return int((await self._engine.read("replicas_alive", alive_s=_ALIVE_S))[0][0])

    async def leave(self, owner: str | None = None) -> None:
        """Say that this process, or one that is dead, works no more; what it had in hand is left to others at once."""
        names = ("runs_release_of", "deliveries_release_of", "replicas_forget")
        await self._engine.count_each(names, now=self._clock.now(), owners=[owner or self._owner])

    async def take_over(self, now: float, settle: Decide, *, was_nobody_there: bool) -> int:
        """Take up what dead processes left: settle their submissions, release their leases."""
        dead = [row[0] for row in await self._engine.read("replicas_dead", alive_s=_ALIVE_S)]
        if was_nobody_there:
            while await self._engine.count("runs_release", now=now, limit=_RELEASE_BATCH) == _RELEASE_BATCH:
                pass  # however many are open, no statement lasts too long for the database
            await self._engine.count("deliveries_release", now=now)
        if dead:
            await self._engine.count_each(("runs_release_of", "deliveries_release_of"), now=now, owners=dead)
        values = {"now": now, "alive_s": _ALIVE_S, "limit": _TAKE_OVER_BATCH}
        settled = 0
        while changes := await self._decide_all("runs_orphaned", values, settle):
            settled += len(changes)
        if dead:
            await self._engine.count("replicas_forget", owners=dead)
        return settled

    # -- reading

    async def run(self, run_id: str) -> Run | None:
        """Return a run."""
        rows = await self._engine.read("run_get", id=run_id)
        return run_of(*rows[0]) if rows else None

    async def addressed(self, token: str) -> Addressed | None:
        """Return what a callback token leads to."""
        if (known := self._tokens.get(token)) is not None:
            return known
        rows = await self._engine.read("run_by_token", token=token)
        return Addressed(*rows[0]) if rows else None

    async def run_input(self, run_id: str) -> dict[str, Any]:
        """Return the whole input of a run."""
        kept = self._inputs.take(run_id)
        if kept is None:
            rows = await self._engine.read("input_get", run_id=run_id)
            kept = rows[0][0] if rows else b"{}"
        return dict(decode_any(kept))

    async def runs(self, wanted: RunFilter) -> list[Run]:
        """List runs, newest first."""
        values = {**msgspec.structs.asdict(wanted), "group_id": wanted.group}
        return [run_of(*row) for row in await self._engine.read(_listing(wanted), **values)]

    async def events_before(self, wanted: EventFilter, before: Place | None, limit: int) -> list[KeptEvent]:
        """List events that stand before a place, newest first; without a place the newest."""
        place: Place | None = before or _AFTER_ALL
        is_walk = wanted.run is None and (wanted.node is not None or wanted.reference is not None)
        found: list[KeptEvent] = []
        while place is not None and len(found) < limit:
            floor = await self._floor(wanted, place) if is_walk else None
            values = event_values(wanted, place, limit - len(found))
            rows = await self._engine.read(_before(wanted), floor=floor or 0, **values)
            found += [event_of(row) for row in rows]
            place = None if floor is None else Place(floor, "")
        return found

    async def _floor(self, wanted: EventFilter, place: Place) -> int | None:
        """Return how far down to look at once for what may be far: others want their turn. None is all the way."""
        values = {"workspace": wanted.workspace, "place": place.number, "id": place.event_id, "window": _WINDOW}
        rows = await self._engine.read("events_floor", **values)
        await asyncio.sleep(0)
        return int(rows[0][0]) if rows else None

    async def events_after(self, wanted: EventFilter, after: Place, limit: int) -> list[KeptEvent]:
        """List events that stand after a place, oldest first."""
        rows = await self._engine.read(_of("events_after", wanted), **event_values(wanted, after, limit))
        return [event_of(row) for row in rows]

    async def newest_place(self, workspace: str) -> Place:
        """Return the place of a workspace's newest event, or one before all that will come."""
        rows = await self._engine.read("events_newest", workspace=workspace)
        return Place(*rows[0]) if rows else _BEFORE_ALL

    async def place_of(self, workspace: str, event_id: str) -> Place:
        """Return the place of an event; for one that is not there, the place before all that were made after it."""
        rows = await self._engine.read("event_place", workspace=workspace, id=event_id)
        if rows:
            return Place(rows[0][0], event_id)
        at_us = round(made_at(event_id) * 1e6)
        rows = await self._engine.read("events_later", workspace=workspace, id=event_id, at_us=at_us)
        return Place(rows[0][0], "") if rows else await self.newest_place(workspace)

    async def timeline(self, run_id: str) -> list[Entry]:
        """Return a run's timeline, oldest first."""
        rows = await self._engine.read("timeline_list", run_id=run_id, limit=_TIMELINE_LIMIT)
        return [entry_of(row) for row in rows]

    async def open_runs(self) -> dict[str, int]:
        """Count the runs that have not ended, by state."""
        return {str(state): int(count) for state, count in await self._engine.read("runs_counts")}

    async def resting(self, run_ids: Sequence[str]) -> list[str]:
        """Return those of the runs that go on by themselves no more."""
        return [row[0] for row in await self._engine.read("runs_resting", ids=list(run_ids))]

    async def due_lanes(self, state: RunState, now: float) -> list[str]:
        """Return the lanes that have due runs in a state."""
        return [row[0] for row in await self._engine.read("runs_due_lanes", state=state, now=now)]

    async def count_running(self, lane: str) -> int:
        """Count the runs of a lane that upstream works on."""
        return int((await self._engine.read("runs_running", lane=lane))[0][0])

    # -- changing runs

    async def start(
        self,
        change: Change,
        full_input: dict[str, Any],
        key: Idempotency | None,
        allowance: Allowance | None = None,
    ) -> Started:
        """Write a new run, unless its idempotency key has one already or its API key may start no more today."""
        return await self._start((Member(change, full_input),), None, key, allowance)

    async def start_group(
        self, group: Group, members: Sequence[Member], key: Idempotency | None, allowance: Allowance | None
    ) -> Started:
        """Write a group and its runs, all or nothing; the runs give its id as their group."""
        return await self._start(members, group, key, allowance)

    async def run_of_key(self, scope: str, key: str, now: float) -> tuple[str, Run] | None:
        """Return the run that an idempotency key has started, and the fingerprint of that request."""
        rows = await self._engine.read("run_of_key", scope=scope, key=key, now=now)
        return (rows[0][0], run_of(*rows[0][1:])) if rows else None

    async def _start(
        self, members: Sequence[Member], group: Group | None, key: Idempotency | None, allowance: Allowance | None
    ) -> Started:
        now, first, written = self._clock.now(), members[0].change.run, Writes()

        def plan(rows: _Rows) -> _Begun:
            nonlocal written
            for fingerprint, doc, due_at, started_today in rows:
                if key is not None and doc is not None:
                    is_same = fingerprint == key.fingerprint
                    return Plan(Writes(), Started(run=run_of(doc, due_at), replayed=is_same, key_reused=not is_same))
                if allowance is not None and (started_today or 0) + len(members) > allowance.runs_per_day:
                    return Plan(Writes(), Started(run=first, over_allowance=True))
            written = self._starting(members, group, key, allowance, now)
            return Plan(written, Started(run=first))

        touches = {f"run {first.id}"}
        touches |= {f"key {key.scope} {key.key}"} if key else set()
        touches |= {f"day {allowance.key_id}"} if allowance else set()
        started = await self._engine.settle(
            Unit(
                select="start_seen" if key or allowance else "",
                key=(key.scope if key else None, key.key if key else None, *_counted(allowance, now), now),
                touches=frozenset(touches),
                plan=plan,
            )
        )
        if started.run is first and not started.over_allowance:
            self._remember(written)
            self._announce(member.change for member in members)
            self._ring_attempts(written)
        return started

    def _remember(self, written: Writes) -> None:
        """Keep of new runs what their submission and their first callback want to know."""
        for row in written.inserts:
            self._tokens.put(row.callback_token, Addressed(row.id, row.node))
            if len(row.input) <= _SMALL_INPUT_BYTES:
                self._inputs.put(row.id, row.input)

    def _starting(
        self,
        members: Sequence[Member],
        group: Group | None,
        key: Idempotency | None,
        allowance: Allowance | None,
        now: float,
    ) -> Writes:
        """Return the rows of new runs; the first of a group has the key, and none is there without it."""
        writes, leader = Writes(), members[0].change.run.id
        for member in members:
            run = member.change.run
            own_key = key if run.id == leader else None
            row = insert(run, member.full_input, own_key, allowance, owner=self._owner, now=now, leader=leader)
            writes.inserts.append(row)
            writes.tell(member.change, now, self._sign)
        if group is not None:
            writes.new_groups.append(group_row(group, 0, leader))
        return writes

    async def change(self, run_id: str, decide: Decide) -> Change | None:
        """Apply a fact to a run; returns what changed, or None when it changes nothing."""
        return await self._settle(run_id, decide, ())

    async def record_callback(self, run_id: str, body: bytes, now: float, decide: Decide) -> Change | None:
        """Keep an inbound callback and apply it, in one transaction; raises `NotFound` when the run is gone."""
        return await self._settle(run_id, decide, (CallbackRow(run_id, now, body),))

    async def _settle(self, run_id: str, decide: Decide, callbacks: tuple[CallbackRow, ...]) -> Change | None:
        handover, written = Handover(self._looks, self._attempts), Writes()

        def plan(rows: _Rows) -> _Settled:
            nonlocal written
            handover.undo()
            if callbacks and not rows:
                raise NotFound("No run has this callback URL.")
            written = Writes()
            written.callbacks += callbacks
            changes = self._decide(rows, decide, written, handover)
            self._lease_deliveries(written, handover)
            return Plan(written, changes[0] if changes else None)

        unit = Unit(select="run_seen", key=(run_id,), touches=frozenset((f"run {run_id}",)), plan=plan)
        try:
            changed = await self._engine.settle(unit)
        except BaseException:
            handover.undo(is_over=True)
            raise
        self._announce([changed] if changed else [])
        handover.begin()
        if changed is not None and self._is_due(changed.run):
            self._looks.ring()
        self._ring_attempts(written)
        return changed

    def _ring_attempts(self, written: Writes) -> None:
        """Have deliveries looked for that were written and not handed over."""
        if written.is_fanned_out or any(row.leased_by is None for row in written.deliveries):
            self._attempts.ring()

    def _is_due(self, run: Run) -> bool:
        """Tell whether a running run is to be looked at now; one that is leased is so later."""
        return run.state == "running" and run.due_at is not None and run.due_at <= self._clock.now()

    def _decide(
        self, rows: Sequence[Row], decide: Decide, writes: Writes, handover: Handover | None = None
    ) -> list[Change]:
        changes = []
        for doc, version, due_at in rows:
            change = decide(run_of(doc, due_at))
            if change is not None:
                leased = handover and self._leased(change, handover)
                change = leased or change
                writes.updates.append(update(change.run, version, self._owner, is_leased=leased is not None))
                writes.tell(change, self._clock.now(), self._sign)
                changes.append(change)
        return changes

    def _leased(self, change: Change, handover: Handover) -> Change | None:
        """Return a change that makes a look due at once as one that leases it, if there is room for the look."""
        if not self._is_due(change.run):
            return None
        leased = msgspec.structs.replace(change.run, due_at=self._clock.now() + self._looks.lease_s)
        return msgspec.structs.replace(change, run=leased) if handover.look(leased) else None

    def _lease_deliveries(self, writes: Writes, handover: Handover) -> None:
        """Lease the deliveries to runs' own receivers, as far as there is room for them."""
        events = {row.id: row for row in writes.events}
        for place, row in enumerate(writes.deliveries):
            leased = row._replace(
                due_at=row.due_at + self._attempts.lease_s, leased_by=self._owner, first_at=row.due_at
            )
            if handover.attempt(new_delivery(leased, events[row.event_id])):
                writes.deliveries[place] = leased

    async def _decide_all(self, select: str, values: dict[str, Any], decide: Decide) -> list[Change]:
        changes: list[Change] = []

        def plan(rows: Sequence[Row]) -> Writes:
            changes.clear()
            writes = Writes()
            changes.extend(self._decide(rows, decide, writes))
            return writes

        written = await self._engine.sweep(select, values, plan)
        mine = [change for change in changes if change.run.id in written]
        self._announce(mine)
        if any(change.events for change in mine):
            self._attempts.ring()
        return mine

    # -- sweeps

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
        """Lease due runs for one look at each; of some nodes only, if they are named."""
        lease_until = now + lease_s
        rows = await self._engine.write(
            "runs_claim",
            nodes=None if nodes is None else list(nodes),
            state=state,
            lane=lane,
            now=now,
            until=now + ahead_s,
            limit=limit,
            lease_until=lease_until,
            owner=self._owner,
        )
        return [run_of(row[0], lease_until) for row in rows]

    async def wake(self, lane: str, task_id: str, now: float) -> int:
        """Make the runs of a lane due that wait for input to a task; returns how many there were."""
        return await self._engine.count("runs_wake", lane=lane, task_id=task_id, now=now)

    async def make_due(self, run_id: str, now: float) -> None:
        """Make a running run due now, unless it is sooner."""
        await self._engine.count("run_due", id=run_id, now=now)

    async def claim_submissions(self, lane: str, now: float, limit: int, decide: Decide) -> list[Run]:
        """Apply `decide` to due queued runs and return those that changed."""
        values = {"lane": lane, "now": now, "limit": limit, "owner": self._owner, "foreign_before": now - _OWN_S}
        return [change.run for change in await self._decide_all("runs_take", values, decide)]

    async def expire(self, now: float, limit: int, decide: Decide) -> int:
        """Apply `decide` to runs past their deadline; returns how many there were."""
        return len(await self._decide_all("runs_expired", {"now": now, "limit": limit}, decide))

    # -- API keys

    async def add_key(self, record: KeyRecord, key_hash: str) -> bool:
        """Keep an API key's hash; False when the name is taken."""
        return await self._engine.count("key_insert", **key_values(record), hash=key_hash) == 1

    async def key_by_hash(self, key_hash: str) -> KeyRecord | None:
        """Return the valid key of that hash."""
        rows = await self._engine.read("key_by_hash", hash=key_hash)
        return key_of(rows[0]) if rows else None

    async def keys(self) -> list[KeyRecord]:
        """List all keys."""
        return [key_of(row) for row in await self._engine.read("keys_list")]

    async def revoke_key(self, name: str, now: float) -> bool:
        """Revoke a key; False when there is no valid one of that name."""
        return await self._engine.count("key_revoke", name=name, now=now) == 1

    # -- uploads

    async def add_file(self, record: FileRecord) -> None:
        """Keep what is known of an upload."""
        await self._engine.count("file_insert", **msgspec.structs.asdict(record))

    async def file(self, file_id: str) -> FileRecord | None:
        """Return an upload, expired or not."""
        rows = await self._engine.read("file_get", id=file_id)
        return file_of(rows[0]) if rows else None

    async def delete_file(self, file_id: str) -> None:
        """Forget an upload, if it is there."""
        await self._engine.count("file_delete", id=file_id)

    async def expired_files(self, now: float, limit: int) -> list[str]:
        """Return the ids of uploads whose time is over."""
        return [row[0] for row in await self._engine.read("files_expired", now=now, limit=limit)]

    # -- retention

    async def forgettable(self, before: float, now: float, after: str, limit: int) -> list[Run]:
        """Return runs that ended before a moment and that nobody needs any more, oldest first."""
        rows = await self._engine.read(
            "runs_forgettable",
            before=before,
            youngest=new_id("run", max(before, 0.0)),
            now=now,
            after=after,
            limit=limit,
        )
        return [run_of(*row) for row in rows]

    async def forgettable_events(self, before: float, after: str, limit: int) -> list[str]:
        """Return the ids of events of endpoints that were made before a moment and are on their way no more."""
        values = {"before": before, "after": after, "limit": limit}
        return [row[0] for row in await self._engine.read("events_forgettable", **values)]

    async def count_rows(self, ids: Sequence[str], kind: Kind = "runs") -> dict[str, int]:
        """Count the rows of runs, groups or events with all that belongs to them, by table."""
        tables = _BELONGINGS[kind].items()
        return {table: int((await self._engine.read(f"{s}_count_of", ids=list(ids)))[0][0]) for table, s in tables}

    async def forget(self, ids: Sequence[str], kind: Kind = "runs") -> dict[str, int]:
        """Delete runs, groups or events with all that belongs to them, in one transaction; returns numbers by table."""
        for ident in ids:
            self._inputs.take(ident)
        names = [f"{statement}_delete_of" for statement in _BELONGINGS[kind].values()]
        return dict(zip(_BELONGINGS[kind], await self._engine.count_each(names, ids=list(ids)), strict=True))

    async def count_old_keys(self, now: float) -> int:
        """Count the idempotency keys that hold no more."""
        return int((await self._engine.read("idempotency_count", now=now))[0][0])

    async def forget_keys(self, now: float, limit: int) -> int:
        """Delete idempotency keys that hold no more; returns how many there were."""
        return await self._engine.count("idempotency_delete", now=now, limit=limit)

    async def forget_usage(self, now: float) -> None:
        """Delete what keys started on days that are over."""
        await self._engine.count("usage_delete", day=day_of(now))

    async def stray_rows(self) -> dict[str, int]:
        """Count rows whose counterpart is missing, by what they are."""
        return {name: int((await self._engine.read(f"check_{name}"))[0][0]) for name in STRAY}


def _counted(allowance: Allowance | None, now: float) -> tuple[str | None, str | None]:
    """Return the key and the day that a start is counted at."""
    return (allowance.key_id, day_of(now)) if allowance else (None, None)


def _listing(wanted: RunFilter) -> str:
    """Return the statement that finds its rows by the word that the fewest runs share; most runs have succeeded."""
    states = ((wanted.state, "state"), (wanted.node, "node"))
    narrow = (
        (wanted.group, "group"),
        (wanted.reference, "reference"),
        *states[:: -1 if wanted.state == "succeeded" else 1],
    )
    return next((f"runs_list_of_{name}" for value, name in narrow if value is not None), "runs_list")


def _before(wanted: EventFilter) -> str:
    """Return the statement that lists events newest first: of types that few are of, these are read alone."""
    is_seldom = wanted.run is None and _OFTEN.isdisjoint(wanted.types)
    return "events_before_of_seldom" if is_seldom else _of("events_before", wanted)


def _of(statement: str, wanted: EventFilter) -> str:
    """Return the statement that lists events, or the one that lists those of a single run."""
    return statement if wanted.run is None else f"{statement}_of_run"
