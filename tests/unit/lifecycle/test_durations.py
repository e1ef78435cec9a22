"""What is learned of durations, without clock, network or disk."""

import itertools
import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.lifecycle.durations import Sketch, Span

SPANS = st.tuples(st.floats(0, 1e6), st.floats(0, 1e5)).map(lambda each: Span(each[0], sum(each)))


def taught(*spans: Span) -> Sketch:
    """Return a sketch that has learned spans."""
    sketch = Sketch()
    for span in spans:
        sketch = sketch.learned(span)
    return sketch


def exactly(*ends_s: float) -> Sketch:
    """Return a sketch that knows these ends to the moment."""
    return taught(*(Span(end_s, end_s) for end_s in ends_s))


def ended_by(sketch: Sketch, age_s: float) -> float:
    """Return the share of tasks that end by an age."""
    return sum(part.share for part in sketch.parts() if part.to_s <= age_s * 1.0001)


@given(st.lists(SPANS, min_size=1, max_size=30))
def test_every_run_counts_once_and_pales(spans: list[Span]) -> None:
    """Whatever the spans are, each adds a weight of one, shares sum up to one and nothing is negative."""
    sketch = taught(*spans)

    assert sketch.runs == len(spans)
    assert sketch.weight <= len(spans) + 1e-6
    assert sum(part.share for part in sketch.parts()) == pytest.approx(1)
    assert all(part.share >= 0 and part.from_s < part.to_s for part in sketch.parts())


@given(st.lists(SPANS, min_size=1, max_size=20))
def test_a_sketch_survives_the_store_format(spans: list[Span]) -> None:
    """A sketch is the same after it was written and read, and learns the same from then on."""
    sketch = taught(*spans)

    read = msgspec.json.decode(msgspec.json.encode(sketch), type=Sketch)

    assert read == sketch
    assert read.learned(Span(1, 2)) == sketch.learned(Span(1, 2))


@given(st.lists(SPANS, max_size=30))
def test_what_is_blurred_is_neither_more_nor_less(spans: list[Span]) -> None:
    """Whatever was learned, to blur it moves weight and keeps it, and none of it is negative or out of bounds."""
    sketch = taught(*spans)
    blurred = sketch.blurred()

    assert blurred.runs == sketch.runs
    assert blurred.weight == pytest.approx(sketch.weight, abs=0.002)
    assert all(weight > 0 for weight in blurred.weights.values())
    assert blurred.weight == 0 or sum(part.share for part in blurred.parts()) == pytest.approx(1)


def test_what_is_blurred_keeps_its_shape_and_loses_what_is_chance() -> None:
    """A sharp peak stays sharp, the valley between two empty, and what few runs leave uneven becomes even."""
    chance = random.Random(5)
    sharp = exactly(*(chance.gauss(30, 0.5) for _ in range(300))).blurred()
    two = exactly(*(chance.gauss(*chance.choice(((12, 1), (60, 6)))) for _ in range(300))).blurred()
    few = exactly(*(20 * math.exp(chance.gauss(0, 0.4)) for _ in range(100)))
    steps = [
        sum(abs(part.share - after.share) for part, after in itertools.pairwise(sketch.parts()))
        for sketch in (few, few.blurred())
    ]

    assert ended_by(sharp, 32) - ended_by(sharp, 28) > 0.97
    assert ended_by(two, 36) - ended_by(two, 18) < 0.02
    assert steps[1] < steps[0] / 10


def test_runs_that_are_learned_together_count_as_much() -> None:
    """Some runs at once make about the same sketch as one after the other; none changes nothing."""
    chance = random.Random(6)
    spans = [Span(d * 0.8, d * 1.1) for d in (20 * math.exp(chance.gauss(0, 0.4)) for _ in range(240))]
    together = Sketch()
    for place in range(0, len(spans), 12):
        together = together.learned(*spans[place : place + 12])
    single = taught(*spans)

    assert together.runs == single.runs
    assert together.learned() == together
    for age_s in (12, 16, 20, 25, 33):
        assert ended_by(together, age_s) == pytest.approx(ended_by(single, age_s), abs=0.03)


def test_all_that_was_known_weighs_little_once_durations_have_changed() -> None:
    """A few runs that end before the usual first look mean nothing; twelve outweigh the three hundred before them."""
    steady = taught(*(Span(d, d + 1) for d in (60 + place * 7 % 30 for place in range(300))))
    early = [Span(0, 55)] * 12

    assert steady.weight > 150
    assert steady.learned(*early[:4]).weight > 150
    assert steady.learned(*early).weight < 30
    assert ended_by(steady.learned(*early), 40) > 0.2


def test_a_sketch_stays_small() -> None:
    """Thousands of runs of all lengths fit into some ten kilobytes, and an ordinary node into six."""
    chance = random.Random(1)
    wide = taught(*(Span(d * 0.8, d) for d in (chance.uniform(0, 3600) for _ in range(2000))))
    usual = taught(*(Span(d * 0.9, d) for d in (20 * math.exp(chance.gauss(0, 0.4)) for _ in range(2000))))

    assert len(msgspec.json.encode(wide)) < 20_000
    assert len(msgspec.json.encode(usual)) < 8_000


def test_what_looks_have_seen_is_counted_right() -> None:
    """Where looks always stand at the same ages, the shares between them are those of the runs, whatever is within."""
    chance, looks, seen = random.Random(2), (8.0, 16.0, 32.0, 64.0), [0, 0, 0, 0]
    sketch = Sketch()
    for _ in range(600):
        duration = min(20 * math.exp(chance.gauss(0, 0.4)), 63)
        place = next(number for number, look in enumerate(looks) if duration <= look)
        seen[place] += 1
        sketch = sketch.learned(Span(looks[place - 1] if place else 0.0, looks[place]))

    for place, look in enumerate(looks):
        assert ended_by(sketch, look) == pytest.approx(sum(seen[: place + 1]) / 600, abs=0.06)


def test_a_wrong_belief_does_not_feed_on_itself() -> None:
    """Tasks became shorter than any look would show; they are not counted where longer ones used to end."""
    sketch = taught(*(Span(58, 62) for _ in range(300)))

    for _ in range(40):
        sketch = sketch.learned(Span(0, 57))

    assert ended_by(sketch, 30) > 0.3


def test_old_durations_fade_quickly_once_new_ones_differ() -> None:
    """After forty runs of another length nearly all that is known is of them; before, no length is forgotten."""
    steady = taught(*(Span(d, d + 1) for d in [20, 60] * 150))
    changed = steady
    for _ in range(40):
        changed = changed.learned(Span(180, 182))

    assert ended_by(steady, 30) == pytest.approx(0.5, abs=0.05)
    assert ended_by(changed, 100) < 0.2
    assert changed.quantile_s(0.5) == pytest.approx(181, abs=2)
