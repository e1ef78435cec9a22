"""Starts servers in a tenth of the time: one process that has loaded everything, and a fork of it for each server.

A forked server is a process of its own like any other. It differs in nothing but that its imports are done.
"""

import asyncio
import atexit
import contextlib
import functools
import os
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]


class Server:
    """A running server, as its starter sees it.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._is_over = False
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:  # it died so soon that it has been told of already
            self._descriptor, self._is_over = os.open(os.devnull, os.O_RDONLY), True

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        self._is_over = self._is_over or bool(select.select([self._descriptor], [], [], 0)[0])
        return self._is_over

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to this process only, even when its id were taken anew meanwhile."""
        if not self._is_over:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """End it without warning."""
        self.send(signal.SIGKILL)

    async def wait(self, timeout_s: float = 20.0) -> int:
        """Return its exit code, or the negative number of the signal that ended it."""
        if not self.is_over:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(self._descriptor, ended.set)
            try:
                async with asyncio.timeout(timeout_s):
                    await ended.wait()
            finally:
                loop.remove_reader(self._descriptor)
            self._is_over = True
        return self._nursery.exit_code(self.pid)

    def close(self) -> None:
        """Kill what is left of it and let go of it."""
        self.kill()
        os.close(self._descriptor)


class Nursery:
    """The process that servers are forked from; blocking, but for milliseconds only."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.crash.nursery"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)  # noqa: S603
        self._codes: dict[int, int] = {}

    def spawn(self, environ: dict[str, str], log: Path, *words: str) -> Server:
        """Start a server, or another command, with just this environment; what it prints is added to a file."""
        assert self._process.stdin is not None
        wanted = {"environ": environ, "log": str(log), "words": words or ("serve",)}
        self._process.stdin.write(msgspec.json.encode(wanted) + b"\n")
        self._process.stdin.flush()
        while "spawned" not in (told := self._heard()):
            self._codes[told["ended"]] = told["code"]
        return Server(self, told["spawned"])

    def exit_code(self, pid: int) -> int:
        """Return how a server that is over has ended."""
        while pid not in self._codes:
            told = self._heard()
            self._codes[told["ended"]] = told["code"]
        return self._codes[pid]

    def _heard(self) -> dict[str, int]:
        assert self._process.stdout is not None
        return dict(msgspec.json.decode(self._process.stdout.readline()))

    def close(self) -> None:
        """End it and every server that it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@functools.cache
def shared_nursery() -> Nursery:
    """Return the one nursery of this process, which goes with it."""
    nursery = Nursery()
    atexit.register(nursery.close)
    return nursery


class _Nurse:
    """The other side: forks on request and tells of ends."""

    def __init__(self) -> None:
        self._children: set[int] = set()
        self._wakeup, waker = os.pipe()
        for end in (self._wakeup, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignored)

    def work(self) -> None:
        """Do what the lines on standard input say until they end."""
        rest = b""
        while True:
            ready, _, _ = select.select([0, self._wakeup], [], [])
            if self._wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup, 4096)
                self._reap()
            if 0 in ready:
                piece = os.read(0, 65536)
                if not piece:
                    break
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._fork(msgspec.json.decode(line))
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _fork(self, wanted: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(_run(wanted["words"], wanted["environ"], wanted["log"]))
        self._children.add(pid)
        _tell({"spawned": pid})

    def _reap(self) -> None:
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._children.discard(pid)
                _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _ignored(_number: int, _frame: FrameType | None) -> None:
    """Let the signal interrupt what waits, and no more."""


def _tell(fact: dict[str, int]) -> None:
    os.write(1, msgspec.json.encode(fact) + b"\n")


def _run(words: list[str], environ: dict[str, str], log: str) -> int:
    from tests.crash import server  # noqa: PLC0415 - loaded long since, and importing it here keeps the client light

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _redirect(log)
    os.environ.clear()
    os.environ.update(environ)
    try:
        server.run(words)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(written)


if __name__ == "__main__":
    from tests.crash.server import warm_up

    warm_up()
    _Nurse().work()
