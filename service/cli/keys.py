"""`halley keys`: API keys and signing secrets, straight from the data folder, also while Halley runs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
from msgspec import Struct

from service.api.auth import DEFAULT_WORKSPACE, add_key
from service.clock import SystemClock, isoformat
from service.delivery.signer import derive_secret
from service.secret_key import load_secret_key
from service.settings import Settings, load_settings
from service.store.base import KeyRecord, Store
from service.store.sqlite import SqliteStore
from service.terminal import print_json, print_table

T = TypeVar("T")


class KeyView(Struct, frozen=True, kw_only=True):
    """An API key in the list, without the key."""

    name: str
    workspace: str
    hint: str
    created_at: str
    revoked_at: str | None


@click.group("keys")
def command() -> None:
    """Make, list and revoke API keys."""


@command.command("create")
@click.argument("name")
@click.option("--workspace", help="Whose runs it sees and starts; default: NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(name: str, workspace: str | None, *, as_json: bool) -> None:
    """Make an API key and print it, this once."""
    if not name.strip():
        raise click.ClickException("the name of a key must not be empty")
    settings, workspace = load_settings(), workspace or name
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    secret = _signing_secret(settings, workspace)
    key = _with_store(settings, lambda store: add_key(store, SystemClock(), name, workspace))
    if key is None:
        raise click.ClickException(f"there is a key {name!r} already; choose another name")
    if as_json:
        print_json({"name": name, "workspace": workspace, "key": key, "signing_secret": secret})
        return
    click.echo(f"API key, shown this once: {key}")
    click.echo(f"Workspace: {workspace}")
    click.echo(f"Webhook signing secret of the workspace: {secret}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(*, as_json: bool) -> None:
    """List all keys that were made, the revoked ones too."""
    settings = load_settings()
    _require_database(settings)
    views = [_view(record) for record in _with_store(settings, lambda store: store.keys())]
    if as_json:
        print_json(views)
        return
    rows = [(view.name, view.workspace, view.hint + "…", view.created_at, view.revoked_at or "") for view in views]
    print_table(("name", "workspace", "key", "created", "revoked"), rows)


@command.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """Make a key invalid; a running Halley follows within 30 s."""
    settings = load_settings()
    _require_database(settings)
    if not _with_store(settings, lambda store: store.revoke_key(name, time.time())):
        raise click.ClickException(f"there is no valid key {name!r}; `halley keys list` shows all")
    click.echo(f"{name} is revoked.")


@command.command("signing-secret")
@click.argument("workspace", default=DEFAULT_WORKSPACE)
def signing_secret(workspace: str) -> None:
    """Print the secret with which a workspace's receivers verify what Halley posts to them."""
    settings = load_settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    click.echo(_signing_secret(settings, workspace))


def _signing_secret(settings: Settings, workspace: str) -> str:
    return derive_secret(load_secret_key(settings.secret_key, settings.data_dir), workspace)


def _require_database(settings: Settings) -> None:
    if not settings.database.exists():
        raise click.ClickException(
            f"there is no database {settings.database}; is HALLEY_DATA_DIR right? `halley serve` makes one"
        )


def _with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        store = SqliteStore(settings.database, SystemClock(), checkpoints=False)
        try:
            await store.open()
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _view(record: KeyRecord) -> KeyView:
    return KeyView(
        name=record.name,
        workspace=record.workspace,
        hint=record.hint,
        created_at=isoformat(record.created_at),
        revoked_at=None if record.revoked_at is None else isoformat(record.revoked_at),
    )
