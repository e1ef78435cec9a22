"""Databases of earlier versions: what is in them comes along, and PostgreSQL changes its schema only when told to."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import asyncpg
import msgspec
import pytest

from service.errors import StoreError
from service.lifecycle import transitions as rules
from service.lifecycle.run import EventType, Webhook
from service.lifecycle.states import FINAL, RunState
from service.settings import Secret
from service.store.base import EventFilter, Place, RunFilter
from service.store.opening import store_of
from service.store.outbox import DeliveryFilter
from service.store.postgres import upgrade
from service.store.queries import load_migrations
from service.store.sql_store import SqlStore
from service.store.sqlite import migrate
from tests.conformance.test_store import ManualClock
from tests.fakes.postgres import PostgresServer
from tests.unit.lifecycle.test_transitions import a_run

ROOT = Path(__file__).parents[2]
RUN = a_run("queued", id="run_00000000000000000000000001", sequence=1, webhook=Webhook(url="https://x/hook"))
LIMIT_S = 60.0


def old_doc() -> str:
    """Return the run as it was kept before webhooks had a method, when defaults were written down."""
    webhook = msgspec.structs.asdict(RUN.webhook) if RUN.webhook else {}
    del webhook["guessed"], webhook["method"]
    return msgspec.json.encode(msgspec.structs.asdict(RUN) | {"webhook": webhook}).decode()


# What the first version wrote for a run whose first event has been tried twice.
ROWS = {
    "runs": {
        "id": RUN.id,
        "workspace": "w",
        "node": RUN.node,
        "lane": RUN.lane,
        "state": "queued",
        "callback_token": RUN.callback_token,
        "created_at": 100.0,
        "due_at": 100.0,
        "deadline_at": 3700.0,
        "doc": old_doc(),
    },
    "run_inputs": {"run_id": RUN.id, "input": b"{}"},
    "events": {
        "id": "evt_1",
        "workspace": "w",
        "run_id": RUN.id,
        "sequence": 1,
        "type": "run.queued",
        "created_at": 100.0,
        "body": b'{"id":"evt_1"}',
    },
    "deliveries": {
        "id": "dlv_1",
        "event_id": "evt_1",
        "run_id": RUN.id,
        "workspace": "w",
        "url": "https://x/hook",
        "state": "pending",
        "attempts": 2,
        "due_at": 160.0,
    },
}


async def old_postgres(url: Secret, upto: int) -> None:
    """Make a database as an earlier version did, with its rows."""
    connection: Any = await asyncpg.connect(url.reveal())
    try:
        await connection.execute(
            "CREATE TABLE schema_migrations (number integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for each in load_migrations("postgres")[:upto]:
            await connection.execute(each.script)
            await connection.execute("INSERT INTO schema_migrations (number) VALUES ($1)", each.number)
        for table, row in ROWS.items():
            slots = ", ".join(f"${number}" for number in range(1, len(row) + 1))
            await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({slots})", *row.values())  # noqa: S608 - our own
    finally:
        await connection.close()


def old_sqlite(path: Path, upto: int) -> None:
    """Make a database as an earlier version did, with its rows."""
    with sqlite3.connect(path) as connection:
        for each in load_migrations("sqlite")[:upto]:
            connection.executescript(each.script)
        connection.execute(f"PRAGMA user_version = {upto}")
        for table, row in ROWS.items():
            slots = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({slots})", tuple(row.values()))  # noqa: S608 - our own
    connection.close()


async def halley(database: Secret, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HALLEY_", "COMET"))}
    settings = {"HALLEY_DATA_DIR": str(folder), "HALLEY_DATABASE_URL": database.reveal(), "HALLEY_PORT": "0"}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "service", *words],
        cwd=ROOT,
        env={**kept, **settings},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


async def everything_came_along(store: SqlStore) -> None:
    """Look for the old rows: the delivery goes on where it was, and the run goes on to its next event."""
    await store.open()
    try:
        (delivery,) = await store.claim_deliveries(200.0, {"": 10}, 60)
        change = await store.change(RUN.id, lambda run: rules.canceled(run, 210.0))
        (told,) = await store.claim_deliveries(220.0, {"": 10}, 60)
    finally:
        await store.close()

    assert (delivery.id, delivery.attempts, delivery.body) == ("dlv_1", 2, b'{"id":"evt_1"}')
    assert (delivery.profile, delivery.method, delivery.until) == ("standard", "POST", None)
    assert change is not None
    assert (told.event_type, told.profile, told.until) == ("run.canceled", "standard", RUN.deadline_at)


async def test_a_postgresql_database_of_the_first_version_is_upgraded_on_demand(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """`halley serve` refuses it and says what helps; after `halley db upgrade` its rows are all there."""
    url = Secret(await postgres.database())
    await old_postgres(url, upto=1)

    refused = await halley(url, tmp_path, "serve")
    with pytest.raises(StoreError, match="halley db upgrade"):
        await store_of(url, ManualClock()).open()
    upgraded = await halley(url, tmp_path, "db", "upgrade")

    newest = load_migrations("postgres")[-1].number
    assert refused.returncode != 0
    assert "halley db upgrade" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert upgraded.returncode == 0, upgraded.stderr
    assert str(newest) in upgraded.stdout
    await everything_came_along(store_of(url, ManualClock()))


async def test_a_process_of_the_first_version_may_write_while_the_schema_is_newer(postgres: PostgresServer) -> None:
    """Replicas are replaced one by one: what an old one writes after the upgrade is delivered by a new one."""
    url = Secret(await postgres.database())
    await old_postgres(url, upto=len(load_migrations("postgres")))

    await everything_came_along(store_of(url, ManualClock()))


@pytest.mark.parametrize("upto", range(1, len(load_migrations("sqlite")) + 1))
async def test_a_sqlite_file_of_any_version_is_opened(tmp_path: Path, upto: int) -> None:
    """Each earlier schema is brought up to date by opening it, with what is in it."""
    path = tmp_path / "halley.db"
    old_sqlite(path, upto)

    await everything_came_along(store_of(path, ManualClock()))


def test_an_older_file_goes_on_to_refuse_a_state_that_there_is_not(tmp_path: Path) -> None:
    """Its constraints are said in other words, and hold."""
    path = tmp_path / "halley.db"
    old_sqlite(path, upto=1)
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection)

    run = "UPDATE runs SET state = ?, deadline_at = ?"
    delivery = "UPDATE deliveries SET state = ?"
    for sql, values in ((run, ("lost", 1.0)), (run, ("running", None)), (delivery, ("lost",))):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
            connection.execute(sql, values)
    for state in get_args(RunState):
        connection.execute(run, (state, None if state in FINAL else 1.0))
    for state in ("pending", "delivered", "failed"):
        connection.execute(delivery, (state,))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


EARLIER = [ROWS["events"] | {"id": f"evt_{n}", "sequence": 10 + n, "created_at": 100.0 + n} for n in (2, 3)]
EVERY = EventFilter(workspace="w", types=get_args(EventType))


async def the_order_is_kept(store: SqlStore) -> None:
    """Old events stand in their old order before all new ones."""
    await store.open()
    try:
        await store.change(RUN.id, lambda run: rules.canceled(run, 210.0))
        events = await store.events_after(EVERY, Place(0, ""), 10)
    finally:
        await store.close()

    assert [event.id for event in events[:3]] == ["evt_1", "evt_2", "evt_3"]
    assert [event.type for event in events[3:]] == ["run.canceled"]


async def test_an_older_file_keeps_the_order_of_its_events(tmp_path: Path) -> None:
    """Events from before the list stand in the order of their times, before all new ones."""
    old_sqlite(tmp_path / "halley.db", upto=4)
    connection = sqlite3.connect(tmp_path / "halley.db")
    with connection:
        for row in EARLIER:
            insert = f"INSERT INTO events ({', '.join(row)}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own
            connection.execute(insert, tuple(row.values()))
    connection.close()

    await the_order_is_kept(store_of(tmp_path / "halley.db", ManualClock()))


async def test_an_older_postgresql_database_keeps_the_order_of_its_events(postgres: PostgresServer) -> None:
    """Events from before the list stand in the order of their ids, before all new ones."""
    url = Secret(await postgres.database())
    await old_postgres(url, upto=2)
    connection: Any = await asyncpg.connect(url.reveal())
    for row in EARLIER:
        insert = f"INSERT INTO events ({', '.join(row)}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608 - our own
        await connection.execute(insert, *row.values())
    await connection.close()
    await upgrade(url)

    await the_order_is_kept(store_of(url, ManualClock()))


async def the_new_words_find_it(store: SqlStore) -> None:
    """Sweeps and lists find the old rows by indexes that were made after them."""
    await store.open()
    try:
        lanes = await store.due_lanes("queued", 200.0)
        words: tuple[dict[str, Any], ...] = ({"state": "queued"}, {"node": RUN.node})
        runs = [run.id for each in words for run in await store.runs(RunFilter(workspace="w", **each))]
        pending = await store.deliveries(DeliveryFilter(workspace="w", state="pending"))
        counts = await store.open_runs()
    finally:
        await store.close()

    assert (lanes, runs, counts) == ([RUN.lane], [RUN.id] * 2, {"queued": 1})
    assert [delivery.id for delivery in pending] == ["dlv_1"]


async def test_a_file_from_before_the_indexes_of_lists_is_found_by_them(tmp_path: Path) -> None:
    """What the seventh schema holds is listed by the eighth."""
    old_sqlite(tmp_path / "halley.db", upto=7)

    await the_new_words_find_it(store_of(tmp_path / "halley.db", ManualClock()))


async def test_a_postgresql_database_from_before_the_indexes_of_lists_is_found_by_them(
    postgres: PostgresServer,
) -> None:
    """What the fifth schema holds is listed by the sixth."""
    url = Secret(await postgres.database())
    await old_postgres(url, upto=5)
    await upgrade(url)

    await the_new_words_find_it(store_of(url, ManualClock()))
