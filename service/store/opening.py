"""Which engine a database setting means. Whoever keeps runs in a file never loads the client of a server."""

from collections.abc import Callable
from pathlib import Path

from service.clock import Clock
from service.lifecycle.view import Sign
from service.settings import Secret
from service.store.sql_store import SqlStore
from service.store.sqlite import SqliteEngine


def store_of(
    database: Path | Secret,
    clock: Clock,
    *,
    checkpoints: bool = True,
    sign: Sign | None = None,
    owner: str | None = None,
) -> SqlStore:
    """Return the store of a database, not opened yet.

    Args:
        database: A SQLite file, or the URL of a PostgreSQL database.
        clock: Tells when events happen.
        checkpoints: False for a guest in a SQLite file that another process may be serving.
        sign: Makes the links to stored artifacts that stand in events.
        owner: What this process is known by among those that share the database.
    """
    if isinstance(database, Path):
        return SqlStore(SqliteEngine(database, checkpoints=checkpoints), clock, sign=sign, owner=owner)
    from service.store.postgres import PostgresEngine  # noqa: PLC0415

    return SqlStore(PostgresEngine(database), clock, sign=sign, owner=owner)


async def shared_secret(url: Secret, decide: Callable[[str | None], str]) -> str:
    """Agree on a secret with the other processes on a PostgreSQL database.

    Raises:
        StoreError: The database cannot be used.
    """
    from service.store import postgres  # noqa: PLC0415

    return await postgres.shared_secret(url, decide)
