"""`halley serve` itself, with quick nodes and a store that may end the process: `python -m tests.crash.server`.

`CRASH_AT` names the step, such as `change.after:3`. `CRASH_LARGEST_FILE_BYTES` stands in for a disk that is full from
the start, `CRASH_SUBMIT_TIMEOUT_S` for a minute of waiting. Everything else is the real command with the real settings.
"""

import functools
import gc
import os
import resource
from unittest.mock import patch

import msgspec

from service import app
from service.api.openapi import build_document
from service.app import create_app
from service.cli import main, serve
from service.definitions.catalog import Catalog
from service.log import silent_log
from service.settings import load_settings
from service.upstream import client
from tests.crash.steps import Fuse, InterruptedStore, kill_this_process
from tests.fakes.house import TUNING, quick_catalog

_SUBMIT_TIMEOUT_S = 60.0


@functools.cache
def nodes() -> Catalog:
    """Return the shipped nodes at a quick pace, whose runs may rest for minutes in a slow test."""
    return quick_catalog(deadline_s=600)


@functools.cache
def document() -> bytes:
    """Return the API document, which is the same for every server."""
    return build_document(nodes())


def warm_up() -> None:
    """Load whatever a server would load at its start."""
    document()
    app.create_app(load_settings({}), silent_log(), catalog=nodes())
    gc.collect()
    gc.freeze()


def run(words: list[str]) -> None:
    """Run a command, such as `serve`, until its end, a signal or the step; the exit is the command's own."""
    _limit(os.environ.get("CRASH_LARGEST_FILE_BYTES"))
    fuse = Fuse(os.environ.get("CRASH_AT", ""), kill_this_process)
    tuning = msgspec.structs.replace(TUNING, beat_s=0.1, around_store=lambda store: InterruptedStore(store, fuse))
    with (
        patch.object(serve, "all_nodes", lambda _path: nodes()),
        patch.object(app, "build_document", lambda _catalog: document()),
        patch.object(serve, "create_app", functools.partial(create_app, tuning=tuning)),
        patch.object(client, "_SUBMIT_TIMEOUT_S", float(os.environ.get("CRASH_SUBMIT_TIMEOUT_S", _SUBMIT_TIMEOUT_S))),
    ):
        main(words, prog_name="halley")


def _limit(largest_bytes: str | None) -> None:
    if largest_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_bytes), resource.RLIM_INFINITY))


if __name__ == "__main__":
    run(["serve"])
