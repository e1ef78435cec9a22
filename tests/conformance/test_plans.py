"""Every statement that runs while Halley works, or while a user lists things, finds its rows by an index.

All statements stand in one of three tables: `hot`, with the values to try them with; `OPEN`, which may read all that is
open or on its way, but nothing else; `OTHER`, with the reason why they may read more. A new statement must be put into
one of them. The database is full: 6,000 runs have ended, 2,000 are open.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import asyncpg
import msgspec
import pytest
from msgspec import Struct

from service.ids import first_id, new_id
from service.lifecycle import transitions as rules
from service.lifecycle.endpoint import Endpoint
from service.lifecycle.group import Group
from service.lifecycle.run import Entry, EventType, Run, Webhook
from service.lifecycle.transitions import queued
from service.settings import Secret
from service.store.opening import store_of
from service.store.outbox import DeliveryResult
from service.store.postgres_commit import Commits, columns
from service.store.queries import load_queries
from service.store.rows import FanRow, FinishRow, Writes, endpoint_row, entry_rows, group_row, insert, update
from service.store.sql_store import SqlStore
from service.store.starts import Idempotency
from tests.conformance.test_store import PACE
from tests.fakes.clock import ManualClock
from tests.fakes.crowd import TABLES, fill_postgres, fill_sqlite
from tests.fakes.plans import PostgresProbe, SqliteProbe, Values
from tests.fakes.postgres import PostgresServer
from tests.unit.lifecycle.test_transitions import a_run

NOW = 2000.0
_ENDED, _RUNNING, _GROUPS = 6_000, 2_000, 2_000
# What carrying a statement out may take: hundreds of steps of SQLite, pages of PostgreSQL. Passing by all ended runs
# takes several hundreds of the former and nearly three hundred of the latter.
MOST = {"sqlite": 100, "postgres": 200}

OPEN = {
    "runs_counts": "a scrape of /metrics counts what is open, from an index alone",
    "runs_release": "when a process begins to work alone, in parts: all that is running is looked at again",
    "runs_release_of": "once for each process that stops or dies: looks for what it had in hand",
    "deliveries_release": "once, when a process begins to work alone",
    "deliveries_release_of": "once for each process that stops or dies",
    "endpoint_recover": "a request of an operator, or a probe that succeeded: all that has failed goes out again",
    "endpoint_catch_up": "as `endpoint_recover`: all that came since a moment",
}
# SQLite sorts these; they are few.
SORTED = {
    "group_states": "the states of the groups of a page",
    "deliveries_targets": "receivers that something is due for",
    "deliveries_claim": "what there is room for",
    "endpoints_list": "endpoints",
    "deliveries_list_of_run": "the deliveries of one run",
    "deliveries_list_of_event": "the deliveries of one event",
    "events_before_of_run": "the events of one run",
    "events_after_of_run": "the events of one run",
}
OTHER = {
    "endpoints_of_progress": "endpoints are few",
    "has_endpoints": "stops at the first row of an index",
    "endpoints_all": "once, when a process starts; endpoints are few, and read in pages",
    "replicas_alive": "as many rows as there are processes",
    "replicas_before": "as many rows as there are processes",
    "replicas_dead": "as many rows as there are processes",
    "replicas_forget_all": "as many rows as there are processes",
    "keys_list": "a command",
    "key_revoke": "a command",
    "runs_forgettable": "retention: reads in pages from the oldest on",
    "groups_forgettable": "retention",
    "events_forgettable": "retention: an index of its own",
    "usage_delete": "retention: one row for each key and day",
    "sketches_forget": "retention: one row for each kind of task",
    "idempotency_count": "a command: counts what has expired",
    "committed": "asked only when the answer to a commit was lost; finds its rows by their keys as `commit` does",
    **{
        f"{told}{table}_{verb}_of": "retention: by ids"
        for told, tables in (
            ("", ("runs", "inputs", "events", "deliveries", "timeline", "callbacks", "groups")),
            ("told_", ("events", "deliveries", "timeline")),
        )
        for table in tables
        for verb in ("count", "delete")
    },
    **{f"commit_{letter}": "a part of `commit`, which is looked at whole" for letter in "uingpedxftcw"},
    **{
        f"check_{name}": "`halley check`, which reads everything"
        for name in (
            "runs_without_input", "inputs_without_run", "events_without_run", "deliveries_without_event",
            "keys_without_run",
        )
    },
}  # fmt: skip

# What a run is written with.
WRITTEN = (
    "run_seen", "run_insert", "input_insert", "run_update", "event_insert", "has_endpoints", "entries_insert",
    "callback_insert", "delivery_insert", "delivery_update",
)  # fmt: skip

Probe = SqliteProbe | PostgresProbe


class Scene(Struct, frozen=True, kw_only=True):
    """What is in the database besides the crowd."""

    running: Run
    failed: Run
    endpoint: Endpoint
    group: Group
    event_id: str
    delivery_id: str


OnSqlite = tuple[SqliteProbe, Scene]
OnPostgres = tuple[PostgresProbe, Scene]


def values_of(scene: Scene) -> dict[str, Any]:
    """Return a value for each name that statements mention; what is looked for is rare and old."""
    run = scene.failed
    return {
        "id": run.id, "run_id": run.id, "run": None, "ids": [run.id], "k1": run.id, "token": run.callback_token,
        "workspace": "w", "state": None, "node": None, "reference": None, "group_id": None, "before": None,
        "lane": "p", "nodes": None, "owner": "own_1", "owners": ["own_1"], "task_id": "t", "now": NOW, "until": NOW,
        "foreign_before": NOW, "limit": 50, "lease_until": NOW + 60, "alive_s": 15.0,
        "targets": [scene.endpoint.id, ""], "rooms": [8, 8], "most": 8,
        "endpoint": None, "event": None, "key": scene.group.key, "keys": [scene.group.key],
        "scope": "s", "types": ["run.failed"], "place": 2**62, "at_us": 0, "floor": 0, "window": 5000,
        "kinds": ["live p.n"],
        "kind": "live p.n", "version": 1, "learned_at": NOW, "doc": "{}", "after": "", "url_hash": None, "hash": "h",
        "identity": "none", "key_id": "k", "day": "2026-11-30",
    }  # fmt: skip


# What needs no values of its own.
USUAL = (
    "run_get", "run_by_token", "runs_take", "runs_wake", "run_due", "runs_running", "runs_expired", "runs_orphaned",
    "runs_resting", "runs_list", "input_get", "timeline_list", "group_runs", "group_states", "deliveries_targets",
    "deliveries_claim", "deliveries_list", "run_of_key", "news_list", "groups_due", "groups_list", "replica_beat",
    "replica_seen", "replicas_forget", "endpoints_list", "endpoints_due", "events_newest", "events_before_of_seldom",
    "key_by_hash", "files_expired", "sketches_get", "sketch_put", "group_get", "group_of_identity", "endpoint_same",
)  # fmt: skip


def hot(scene: Scene, engine: str) -> dict[str, Values]:
    """Return the values of each statement that must find its rows by an index."""
    any_of, run, endpoint = values_of(scene), scene.failed, scene.endpoint
    due = {"state": "running"}
    given: dict[str, Mapping[str, Any]] = {
        **{name: {} for name in USUAL},
        "runs_due_lanes": due,
        "runs_claim": due,
        "runs_list_of_state": {"state": "failed"},
        "runs_list_of_node": {"node": "p.rare"},
        "runs_list_of_reference": {"reference": "order-42"},
        "runs_list_of_group": {"group_id": scene.group.key},
        "groups_list_of_state": {"state": "open"},
        "deliveries_list_of_endpoint": {"endpoint": endpoint.id},
        "deliveries_list_of_run": {"run": run.id},
        "deliveries_list_of_event": {"event": scene.event_id},
        "deliveries_list_of_state": {"state": "failed"},
        "delivery_get": {"id": scene.delivery_id},
        "delivery_attempts": {"id": scene.delivery_id},
        "deliveries_again": {"ids": [scene.delivery_id]},
        "event_replay": {"event": scene.event_id},
        "event_send": {"event": scene.event_id, "endpoint": endpoint.id},
        "event_body": {"id": scene.event_id},
        "event_place": {"id": scene.event_id},
        "events_get": {"ids": [scene.event_id]},
        "events_later": {"id": first_id("evt", 0)},
        "events_before": {"types": list(get_args(EventType))},
        "events_after": {"types": list(get_args(EventType)), "place": 0, "id": ""},
        "events_floor": {"window": 500},
        "events_before_of_run": {"run": run.id},
        "events_after_of_run": {"run": run.id, "place": 0, "id": ""},
        "endpoints_get": {"ids": [endpoint.id]},
        "endpoint_delete": {"id": endpoint.id},
        "news_forget": {"ids": [1, 2]},
        "idempotency_delete": {"now": 0.0},
        "endpoint_insert": {**endpoint_row(endpoint, 0)._asdict(), "id": "ep_2", "identity": "2"},
        "group_insert": {**group_row(scene.group, 0)._asdict(), "id": "grp_2", "group_key": "g2", "identity": None},
        "key_insert": {"id": "k2", "name": "n", "hint": "h", "scope": "admin", "nodes": "[]", "runs_per_day": None,
                       "created_at": NOW},
        "file_insert": {"id": "f", "name": "n", "mime": "m", "size_bytes": 1, "sha256": "s", "created_at": NOW,
                        "expires_at": NOW},
        "file_get": {"id": "f"},
        "file_delete": {"id": "f"},
    }  # fmt: skip
    own = sqlite_alone(scene) if engine == "sqlite" else postgres_alone(scene)
    return {name: {**any_of, **words} for name, words in given.items()} | own


def changed(scene: Scene) -> Writes:
    """Return all that a batch may write: a new run, the end of another, an attempt, a callback, a group."""
    run = msgspec.structs.replace(scene.running, webhook=Webhook(url="https://x", events=("run.canceled",)))
    writes = Writes()
    fresh = msgspec.structs.replace(run, id=new_id("run", NOW), callback_token="fresh", state="queued")
    key = Idempotency(scope="s", key="fresh", fingerprint="f")
    writes.inserts.append(insert(fresh, {}, key, None, owner="own_1", now=NOW, leader=fresh.id))
    writes.tell(queued(fresh), NOW, None)
    ended = rules.canceled(run, NOW)
    assert ended is not None
    writes.updates.append(update(ended.run, 3, "own_1"))
    writes.tell(ended, NOW, None)
    writes.finishes.append(FinishRow(scene.delivery_id, NOW, "delivered", 1, None, "delivered", 200, NOW))
    writes.endpoints.append(endpoint_row(scene.endpoint, 1))
    writes.groups.append(group_row(scene.group, 1))
    return writes


def postgres_alone(scene: Scene) -> dict[str, Values]:
    """Return the values of what only PostgreSQL has."""
    several = {name: [value] for name, value in (("k1", scene.failed.id), ("k2", "k"), ("k3", "k"), ("k4", "d"))}
    return {
        "commit": columns(changed(scene)),
        "run_seen": several,
        "endpoint_seen": several,
        "group_seen": several,
        "start_seen": {**several, "k5": [NOW]},
    }


def sqlite_alone(scene: Scene) -> dict[str, Values]:
    """Return the values of what only SQLite has: it writes row by row."""
    writes = changed(scene)
    new, run = writes.inserts[0]._asdict(), scene.failed
    return {
        "run_insert": new,
        "input_insert": new,
        "idempotency_put": new,
        "usage_count": {"key_id": "k", "day": "d"},
        "run_update": writes.updates[0],
        "endpoint_update": writes.endpoints[0]._asdict(),
        "group_update": writes.groups[0]._asdict(),
        "event_insert": writes.events[0],
        "delivery_insert": writes.deliveries[0],
        "fan_out": FanRow("evt_x", run.id, "w", "run.failed", run.node, None, None, NOW),
        "delivery_update": writes.finishes[0],
        "entries_insert": entry_rows(run.id, (Entry(at=NOW, kind="state", detail={}),))[0],
        "callback_insert": (run.id, NOW, b"{}"),
        "news_insert": ("w", "g"),
        "run_seen": {"k1": run.id},
        "endpoint_seen": {"k1": scene.endpoint.id},
        "group_seen": {"k1": scene.group.id},
        "start_seen": {"k1": "s", "k2": "k", "k3": "k", "k4": "d", "k5": NOW},
    }


# -- the crowd


async def staged(database: Path | Secret) -> Scene:
    """Fill a new database; returns what is in it besides the crowd."""
    store = store_of(database, ManualClock())
    await store.open()
    endpoint = Endpoint(
        id=new_id("ep", 100.0), workspace="w", url="sealed", url_hash="h", origin="https://x", types=("run.succeeded",),
        created_at=100.0,
    )  # fmt: skip
    await store.add_endpoint(endpoint)
    group = Group(id=new_id("grp", 100.0), workspace="w", name="g", base_url="", created_at=100.0, deadline_at=9e9)
    await store.add_group(group)
    failed = await led(store, "failed", node="p.rare", reference="order-42", group="g")
    (event,) = await store.claim_deliveries(150.0, {"": 10}, 60)
    succeeded, running = await led(store, "succeeded", webhook=None), await led(store, "running")
    for delivery in await store.claim_deliveries(160.0, {endpoint.id: 10}, 60):
        entry = Entry(at=161.0, kind="delivery", detail={})
        await store.finish_delivery(
            delivery,
            DeliveryResult(state="delivered", attempts=1, due_at=None, outcome="delivered", status=200, entry=entry),
        )
    await store.close()
    await multiplied(database, succeeded, running)
    return Scene(
        running=running, failed=failed, endpoint=endpoint, group=group, event_id=event.event_id, delivery_id=event.id
    )


async def led(store: SqlStore, state: str, **words: Any) -> Run:
    """Start a run and lead it to a state."""
    run_id = new_id("run", 100.0)
    words = {"webhook": Webhook(url="https://x", events=("run.failed",)), "external_id": run_id, **words}
    run = a_run("queued", id=run_id, callback_token=f"token-{run_id}", **words)
    await store.start(queued(run), {}, Idempotency(scope="s", key=run_id, fingerprint="f"))
    await store.change(run_id, lambda current: rules.submission_begun(current, 110.0))
    following = rules.Following(pace=PACE, expects_callback=False, needs_result=False, jitter=0.5)
    accepted = rules.Accepted(reading=rules.Reading(task_id="t", state="queued"), path="/p")
    await store.change(run_id, lambda r: rules.submission_ended(r, accepted, 120.0, following, attempt=1))
    await store.record_callback(run_id, b"{}", 125.0, lambda _: None)
    if state != "running":
        reading = rules.Reading(state=state, has_result=True)  # type: ignore[arg-type]
        await store.change(run_id, lambda r: rules.observed(r, reading, 130.0, following))
    found = await store.run(run_id)
    assert found is not None
    assert found.state == state
    return found


async def multiplied(database: Path | Secret, succeeded: Run, running: Run) -> None:
    """Copy runs, and make groups."""
    opened = {"due_at": f"{NOW + 1000} + i", "deadline_at": f"{NOW + 5000} + i", "lane": "'p' || (i % 10)"}
    own_lane = {**opened, "lane": "'p'"}
    parts: tuple[tuple[str, int, int, dict[str, str]], ...] = (
        (succeeded.id, 1, _ENDED, {"reference": "'r' || i"}),
        (running.id, 1, _RUNNING // 2, opened),
        (running.id, _RUNNING // 2 + 1, _RUNNING // 2, own_lane),
    )
    groups = (
        f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_GROUPS}) "  # noqa: S608 - our own
        "INSERT INTO groups (id, workspace, group_key, state, doc) "
        "SELECT 'grp_a' || i, 'w', 'grp_a' || i, 'completed', doc FROM n, groups"
    )
    if isinstance(database, Path):
        for run_id, first, count, changes in parts:
            fill_sqlite(database, run_id, first, count, tables=TABLES, **changes)
        with sqlite3.connect(database) as connection:
            connection.execute(groups)
        connection.close()
        return
    connected: Any = await asyncpg.connect(database.reveal())
    await connected.execute(groups)
    await connected.close()
    for run_id, first, count, changes in parts:
        await fill_postgres(database.reveal(), run_id, first, count, tables=TABLES, **changes)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    """A full SQLite file."""
    path = tmp_path_factory.mktemp("plans") / "halley.db"
    return path, asyncio.run(staged(path))


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> tuple[Secret, Scene]:
    """A full PostgreSQL database."""
    url = Secret(asyncio.run(postgres.database()))
    return url, asyncio.run(staged(url))


@pytest.fixture
def sqlite(file: tuple[Path, Scene]) -> Iterator[OnSqlite]:
    """Who looks at statements of SQLite."""
    connection = sqlite3.connect(file[0], isolation_level=None)
    yield SqliteProbe(connection), file[1]
    connection.close()


@pytest.fixture
async def on_postgres(server: tuple[Secret, Scene]) -> AsyncIterator[OnPostgres]:
    """Who looks at statements of PostgreSQL."""
    connection = await asyncpg.connect(server[0].reveal())
    yield PostgresProbe(connection), server[1]
    await connection.close()


async def faults(engine: str, scene: Scene, probe: Probe) -> dict[str, list[str]]:
    """Return what is wrong with hot statements, by name."""
    found = {name: await faults_of(name, engine, scene, probe) for name in hot(scene, engine)}
    return {name: told for name, told in found.items() if told}


async def faults_of(name: str, engine: str, scene: Scene, probe: Probe) -> list[str]:
    """Return what is wrong with a hot statement."""
    queries, values = load_queries(engine), hot(scene, engine)[name]
    sql: Any = Commits(queries).statement(changed(scene))[0] if name == "commit" else queries[name]
    told = await probe.objections(sql, values)
    told = [each for each in told if not (name in SORTED and each.startswith("USE TEMP B-TREE"))]
    work = await probe.work(sql, values)
    return told + ([f"takes {work}"] if work > MOST[engine] else [])


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_every_statement_is_one_of_the_three(engine: str, file: tuple[Path, Scene]) -> None:
    """A statement that stands in no table, or in two, fails here, and so does a name that no statement has."""
    names = [*hot(file[1], engine), *OPEN, *OTHER]
    queries, others = load_queries(engine), load_queries("postgres" if engine == "sqlite" else "sqlite")

    assert sorted(queries.keys() - set(names)) == []
    assert sorted(set(names) - queries.keys() - others.keys()) == (["commit"] if engine == "postgres" else [])
    assert len(names) == len(set(names))


async def test_sqlite_finds_its_rows_by_indexes(sqlite: OnSqlite) -> None:
    """No hot statement reads a whole table or index, sorts more than a few rows, or takes more than a few steps."""
    probe, scene = sqlite

    assert await faults("sqlite", scene, probe) == {}


async def test_postgresql_finds_its_rows_by_indexes(on_postgres: OnPostgres) -> None:
    """The same on PostgreSQL, be a statement new to its connection or not."""
    probe, scene = on_postgres

    assert await faults("postgres", scene, probe) == {}


async def test_what_is_open_is_found_without_what_has_ended(sqlite: OnSqlite, on_postgres: OnPostgres) -> None:
    """What a start, a stop or a scrape counts and changes is found by an index, on either store."""
    queries = {engine: load_queries(engine) for engine in ("sqlite", "postgres")}
    (small, scene), (large, _) = sqlite, on_postgres
    values = values_of(scene) | {"endpoint": scene.endpoint.id, "since": NOW, "first_delivery": first_id("dlv", NOW)}
    values |= {"first_event": first_id("evt", NOW)}
    await large.connection.execute("SET enable_seqscan = off")

    for name in OPEN:
        found = await small.objections(queries["sqlite"][name], values)
        found += await large.objections(queries["postgres"][name], values)
        assert [each for each in found if "USING INDEX" not in each and "of all" not in each] == [], name


@pytest.mark.parametrize(
    ("index", "name"),
    [("runs_due", "runs_claim"), ("events_workspace", "events_newest"), ("runs_reference", "runs_list_of_reference")],
)
async def test_an_index_that_is_gone_is_missed(
    sqlite: OnSqlite, on_postgres: OnPostgres, index: str, name: str
) -> None:
    """The check is one that can fail: without its index a statement is objected to, on both stores."""
    (small, scene), (large, same) = sqlite, on_postgres
    small.connection.execute("BEGIN")
    small.connection.execute(f"DROP INDEX {index}")
    transaction = large.connection.transaction()
    await transaction.start()
    await large.connection.execute(f"DROP INDEX {index}")
    try:
        assert await faults_of(name, "sqlite", scene, small) != []
        assert await faults_of(name, "postgres", same, large) != []
    finally:
        small.connection.execute("ROLLBACK")
        await transaction.rollback()


async def test_a_statement_that_passes_by_all_rows_is_caught_by_its_work(sqlite: OnSqlite) -> None:
    """A plan may look well while a statement walks an index to its end: the lanes of all running runs, one by one."""
    probe, scene = sqlite
    walking = "SELECT DISTINCT lane FROM runs WHERE state = :state AND due_at <= :now"
    values = hot(scene, "sqlite")["runs_due_lanes"]

    assert await probe.objections(walking, values) == []
    assert await probe.work(walking, values) > 2 * await probe.work(load_queries("sqlite")["runs_due_lanes"], values)


async def test_sqlite_prepares_a_hot_statement_once(sqlite: OnSqlite) -> None:
    """Where a value might make a partial index fit, SQLite prepares for each value, which takes most of the time."""
    probe, scene = sqlite
    queries, given = load_queries("sqlite"), hot(scene, "sqlite")
    tempting = queries["runs_due_lanes"].replace("+:state", ":state")

    assert [name for name, values in given.items() if await probe.is_prepared_again(queries[name], values)] == []
    assert await probe.is_prepared_again(tempting, given["runs_due_lanes"])


async def test_what_each_run_writes_goes_through_no_temporary_table(sqlite: OnSqlite) -> None:
    """A list of more than two values behind IN is one, and is filled anew whenever a statement is carried out."""
    probe, scene = sqlite
    queries, given = load_queries("sqlite"), hot(scene, "sqlite")
    listing = queries["events_after"]

    assert [name for name in WRITTEN if probe.fills_a_table(queries[name], given.get(name, {}))] == []
    assert probe.fills_a_table(listing, given["events_after"])


async def test_an_order_that_is_not_the_index_s_is_caught(on_postgres: OnPostgres) -> None:
    """The name of a result that hides a column's has all events sorted for the newest one."""
    probe, scene = on_postgres
    hiding = load_queries("postgres")["events_newest"].replace(" AS place", " AS xid")

    assert [each for each in await probe.objections(hiding, hot(scene, "postgres")["events_newest"]) if "Sort" in each]
