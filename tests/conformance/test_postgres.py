"""What only PostgreSQL has to prove: lost connections, several processes at the first start, clear refusals."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from service.errors import StoreError
from service.lifecycle import transitions as rules
from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import queued
from service.lifecycle.view import events_of
from service.secret_key import SecretKeys, agreed, written
from service.settings import Secret
from service.store.base import EventFilter, KeptEvent, Place
from service.store.opening import store_of
from service.store.postgres import PostgresEngine, shared_secret, upgrade
from service.store.sql_store import SqlStore
from tests.conformance.test_store import ManualClock, numbered, put
from tests.fakes.crowd import fill_postgres
from tests.fakes.ports import free_port
from tests.fakes.postgres import PostgresServer, postgres_server


@pytest.fixture
async def url(postgres: PostgresServer) -> Secret:
    """An empty database."""
    return Secret(await postgres.database())


@pytest.fixture
async def store(url: Secret) -> AsyncIterator[SqlStore]:
    """An open store."""
    opened = store_of(url, ManualClock())
    await opened.open()
    yield opened
    await opened.close()


@contextlib.asynccontextmanager
async def connected(url: Secret) -> AsyncIterator[Any]:
    """A connection of an onlooker."""
    connection: Any = await asyncpg.connect(url.reveal())
    try:
        yield connection
    finally:
        await connection.close()


def looked(run: Run) -> Change:
    """Count a look."""
    return Change(run=msgspec.structs.replace(run, looks=run.looks + 1))


async def test_a_plan_from_when_a_table_was_empty_does_not_read_all_of_a_full_one(url: Secret, store: SqlStore) -> None:
    """From the sixth time on a statement's plan is kept; the rows of a first busy minute come before anybody counts."""
    run = await put(store, numbered(1))
    for _ in range(10):
        await store.change(run.id, looked)
    await fill_postgres(url.reveal(), run.id, 2, 5000, is_tidied=False)
    for _ in range(10):
        await store.change(run.id, looked)
    await store.close()  # only then the last of what was read is told

    async with connected(url) as onlooker:
        read = await onlooker.fetchval("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'runs'")
    assert read < 5000


async def test_what_was_said_to_be_written_is_written_once_whatever_connections_are_lost(
    url: Secret, store: SqlStore
) -> None:
    """Sessions are ended amid statements, before and after they commit: nothing is missing, nothing is there twice."""
    runs = [await put(store, numbered(number)) for number in range(8)]

    async def cut(times: int) -> None:
        async with connected(url) as onlooker:
            for _ in range(times):
                await onlooker.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid()"
                )
                await asyncio.sleep(0.03)

    async def work(run: Run) -> None:
        for _ in range(25):
            assert await store.change(run.id, looked) is not None

    await asyncio.gather(cut(20), *(work(run) for run in runs))

    assert [(await store.run(run.id)).looks for run in runs] == [25] * len(runs)  # type: ignore[union-attr]
    timelines = [await store.timeline(run.id) for run in runs]
    assert [len(lines) for lines in timelines] == [1] * len(runs)


async def test_a_claim_is_not_lost_with_its_connection(url: Secret, store: SqlStore) -> None:
    """What a claim committed comes back from it, though the answer to the commit was lost."""
    for number in range(60):
        await put(store, numbered(number))
    begun: list[str] = []

    async def cut() -> None:
        async with connected(url) as onlooker:
            for _ in range(10):
                await onlooker.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid()"
                )
                await asyncio.sleep(0.02)

    async def claim() -> None:
        for number in range(200):
            with contextlib.suppress(StoreError):
                now = 200.0 + 20 * number  # the short lease of a claim whose first half was lost has passed
                runs = await store.claim_submissions("p", now, 3, lambda run, now=now: rules.submission_begun(run, now))
                begun.extend(run.id for run in runs)
            if len(begun) == 60:
                return

    await asyncio.gather(cut(), claim())

    assert sorted(begun) == [numbered(number).id for number in range(60)]
    async with connected(url) as onlooker:
        assert await onlooker.fetchval("SELECT count(*) FROM runs WHERE state = 'submitting'") == 60


async def test_several_processes_may_meet_an_empty_database(url: Secret) -> None:
    """One sets it up, the others wait for it and find it done."""
    schemas = await asyncio.gather(*(upgrade(url, only_empty=True) for _ in range(4)))

    newest = schemas[0][1]
    assert sorted(schemas) == [(0, newest)] + [(newest, newest)] * 3
    assert await upgrade(url) == (newest, newest)


async def test_a_newer_database_is_refused(url: Secret, store: SqlStore) -> None:
    """A database of a later version is not touched."""
    async with connected(url) as onlooker:
        await onlooker.execute("INSERT INTO schema_migrations (number) VALUES (9999)")

    with pytest.raises(StoreError, match="newer"):
        await store_of(url, ManualClock()).open()


async def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    """The setting is named, the reason is told, the password is not."""
    url = Secret(f"postgresql://halley:secret-canary@127.0.0.1:{free_port()}/halley")

    with pytest.raises(StoreError, match="HALLEY_DATABASE_URL") as caught:
        await PostgresEngine(url, patience_s=0.1).open()

    assert "secret-canary" not in str(caught.value)


async def test_a_database_that_is_just_being_started_is_waited_for() -> None:
    """A process that starts before its database goes on as soon as that is there."""
    with postgres_server() as server:
        url = Secret(await server.database())
        await asyncio.to_thread(server.stop)
        engine = PostgresEngine(url)
        opening = asyncio.create_task(engine.open())
        await asyncio.sleep(0.3)
        is_early = opening.done()
        await asyncio.to_thread(server.start)
        await opening
        await engine.close()

    assert not is_early


async def test_a_text_that_postgresql_cannot_keep_finds_nothing(store: SqlStore) -> None:
    """An id with a NUL in it is like any id that does not exist."""
    assert await store.run("run_\0") is None
    assert await store.change("run_\0", looked) is None


async def test_a_start_that_cannot_be_written_takes_nothing_of_its_neighbours(store: SqlStore) -> None:
    """Starts that wait together are written together; one that the database refuses is refused alone."""
    good = [numbered(number) for number in range(10)]
    bad = numbered(10, reference="a\0b")

    results = await asyncio.gather(
        *(store.start(queued(run), {}, None) for run in (*good[:5], bad, *good[5:])), return_exceptions=True
    )

    assert [isinstance(result, Exception) for result in results] == [False] * 5 + [True] + [False] * 5
    assert [run is not None for run in [await store.run(run.id) for run in good]] == [True] * 10


async def test_processes_agree_on_one_secret_key(url: Secret) -> None:
    """The first one's key is that of all, also of those that have made a file of their own."""
    own = [SecretKeys(all=(bytes([number]) * 32,)) for number in range(3)]

    told = [await shared_secret(url, lambda shared, keys=keys: written(agreed(keys, shared))) for keys in own]

    assert told == [written(own[0])] * 3
    assert agreed(own[2], told[2]).current == own[0].current


# -- the order of events

EVERY = EventFilter(workspace="w", types=("run.queued",))


@contextlib.asynccontextmanager
async def begun(url: Secret, run: Run) -> AsyncIterator[Any]:
    """Write an event of a run, as another process would, in a transaction that the block has to commit."""
    async with connected(url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        (event,) = events_of(queued(run), 100.0)
        await connection.execute(
            "INSERT INTO events (id, workspace, run_id, sequence, type, created_at, body)"
            " VALUES ($1, 'w', $2, 1, $3, 100.0, $4)",
            event.id,
            run.id,
            event.type,
            msgspec.json.encode(event),
        )
        yield transaction


async def test_events_that_become_visible_late_are_neither_missed_nor_out_of_order(
    url: Secret, store: SqlStore
) -> None:
    """What was begun first and committed last comes before what overtook it, for every reader, at every moment."""
    present: list[KeptEvent] = []
    seen: list[list[str]] = []

    async def read() -> None:
        present.extend(await store.events_after(EVERY, present[-1].place if present else Place(0, ""), 10))
        seen.append([event.id for event in reversed(await store.events_before(EVERY, None, 10))])

    await put(store, numbered(1))
    await read()
    async with begun(url, numbered(2)) as late:
        await put(store, numbered(3))
        async with begun(url, numbered(4)) as later:
            await put(store, numbered(5))
            await read()
            await later.commit()
        await read()
        await late.commit()
    await read()
    async with begun(url, numbered(6)) as never:
        await put(store, numbered(7))
        await read()
        await never.rollback()
    await read()

    assert [msgspec.json.decode(event.body)["data"]["id"][-1] for event in present] == ["1", "2", "3", "4", "5", "7"]
    ids = [event.id for event in present]
    assert all(page == ids[: len(page)] for page in seen)
    assert [len(page) for page in seen] == [1, 1, 1, 5, 5, 6]


async def test_many_writers_hide_nothing_from_a_reader_who_never_waits(url: Secret, store: SqlStore) -> None:
    """While two processes write as fast as they can, a reader is told of each event once."""
    other = store_of(url, ManualClock())
    await other.open()
    told: list[KeptEvent] = []

    async def write(first: int) -> None:
        for number in range(first, first + 60):
            await put((store, other)[number % 2], numbered(number))

    writing = asyncio.gather(*(write(first) for first in range(0, 360, 60)))
    while not writing.done() or len(told) < 360:
        told += await store.events_after(EVERY, told[-1].place if told else Place(0, ""), 50)
        await asyncio.sleep(0)
    await other.close()

    assert len({event.id for event in told}) == len(told) == 360
    assert {event.id for event in told} == {event.id for event in await store.events_before(EVERY, None, 1000)}


async def test_events_of_another_cluster_stand_before_those_to_come(url: Secret) -> None:
    """A dump brought back where fewer transactions have been made hides no event, and keeps their order."""
    clock = ManualClock()
    before = store_of(url, clock)
    await before.open()
    for number in range(3):
        clock.time += 1
        await put(before, numbered(number))
    kept = await before.events_after(EVERY, Place(0, ""), 10)
    await before.close()
    async with connected(url) as onlooker:
        await onlooker.execute("UPDATE events SET xid = (xid::text::bigint + 1000000)::text::xid8")

    after = store_of(url, ManualClock())
    await after.open()
    place = await after.place_of("w", kept[1].id)
    await put(after, numbered(3))
    found = await after.events_after(EVERY, place, 10)
    every = await after.events_before(EVERY, None, 10)
    await after.close()

    assert [msgspec.json.decode(event.body)["data"]["id"][-1] for event in found] == ["2", "3"] or kept[1].id > kept[
        2
    ].id
    assert len(every) == 4
    assert every[0].id not in {event.id for event in kept}
