"""A program in a process group of its own, which can be ended with all that it has started."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path


class Program:
    """Starts one program again and again.

    Args:
        words: Its command line.
        environ: All of its environment.
        log: What it prints is added there.
    """

    def __init__(self, words: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.environ = dict(environ)
        self._words = words
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process.

        Raises:
            RuntimeError: It was never started.
        """
        if self._process is None:
            raise RuntimeError("it was never started")
        return self._process.pid

    async def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._words, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )

    async def end(self, how: signal.Signals = signal.SIGTERM, patience_s: float = 40.0) -> None:
        """End it by a signal, and what is left of its group without asking."""
        if self._process is None:
            return
        group = self._process.pid
        if self.is_running:
            self._process.send_signal(how)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        await self._process.wait()


async def output(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """Run a command to its end and return what it printed; one that fails is an error with that text."""
    process = await asyncio.create_subprocess_exec(
        *words, env=dict(environ), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    text = printed.decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {text}")
    return text
