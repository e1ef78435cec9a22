"""Processes of one job: who hangs without dying is replaced."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.fakes.posts import SILENT_S

_PATIENCE_S = 20


@contextlib.contextmanager
def _job(hang: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.posts"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
    ) as job:
        assert job.stdin is not None
        job.stdin.write(f"{hang}\n")
        job.stdin.flush()
        try:
            yield job
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)


def _words(job: subprocess.Popen[str], count: int) -> list[str]:
    assert job.stdout is not None
    return [job.stdout.readline().strip() for _ in range(count)]


def _stopped(job: subprocess.Popen[str]) -> tuple[str, str]:
    """Tell it to stop; returns what it said since, and its errors."""
    job.send_signal(signal.SIGTERM)
    return job.communicate(timeout=_PATIENCE_S)


@pytest.mark.parametrize(
    "hang", ["import time; time.sleep(60)", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"]
)
def test_who_hangs_is_replaced(hang: str) -> None:
    """A process whose event loop stands still is killed, another takes its place, and the steady one stays."""
    with _job(hang) as job:
        assert sorted(_words(job, 2)) == ["began", "steady"]
        assert _words(job, 1) == ["replaced"]
        assert _stopped(job) == ("stopped\n", "")


def test_after_a_pause_of_all_nobody_is_killed() -> None:
    """All processes of a machine that was paused go on as they were."""
    with _job("pass") as job:
        assert sorted(_words(job, 2)) == ["began", "steady"]
        os.killpg(job.pid, signal.SIGSTOP)
        _pass_by(job, 1.5 * SILENT_S)
        os.killpg(job.pid, signal.SIGCONT)
        _pass_by(job, SILENT_S)
        assert _stopped(job) == ("stopped\n", "")


def _pass_by(job: subprocess.Popen[str], seconds: float) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(seconds)
