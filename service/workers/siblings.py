"""Hints between the workers of one machine: whose callers wait for what another one has just committed.

A hint only, like a ring: it may be lost, and whoever waits also looks into the store. Each worker has an inbox, a pipe
that all others can write to. A record is so short that it comes whole or not at all, whoever is killed, and an inbox
that is full, since its worker has died or is busy, takes no more.
"""

import asyncio
import contextlib
import os
import select
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import Struct

from service.lifecycle.group import GroupChange
from service.lifecycle.run import Change

_TOGETHER_S = 0.005  # commits of so long are told in one record
_IDS = 10  # in a record, which must stay below the 512 bytes that every system writes whole
_INBOX_BYTES = 65536


class Hint(Struct, frozen=True, array_like=True):
    """What others have committed.

    Attributes:
        rested: Runs and groups that have ended, or of which nobody can tell the outcome.
        workspaces: Workspaces of which there are events.
    """

    rested: list[str]
    workspaces: list[str]


class Inbox(Struct, frozen=True, kw_only=True):
    """The two ends of a worker's pipe."""

    read: int
    write: int


def inboxes(count: int) -> list[Inbox]:
    """Make the pipes of so many workers, before they are forked."""
    made = [Inbox(read=read, write=write) for read, write in (os.pipe() for _ in range(count))]
    for inbox in made:
        os.set_blocking(inbox.read, False)
        os.set_blocking(inbox.write, False)
    return made


class Siblings:
    """The other workers of this machine.

    Args:
        own: This worker's inbox.
        others: Those of the others.
    """

    def __init__(self, own: Inbox, others: Sequence[Inbox]) -> None:
        self._own = own
        self._others = list(others)
        self._rested: set[str] = set()
        self._workspaces: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._rest = b""

    def notify(self, change: Change) -> None:
        """Pass on a committed change of a run."""
        if change.run.rests:
            self._rested.add(change.run.id)
        if change.events:
            self._workspaces.add(change.run.workspace)
        self._tell_soon()

    def notify_group(self, change: GroupChange) -> None:
        """Pass on that a group has completed."""
        self._rested.add(change.group.id)
        self._workspaces.add(change.group.workspace)
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None and (self._rested or self._workspaces):
            self._timer = asyncio.get_running_loop().call_later(_TOGETHER_S, self._tell)

    def _tell(self) -> None:
        rested, workspaces, self._timer = list(self._rested), list(self._workspaces), None
        self._rested.clear()
        self._workspaces.clear()
        hints = [Hint(rested[start : start + _IDS], []) for start in range(0, len(rested), _IDS)]
        hints += [Hint([], [workspace]) for workspace in workspaces]
        for record in map(_record, hints):
            for other in self._others:
                if len(record) <= select.PIPE_BUF:
                    with contextlib.suppress(BlockingIOError):
                        os.write(other.write, record)

    @contextlib.contextmanager
    def heard_by(self, hear: Callable[[Sequence[str], Sequence[str]], None]) -> Iterator[None]:
        """Call `hear` with what others have committed, runs and groups first, then workspaces, until the block ends."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                for hint in self._taken(os.read(self._own.read, _INBOX_BYTES)):
                    hear(hint.rested, hint.workspaces)

        loop.add_reader(self._own.read, read)
        try:
            yield
        finally:
            loop.remove_reader(self._own.read)
            if self._timer is not None:
                self._timer.cancel()
                self._tell()

    def _taken(self, piece: bytes) -> Iterator[Hint]:
        *records, self._rest = (self._rest + piece).split(b"\n")
        for record in records:
            # One that died here may have taken the beginning of the first.
            with contextlib.suppress(msgspec.DecodeError):
                yield msgspec.json.decode(record, type=Hint)


def _record(hint: Hint) -> bytes:
    return msgspec.json.encode(hint) + b"\n"
