"""Processes that are measured, or that measure: run for a while, read by `/proc`, ended with all that they began."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping

import aiohttp
from msgspec import Struct

from bench.parts.meters import family_cpu_s, family_memory_mb

_PATIENCE_S = 30.0
_LOOK_S = 0.01


class Running(Struct, frozen=True):
    """A process with its children."""

    pid: int

    def cpu_s(self) -> float:
        """Return the processor time so far, of children that have ended too."""
        return family_cpu_s(self.pid)

    def memory_mb(self) -> float:
        """Return how much memory it has now."""
        return family_memory_mb(self.pid)


@contextlib.asynccontextmanager
async def running(*words: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """Run Python with some words until the end of the block, and then kill it like a loss of power."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env={**os.environ, **(environ or {})},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield Running(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def answering(url: str) -> None:
    """Return once a URL is answered with success."""
    async with aiohttp.ClientSession() as client, asyncio.timeout(_PATIENCE_S):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(url) as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(_LOOK_S)
