"""`halley check`: everything that Halley needs, looked at without starting it and without spending anything."""

import asyncio
import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from service.api.checks import Check, definitions_check, disk_check, key_check
from service.app import locked
from service.clock import SystemClock
from service.definitions.catalog import Catalog, load_catalog
from service.definitions.loader import DefinitionFaults
from service.delivery.sinks.owner import Sinks
from service.delivery.sinks.urls import read_sinks
from service.errors import SettingsError, StoreError
from service.settings import Secret, Settings, load_settings, require_shared_database
from service.store.postgres import upgrade
from service.terminal import print_json
from service.upstream.key_check import KeyState, ask_about_key, checking_node
from service.upstream.transport import Transport

_UNREACHED = "check HALLEY_UPSTREAM_URL and this machine's way to the internet"


@click.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """Check settings, data folder, definitions, database and the upstream key; free, also while Halley runs."""
    checks = list(_checks())
    if as_json:
        print_json(checks)
    else:
        click.echo("\n".join(_line(check) for check in checks))
    wrong = sum(not check.is_good for check in checks)
    if wrong:
        raise click.ClickException(f"{wrong} of {len(checks)} checks failed")


def _line(check: Check) -> str:
    todo = f"; {check.todo}" if check.todo else ""
    return f"{'ok   ' if check.is_good else 'WRONG'}  {check.name}: {check.said}{todo}"


def _checks() -> Iterator[Check]:
    try:
        settings = load_settings()
        require_shared_database(settings)
        Sinks(read_sinks(settings.sinks))
    except SettingsError as exc:
        yield Check(name="settings", is_good=False, said=str(exc), todo="set it right, or unset it")
        return
    yield Check(name="settings", is_good=True, said="all can be read")
    yield _folder_check(settings.data_dir)
    yield disk_check(_nearest(settings.data_dir))
    yield _database_check(settings)
    catalog = None
    try:
        catalog = load_catalog(settings.nodes_path)
        yield definitions_check(len(catalog.nodes))
    except DefinitionFaults as exc:
        said = f"{len(exc.faults)} faults, the first: {exc.faults[0]}"
        yield Check(name="definitions", is_good=False, said=said, todo="`halley nodes lint` lists them all")
    yield _key_check(settings, catalog)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the first one above it that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())


def _folder_check(folder: Path) -> Check:
    found = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=found):
            pass
    except OSError as exc:
        said = f"{found}: {exc.strerror}"
        return Check(name="data_folder", is_good=False, said=said, todo="make it writable, or set HALLEY_DATA_DIR")
    is_new = found != folder.absolute()
    said = f"{folder} will be made by `halley serve`" if is_new else f"{folder} can be written"
    return Check(name="data_folder", is_good=True, said=said)


def _database_check(settings: Settings) -> Check:
    file = settings.database
    if not isinstance(file, Path):
        return asyncio.run(_postgres_check(file))
    if not file.exists():
        return Check(name="database", is_good=True, said=f"{file} will be made by `halley serve`")
    if _is_served(settings.data_dir):
        return Check(name="database", is_good=True, said=f"{file} is in use by a running Halley")
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as exc:
        found = str(exc)
    if found == "ok":
        return Check(name="database", is_good=True, said=f"{file} is whole")
    return Check(name="database", is_good=False, said=f"{file}: {found}", todo="bring it back from a backup")


async def _postgres_check(url: Secret) -> Check:
    try:
        schema, _ = await upgrade(url, only_empty=True)
    except StoreError as exc:
        return Check(name="database", is_good=False, said=str(exc), todo="start PostgreSQL, or set HALLEY_DATABASE_URL")
    return Check(name="database", is_good=True, said=f"PostgreSQL, schema {schema}")


def _is_served(data_dir: Path) -> bool:
    if not data_dir.is_dir() or not os.access(data_dir, os.W_OK):
        return False
    try:
        with locked(data_dir):
            return False
    except SettingsError:
        return True


def _key_check(settings: Settings, catalog: Catalog | None) -> Check:
    state = _key_state(settings, catalog)
    told = key_check(state)
    if state.is_good is None:
        return Check(name=told.name, is_good=False, said=told.said, todo=_UNREACHED)
    return told


def _key_state(settings: Settings, catalog: Catalog | None) -> KeyState:
    if settings.upstream_key is None:
        return KeyState(is_good=False, said="COMETAPI_KEY is not set; only mode=mock and mode=preview work")
    node = checking_node(catalog) if catalog else None
    if node is None:
        return KeyState(is_good=None, said="COMETAPI_KEY is set; no sound definition says how it is checked")

    async def ask() -> KeyState:
        async with Transport(settings.upstream_url, settings.upstream_key) as transport:
            return await ask_about_key(transport, node, SystemClock())

    return asyncio.run(ask())
