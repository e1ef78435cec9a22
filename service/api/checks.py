"""What readiness tells who has an API key: one line for each thing that Halley needs, and what to do about it.

What anybody may know stands in `health`; the same lines on the command line are made by `cli.check`.
"""

import shutil
from pathlib import Path

from msgspec import Struct

from service.clock import isoformat
from service.errors import StoreError
from service.store.base import Store
from service.upstream.key_check import KeyState
from service.workers.switchboard import Switchboard

LEAST_FREE_BYTES = 500_000_000
_MOST_SILENCE_S = 30.0
_KEY_TODO = "set COMETAPI_KEY to a key that upstream takes and that has credit; check HALLEY_UPSTREAM_URL"


class Check(Struct, frozen=True, kw_only=True):
    """One thing that Halley needs.

    Attributes:
        name: What was looked at.
        is_good: Whether it is as it should be.
        said: What was found.
        todo: What to do about it.
    """

    name: str
    is_good: bool
    said: str
    todo: str | None = None


async def database_check(store: Store) -> Check:
    """Tell whether the database can be written."""
    try:
        await store.check()
    except StoreError as exc:
        return Check(name="database", is_good=False, said=str(exc), todo="free or repair the disk of the data folder")
    return Check(name="database", is_good=True, said="can be written")


def sweeps_check(switchboard: Switchboard) -> Check:
    """Tell whether everything that goes on by itself does."""
    silent = {name: s for name, s in switchboard.silence_s().items() if s > _MOST_SILENCE_S}
    if silent:
        said = "no pass came to its end: " + ", ".join(f"{name} for {s:.0f} s" for name, s in silent.items())
        return Check(name="sweeps", is_good=False, said=said, todo="see the log; restart Halley if it goes on")
    return Check(name="sweeps", is_good=True, said="all are alive")


def key_check(state: KeyState) -> Check:
    """Tell what is known of the upstream key; not to know is no fault."""
    is_good = state.is_good is not False
    asked = "" if state.asked_at is None else f" (asked {isoformat(state.asked_at)})"
    return Check(name="upstream_key", is_good=is_good, said=state.said + asked, todo=None if is_good else _KEY_TODO)


def definitions_check(count: int) -> Check:
    """Tell how many nodes there are."""
    todo = None if count else "reinstall Halley: its own nodes are missing"
    return Check(name="definitions", is_good=count > 0, said=f"{count} nodes", todo=todo)


def disk_check(folder: Path) -> Check:
    """Tell how much room there is for the database and for files."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as exc:
        return Check(name="disk", is_good=False, said=exc.strerror or str(exc), todo="check HALLEY_DATA_DIR")
    is_good = free >= LEAST_FREE_BYTES
    said = f"{free / 1e9:.1f} GB free in the data folder"
    return Check(name="disk", is_good=is_good, said=said, todo=None if is_good else "make room")
