"""Stores to try, over SQLite and over PostgreSQL alike, and two that share a database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.settings import Secret
from service.store.opening import store_of
from service.store.sql_store import SqlStore
from tests.fakes.clock import ManualClock
from tests.fakes.postgres import PostgresServer


@pytest.fixture
def clock() -> ManualClock:
    """The store's clock."""
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Secret:
    """A database that nobody has opened yet."""
    if request.param == "sqlite":
        return tmp_path / "halley.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return Secret(await server.database())


@pytest.fixture
async def store(database: Path | Secret, clock: ManualClock) -> AsyncIterator[SqlStore]:
    """An open, empty store."""
    opened = store_of(database, clock)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def pair(postgres: PostgresServer, clock: ManualClock) -> AsyncIterator[tuple[SqlStore, SqlStore]]:
    """One PostgreSQL database, opened by two processes."""
    url = Secret(await postgres.database())
    one, other = store_of(url, clock), store_of(url, clock)
    await one.open()
    await other.open()
    yield one, other
    await one.close()
    await other.close()
