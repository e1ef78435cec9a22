"""`halley db`: care of the database."""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path

import click

from service.app import locked
from service.cli import prune
from service.clock import SystemClock
from service.errors import StoreError
from service.settings import Secret, Settings, load_settings
from service.store import sqlite_files
from service.store.opening import store_of
from service.store.postgres import upgrade as upgrade_postgres
from service.store.sqlite import migrate
from service.terminal import print_json, print_table
from service.workers.restored import settle_restored

_FILE = click.Path(path_type=Path, dir_okay=False)
_POSTGRES = "the PostgreSQL database"


@click.group("db")
def command() -> None:
    """Take care of the database."""


command.add_command(prune.command)


@command.command("upgrade")
def upgrade() -> None:
    """Bring the database up to this version's schema, forward only.

    `halley serve` does so by itself with a SQLite file. With PostgreSQL it sets up an empty database and refuses to
    start on an older one, so that nobody changes the tables of others at work unasked.
    """
    settings = load_settings()
    if isinstance(settings.database, Path):
        with locked(settings.data_dir):
            before, after = _upgrade(settings.database)
    else:
        before, after = asyncio.run(upgrade_postgres(settings.database))
    was = "" if before == after else f", it was {before}"
    click.echo(f"{_name(settings)}: schema {after}{was}.")


def _upgrade(path: Path) -> tuple[int, int]:
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            before = _version(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection)
            return before, _version(connection)
    except sqlite3.Error as exc:
        raise StoreError(f"the database {path} cannot be used: {exc}") from exc


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _name(settings: Settings) -> str:
    return str(settings.database) if isinstance(settings.database, Path) else _POSTGRES


def _file(settings: Settings, instead: str) -> Path:
    if isinstance(settings.database, Secret):
        raise click.ClickException(f"this is for SQLite files; with PostgreSQL {instead}")
    return settings.database


@command.command("backup")
@click.argument("file", type=_FILE)
def backup(file: Path) -> None:
    """Write the database as it is now to a new FILE, also while Halley runs."""
    size_bytes = sqlite_files.back_up(_file(load_settings(), "use pg_dump or your host's backups"), file)
    click.echo(f"{file}: {size_bytes:,} bytes, checked. Not in it: secret.key and the folder artifacts.")


@command.command("restore")
@click.argument("file", type=_FILE)
@click.option("--unused-since", is_flag=True,
              help="Halley has not run since the backup was made: what waited to be sent then is sent.")  # fmt: skip
def restore(file: Path, *, unused_since: bool) -> None:
    """Put a backup in the database's place, which is kept beside it; Halley must not run.

    Runs that waited to be sent may have been sent and paid after the backup was made. They are not sent again: they
    become submit_unknown.
    """
    settings = load_settings()
    database = _file(settings, "use pg_restore, then `halley db settle-restored`")
    with locked(settings.data_dir):
        copy = sqlite_files.take_in(file, database)
        try:
            unknown = 0 if unused_since else asyncio.run(_settle(copy))
            aside = sqlite_files.put_in_place(copy, database, time.time())
        except BaseException:
            sqlite_files.discard(copy)
            raise
    click.echo(f"{database} is that of {file} now.")
    if aside is not None:
        click.echo(f"What was there before is kept as {aside}")
    _tell_unknown(unknown)


@command.command("settle-restored")
def settle_restored_database() -> None:
    """Make a PostgreSQL database safe to serve after a backup was restored into it; Halley must not run.

    Runs that waited to be sent may have been sent and paid after the backup was made. They are not sent again: they
    become submit_unknown. For SQLite files `halley db restore` does this by itself.
    """
    settings = load_settings()
    unknown = asyncio.run(_settle(settings.database))
    click.echo(f"{_name(settings)} may be served.")
    _tell_unknown(unknown)


def _tell_unknown(count: int) -> None:
    if count:
        said = "Runs that may have been sent since the backup, now submit_unknown"
        click.echo(f"{said}: {count}; adopt or abandon them.")


async def _settle(database: Path | Secret) -> int:
    store = store_of(database, SystemClock())
    try:
        await store.open()
        return await settle_restored(store, SystemClock())
    finally:
        await store.close()


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(*, as_json: bool) -> None:
    """Look whether the database is whole and its rows belong together, also while Halley runs."""
    settings = load_settings()
    found = _check(settings.database)
    name = _name(settings)
    if as_json:
        print_json({"database": name, "is_good": found.is_good, **_fields(found)})
    else:
        click.echo("\n".join(found.faults) or f"{name}: schema {found.schema}, every page is in order")
        if found.stray:
            print_table(("rows", "number"), [(name.replace("_", " "), str(n)) for name, n in found.stray.items()])
    if not found.is_good:
        raise click.ClickException(f"{name} is damaged; bring a backup back (`halley db restore --help`)")


def _check(database: Path | Secret) -> sqlite_files.Findings:
    if isinstance(database, Path):
        return sqlite_files.check(database)
    return asyncio.run(_check_postgres(database))


async def _check_postgres(url: Secret) -> sqlite_files.Findings:
    schema, _ = await upgrade_postgres(url, only_empty=True)
    store = store_of(url, SystemClock())
    try:
        await store.open()
        return sqlite_files.Findings(schema=schema, faults=(), stray=await store.stray_rows())
    finally:
        await store.close()


def _fields(found: sqlite_files.Findings) -> dict[str, object]:
    return {"schema": found.schema, "faults": found.faults, "stray": found.stray}


@command.command("vacuum")
def vacuum() -> None:
    """Give the space of deleted rows back to the disk; Halley must not run."""
    settings = load_settings()
    database = _file(settings, "autovacuum does this; `VACUUM FULL` gives space back to the disk")
    with locked(settings.data_dir):
        before, after = sqlite_files.vacuum(database)
    click.echo(f"{database}: {after:,} bytes, it was {before:,}.")
