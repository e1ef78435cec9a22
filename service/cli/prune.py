"""`halley db prune`: old runs and groups go, with everything that was kept of them."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from service.app import locked
from service.artifacts.retention import Retention
from service.artifacts.vault import FolderVault
from service.clock import SystemClock
from service.errors import SettingsError
from service.settings import Settings, age_s, load_settings
from service.store.opening import store_of
from service.store.sqlite_files import require_database
from service.terminal import print_json, print_table

_KINDS = (
    "runs",
    "inputs",
    "events",
    "deliveries",
    "timeline",
    "callbacks",
    "groups",
    "idempotency_keys",
    "artifact_files",
)
_LEAST_PAUSE_S = 0.05


class _Age(click.ParamType[float]):
    """A length of time such as `30d`, in seconds."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return age_s(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


@click.command("prune")
@click.option("--older-than", "older_than_s", type=_Age(), required=True, metavar="AGE",
              help="Runs that ended longer ago than this: 30d, 12h, 8w.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(older_than_s: float, *, dry_run: bool, as_json: bool) -> None:
    """Delete old runs with their inputs, events, deliveries, callbacks and artifact files, also while Halley runs.

    Open runs stay, and so do runs that are watched after their deadline, runs whose events are still being delivered
    or whose idempotency key still holds, and what belongs to a flow or a group that is not over. Groups that completed
    as long ago and old events of endpoints go as well.
    """
    settings = load_settings()
    if isinstance(settings.database, Path):
        require_database(settings.database)
    with _alone(settings) as is_alone:
        gone = asyncio.run(_prune(settings, older_than_s, dry_run=dry_run, is_alone=is_alone))
    if as_json:
        print_json({"dry_run": dry_run, "gone": {kind: gone[kind] for kind in _KINDS}})
        return
    heading = "would be deleted" if dry_run else "deleted"
    print_table(("what", heading), [(kind.replace("_", " "), str(gone[kind])) for kind in _KINDS])


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[bool]:
    """Hold the data folder if no Halley holds it; yields whether that is so, which PostgreSQL does not ask for."""
    if not isinstance(settings.database, Path):
        yield False
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(settings.data_dir))
            is_alone = True
        except SettingsError:
            is_alone = False
        yield is_alone


async def _prune(settings: Settings, older_than_s: float, *, dry_run: bool, is_alone: bool) -> Counter[str]:
    clock, gone = SystemClock(), Counter[str]()
    store = store_of(settings.database, clock, checkpoints=is_alone)
    try:
        await store.open()
        retention = Retention(store, FolderVault(settings.data_dir / "artifacts"), clock)
        begun = time.monotonic()
        async for batch in retention.forget(older_than_s, dry_run=dry_run):
            gone.update(batch)
            if not is_alone:
                # A Halley that waits to write gets as much time as was taken from it.
                await asyncio.sleep(max(time.monotonic() - begun, _LEAST_PAUSE_S))
            begun = time.monotonic()
    finally:
        await store.close()
    return gone
