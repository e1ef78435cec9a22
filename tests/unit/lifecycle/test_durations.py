"""What is learned of durations, without clock, network or disk."""

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
