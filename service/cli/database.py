"""`halley db`: care of the database."""

import contextlib
import sqlite3
from pathlib import Path

import click

from service.app import locked
from service.errors import StoreError
from service.settings import load_settings
from service.store.sqlite import migrate


@click.group("db")
def command() -> None:
    """Take care of the database."""


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
