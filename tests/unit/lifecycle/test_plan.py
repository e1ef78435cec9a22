"""Where looks are placed, against what is best for known distributions; in virtual time, with fixed seeds."""

import itertools
import math
import random
import statistics

import msgspec
import pytest

from bench.pace import DRAWS, PACE, Followed, follow, learn, log_normal, mean, optimum
from service.lifecycle.durations import Sketch, Span
from service.lifecycle.plan import Grid, LookPlan, best_at, expected_looks, grid_of, look_plan

USUAL = log_normal(20, 0.4)


def a_plan(low_s: float = 18, high_s: float = 22, **words: float) -> LookPlan:
    """Return the plan for tasks of about the same length."""
    sketch, chance = Sketch(), random.Random(3)
    for _ in range(60):
        end = chance.uniform(low_s, high_s)
        sketch = sketch.learned(Span(end * 0.99, end))
    plan = look_plan(sketch, msgspec.structs.replace(PACE, **words))
    assert plan is not None
    return plan


def shift(before_s: float, after_s: float, seed: int) -> list[Followed]:
    """Return the tasks that were followed since all durations changed, after many of the old ones."""
    chance, sketch, plan = random.Random(seed), Sketch(), None
    followed = []
    for number in range(150 + 90):
        if number % 6 == 0:
            plan = look_plan(sketch, PACE)
        followed.append(follow(log_normal(before_s if number < 150 else after_s, 0.4)(chance), plan, chance))
        sketch = sketch.learned(followed[-1].span)
    return followed[150:]


def cost(grid: Grid, looks: tuple[int, ...], price_s: float) -> float:
    """Return what looks at these places cost, by the definition of lag and price."""
    total, place = 0.0, 0
    for later in looks:
        lag = grid.ages_s[later] * (grid.ended[later] - grid.ended[place])
        total += lag - (grid.moments_s[later] - grid.moments_s[place]) + price_s * (1 - grid.ended[place])
        place = later
    return total


def test_the_best_looks_are_found() -> None:
    """On a small grid no other choice of looks is cheaper than the one that is found backwards."""
    chance = random.Random(4)
    sketch = Sketch()
    for _ in range(40):
        end = chance.choice((chance.uniform(5, 9), chance.uniform(30, 34)))
        sketch = sketch.learned(Span(end, end))
    whole = grid_of(sketch.parts(), 1000)
    step = len(whole.ages_s) // 9
    places = [*range(0, len(whole.ages_s) - 1, step), len(whole.ages_s) - 1]
    grid = Grid(**{name: [getattr(whole, name)[place] for place in places] for name in Grid.__struct_fields__})
    free, last = msgspec.structs.replace(PACE, at_least_s=0, at_most_s=1000), len(places) - 1

    for price_s in (0.1, 1.0, 5.0):
        following, found, place = best_at(grid, price_s, free), [], 0
        while place < last:
            place = following[place]
            found.append(place)
        others = [(*chosen, last) for count in range(last) for chosen in itertools.combinations(range(1, last), count)]
        assert cost(grid, tuple(found), price_s) == pytest.approx(min(cost(grid, each, price_s) for each in others))
        assert expected_looks(grid, following) == pytest.approx(
            sum(1 - grid.ended[place] for place in (0, *found[:-1]))
        )


@pytest.mark.parametrize("name", [name for name in DRAWS if "90 s" not in name and "exponential" not in name])
def test_what_was_learned_is_nearly_as_good_as_what_could_be_known(name: str) -> None:
    """After some hundred runs, seen by looks alone, the lag is within 12 % of the least for as many looks."""
    ours = mean([each for seed in (1, 2, 3) for each in learn(DRAWS[name], 650, seed)[250:]])
    best = optimum(DRAWS[name], ours.looks)

    assert ours.looks == pytest.approx(PACE.looks, abs=0.3)
    assert ours.lag_s < 1.12 * best.lag_s


def test_before_anything_is_known_the_definition_says_when() -> None:
    """A few runs make no plan, and the first ones that do are followed no worse than before."""
    assert look_plan(Sketch(), PACE) is None
    assert look_plan(Sketch(runs=5, weights={200: 5.0}), PACE) is None
    assert look_plan(Sketch(runs=6, weights={200: 6.0}), PACE) is not None

    first = [learn(USUAL, 40, seed) for seed in range(10)]
    before, after = ([each for runs in first for each in runs[a:b]] for a, b in ((0, 8), (12, 40)))

    assert mean(after).lag_s * mean(after).looks < 1.1 * mean(before).lag_s * mean(before).looks


@pytest.mark.parametrize(("before_s", "after_s"), [(20, 60), (60, 20)])
def test_changed_durations_are_followed(before_s: float, after_s: float) -> None:
    """Threefold durations cost looks, thirds cost lag, and within forty runs both are nearly as good as can be."""
    runs = [shift(before_s, after_s, seed) for seed in range(3)]
    at_once, later = ([each for run in runs for each in run[a:b]] for a, b in ((0, 10), (40, 90)))
    best = optimum(log_normal(after_s, 0.4), 4)

    assert max(each.lag_s for each in at_once) <= PACE.at_most_s
    assert mean(at_once).looks < 25
    assert mean(later).lag_s < 1.5 * best.lag_s
    assert mean(later).looks < 5.5


def test_waits_keep_to_what_the_definition_allows() -> None:
    """No wait is shorter or longer than allowed at any age, known or beyond all that is known."""
    plan = a_plan(at_least_s=2.5, at_most_s=6.0)

    for tenths in range(40_000):
        for jitter in (0.0, 1.0):
            assert 2.5 <= plan.wait_s(tenths / 10, jitter) <= 6.0


def test_a_task_that_takes_longer_than_any_is_looked_at_ever_more_rarely() -> None:
    """Beyond what is known waits grow with the age, up to the longest one."""
    plan, ages = a_plan(), [30.0]
    while ages[-1] < 1000:
        ages.append(ages[-1] + plan.wait_s(ages[-1]))
    waits = [later - age for age, later in itertools.pairwise(ages)]

    assert waits == sorted(waits)
    assert waits[-2] == PACE.at_most_s
    assert len(waits) < 30


def test_looks_stand_where_tasks_end() -> None:
    """Tasks of about twenty seconds are first looked at when they may end, and then a few times in quick succession."""
    plan, age_s, looks = a_plan(), 0.3, []
    while age_s < 22:
        age_s += plan.wait_s(age_s)
        looks.append(age_s)

    assert 18 < looks[0] < 20
    assert looks[-1] == pytest.approx(22, abs=0.5)
    assert len(looks) > 4


def test_looks_of_tasks_that_began_together_are_spread() -> None:
    """Jitter moves a look by a part of the gap to the one after it, so it costs little and nothing falls together."""
    plan = a_plan()
    waits = [plan.wait_s(0.0, jitter / 100) for jitter in range(101)]

    assert statistics.fmean(waits) == pytest.approx(plan.wait_s(0.0), rel=0.001)
    assert 0 < max(waits) - min(waits) < 0.5
    assert len(set(waits)) == 101
    assert math.isfinite(max(waits))
