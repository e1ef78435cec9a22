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
from service.settings import load_settings
from service.store import sqlite_files
from service.store.sqlite import SqliteStore, migrate
from service.terminal import print_json, print_table
from service.workers.restored import settle_restored

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("db")
def command() -> None:
    """Take care of the database."""


command.add_command(prune.command)


@command.command("upgrade")
def upgrade() -> None:
    """Bring the database up to this version's schema; `halley serve` does so as well."""
    settings = load_settings()
    with locked(settings.data_dir):
        before, after = _upgrade(settings.database)
    was = "" if before == after else f", it was {before}"
    click.echo(f"{settings.database}: schema {after}{was}.")


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


@command.command("backup")
@click.argument("file", type=_FILE)
def backup(file: Path) -> None:
    """Write the database as it is now to a new FILE, also while Halley runs."""
    size_bytes = sqlite_files.back_up(load_settings().database, file)
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
    with locked(settings.data_dir):
        copy = sqlite_files.take_in(file, settings.database)
        try:
            unknown = 0 if unused_since else asyncio.run(_settle(copy))
            aside = sqlite_files.put_in_place(copy, settings.database, time.time())
        except BaseException:
            sqlite_files.discard(copy)
            raise
    click.echo(f"{settings.database} is that of {file} now.")
    if aside is not None:
        click.echo(f"What was there before is kept as {aside}")
    if unknown:
        click.echo(
            f"Runs that may have been sent since the backup, now submit_unknown: {unknown}; adopt or abandon them."
        )


async def _settle(database: Path) -> int:
    store = SqliteStore(database, SystemClock())
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
    found = sqlite_files.check(settings.database)
    if as_json:
        print_json({"database": str(settings.database), "is_good": found.is_good, **_fields(found)})
    else:
        click.echo("\n".join(found.faults) or f"{settings.database}: schema {found.schema}, every page is in order")
        if found.stray:
            print_table(("rows", "number"), [(name.replace("_", " "), str(n)) for name, n in found.stray.items()])
    if not found.is_good:
        raise click.ClickException(f"{settings.database} is damaged; `halley db restore` brings a backup back")


def _fields(found: sqlite_files.Findings) -> dict[str, object]:
    return {"schema": found.schema, "faults": found.faults, "stray": found.stray}


@command.command("vacuum")
def vacuum() -> None:
    """Give the space of deleted rows back to the disk; Halley must not run."""
    settings = load_settings()
    with locked(settings.data_dir):
        before, after = sqlite_files.vacuum(settings.database)
    click.echo(f"{settings.database}: {after:,} bytes, it was {before:,}.")
