"""What Halley takes when nobody asks anything of it: until it is ready, in memory, and in processor time."""

import asyncio
import statistics
import tempfile
import time

from msgspec import Struct

from bench.parts.floors import bare_server
from bench.parts.ground import Ground
from bench.parts.processes import Running
from bench.parts.table import Budget, Line
from bench.parts.world import world

_STARTS = 3
_IDLE_S = 12.0


class Idle(Struct, frozen=True, kw_only=True):
    """What a process takes."""

    start_s: float
    start_cpu_s: float
    memory_mb: float
    cpu_ms_per_minute: float


async def lines(_: Ground) -> list[Line]:
    """Measure Halley beside the bare server."""
    ours, bare = await _halley(), await _bare()
    figures = (
        ("start, until /readyz is answered", "s", ours.start_s, bare.start_s, Budget(limit=1)),
        ("start, processor time", "s", ours.start_cpu_s, bare.start_cpu_s, None),
        ("memory", "MB", ours.memory_mb, bare.memory_mb, Budget(limit=100)),
        ("processor time in a minute", "ms", ours.cpu_ms_per_minute, bare.cpu_ms_per_minute, None),
    )
    return [
        Line(what=f"idle: {name}", unit=unit, measured=own, floor=floor, floor_is="the bare server", budget=budget)
        for name, unit, own, floor, budget in figures
    ]


async def _halley() -> Idle:
    starts = []
    with tempfile.TemporaryDirectory(prefix="halley-bench-") as compiled:
        # As it is installed: a start that compiles all modules is no start that users see twice.
        async with world(1.0, PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=compiled) as around:
            async with around.open():
                pass
            for _ in range(_STARTS):
                async with around.open() as start_s:
                    starts.append(start_s)
            async with around.open() as start_s:
                return await _idle(around.halley, statistics.median([*starts, start_s]))


async def _bare() -> Idle:
    began_at = time.perf_counter()
    async with bare_server() as (server, _):
        return await _idle(server, time.perf_counter() - began_at)


async def _idle(process: Running, start_s: float) -> Idle:
    start_cpu_s = process.cpu_s()
    await asyncio.sleep(1)  # what a start leaves to be done is none of idling
    before_s = process.cpu_s()
    await asyncio.sleep(_IDLE_S)
    return Idle(
        start_s=start_s,
        start_cpu_s=start_cpu_s,
        memory_mb=process.memory_mb(),
        cpu_ms_per_minute=1000 * (process.cpu_s() - before_s) * 60 / _IDLE_S,
    )
