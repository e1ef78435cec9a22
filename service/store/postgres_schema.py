"""The schema of a PostgreSQL database: brought up to date forward only, by one process at a time."""

from collections.abc import Callable

import asyncpg

from service.errors import StoreError
from service.settings import Secret
from service.store.queries import load_migrations

_LOCK = 0x48414C4C4559  # "HALLEY": the advisory lock of whoever migrates
_CONNECT_S = 10.0
_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""

# The numbers of another cluster's transactions mean nothing in this one: what was brought back from a dump may bear
# numbers that are still to come. Then all events are put before those to come, in the order of their ids.
_REBASE_EVENTS = """
UPDATE events SET xid = '0'
WHERE (SELECT xid >= pg_snapshot_xmax(pg_current_snapshot()) FROM events ORDER BY id DESC LIMIT 1)"""


async def bring_up_to_date(url: Secret, *, only_empty: bool = False) -> tuple[int, int]:
    """Apply what is missing; returns the schema's number before and after.

    Args:
        url: The database.
        only_empty: Set up an empty database, and refuse one of an older version instead of changing it.

    Raises:
        StoreError: The database is of a newer version, or of an older one and `only_empty`.
        asyncpg.PostgresError: The database refused.
    """
    connection = await asyncpg.connect(url.reveal(), timeout=_CONNECT_S)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute("SET LOCAL client_min_messages = warning")
            await connection.execute(_VERSIONS)
            before = await connection.fetchval("SELECT coalesce(max(number), 0) FROM schema_migrations")
            after = await _apply(connection, before, only_empty=only_empty)
            await connection.execute(_REBASE_EVENTS)
            return before, after
    finally:
        await connection.close()


async def agree(url: Secret, name: str, decide: Callable[[str | None], str]) -> str:
    """Decide on something for all processes of an instance, one process after the other; returns what it is now.

    Args:
        url: A database whose schema is up to date.
        name: What is decided on.
        decide: Given what has been agreed on, returns what is to be.

    Raises:
        asyncpg.PostgresError: The database refused.
    """
    connection = await asyncpg.connect(url.reveal(), timeout=_CONNECT_S)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            value = decide(await connection.fetchval("SELECT value FROM instance WHERE name = $1", name))
            await connection.execute(
                "INSERT INTO instance VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                name,
                value,
            )
            return value
    finally:
        await connection.close()


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", before: int, *, only_empty: bool) -> int:
    migrations = load_migrations("postgres")
    newest = migrations[-1].number
    if before > newest:
        raise StoreError(f"the database has schema {before}, newer than this version's {newest}")
    if only_empty and 0 < before < newest:
        raise StoreError(f"the database has schema {before}, this version needs {newest}; run `halley db upgrade`")
    for each in migrations:
        if each.number > before:
            await connection.execute(each.script)
            await connection.execute("INSERT INTO schema_migrations (number) VALUES ($1)", each.number)
    return newest
