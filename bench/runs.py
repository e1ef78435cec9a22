"""Whole runs by one real `halley serve`: accepted, submitted, followed, and told to a receiver, as fast as it goes.

Upstream, receiver and driver are processes of their own and take their share of the cores, so the processor time of a
run says more than runs a second. What users build today, an n8n loop that submits, waits and polls, takes 157 ms of
processor time a run, and does 8.9 runs/s.
"""

import time

from msgspec import Struct

from bench.parts.floors import Floors
from bench.parts.ground import Ground
from bench.parts.latencies import at_once
from bench.parts.table import Budget, Line
from bench.parts.world import world

_JOB_S = 2.5  # three looks, a second apart
_RUNS = 5000
_AT_ONCE = 64
_WARM_RUNS = 64


class Way(Struct, frozen=True, kw_only=True):
    """How the end of a run is learned, and what no run of this kind can do without.

    Attributes:
        name: What it is called.
        node: In `bench/nodes`.
        answers: Requests that Halley answers.
        requests: Requests that it makes.
        rows: Changes that are kept, since after a crash somebody would miss them.
    """

    name: str
    node: str
    answers: int
    requests: int
    rows: int


WAYS = (
    # start, callback; submission, query, delivery; accepted, submitting, running, called back, ended, delivered
    Way(name="called back", node="bench.called", answers=2, requests=3, rows=6),
    Way(name="polled 3 times", node="bench.polled", answers=1, requests=5, rows=5),
)


class Took(Struct, frozen=True, kw_only=True):
    """What so many runs took."""

    runs_per_s: float
    cpu_ms: float


async def lines(ground: Ground) -> list[Line]:
    """Measure both ways on each engine that there is."""
    found = []
    for engine in ground.floors.row_ms:
        for way in WAYS:
            database = await ground.postgres.database() if ground.postgres and engine == "postgres" else None
            found += _lines(engine, way, await whole_runs(way, database), ground.floors)
    return found


def _lines(engine: str, way: Way, took: Took, floors: Floors) -> list[Line]:
    floor_ms = floors.sum_ms(engine, answers=way.answers, requests=way.requests, rows=way.rows)
    what = f"whole runs, {engine}, {way.name}"
    parts = f"{way.answers} answers, {way.requests} requests, {way.rows} rows"
    return [
        Line(
            what=what,
            unit="ms cpu/run",
            measured=took.cpu_ms,
            floor=floor_ms,
            floor_is=parts,
            budget=Budget(limit=2.0),
        ),
        Line(
            what=what,
            unit="runs/s",
            measured=took.runs_per_s,
            floor=1000 / floor_ms,
            floor_is="a core that does only that",
            budget=Budget(limit=300, is_least=True),
        ),
    ]


async def whole_runs(way: Way, database: str | None = None) -> Took:
    """Start runs as fast as they are taken, and wait until the end of each has been told."""
    async with world(_JOB_S, database) as around, around.open():
        await at_once(_AT_ONCE, range(_WARM_RUNS), lambda number: around.start(way.node, number))
        await around.receivers.told(_WARM_RUNS)  # connections and caches are there
        began_at, cpu_s, all_runs = time.perf_counter(), around.halley.cpu_s(), _WARM_RUNS + _RUNS
        await at_once(_AT_ONCE, range(_WARM_RUNS, all_runs), lambda number: around.start(way.node, number))
        await around.receivers.told(all_runs)
        took_s = time.perf_counter() - began_at
        return Took(runs_per_s=_RUNS / took_s, cpu_ms=1000 * (around.halley.cpu_s() - cpu_s) / _RUNS)
