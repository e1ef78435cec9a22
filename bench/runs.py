"""Whole runs by one real `halley serve`: accepted, submitted, followed, and told to a receiver. Over HTTP, to SQLite.

Upstream, receiver and driver are processes of their own and take their share of the cores, so the processor time of a
run says more than runs a second. The peer is what users build today, an n8n loop that submits, waits and polls: 157 ms of
processor time a run, 8.9 runs/s.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import uvloop
from msgspec import Struct

from bench.deliveries import figures, listening
from bench.parts.table import figure, print_table
from tests.fakes.ports import free_port

_KEY = "bench-key"
_JOB_S = 2.5  # three looks, a second apart
_RUNS = 3000
_AT_ONCE = 64
_PATIENCE_S = 120.0
_PEER_MS, _PEER_PER_S = 157.0, 8.9
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Took(Struct, frozen=True, kw_only=True):
    """What so many runs took."""

    runs_per_s: float
    cpu_ms: float
    accept_p95_ms: float
    memory_mb: float


class World(Struct, frozen=True, kw_only=True):
    """A Halley and those around it."""

    url: str
    receiver: str
    process: asyncio.subprocess.Process

    def cpu_s(self) -> float:
        """Return the processor time of Halley so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def memory_mb(self) -> float:
        """Return how much memory Halley has."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Run a Halley on loopback, an upstream and a receiver."""
    ports = [free_port() for _ in range(3)]
    url, upstream, receiver = (f"http://127.0.0.1:{port}" for port in ports)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "COMETAPI_KEY": "sk-bench",
            "HALLEY_API_KEY": _KEY,
            "HALLEY_DATA_DIR": folder,
            "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
            "HALLEY_LOG": "json",
            "HALLEY_NODES_PATH": str(Path(__file__).with_name("nodes")),
            "HALLEY_PORT": str(ports[0]),
            "HALLEY_PUBLIC_URL": url,
            "HALLEY_UPSTREAM_URL": upstream,
        }
        async with (
            _process("-m", "bench.parts.upstream", str(ports[1]), str(_JOB_S)),
            _process("-m", "bench.parts.receivers", str(ports[2])),
            _process("-m", "service", "serve", environ=settings) as halley,
        ):
            for port in ports:
                await listening(port)
            yield World(url=url, receiver=receiver, process=halley)


@contextlib.asynccontextmanager
async def _process(*words: str, environ: dict[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
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
        process.kill()
        await process.wait()


async def whole_runs(node: str, per_s: float | None = None) -> Took:
    """Start runs, as fast as they are taken or at a rate, and wait until the end of each has been told."""
    async with world() as around, aiohttp.ClientSession(headers={"X-API-Key": _KEY}) as client:
        await _start(client, around, node, 0)  # connections and caches are there
        await _told(client, around, 1)
        cpu_s, began_at = around.cpu_s(), time.perf_counter()
        count = _RUNS if per_s is None else int(per_s * 10)
        places, latencies = asyncio.Semaphore(_AT_ONCE), list[float]()

        async def start(number: int) -> None:
            async with places:
                latencies.append(await _start(client, around, node, number))

        tasks = []
        for number in range(count):
            tasks.append(asyncio.create_task(start(number)))
            if per_s is not None:
                await asyncio.sleep(max(began_at + (number + 1) / per_s - time.perf_counter(), 0))
        await asyncio.gather(*tasks)
        await _told(client, around, count + 1)
        took_s = time.perf_counter() - began_at
        return Took(
            runs_per_s=count / took_s,
            cpu_ms=1000 * (around.cpu_s() - cpu_s) / count,
            accept_p95_ms=figures(latencies).p95_ms,
            memory_mb=around.memory_mb(),
        )


async def _start(client: aiohttp.ClientSession, around: World, node: str, number: int) -> float:
    began_at = time.perf_counter()
    async with client.post(
        f"{around.url}/v1/nodes/{node}/runs",
        json={"text": f"A comet {number}"},
        headers={"Halley-Webhook-Url": f"{around.receiver}/ok"},
    ) as answer:
        if answer.status != 202:
            raise RuntimeError(await answer.text())
        await answer.read()
    return time.perf_counter() - began_at


async def _told(client: aiohttp.ClientSession, around: World, count: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            async with client.get(f"{around.receiver}/count", params={"path": "/ok"}) as answer:
                if int(await answer.text()) >= count:
                    return
            await asyncio.sleep(0.1)


async def _measure() -> None:
    cases = [
        ("called back, as fast as it goes", await whole_runs("bench.called")),
        ("polled 3 times, as fast as it goes", await whole_runs("bench.polled")),
        ("called back, 100 starts/s", await whole_runs("bench.called", per_s=100)),
    ]
    rows = [
        (
            name,
            figure(took.runs_per_s),
            figure(took.runs_per_s / _PEER_PER_S),
            figure(took.cpu_ms, 2),
            figure(_PEER_MS / took.cpu_ms),
            figure(took.accept_p95_ms),
            figure(took.memory_mb, 0),
        )
        for name, took in cases
    ]
    print_table(("whole runs", "runs/s", "x peer", "cpu ms/run", "peer x", "accept p95 ms", "MB"), rows)


def main() -> None:
    """Print what whole runs take."""
    uvloop.run(_measure())
