"""Processes that are measured, or that measure: run for a while, read by `/proc`, ended with all that they began."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp
from msgspec import Struct

from bench.parts.meters import family_cpu_s, family_memory_mb, family_open_files, family_threads, members_cpu_s
from tests.fakes.ports import free_port

_PATIENCE_S = 120.0
_LOOK_S = 0.01


class Running(Struct, frozen=True):
    """A process with its children, and what it prints."""

    pid: int
    printed: asyncio.StreamReader

    def cpu_s(self) -> float:
        """Return the processor time so far, of children that have ended too."""
        return family_cpu_s(self.pid)

    def members_cpu_s(self) -> dict[int, float]:
        """Return that time by process."""
        return members_cpu_s(self.pid)

    def memory_mb(self) -> float:
        """Return how much memory it has now."""
        return family_memory_mb(self.pid)

    def threads(self) -> int:
        """Return how many threads it has now."""
        return family_threads(self.pid)

    def open_files(self) -> int:
        """Return how many files and sockets it has open now."""
        return family_open_files(self.pid)

    async def said(self, words: str) -> None:
        """Return once it has printed a line with some words; reads what was printed until then.

        Raises:
            RuntimeError: It ended without.
        """
        async with asyncio.timeout(_PATIENCE_S):
            async for line in self.printed:
                if words in line.decode():
                    return
        raise RuntimeError(f"it never said: {words}")


@contextlib.asynccontextmanager
async def running(
    *words: str, environ: Mapping[str, str] | None = None, stop_s: float = 0.0, under: Sequence[str] = ()
) -> AsyncIterator[Running]:
    """Run Python with some words until the end of the block.

    Args:
        words: Of the command.
        under: The command of another program that runs it, such as one that counts.
        environ: Variables beside those of this process.
        stop_s: How long it may take to stop in good order, before it is killed; without, that is like a loss of power.
    """
    process = await asyncio.create_subprocess_exec(
        *under,
        sys.executable,
        *words,
        env={**os.environ, **(environ or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield Running(process.pid, process.stdout)
    finally:
        if stop_s:
            await _stopped(process, stop_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _stopped(process: asyncio.subprocess.Process, within_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), within_s)


@contextlib.asynccontextmanager
async def listening(module: str, *words: str, path: str = "/") -> AsyncIterator[tuple[Running, str]]:
    """Run a module that listens at the port it is given, and answers at a path; yields the process and its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with running("-m", module, str(port), *words) as process:
        await answering(url + path)
        yield process, url


async def answering(url: str) -> None:
    """Return once a URL is answered with success."""
    async with aiohttp.ClientSession() as client, asyncio.timeout(_PATIENCE_S):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(url) as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(_LOOK_S)
