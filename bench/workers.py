"""Whole runs by `halley serve --workers N` on PostgreSQL, side by side: what each part costs, what limits each step.

Upstream, receiver, this driver and PostgreSQL are processes of their own on the same cores. So the processor time of a
run, part by part, says more than runs a second: where all parts together have filled the cores, another worker cannot
make anything faster, and what more cores would give follows from the part that one process has to do alone.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import uvloop
from msgspec import Struct

from bench.parts.meters import ServerMeter
from bench.parts.table import figure, print_table
from tests.fakes.ports import free_port
from tests.fakes.postgres import PostgresServer, postgres_server

_KEY = "bench-key"
_WORKERS = (1, 2, 1, 2)  # in turns, since others may be at work on this machine
_NODES = {"bench.called": "called back", "bench.polled": "polled 3 times"}
_RUNS = 2000
_AT_ONCE = 64
_JOB_S = 2.5
_PATIENCE_S = 120.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_HEAD = ("whole runs", "runs/s", "halley", "postgres", "upstream", "receiver", "driver", "all, ms", "cores busy",
         "busiest worker", "its share")  # fmt: skip


class Parts(Struct, frozen=True, kw_only=True):
    """Processor seconds so far, by part; `workers` are those of Halley's processes, one by one."""

    workers: dict[int, float]
    others: dict[str, float]

    def since(self, earlier: "Parts") -> "Parts":
        """Return what was spent since then."""
        return Parts(
            workers={pid: spent - earlier.workers.get(pid, 0.0) for pid, spent in self.workers.items()},
            others={name: spent - earlier.others[name] for name, spent in self.others.items()},
        )


class World(Struct, frozen=True, kw_only=True):
    """A Halley and those around it."""

    url: str
    receiver: str
    pids: dict[str, int]
    meter: ServerMeter

    async def spent(self) -> Parts:
        """Return the processor time so far."""
        halley = self.pids["halley"]
        spent = {name: _cpu_s(pid) for name, pid in self.pids.items() if name != "halley"}
        return Parts(
            workers={pid: _cpu_s(pid) for pid in (halley, *_children(halley))},
            others={**spent, "postgres": (await self.meter.spent()).cpu_s, "driver": time.process_time()},
        )


@contextlib.asynccontextmanager
async def world(server: PostgresServer, workers: int) -> AsyncIterator[World]:
    """Run a Halley with so many workers on a database of its own, an upstream and a receiver."""
    ports = [free_port() for _ in range(3)]
    url, upstream, receiver = (f"http://127.0.0.1:{port}" for port in ports)
    database = await server.database()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "COMETAPI_KEY": "sk-bench",
            "HALLEY_API_KEY": _KEY,
            "HALLEY_DATABASE_URL": database,
            "HALLEY_DATA_DIR": folder,
            "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
            "HALLEY_LOG": "json",
            "HALLEY_NODES_PATH": str(Path(__file__).with_name("nodes")),
            "HALLEY_PORT": str(ports[0]),
            "HALLEY_PUBLIC_URL": url,
            "HALLEY_UPSTREAM_URL": upstream,
        }
        async with contextlib.AsyncExitStack() as stack:
            pids = {
                "upstream": await _run(stack, "bench.parts.upstream", str(ports[1]), str(_JOB_S)),
                "receiver": await _run(stack, "bench.parts.receivers", str(ports[2])),
                "halley": await _run(stack, "service", "serve", "--workers", str(workers), environ=settings),
            }
            watching = await asyncpg.connect(server.admin_url)
            stack.push_async_callback(watching.close)
            for port in ports:
                await _listening(port)
            meter = ServerMeter(watching, urlsplit(database).path.strip("/"))
            yield World(url=url, receiver=receiver, pids=pids, meter=meter)


async def _run(
    stack: contextlib.AsyncExitStack, module: str, *words: str, environ: Mapping[str, str] | None = None
) -> int:
    """Run a module as a process until the stack closes; its children follow it. Returns its id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *words,
        env={**os.environ, **(environ or {})},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def end() -> None:
        process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    return process.pid


async def _listening(port: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(_stat(int(folder.name))[1]) == pid:
                found.append(int(folder.name))
    return found


async def _row(server: PostgresServer, node: str, workers: int) -> tuple[str, ...]:
    """Have runs carried out and return what it took as a row of the table."""
    async with world(server, workers) as around, aiohttp.ClientSession(headers={"X-API-Key": _KEY}) as client:
        await _carried_out(client, around, node, _AT_ONCE, told_before=0)  # connections and caches are there
        before, began_at = await around.spent(), time.perf_counter()
        await _carried_out(client, around, node, _RUNS, told_before=_AT_ONCE)
        took_s, spent = time.perf_counter() - began_at, (await around.spent()).since(before)
    halley, busiest = sum(spent.workers.values()), max(spent.workers.values())
    every = {"halley": halley, **spent.others}
    cells = [figure(1000 * every[name] / _RUNS, 2) for name in _HEAD[2:7]]
    return (
        f"{_NODES[node]}, workers: {workers}",
        figure(_RUNS / took_s),
        *cells,
        figure(1000 * sum(every.values()) / _RUNS, 2),
        figure(sum(every.values()) / took_s, 2),
        f"{busiest / took_s:.0%} of a core",
        f"{busiest / halley:.0%}",
    )


async def _carried_out(
    client: aiohttp.ClientSession, around: World, node: str, count: int, *, told_before: int
) -> None:
    """Start runs as fast as they are taken, and wait until the end of each has been told."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def start(number: int) -> None:
        async with (
            places,
            client.post(
                f"{around.url}/v1/nodes/{node}/runs",
                json={"text": f"A comet {number}"},
                headers={"Halley-Webhook-Url": f"{around.receiver}/ok"},
            ) as answer,
        ):
            if answer.status != 202:
                raise RuntimeError(await answer.text())

    await asyncio.gather(*(start(number) for number in range(count)))
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            async with client.get(f"{around.receiver}/count", params={"path": "/ok"}) as answer:
                if int(await answer.text()) >= told_before + count:
                    return
            await asyncio.sleep(0.1)


async def _measure() -> None:
    with postgres_server(durable=True) as server:
        rows = [await _row(server, node, workers) for node in _NODES for workers in _WORKERS]
    print(f"{os.cpu_count()} cores; load average now: {os.getloadavg()[0]:.1f}; columns of parts are ms of a run")
    print_table(_HEAD, rows)
    print(
        "One worker is limited by the one core that it can fill: runs/s stay below 1000 / `halley`. Several are\n"
        "limited by all cores together: runs/s stay below 1000 x cores / `all, ms`. With more cores Halley's part is\n"
        "done side by side, and what all wait for in the end is PostgreSQL."
    )


def main() -> None:
    """Print what whole runs take with one worker and with two."""
    uvloop.run(_measure())
