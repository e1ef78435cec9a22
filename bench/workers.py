"""Whole runs by `halley serve --workers N` on PostgreSQL, side by side: what each part costs, what limits each step.

Upstream, receiver, this driver and PostgreSQL are processes of their own on the same cores. So the processor time of a
run, part by part, says more than runs a second: where all parts together have filled the cores, another worker cannot
make anything faster, and what more cores would give follows from the part that one process has to do alone.
"""

import os
import time

import uvloop
from msgspec import Struct

from bench.parts.latencies import at_once
from bench.parts.meters import ServerMeter, own_cpu_s, server_meter
from bench.parts.table import figure, print_table
from bench.parts.world import World, world
from tests.fakes.postgres import PostgresServer, postgres_server

_WORKERS = (1, 2, 1, 2)  # in turns, since others may be at work on this machine
_NODES = {"bench.called": "called back", "bench.polled": "polled 3 times"}
_RUNS = 2000
_AT_ONCE = 64
_JOB_S = 2.5
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


async def _spent(around: World, meter: ServerMeter) -> Parts:
    """Return the processor time so far."""
    return Parts(
        workers=around.halley.members_cpu_s(),
        others={
            "postgres": (await meter.spent()).cpu_s,
            "upstream": around.upstream_process.cpu_s(),
            "receiver": around.receivers.process.cpu_s(),
            "driver": own_cpu_s(),
        },
    )


async def _row(server: PostgresServer, node: str, workers: int) -> tuple[str, ...]:
    """Have runs carried out by so many workers and return what it took as a row of the table."""
    url = await server.database()
    async with (
        world(_JOB_S, url) as around,
        around.open("--workers", str(workers)),
        server_meter(server, url) as meter,
    ):
        await around.halley.said("Halley listens")  # all workers do: the first would get all connections
        await _carried_out(around, node, range(_AT_ONCE))  # connections and caches are there
        before, began_at = await _spent(around, meter), time.perf_counter()
        await _carried_out(around, node, range(_AT_ONCE, _AT_ONCE + _RUNS))
        took_s, spent = time.perf_counter() - began_at, (await _spent(around, meter)).since(before)
    return _cells(node, workers, took_s, spent)


def _cells(node: str, workers: int, took_s: float, spent: Parts) -> tuple[str, ...]:
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


async def _carried_out(around: World, node: str, numbers: range) -> None:
    """Start runs as fast as they are taken, and wait until the end of each has been told."""
    await at_once(_AT_ONCE, numbers, lambda number: around.start(node, number))
    await around.receivers.told(numbers.stop)


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
