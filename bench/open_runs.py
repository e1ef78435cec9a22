"""10,000 open runs of one real `halley serve`: when they are asked about, what they weigh, and what a crash does."""

import asyncio
import itertools
import sqlite3
import time
from bisect import bisect_left
from pathlib import Path

from bench.parts.ground import Ground
from bench.parts.latencies import at_once, figures
from bench.parts.table import Budget, Line
from bench.parts.world import World, world

_OPEN = 10_000
_JOB_S = 7200.0
_AT_ONCE = 64
_EVERY_S = 30.0  # of bench/nodes/bench/open.yaml
_SETTLE_S = 5.0
_WATCH_S = 20.0
_GLANCE_S = 0.5
_EARLY_S = 0.05
_AFTER_S = 10.0
_DUE_SOON = """
    SELECT doc ->> '$.upstream_task_id', due_at FROM runs
    WHERE state = 'running' AND leased_by IS NULL AND due_at BETWEEN :now AND :soon
"""


async def lines(ground: Ground) -> list[Line]:
    """Open the runs, watch them, kill Halley, start it again and watch it work."""
    async with world(_JOB_S) as around:
        async with around.open():
            await at_once(_AT_ONCE, range(_OPEN), lambda number: around.start("bench.open", number))
            await asyncio.sleep(_SETTLE_S)
            found = await _watched(around)
        await around.end_jobs()
        async with around.open() as ready_s:
            await asyncio.sleep(_AFTER_S)
            told_per_s = await around.receivers.count() / _AFTER_S
        return [*found, *_after_crash(ready_s, told_per_s, ground)]


async def _watched(around: World) -> list[Line]:
    cpu_s, due, looks = around.halley.cpu_s(), await _due(around.folder / "halley.db"), await around.asked()
    cpu_s = around.halley.cpu_s() - cpu_s
    late = figures([max(_first_after(looks[name], at) - at, 0.0) for name, at in due])
    what = f"{_OPEN:,} open runs"
    return [
        Line(what=f"{what}: polls late, p99", unit="ms", measured=late.p99_ms, budget=Budget(limit=1000)),
        Line(
            what=f"{what}: polls",
            unit="polls/s",
            measured=late.count / _WATCH_S,
            floor=_OPEN / _EVERY_S,
            floor_is="each asked about every 30 s",
        ),
        Line(what=f"{what}: processor", unit="% of a core", measured=100 * cpu_s / (_WATCH_S + _SETTLE_S)),
        Line(what=f"{what}: memory", unit="MB", measured=around.halley.memory_mb(), budget=Budget(limit=200)),
    ]


def _after_crash(ready_s: float, told_per_s: float, ground: Ground) -> list[Line]:
    floor_ms = ground.floors.sum_ms("sqlite", answers=0, requests=2, rows=2)
    return [
        Line(what=f"{_OPEN:,} open runs: ready after kill -9", unit="s", measured=ready_s, budget=Budget(limit=2)),
        Line(
            what=f"{_OPEN:,} open runs: ended and told after that",
            unit="runs/s",
            measured=told_per_s,
            floor=1000 / floor_ms,
            floor_is="a core that does 2 requests and 2 rows for each",
        ),
    ]


async def _due(database: Path) -> list[tuple[str, float]]:
    """Glance at the database for a while; returns which jobs were to be asked about, and when."""
    found: dict[tuple[str, float], None] = {}
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    until = time.monotonic() + _WATCH_S
    while time.monotonic() < until:
        now = time.time()
        rows = connection.execute(_DUE_SOON, {"now": now, "soon": now + _GLANCE_S}).fetchall()
        found |= dict.fromkeys(rows)
        await asyncio.sleep(_GLANCE_S)
    connection.close()
    await asyncio.sleep(_SETTLE_S)
    return list(found)


def _first_after(looks: list[float], due_at: float) -> float:
    """Return when a job was asked about that was due; one that was not asked about since is late until now."""
    place = bisect_left(looks, due_at - _EARLY_S)
    return next(itertools.islice(looks, place, None), time.time())
