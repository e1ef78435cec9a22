"""`halley keys`: API keys and signing secrets, straight from the data folder, also while Halley runs."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from msgspec import Struct

from service.api.auth import DEFAULT_WORKSPACE, add_key
from service.app import secret_keys
from service.clock import SystemClock, isoformat
from service.delivery.signer import derive_secrets
from service.secret_key import (
    SecretKeys,
    agreed,
    drop_old_secret_keys,
    load_secret_keys,
    rotate_secret_keys,
    rotated,
    without_old,
    written,
)
from service.settings import Settings, load_settings
from service.store.base import KeyRecord, KeyScope, Store
from service.store.opening import store_of
from service.store.postgres import shared_secret
from service.terminal import print_json, print_table

T = TypeVar("T")

_PATTERN = re.compile(r"(?=.*[.*])[a-z0-9_.*?]{1,200}")  # without a dot or a star it fits no node


class KeyView(Struct, frozen=True, kw_only=True):
    """An API key in the list, without the key."""

    name: str
    workspace: str
    scope: KeyScope
    nodes: tuple[str, ...]
    runs_per_day: int | None
    hint: str
    created_at: str
    revoked_at: str | None


@click.group("keys")
def command() -> None:
    """Make, list and revoke API keys."""


def _checked_patterns(_context: click.Context, _option: click.Parameter, patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise click.BadParameter(f"{pattern!r} fits no node; a pattern is like 'text.*' or '*.text_to_video'")
    return patterns


@command.command("create")
@click.argument("name")
@click.option("--workspace", help="Whose runs it sees and starts; default: NAME.")
@click.option(
    "--scope",
    type=click.Choice(get_args(KeyScope)),
    default="admin",
    show_default=True,
    help="What it may do there: `read` sees, `run` starts, cancels and uploads as well, `admin` may do everything.",
)
@click.option(
    "--nodes",
    multiple=True,
    metavar="PATTERN",
    callback=_checked_patterns,
    help="Nodes that it may run, such as 'text.*'; may be given more than once. Default: all.",
)
@click.option("--runs-per-day", type=click.IntRange(min=1), help="How many runs it may start in a day (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(name: str, workspace: str | None, *, as_json: bool, **allowed: Any) -> None:
    """Make an API key and print it, this once."""
    if not name.strip():
        raise click.ClickException("the name of a key must not be empty")
    settings, workspace = load_settings(), workspace or name
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    secret = _signing_secrets(settings, workspace)[0]
    key = _with_store(settings, lambda store: add_key(store, SystemClock(), name, workspace, **allowed))
    if key is None:
        raise click.ClickException(f"there is a key {name!r} already; choose another name")
    if as_json:
        print_json({"name": name, "workspace": workspace, **allowed, "key": key, "signing_secret": secret})
        return
    click.echo(f"API key, shown this once: {key}")
    click.echo(f"Workspace: {workspace}")
    click.echo(f"May: {_rights(**allowed)}")
    click.echo(f"Webhook signing secret of the workspace: {secret}")


def _rights(scope: KeyScope, nodes: tuple[str, ...], runs_per_day: int | None) -> str:
    """Return what a key may do, for people."""
    limits = [f"nodes {' '.join(nodes)}" if nodes else "", f"{runs_per_day} runs a day" if runs_per_day else ""]
    return ", ".join(part for part in (scope, *limits) if part)


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
    print_table(("name", "workspace", "may", "key", "created", "revoked"), [_cells(view) for view in views])


def _cells(view: KeyView) -> tuple[str, ...]:
    may = _rights(view.scope, view.nodes, view.runs_per_day)
    return view.name, view.workspace, may, view.hint + "…", view.created_at, view.revoked_at or ""


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
@click.option("--all", "with_old", is_flag=True, help="Print the old ones too, which events are still signed under.")
def signing_secret(workspace: str, *, with_old: bool) -> None:
    """Print the secret with which a workspace's receivers verify what Halley posts to them."""
    settings = load_settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    secrets = _signing_secrets(settings, workspace)
    for secret in secrets if with_old else secrets[:1]:
        click.echo(secret)


def _signing_secrets(settings: Settings, workspace: str) -> tuple[str, ...]:
    return derive_secrets(asyncio.run(secret_keys(settings)), workspace)


def _require_database(settings: Settings) -> None:
    if isinstance(settings.database, Path) and not settings.database.exists():
        raise click.ClickException(
            f"there is no database {settings.database}; is HALLEY_DATA_DIR right? `halley serve` makes one"
        )


def _with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        store = store_of(settings.database, SystemClock(), checkpoints=False)
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
        scope=record.scope,
        nodes=record.nodes,
        runs_per_day=record.runs_per_day,
        hint=record.hint,
        created_at=isoformat(record.created_at),
        revoked_at=None if record.revoked_at is None else isoformat(record.revoked_at),
    )


@command.command("rotate-secret")
@click.option("--drop-old", is_flag=True, help="Make no new key; forget the old ones that are still taken.")
def rotate_secret(*, drop_old: bool) -> None:
    """Put a new secret key before those of the data folder; the two before it are taken for a while longer."""
    settings = load_settings()
    if settings.secret_key is not None:
        raise click.ClickException(_SET_ELSEWHERE)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    keys = asyncio.run(_changed_keys(settings, drop_old=drop_old))
    old = len(keys.all) - 1
    click.echo("The current secret key stays; all older ones are gone." if drop_old else f"Made; old ones kept: {old}.")
    click.echo("A running Halley takes this at its next start.")
    if not drop_old:
        click.echo("Then give receivers the secret of `halley keys signing-secret WORKSPACE`: until `--drop-old`,")
        click.echo("events are signed under the old one too, and links and webhook URLs made with it stay good.")


async def _changed_keys(settings: Settings, *, drop_old: bool) -> SecretKeys:
    if isinstance(settings.database, Path):
        return drop_old_secret_keys(settings.data_dir) if drop_old else rotate_secret_keys(settings.data_dir)
    own, change = load_secret_keys(None, settings.data_dir), without_old if drop_old else rotated
    return agreed(own, await shared_secret(settings.database, lambda shared: written(change(agreed(own, shared)))))


_SET_ELSEWHERE = (
    "HALLEY_SECRET_KEY is set, so secret.key is not used: make 32 random bytes in URL-safe Base64 "
    "(`openssl rand -base64 32 | tr +/ -_`), put them before the present value, separated by a comma "
    "(HALLEY_SECRET_KEY=NEW,OLD), and start Halley again; take the old one away later"
)
