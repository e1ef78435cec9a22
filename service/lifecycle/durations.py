"""What is known of how long tasks take: a histogram that forgets, learned from the ends of runs. Pure.

The end of a task is rarely seen: it lies between the last look that saw it at work and the look that saw it over. So a
run is not counted at one place but spread over that span, as the histogram so far would have it, and a little evenly.
However wide the spans are, each run is counted on the right side of every look that was made at it; in between the
histogram can be wrong by no more than the span, and the next looks are placed inside it (see `plan`).
"""

import math
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

_LEAST_S = 0.5  # the first bucket holds all that is shorter
_PER_OCTAVE = 64  # so a bucket is 1.1 % of a duration wide
_BUCKETS = 17 * _PER_OCTAVE  # up to 18 hours
_KEPT = 0.5 ** (1 / 256)  # what is left of a run when the next one ends: half after 256
_NOTHING = 1e-3  # a bucket with less is forgotten
_EVEN = 1.0  # weight of the even part beside what is known within a span
_MIDDLE = 0.5
_LEANING = 1 / 8  # how much the newest run counts in the lean
_SHIFTED = 0.25  # further from the middle it leans once in thousands of runs, unless durations have changed
_KEPT_SHIFTED = 0.8


class Span(NamedTuple):
    """When a task ended, in seconds since its submission: after the one and by the other."""

    after_s: float
    by_s: float


class Part(NamedTuple):
    """A stretch of durations, and the share of all tasks that end in it."""

    from_s: float
    to_s: float
    share: float


class _Touched(NamedTuple):
    """How much of a bucket lies in a span, and how much of the span in the bucket."""

    covered: float
    share: float


class Sketch(Struct, frozen=True, kw_only=True):
    """Durations of one kind of task.

    Attributes:
        runs: How many were learned from, ever.
        lean: Where the last ones stood among those before them: near 0.5 while durations stay as they are, near 0 or 1
            when tasks have become shorter or longer. Then what was known is forgotten quickly.
        weights: Weight by number of the bucket; those that are missing have none.
    """

    runs: int = 0
    lean: float = _MIDDLE
    weights: dict[int, float] = {}

    @property
    def weight(self) -> float:
        """How many runs it still stands for."""
        return sum(self.weights.values())

    def learned(self, span: Span) -> "Sketch":
        """Return the sketch with one more run in it, and all before it a little paler."""
        touched = _touched(span)
        known = {bucket: self.weights.get(bucket, 0.0) * each.covered for bucket, each in touched.items()}
        within = sum(known.values())
        lean = self.lean + (self._place(min(touched), within) - self.lean) * _LEANING
        has_shifted = abs(lean - _MIDDLE) > _SHIFTED
        kept, even = (_KEPT_SHIFTED, 1.0) if has_shifted else (_KEPT, _EVEN / (within + _EVEN))
        weights = {bucket: weight * kept for bucket, weight in self.weights.items() if weight > _NOTHING}
        for bucket, each in touched.items():
            gained = even * each.share + (1 - even) * known[bucket] / (within or 1.0)
            weights[bucket] = weights.get(bucket, 0.0) + gained
        return Sketch(runs=self.runs + 1, lean=lean, weights=weights)

    def _place(self, first: int, within: float) -> float:
        """Return where a run stands among those before it, 0 to 1, if it is in the middle of its span."""
        whole = self.weight
        before = sum(weight for bucket, weight in self.weights.items() if bucket < first)
        return (before + within / 2) / whole if whole else _MIDDLE

    def parts(self) -> list[Part]:
        """Return the distribution in ascending order, without what is empty."""
        whole = self.weight
        return [
            Part(_border(bucket), _border(bucket + 1), weight / whole)
            for bucket, weight in sorted(self.weights.items())
        ]

    def quantile_s(self, share: float) -> float:
        """Return the time within which this share of the tasks end; 0 when nothing is known."""
        seen, to_s = 0.0, 0.0
        for from_s, to_s, own in self.parts():
            if seen + own >= share:
                return from_s + (to_s - from_s) * (share - seen) / own
            seen += own
        return to_s


def _border(bucket: int) -> float:
    return _LEAST_S * 2.0 ** (bucket / _PER_OCTAVE) if bucket else 0.0


def _bucket(seconds: float) -> int:
    octaves = math.log2(max(seconds, _LEAST_S) / _LEAST_S)
    return min(math.floor(octaves * _PER_OCTAVE), _BUCKETS - 1)


def _touched(span: Span) -> dict[int, _Touched]:
    """Return the buckets that a span touches; one without length is a thousandth of its age long."""
    longest_s = _border(_BUCKETS)
    by_s = min(max(span.by_s, _LEAST_S), longest_s)
    after_s = max(min(span.after_s, by_s * 0.999), 0.0)
    first, last = _bucket(after_s), _bucket(by_s)
    borders = [after_s, *(_border(bucket) for bucket in range(first + 1, last + 1)), by_s]
    touched = {}
    for bucket, (from_s, to_s) in enumerate(pairwise(borders), first):
        width_s = _border(bucket + 1) - _border(bucket)
        touched[bucket] = _Touched((to_s - from_s) / width_s, (to_s - from_s) / (by_s - after_s))
    return touched
