"""The named steps between two writes, and a store that ends its process at one of them.

The verbs that write are read off the `Store` protocol, so that a new one is a new step by itself.
"""

import inspect
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from service.store.base import Decide, Store
from service.store.groups import DecideGroup

_LIFE = frozenset({"open", "close", "check"})
READING = frozenset(
    {
        "addressed",
        "all_endpoints",
        "attempts",
        "body_of",
        "deliveries",
        "delivery",
        "due_endpoints",
        "due_targets",
        "endpoint",
        "endpoints",
        "endpoints_by_id",
        "progress_wanted",
        "count_old_keys",
        "count_rows",
        "count_running",
        "due_lanes",
        "events_after",
        "events_before",
        "expired_files",
        "file",
        "forgettable",
        "forgettable_events",
        "forgettable_groups",
        "group",
        "group_news",
        "group_of_identity",
        "group_runs",
        "group_states",
        "groups",
        "is_first",
        "key_by_hash",
        "keys",
        "newest_place",
        "open_runs",
        "place_of",
        "resting",
        "run",
        "run_input",
        "run_of_key",
        "runs",
        "sketches",
        "stray_rows",
        "timeline",
    }
)
# Verbs that no caller brings about by starting runs: what does instead, or why there is nothing to be found there.
PROVOKED = {
    "add_file": "an upload",
    "delete_file": "an upload's end",
    "wake": "a window that is confirmed",
    "leave": "a graceful stop",
}
ELSEWHERE = {
    "add_group": "one statement of a request that may be repeated: a name is taken once",
    "add_key": "one transaction of the first start or of a command, with no second write to go with it",
    "add_endpoint": "one statement of a request, which the caller repeats",
    "change_endpoint": "one transaction; what follows from it is a delivery, found again by its due time",
    "delete_endpoint": "one statement of a request, which the caller repeats",
    "note_attempt": "one statement, and nothing depends on it",
    "recover": "one transaction of a request or a probe; whoever repeats it sends nothing that has been delivered",
    "replay": "one statement of a request, which the caller repeats",
    "send_again": "one statement of a request, which the caller repeats",
    "keep_sketch": "one statement that no run waits for; what it would have told, the next runs tell",
    "revoke_key": "one transaction of a command",
    "forget": "one transaction of a command",
    "forget_keys": "one transaction of a command",
    "forget_sketches": "one statement of the upkeep, which may as well come a minute later",
    "forget_usage": "one statement of the upkeep, which may as well come a minute later",
}
_VERBS = dict(inspect.getmembers(Store, inspect.iscoroutinefunction))
WRITING = tuple(sorted(_VERBS.keys() - READING - _LIFE))
DECIDING = tuple(
    name
    for name in WRITING
    if any(each.annotation in (Decide, DecideGroup) for each in inspect.signature(_VERBS[name]).parameters.values())
)
STORE_STEPS = tuple(
    f"{verb}.{place}" for verb in WRITING for place in ("before", *(("within",) if verb in DECIDING else ()), "after")
)
RUN_STEPS = tuple(step for step in STORE_STEPS if step.partition(".")[0] not in {*PROVOKED, *ELSEWHERE})


def kill_this_process() -> None:
    """End this process as the machine would: at once, with nothing flushed or told."""
    os.kill(os.getpid(), signal.SIGKILL)


class Fuse:
    """Burns down when a step has been passed so often.

    Args:
        words: `step:count`, such as `change.after:3`; empty for a fuse that never burns down.
        end: What happens then.
    """

    def __init__(self, words: str, end: Callable[[], None]) -> None:
        self._step, _, count = words.partition(":")
        self._left = int(count or 1)
        self._end = end
        self._lock = threading.Lock()

    def passes(self, step: str) -> None:
        """Take note that a step is passed."""
        if step != self._step:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._end()


class InterruptedStore:
    """A store whose process ends before a writing verb, inside its transaction, or after its commit.

    Args:
        store: The real one.
        fuse: Tells when.
    """

    def __init__(self, store: Store, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        return self._interrupted(name, member) if name in WRITING else member

    def _interrupted(self, name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **words: Any) -> Any:
            self._fuse.passes(f"{name}.before")
            deciding = [self._within(name, each) for each in args]
            result = await verb(*deciding, **{word: self._within(name, each) for word, each in words.items()})
            self._fuse.passes(f"{name}.after")
            return result

        return call

    def _within(self, name: str, given: Any) -> Any:
        """Wrap what the store calls inside its transaction, and leave everything else as it is."""
        if not callable(given):
            return given

        def decide(*args: Any) -> Any:
            decided = given(*args)
            self._fuse.passes(f"{name}.within")
            return decided

        return decide
