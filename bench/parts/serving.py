"""A real `halley serve` over a store that is there before and after it, with an upstream and a receiver beside it."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
from msgspec import Struct

from tests.fakes.ports import free_port

KEY = "bench-key"
_NODES = Path(__file__).parents[1] / "nodes"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 120.0
_STOP_S = 20.0


class Around(Struct, frozen=True, kw_only=True):
    """Where upstream and receiver are."""

    upstream: str
    receiver: str


class Halley(Struct, frozen=True, kw_only=True):
    """A process at work.

    Attributes:
        url: Where it is.
        process: Its process.
        ready_s: How long it took until it was ready.
    """

    url: str
    process: asyncio.subprocess.Process
    ready_s: float

    def cpu_s(self) -> float:
        """Return its processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def status(self, name: str) -> int:
        """Return a number of its status, such as `VmRSS` in kB or `Threads`."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    def open_files(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextlib.asynccontextmanager
async def around(job_s: float) -> AsyncIterator[Around]:
    """Run an upstream whose jobs take so long, and a receiver."""
    ports = free_port(), free_port()
    async with (
        running("-m", "bench.parts.standing", str(ports[0]), str(job_s)),
        running("-m", "bench.parts.receivers", str(ports[1])),
    ):
        upstream, receiver = (f"http://127.0.0.1:{port}" for port in ports)
        await _answering(f"{upstream}/bench/jobs/standing")
        await _answering(f"{receiver}/count?path=/ok")
        yield Around(upstream=upstream, receiver=receiver)


@contextlib.asynccontextmanager
async def serving(folder: Path, world: Around, database: str | None = None, **more: str) -> AsyncIterator[Halley]:
    """Run a Halley on the database of a folder, or on PostgreSQL, until the block ends; it stops in good order."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "COMETAPI_KEY": "sk-bench",
        "HALLEY_API_KEY": KEY,
        "HALLEY_DATA_DIR": str(folder),
        "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
        "HALLEY_LOG": "json",
        "HALLEY_NODES_PATH": str(_NODES),
        "HALLEY_PORT": str(port),
        "HALLEY_PUBLIC_URL": url,
        "HALLEY_UPSTREAM_URL": world.upstream,
        **({"HALLEY_DATABASE_URL": database} if database else {}),
        **more,
    }
    began_at = time.perf_counter()
    async with running("-m", "service", "serve", environ=settings) as process:
        await _answering(f"{url}/readyz")
        yield Halley(url=url, process=process, ready_s=time.perf_counter() - began_at)


@contextlib.asynccontextmanager
async def running(*words: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python process until the block ends: asked to stop, and killed if it does not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env={**os.environ, **(environ or {})},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _answering(url: str) -> None:
    async with asyncio.timeout(_PATIENCE_S), aiohttp.ClientSession() as client:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)
