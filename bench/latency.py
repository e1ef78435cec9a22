"""How soon one real `halley serve` answers, and how soon the end of a run is told, at loads that it can carry."""

import asyncio
import tempfile
from pathlib import Path

from bench.parts.floors import paced_answers, paced_commits
from bench.parts.ground import Ground
from bench.parts.latencies import Figures, figures, paced
from bench.parts.table import Budget, Line
from bench.parts.world import World, world

_JOB_S = 1.0
_SECONDS = 8.0
_FLOOR_S = 4.0
_RATES = (50, 100, 200)
_CALLED_BACK = 100
_WARM_RUNS = 20


async def lines(_: Ground) -> list[Line]:
    """Measure at each rate, each beside what the disk takes at that rate."""
    found, begin = [], _WARM_RUNS
    async with world(_JOB_S) as around, around.open():
        await paced(50, range(_WARM_RUNS), lambda number: around.start("bench.called", number))
        for per_s in _RATES:
            commit = await _commits(per_s)
            numbers = range(begin, begin + int(per_s * _SECONDS))
            accepted = figures(await paced(per_s, numbers, lambda number: around.start("bench.called", number)))
            await around.receivers.told(numbers.stop)
            begin = numbers.stop
            found.append(_accept_line(per_s, accepted, commit))
            if per_s == _CALLED_BACK:
                found += await _callback_lines(around, numbers, commit)
    return found


async def _commits(per_s: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="halley-bench-") as folder:
        latencies = await asyncio.to_thread(paced_commits, Path(folder), per_s, int(per_s * _FLOOR_S))
        return figures(latencies)


def _accept_line(per_s: float, accepted: Figures, commit: Figures) -> Line:
    return Line(
        what=f"start accepted, {per_s} starts/s, p95",
        unit="ms",
        measured=accepted.p95_ms,
        floor=commit.p95_ms,
        floor_is="a flushed commit at that rate",
        budget=Budget(limit=25, floors=1),
    )


async def _callback_lines(around: World, numbers: range, commit: Figures) -> list[Line]:
    calls, arrivals = await around.callbacks(), await around.arrivals()
    answered = figures([calls[number][1] for number in numbers])
    told = figures([arrivals[number] - calls[number][0] for number in numbers])
    answer = figures(await paced_answers(_CALLED_BACK, int(_CALLED_BACK * _FLOOR_S)))
    return [
        Line(
            what=f"callback answered, {_CALLED_BACK}/s, p99",
            unit="ms",
            measured=answered.p99_ms,
            floor=answer.p99_ms + commit.p99_ms,
            floor_is="a bare answer and a commit",
            budget=Budget(limit=50),
        ),
        Line(
            what=f"last callback to event received, {_CALLED_BACK}/s, p95",
            unit="ms",
            measured=told.p95_ms,
            floor=3 * answer.p95_ms + 2 * commit.p95_ms,
            floor_is="3 bare answers and 2 commits",
            budget=Budget(limit=250),
        ),
    ]
