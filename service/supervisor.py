"""Several processes for one job: forked, replaced when they die or hang, stopped together.

The first process opens nothing but sockets and runs no event loop and no thread, so a fork of it is a whole process. It
stays as small: it waits for words, deaths and signals. Each of the others has a line to it, whose end is the order to
stop: so they go even when it is killed. On that line each says now and then that its event loop turns; who has been
silent for long is killed, since nobody else would find out.
"""

import asyncio
import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import msgspec
from msgspec import Struct

from service.errors import HalleyError
from service.log import Log

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0
_WELL_AFTER_S = 60.0  # who has worked for so long died of something new
_STOP_S = 10.0  # as long as one process may take
_STOP = b"stop\n"
_ALIVE = b"\n"
_SILENT_S = 30.0  # no event loop is held up for so long unless for good
_SIGNS = 6  # in that time
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SIGNAL_CODE = 128  # a shell's exit code of who was ended by a signal is so much above the signal's number


class Report(Struct, frozen=True, kw_only=True):
    """What a process says once it works, or cannot.

    Attributes:
        error: Why it cannot work.
        facts: What the first process, and whoever comes after it at its post, should know.
    """

    error: str | None = None
    facts: dict[str, str] = {}


class Line:
    """A process' line to the first one, which outlives neither.

    Args:
        end: Its end of a pair of sockets.
        sign_s: Time between two signs of life.
    """

    def __init__(self, end: socket.socket, sign_s: float) -> None:
        self._end = end
        self._sign_s = sign_s
        self._next_sign: asyncio.TimerHandle | None = None
        self.is_orphaned = False

    def report(self, report: Report) -> None:
        """Say that the process works, or why it does not."""
        with contextlib.suppress(OSError):  # nobody is left to hear it; the end of the line says so too
            self._end.sendall(msgspec.json.encode(report) + b"\n")

    @contextlib.contextmanager
    def telling(self, stop: asyncio.Event) -> Iterator[None]:
        """Give signs of life, and set an event when to stop: being told to, or with the first process gone."""
        loop = asyncio.get_running_loop()

        def heard() -> None:
            loop.remove_reader(self._end)
            self.is_orphaned = not _received(self._end)
            stop.set()

        loop.add_reader(self._end, heard)
        self._give_sign(loop)
        try:
            yield
        finally:
            loop.remove_reader(self._end)
            if self._next_sign is not None:
                self._next_sign.cancel()

    def _give_sign(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(OSError):  # who does not read, or is gone, misses nothing
            self._end.send(_ALIVE, socket.MSG_DONTWAIT)
        self._next_sign = loop.call_later(self._sign_s, self._give_sign, loop)


class Post(Struct, frozen=True, kw_only=True):
    """What a process is for.

    Attributes:
        name: For log lines.
        work: Does it until its line tells it to stop; given what the process before it at this post said, if there was
            one: that one is dead.
        is_last: It is stopped when the others have ended.
    """

    name: str
    work: Callable[[Line, Report | None], None]
    is_last: bool = False


class _Place:
    """A post and the process that is there at present, if any."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self.pid: int | None = None
        self.line: socket.socket | None = None
        self.report: Report | None = None
        self.heard = b""
        self.began_at = 0.0
        self.heard_at: float | None = None
        self.due_at: float | None = None
        self.pause_s = _FIRST_PAUSE_S

    def tell(self, words: bytes) -> None:
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.send(words)


class Supervisor:
    """Keeps a process at each post.

    Args:
        posts: What the processes are for.
        log: Where deaths are told.
        silent_s: Who has given a sign of life once and then none for so long is killed.
    """

    def __init__(self, posts: Sequence[Post], log: Log, *, silent_s: float = _SILENT_S) -> None:
        self._places = [_Place(post) for post in posts]
        self._log = log
        self._silent_s = silent_s
        self._sign_s = silent_s / _SIGNS
        self._turned_at = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._signals, self._waker = socket.socketpair()
        self._is_up = False
        self._is_stopping = False
        self._codes: dict[str, int] = {}

    def run(self, up: Callable[[list[Report]], None], stopping: Callable[[], None]) -> None:
        """Work until a signal; a second one ends all at once.

        Args:
            up: Called once, when all work, with what they said.
            stopping: Called before they are told to stop.

        Raises:
            HalleyError: A process could not begin to work, or did not end in good order.
            SystemExit: There was a second signal.
        """
        with self._heeding_signals():
            try:
                self._keep(up)
                stopping()
                self._stop()
            finally:
                self._kill()

    @contextlib.contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        """Have signals wake the selector, which they do not interrupt by themselves."""
        for end in (self._signals, self._waker):
            end.setblocking(False)
        self._selector.register(self._signals, selectors.EVENT_READ)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        waker = signal.set_wakeup_fd(self._waker.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()

    # -- what goes on

    def _keep(self, up: Callable[[list[Report]], None]) -> None:
        gc.collect()
        gc.freeze()  # what is there already is looked at by no collection, and so stays shared memory
        for place in self._places:
            self._start(place)
        while not self._turn(self._until_next()):
            self._end_silent()
            self._start_due()
            reports = [place.report for place in self._places if place.report is not None]
            if not self._is_up and len(reports) == len(self._places):
                self._is_up = True
                up(reports)

    def _until_next(self) -> float:
        due = [place.due_at for place in self._places if place.due_at is not None]
        return max(min([self._sign_s, *(at - time.monotonic() for at in due)]), 0.0)

    def _end_silent(self) -> None:
        """Kill who hangs; if this process stood still itself, so did perhaps all, and each has its time once more."""
        now = time.monotonic()
        stood_still = now - self._turned_at > 2 * self._sign_s
        self._turned_at = now
        for place in self._places:
            if place.heard_at is None or place.pid is None:
                continue
            if stood_still:
                place.heard_at = now
            elif now - place.heard_at > self._silent_s:
                self._log.error("process.silent", process=place.post.name, silent_s=round(now - place.heard_at, 1))
                os.kill(place.pid, signal.SIGKILL)
                place.heard_at = None

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.due_at is not None and place.due_at <= now:
                self._start(place)

    def _turn(self, timeout_s: float) -> int:
        """Wait for a word, a death or a signal; returns the signal's number, or 0."""
        number = 0
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                number = _received(self._signals)[-1]
            else:
                self._hear(key.data)
        return number

    def _hear(self, place: _Place) -> None:
        heard = _received(place.line) if place.line is not None else b""
        if not heard:
            self._bury(place)
            return
        place.heard_at = time.monotonic()
        *lines, place.heard = (place.heard + heard).split(b"\n")
        for line in filter(None, lines):
            report = msgspec.json.decode(line, type=Report)
            if report.error is None:
                place.report = report
            elif not self._is_up:
                raise HalleyError(report.error)
            else:
                self._log.error("process.failed", process=place.post.name, error=report.error)

    def _bury(self, place: _Place) -> None:
        """Take note of a death, and say when the next process comes to the post."""
        code = self._reap(place)
        if self._is_stopping:
            self._codes[place.post.name] = code
            return
        if not self._is_up:
            raise HalleyError(f"{place.post.name} ended with exit code {code} before it worked")
        now = time.monotonic()
        if now - place.began_at > _WELL_AFTER_S:
            place.pause_s = _FIRST_PAUSE_S
        place.due_at = now + place.pause_s
        self._log.error("process.ended", process=place.post.name, code=code, again_in_s=place.pause_s)
        place.pause_s = min(2 * place.pause_s, _LONGEST_PAUSE_S)

    def _reap(self, place: _Place) -> int:
        if place.line is not None:
            self._selector.unregister(place.line)
            place.line.close()
        pid, place.pid, place.line, place.heard, place.heard_at = place.pid, None, None, b"", None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if pid is not None else 0

    # -- the end

    def _stop(self) -> None:
        self._is_stopping = True
        for is_last in (False, True):
            places = [place for place in self._places if place.post.is_last is is_last]
            for place in places:
                place.tell(_STOP)
            self._await_end(places)
        wrong = [f"{name} ended with exit code {code}" for name, code in self._codes.items() if code]
        if wrong:
            raise HalleyError("; ".join(wrong))

    def _await_end(self, places: Sequence[_Place]) -> None:
        until = time.monotonic() + _STOP_S
        while late := [place.post.name for place in places if place.pid is not None]:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise HalleyError(f"{', '.join(late)} did not end in {_STOP_S:.0f} s and was killed")
            if number := self._turn(left_s):
                raise SystemExit(_SIGNAL_CODE + number)

    def _kill(self) -> None:
        """Leave nothing behind."""
        for place in self._places:
            if place.pid is not None:
                os.kill(place.pid, signal.SIGKILL)
                self._reap(place)

    # -- the fork

    def _start(self, place: _Place) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            ours.close()
            self._become(place, theirs)
        theirs.close()
        place.pid, place.line, place.due_at, place.began_at = pid, ours, None, time.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, place)

    def _become(self, place: _Place, end: socket.socket) -> NoReturn:
        """Be the process of a post, from the fork to the end; what the first one cleans up is left alone."""
        code, line = 1, Line(end, self._sign_s)
        try:
            self._let_go()
            place.post.work(line, place.report)
            code = 0
        except (HalleyError, OSError) as exc:
            line.report(Report(error=str(exc)))
        except BaseException:  # noqa: BLE001 - whatever it was, it must not go on as a second first process
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _let_go(self) -> None:
        """Close what belongs to the first process: a line ends when nobody else holds its other end."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the first process tells us
        self._selector.close()
        for end in (self._signals, self._waker, *(place.line for place in self._places)):
            if end is not None:
                end.close()


def _received(end: socket.socket) -> bytes:
    """Return what came, or nothing at the end of a line, however it came about."""
    try:
        return end.recv(65536)
    except OSError:
        return b""
