"""How late the ends of tasks are seen, and with how many looks: as learned, at fixed intervals, and at best.

Nothing waits here: tasks of known distributions are followed in virtual time by the very code that paces real ones.
Each row starts from nothing; the first table leaves out 300 runs, the second shows them. The optimum knows the
distribution itself; the fixed interval is the one that takes as many looks. A callback is never expected.
"""

import bisect
import functools
import math
import random
import statistics
from collections.abc import Callable
from itertools import accumulate

from msgspec import Struct

from bench.parts.ground import Ground
from bench.parts.table import Budget, Line, figure, print_table
from service.definitions.catalog import CompiledPace
from service.lifecycle.durations import Sketch, Span
from service.lifecycle.pace import next_look_s, planned_look_s
from service.lifecycle.plan import Grid, LookPlan, best_at, expected_looks, look_plan

Draw = Callable[[random.Random], float]

PACE = CompiledPace(
    first_s=5, every_s=5, growth=1.2, at_most_s=60, deadline_s=3600, with_callback=1, at_least_s=0.1, looks=4
)
_REPLAN_RUNS = 6  # as often as a node that ends about one run a second
_SAMPLE = 20_000
_AGES = 300
_ROUNDS = 16
_SEEDS = 12
_LEFT_OUT = 300  # first runs
_STAGES = ((0, 10), (10, 20), (20, 40), (40, 70), (70, 120))
_FIRST = ((0, 20), (20, 50), (50, 100), (100, 300))


def log_normal(median_s: float, sigma: float) -> Draw:
    """Return the usual shape of a generation's duration."""
    return lambda chance: median_s * math.exp(sigma * chance.gauss(0, 1))


def bimodal(chance: random.Random) -> float:
    """Draw from two kinds of tasks that nobody told apart."""
    return chance.gauss(12, 2) if chance.random() < 0.6 else chance.gauss(60, 8)


DRAWS: dict[str, Draw] = {
    "log-normal, 20 s, sigma 0.4": log_normal(20, 0.4),
    "log-normal, 90 s, sigma 0.3": log_normal(90, 0.3),
    "bimodal, 12 s and 60 s": bimodal,
    "uniform, 5 to 40 s": lambda chance: chance.uniform(5, 40),
    "near 30 s, give or take 1 s": lambda chance: chance.gauss(30, 1),
    "2 s and exponential, 30 s": lambda chance: 2 + chance.expovariate(1 / 30),
}


class Followed(Struct, frozen=True, kw_only=True):
    """A task that was followed to its end."""

    looks: int
    lag_s: float
    span: Span


class Outcome(Struct, frozen=True, kw_only=True):
    """Averages over many tasks."""

    looks: float
    lag_s: float


def follow(duration_s: float, plan: LookPlan | None, chance: random.Random, pace: CompiledPace = PACE) -> Followed:
    """Follow one task as the poller does, in virtual time."""
    age_s, looks = 0.0, 0
    while True:
        seen_s, jitter = age_s, chance.random()
        if plan is None:
            age_s += next_look_s(pace, looks, jitter, expects_callback=False)
        else:
            age_s += planned_look_s(plan, age_s, jitter, 1.0)
        looks += 1
        if age_s >= duration_s:
            return Followed(looks=looks, lag_s=age_s - duration_s, span=Span(seen_s, age_s))


def learn(draw: Draw, runs: int, seed: int, pace: CompiledPace = PACE, sketch: Sketch | None = None) -> list[Followed]:
    """Follow tasks one after the other, with what was learned from those before; now and then from some together."""
    chance, sketch, followed = random.Random(seed), sketch or Sketch(), []
    for number in range(0, runs, _REPLAN_RUNS):
        sketch = sketch.learned(*(each.span for each in followed[-_REPLAN_RUNS:]))
        plan = look_plan(sketch, pace)
        together = range(min(_REPLAN_RUNS, runs - number))
        followed += [follow(max(draw(chance), 0.1), plan, chance, pace) for _ in together]
    return followed


def mean(followed: list[Followed]) -> Outcome:
    """Return averages."""
    return Outcome(
        looks=statistics.fmean(each.looks for each in followed), lag_s=statistics.fmean(each.lag_s for each in followed)
    )


@functools.cache
def ideal(draw: Draw) -> Grid:
    """Return a distribution as exactly as a sample tells it, at evenly spaced ages."""
    chance = random.Random(1)
    drawn = sorted(draw(chance) for _ in range(_SAMPLE))
    sums = [0.0, *accumulate(drawn)]
    low, high = drawn[0], drawn[int(_SAMPLE * 0.999)]
    ages = [0.0, *(low + (high - low) * step / _AGES for step in range(_AGES + 1)), drawn[-1]]
    places = [bisect.bisect_right(drawn, age) for age in ages]
    return Grid(ages_s=ages, ended=[p / _SAMPLE for p in places], moments_s=[sums[p] / _SAMPLE for p in places])


def optimum(draw: Draw, looks: float, pace: CompiledPace = PACE) -> Outcome:
    """Return the least lag that can be had for so many looks, if the distribution is known.

    Between two plans that are best at some price, the best are mixtures of them: the optimum is the line between them.
    """
    grid, low, high = ideal(draw), 1e-3, 1e3
    for _ in range(_ROUNDS):
        price_s = math.sqrt(low * high)
        is_dear = _outcome(grid, best_at(grid, price_s, pace)).looks <= looks
        low, high = (low, price_s) if is_dear else (price_s, high)
    many, few = (_outcome(grid, best_at(grid, price_s, pace)) for price_s in (low, high))
    share = (looks - few.looks) / (many.looks - few.looks) if many.looks > few.looks else 0.0
    return Outcome(looks=looks, lag_s=few.lag_s + share * (many.lag_s - few.lag_s))


def _outcome(grid: Grid, following: list[int]) -> Outcome:
    lag, place = 0.0, 0
    while place < len(following):
        later = following[place]
        share = grid.ended[later] - grid.ended[place]
        lag += grid.ages_s[later] * share - (grid.moments_s[later] - grid.moments_s[place])
        place = later
    return Outcome(looks=expected_looks(grid, following), lag_s=lag)


def fixed(draw: Draw, looks: float) -> Outcome:
    """Return what the fixed interval brings that takes so many looks."""
    chance = random.Random(2)
    drawn = [draw(chance) for _ in range(_SAMPLE // 2)]
    low, high = 0.1, 1000.0
    for _ in range(30):
        every_s = math.sqrt(low * high)
        low, high = (every_s, high) if _looks_at(drawn, every_s) > looks else (low, every_s)
    lag = statistics.fmean(math.ceil(each / high) * high - each for each in drawn)
    return Outcome(looks=_looks_at(drawn, high), lag_s=lag)


def _looks_at(drawn: list[float], every_s: float) -> float:
    return statistics.fmean(math.ceil(each / every_s) for each in drawn)


def since_shift(before: Draw, after: Draw, seed: int, runs: int) -> list[Followed]:
    """Follow so many tasks after all durations have changed, with what was learned from 300 before that."""
    chance = random.Random(seed)
    turn = iter([before] * _LEFT_OUT + [after] * runs)
    return learn(lambda _: next(turn)(chance), _LEFT_OUT + runs, seed)[_LEFT_OUT:]


async def lines(_: Ground) -> list[Line]:
    """Follow tasks of the usual distribution."""
    name, draw = next(iter(DRAWS.items()))
    ours, best, peer = _compared(draw)
    return [
        Line(what=f"polled alone, {name}: looks", unit="polls/run", measured=ours.looks),
        Line(
            what=f"polled alone, {name}: lag beside the best",
            unit="s",
            measured=ours.lag_s,
            floor=best.lag_s,
            floor_is="the best plan for so many looks",
        ),
        Line(
            what=f"polled alone, {name}: lag beside the usual",
            unit="s",
            measured=ours.lag_s,
            floor=peer.lag_s,
            floor_is="a peer, no floor: a fixed interval",
            budget=Budget(floors=0.6),
        ),
    ]


@functools.cache
def _seeds(draw: Draw) -> list[list[Followed]]:
    return [learn(draw, 1000, seed) for seed in range(_SEEDS)]


def _compared(draw: Draw) -> tuple[Outcome, Outcome, Outcome]:
    """Return what was learned brings, the best that can be, and the fixed interval; for as many looks."""
    ours = mean([each for followed in _seeds(draw) for each in followed[_LEFT_OUT:]])
    return ours, optimum(draw, ours.looks), fixed(draw, ours.looks)


def main() -> None:
    """Print lag and looks for several distributions, and what happens when durations change."""
    rows = []
    for name, draw in DRAWS.items():
        (ours, best, peer), seeds = _compared(draw), [mean(followed[_LEFT_OUT:]) for followed in _seeds(draw)]
        worst = max(each.lag_s / optimum(draw, each.looks).lag_s for each in seeds)
        lags = (ours.lag_s, best.lag_s, peer.lag_s)
        figures = (ours.looks, *lags, ours.lag_s / best.lag_s, worst, ours.lag_s / peer.lag_s)
        rows.append((name, *(figure(value, 2) for value in figures)))
    print_table(("durations", "looks", "lag s", "optimum s", "fixed s", "x optimum", "worst seed", "x fixed"), rows)
    rows = [(name, *_told(_seeds(draw), draw, _FIRST)) for name, draw in list(DRAWS.items())[:3]]
    print_table(("from nothing: x optimum at looks", *(f"{a} to {b}" for a, b in _FIRST)), rows)
    rows = []
    for before_s, after_s in ((20, 60), (60, 20), (30, 20), (20, 30)):
        before, after = log_normal(before_s, 0.4), log_normal(after_s, 0.4)
        followed = [since_shift(before, after, seed, 120) for seed in range(8)]
        rows.append((f"median {before_s} s, then {after_s} s", *_told(followed, after, _STAGES)))
    print_table(("x optimum at looks, by run", *(f"{a} to {b}" for a, b in _STAGES)), rows)


def _told(followed: list[list[Followed]], draw: Draw, stages: tuple[tuple[int, int], ...]) -> list[str]:
    """Return how late and with how many looks runs were seen to end, by their number."""
    best = optimum(draw, PACE.looks).lag_s
    told = [mean([each for runs in followed for each in runs[a:b]]) for a, b in stages]
    return [f"{figure(each.lag_s / best)} at {figure(each.looks)}" for each in told]


if __name__ == "__main__":
    main()
