"""The store in one SQLite file: WAL, one writer thread that groups commits, reads on the calling thread.

One process only: a lock on the data folder keeps a second one out (`StoreError`).
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from service.clock import Clock
from service.errors import StoreError
from service.ids import new_id
from service.lifecycle.run import Change, Entry, Run
from service.lifecycle.states import FINAL, RunState
from service.lifecycle.view import Sign, events_of
from service.store.base import (
    Allowance,
    Decide,
    Delivery,
    DeliveryResult,
    FileRecord,
    Idempotency,
    KeyRecord,
    Listener,
    RunFilter,
    Started,
)
from service.store.queries import load_migrations, load_queries
from service.store.writer import Writer

_IDEMPOTENCY_KEPT_S = 7 * 86400.0
_TIMELINE_LIMIT = 1000
_TAKE_OVER_BATCH = 1000
_BUSY_TIMEOUT_S = 5.0
_OF_A_RUN = ("runs", "inputs", "events", "deliveries", "timeline", "callbacks")

_encode = msgspec.json.Encoder().encode
_decode_run = msgspec.json.Decoder(Run).decode
_decode_any = msgspec.json.Decoder().decode


class SqliteStore:
    """A `Store` in one SQLite file.

    Args:
        path: The database file; its folder must exist.
        clock: Tells when events happen.
        checkpoints: False for a guest in a database that another process may be serving.
        sign: Makes the links to stored artifacts that stand in events.
    """

    def __init__(self, path: Path, clock: Clock, *, checkpoints: bool = True, sign: Sign | None = None) -> None:
        self._path = path
        self._clock = clock
        self._sign = sign
        self._checkpoints = checkpoints
        self._sql = load_queries("sqlite")
        self._writer = Writer(self._connect_writer)
        self._reader: sqlite3.Connection | None = None
        self._listeners: list[Listener] = []
        self._owner = new_id("own", clock.now())

    # -- life of the store itself

    async def open(self) -> None:
        """Open the database and bring it up to date."""
        await self._writer.start()
        self._reader = self._connect()

    async def close(self) -> None:
        """Finish what is being written and close."""
        await self._writer.stop()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    async def check(self) -> None:
        """Raise `StoreError` when the database cannot be written."""
        await self._writer.do(lambda connection: connection.execute("SELECT 1"))

    def listen(self, listener: Listener) -> None:
        """Call the listener with every committed change of a run."""
        self._listeners.append(listener)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _connect_writer(self) -> sqlite3.Connection:
        try:
            connection = self._connect()
            connection.execute("PRAGMA journal_mode = WAL")
            # Only the writer checkpoints: SQLite before 3.51.3 can lose pages when another connection does.
            if self._checkpoints:
                connection.execute("PRAGMA wal_autocheckpoint = 1000")
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection)
        except sqlite3.Error as exc:
            raise StoreError(f"the database {self._path} cannot be used: {exc}") from exc
        return connection

    # -- reading

    def _rows(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        if self._reader is None:
            raise StoreError("the database is closed")
        try:
            return self._reader.execute(self._sql[name], values).fetchall()
        except sqlite3.Error as exc:
            raise StoreError(f"the database could not be read: {exc}") from exc

    async def run(self, run_id: str) -> Run | None:
        """Return a run."""
        rows = self._rows("run_get", id=run_id)
        return _decode_run(rows[0][0]) if rows else None

    async def run_by_token(self, token: str) -> Run | None:
        """Return the run that a callback token belongs to."""
        rows = self._rows("run_by_token", token=token)
        return _decode_run(rows[0][0]) if rows else None

    async def run_input(self, run_id: str) -> dict[str, Any]:
        """Return the whole input of a run."""
        rows = self._rows("input_get", run_id=run_id)
        return dict(_decode_any(rows[0][0])) if rows else {}

    async def runs(self, wanted: RunFilter) -> list[Run]:
        """List runs, newest first."""
        rows = self._rows(
            "runs_list",
            workspace=wanted.workspace,
            state=wanted.state,
            node=wanted.node,
            reference=wanted.reference,
            group_id=wanted.group,
            before=wanted.before,
            limit=wanted.limit,
        )
        return [_decode_run(row[0]) for row in rows]

    async def timeline(self, run_id: str) -> list[Entry]:
        """Return a run's timeline, oldest first."""
        rows = self._rows("timeline_list", run_id=run_id, limit=_TIMELINE_LIMIT)
        return [Entry(at=at, kind=kind, detail=_decode_any(detail)) for at, kind, detail in rows]

    async def open_runs(self) -> dict[str, int]:
        """Count the runs that have not ended, by state."""
        return dict(self._rows("runs_counts"))

    async def due_lanes(self, state: RunState, now: float) -> list[str]:
        """Return the lanes that have due runs in a state."""
        return [row[0] for row in self._rows("runs_due_lanes", state=state, now=now)]

    async def key_by_hash(self, key_hash: str) -> KeyRecord | None:
        """Return the valid key of that hash."""
        rows = self._rows("key_by_hash", hash=key_hash)
        return _key(rows[0]) if rows else None

    async def keys(self) -> list[KeyRecord]:
        """List all keys."""
        return [_key(row) for row in self._rows("keys_list")]

    # -- writing runs

    async def start(
        self,
        change: Change,
        full_input: dict[str, Any],
        key: Idempotency | None,
        allowance: Allowance | None = None,
    ) -> Started:
        """Write a new run, unless its idempotency key has one already."""
        encoded_input = _encode(full_input)

        def work(connection: sqlite3.Connection) -> Started:
            if key is not None and (earlier := self._earlier(connection, key)):
                return earlier
            connection.execute(self._sql["run_insert"], _row(change.run))
            connection.execute(self._sql["input_insert"], {"run_id": change.run.id, "input": encoded_input})
            self._tell(connection, change)
            if key is not None:
                values = {
                    "run_id": change.run.id,
                    "created_at": change.run.created_at,
                    **msgspec.structs.asdict(key),
                }
                connection.execute(self._sql["idempotency_put"], values)
            return Started(run=change.run)

        started = await self._writer.do(work)
        if not started.replayed and not started.key_reused:
            self._announce([change])
        return started

    def _earlier(self, connection: sqlite3.Connection, key: Idempotency) -> Started | None:
        oldest = self._clock.now() - _IDEMPOTENCY_KEPT_S
        found = connection.execute(
            self._sql["idempotency_get"], {"scope": key.scope, "key": key.key, "oldest": oldest}
        ).fetchone()
        if found is None:
            return None
        fingerprint, run_id = found
        run = _decode_run(connection.execute(self._sql["run_get"], {"id": run_id}).fetchone()[0])
        is_same = fingerprint == key.fingerprint
        return Started(run=run, replayed=is_same, key_reused=not is_same)

    async def change(self, run_id: str, decide: Decide) -> Change | None:
        """Apply a fact to a run; returns what changed, or None when it changes nothing."""
        changed = await self._writer.do(lambda connection: self._change(connection, run_id, decide))
        self._announce([changed] if changed else [])
        return changed

    async def record_callback(self, run_id: str, body: bytes, now: float, decide: Decide) -> Change | None:
        """Keep an inbound callback and apply it, in one transaction."""

        def work(connection: sqlite3.Connection) -> Change | None:
            values = {"run_id": run_id, "received_at": now, "body": body}
            connection.execute(self._sql["callback_insert"], values)
            return self._change(connection, run_id, decide)

        changed = await self._writer.do(work)
        self._announce([changed] if changed else [])
        return changed

    def _change(self, connection: sqlite3.Connection, run_id: str, decide: Decide) -> Change | None:
        row = connection.execute(self._sql["run_get"], {"id": run_id}).fetchone()
        return self._decide(connection, row, decide) if row else None

    def _decide(
        self, connection: sqlite3.Connection, row: tuple[str, int, float | None], decide: Decide
    ) -> Change | None:
        doc, version, due_at = row
        # The column is the truth: leases and wake-ups move it without the document.
        change = decide(msgspec.structs.replace(_decode_run(doc), due_at=due_at))
        if change is not None:
            written = connection.execute(self._sql["run_update"], {**_row(change.run), "version": version}).rowcount
            if written != 1:
                raise StoreError(f"run {change.run.id} was changed by somebody else")
            self._tell(connection, change)
        return change

    def _tell(self, connection: sqlite3.Connection, change: Change) -> None:
        """Write what is told of a change: events, their deliveries, timeline."""
        now, run = self._clock.now(), change.run
        for event in events_of(change, now, self._sign):
            row = {
                "id": event.id,
                "workspace": run.workspace,
                "run_id": run.id,
                "sequence": event.sequence,
                "type": event.type,
                "created_at": now,
                "body": _encode(event),
            }
            connection.execute(self._sql["event_insert"], row)
            if run.webhook is not None and event.type in run.webhook.events:
                connection.execute(self._sql["delivery_insert"], _delivery_row(run, event.id, run.webhook.url, now))
        connection.executemany(self._sql["timeline_insert"], _entry_rows(run.id, change.entries))

    def _announce(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for listener in self._listeners:
                listener(change)

    # -- sweeps

    async def claim(
        self, state: RunState, lane: str, now: float, limit: int, lease_s: float, nodes: Sequence[str] | None = None
    ) -> list[Run]:
        """Lease due runs for one look at each; of some nodes only, if they are named."""
        values = {
            "nodes": None if nodes is None else _encode(nodes).decode(),
            "state": state,
            "lane": lane,
            "now": now,
            "limit": limit,
            "lease_until": now + lease_s,
            "owner": self._owner,
        }
        rows = await self._writer.do(lambda connection: connection.execute(self._sql["runs_claim"], values).fetchall())
        return [_decode_run(row[0]) for row in rows]

    async def wake(self, lane: str, task_id: str, now: float) -> int:
        """Make the runs of a lane due that wait for input to a task; returns how many there were."""
        values = {"lane": lane, "task_id": task_id, "now": now}
        return await self._writer.do(lambda connection: connection.execute(self._sql["runs_wake"], values).rowcount)

    async def make_due(self, run_id: str, now: float) -> None:
        """Make a running run due now, unless it is sooner."""
        values = {"id": run_id, "now": now}
        await self._writer.do(lambda connection: connection.execute(self._sql["run_due"], values))

    async def count_running(self, lane: str) -> int:
        """Count the runs of a lane that upstream works on."""
        return int(self._rows("runs_running", lane=lane)[0][0])

    async def claim_submissions(self, lane: str, now: float, limit: int, decide: Decide) -> list[Run]:
        """Apply `decide` to due queued runs and return those that changed."""
        values = {"state": "queued", "lane": lane, "now": now, "limit": limit}
        changes = await self._writer.do(lambda connection: self._decide_all(connection, "runs_due", values, decide))
        self._announce(changes)
        return [change.run for change in changes]

    async def expire(self, now: float, limit: int, decide: Decide) -> int:
        """Apply `decide` to runs past their deadline; returns how many there were."""
        values = {"now": now, "limit": limit}
        changes = await self._writer.do(lambda c: self._decide_all(c, "runs_expired", values, decide))
        self._announce(changes)
        return len(changes)

    async def take_over(self, now: float, settle: Decide) -> int:
        """Take up what a dead process left: settle its submissions, release its leases."""

        def work(connection: sqlite3.Connection) -> list[Change]:
            connection.execute(self._sql["runs_release"], {"now": now})
            connection.execute(self._sql["deliveries_release"], {"now": now})
            values = {"state": "submitting", "limit": _TAKE_OVER_BATCH}
            return self._decide_all(connection, "runs_in_state", values, settle)

        settled = 0
        while changes := await self._writer.do(work):
            settled += len(changes)
            self._announce(changes)
        return settled

    def _decide_all(
        self, connection: sqlite3.Connection, name: str, values: dict[str, Any], decide: Decide
    ) -> list[Change]:
        rows = connection.execute(self._sql[name], values).fetchall()
        return [change for row in rows if (change := self._decide(connection, row, decide))]

    # -- deliveries

    async def claim_deliveries(self, now: float, limit: int, lease_s: float) -> list[Delivery]:
        """Lease due deliveries for one attempt each."""
        values = {"now": now, "limit": limit, "lease_until": now + lease_s, "owner": self._owner}

        def work(connection: sqlite3.Connection) -> list[Delivery]:
            rows = connection.execute(self._sql["deliveries_claim"], values).fetchall()
            return [self._delivery(connection, row) for row in rows]

        return await self._writer.do(work)

    def _delivery(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> Delivery:
        ident, event_id, run_id, workspace, url, attempts = row
        event_type, body = connection.execute(self._sql["event_body"], {"id": event_id}).fetchone()
        return Delivery(
            id=ident,
            event_id=event_id,
            event_type=event_type,
            run_id=run_id,
            workspace=workspace,
            url=url,
            attempts=attempts,
            body=body,
        )

    async def finish_delivery(self, delivery: Delivery, result: DeliveryResult) -> None:
        """Write what became of an attempt."""

        def work(connection: sqlite3.Connection) -> None:
            values = {
                "id": delivery.id,
                "state": result.state,
                "attempts": result.attempts,
                "due_at": result.due_at,
            }
            connection.execute(self._sql["delivery_update"], values)
            connection.executemany(self._sql["timeline_insert"], _entry_rows(delivery.run_id, (result.entry,)))

        await self._writer.do(work)

    # -- API keys

    async def add_key(self, record: KeyRecord, key_hash: str) -> bool:
        """Keep an API key's hash; False when the name is taken."""
        values = {**msgspec.structs.asdict(record), "hash": key_hash}
        try:
            await self._writer.do(lambda connection: connection.execute(self._sql["key_insert"], values))
        except sqlite3.IntegrityError:
            return False
        return True

    async def revoke_key(self, name: str, now: float) -> bool:
        """Revoke a key; False when there is no valid one of that name."""
        values = {"name": name, "now": now}
        return await self._writer.do(lambda c: c.execute(self._sql["key_revoke"], values).rowcount) == 1

    # -- uploads

    async def add_file(self, record: FileRecord) -> None:
        """Keep what is known of an upload."""
        values = msgspec.structs.asdict(record)
        await self._writer.do(lambda connection: connection.execute(self._sql["file_insert"], values))

    async def file(self, file_id: str) -> FileRecord | None:
        """Return an upload, expired or not."""
        rows = self._rows("file_get", id=file_id)
        return FileRecord(**dict(zip(FileRecord.__struct_fields__, rows[0], strict=True))) if rows else None

    async def delete_file(self, file_id: str) -> None:
        """Forget an upload, if it is there."""
        await self._writer.do(lambda connection: connection.execute(self._sql["file_delete"], {"id": file_id}))

    async def expired_files(self, now: float, limit: int) -> list[str]:
        """Return the ids of uploads whose time is over."""
        return [row[0] for row in self._rows("files_expired", now=now, limit=limit)]

    # -- retention

    async def forgettable(self, before: float, now: float, after: str, limit: int) -> list[Run]:
        """Return runs that ended before a moment and that nobody needs any more, oldest first."""
        rows = self._rows(
            "runs_forgettable",
            before=before,
            youngest=new_id("run", max(before, 0.0)),
            keys_before=now - _IDEMPOTENCY_KEPT_S,
            after=after,
            limit=limit,
        )
        return [_decode_run(row[0]) for row in rows]

    async def count_rows(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Count the rows of runs, by table."""
        ids = _encode(run_ids).decode()
        return {table: int(self._rows(f"{table}_count_of", ids=ids)[0][0]) for table in _OF_A_RUN}

    async def forget(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Delete runs with all that belongs to them, in one transaction; returns the numbers of rows by table."""
        values = {"ids": _encode(run_ids).decode()}

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            return {table: connection.execute(self._sql[f"{table}_delete_of"], values).rowcount for table in _OF_A_RUN}

        return await self._writer.do(work)

    async def count_old_keys(self, now: float) -> int:
        """Count the idempotency keys that hold no more."""
        return int(self._rows("idempotency_count", keys_before=now - _IDEMPOTENCY_KEPT_S)[0][0])

    async def forget_keys(self, now: float, limit: int) -> int:
        """Delete idempotency keys that hold no more; returns how many there were."""
        values = {"keys_before": now - _IDEMPOTENCY_KEPT_S, "limit": limit}
        return await self._writer.do(lambda c: c.execute(self._sql["idempotency_delete"], values).rowcount)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database up to this version's schema, forward only.

    Raises:
        StoreError: The database was written by a newer version.
    """
    migrations = load_migrations("sqlite")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > migrations[-1][0]:
        raise StoreError(f"the database has schema {version}, newer than this version's {migrations[-1][0]}")
    for number, script in migrations:
        if number > version:
            connection.executescript(f"BEGIN EXCLUSIVE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def _row(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "workspace": run.workspace,
        "node": run.node,
        "lane": run.lane,
        "state": run.state,
        "reference": run.reference,
        "group_id": run.group,
        "callback_token": run.callback_token,
        "created_at": run.created_at,
        "due_at": run.due_at,
        "deadline_at": None if run.state in FINAL else run.deadline_at,
        "doc": _encode(run).decode(),
    }


def _delivery_row(run: Run, event_id: str, url: str, now: float) -> dict[str, Any]:
    return {
        "id": new_id("dlv", now),
        "event_id": event_id,
        "run_id": run.id,
        "workspace": run.workspace,
        "url": url,
        "due_at": now,
    }


def _entry_rows(run_id: str, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [
        {"run_id": run_id, "at": entry.at, "kind": entry.kind, "detail": _encode(entry.detail).decode()}
        for entry in entries
    ]


def _key(row: tuple[Any, ...]) -> KeyRecord:
    ident, name, workspace, hint, created_at, revoked_at = row
    return KeyRecord(id=ident, name=name, workspace=workspace, hint=hint, created_at=created_at, revoked_at=revoked_at)
