"""What is known of how long tasks take: a histogram that forgets, learned from the ends of runs. Pure.

The end of a task is rarely seen: it lies between the last look that saw it at work and the look that saw it over. So a
run is not counted at one place but spread over that span, as the histogram so far would have it, and a little evenly.
However wide the spans are, each run is counted on the right side of every look that was made at it; in between the
histogram can be wrong by no more than the span, and the next looks are placed inside it (see `plan`).

A few hundred runs leave peaks and holes that mean nothing, and a run spread by them would only confirm them. So the
histogram is read blurred, both to spread runs and to plan: as much as tells chance from shape, by its sharpest peak.
"""

import math
from bisect import bisect_left
from itertools import accumulate
from operator import mul, sub, truediv
from typing import NamedTuple

from msgspec import Struct

_LEAST_S = 0.5  # the first bucket holds all that is shorter
_PER_OCTAVE = 64  # so a bucket is 1.1 % of a duration wide
_BUCKETS = 17 * _PER_OCTAVE  # up to 18 hours
_BORDERS_S = (0.0, *(_LEAST_S * 2.0 ** (bucket / _PER_OCTAVE) for bucket in range(1, _BUCKETS + 1)))
_KEPT = 0.5 ** (1 / 256)  # what is left of a run when the next one ends: half after 256
_NOTHING = 1e-3  # a bucket with less is forgotten
_EVEN = 1.0  # weight of the even part beside what is known within a span
_MIDDLE = 0.5
_LEANING = 1 / 8  # how much the newest run counts in the lean
_SHIFTED = 0.25  # further from the middle it leans once in thousands of runs, unless durations have changed
_KEPT_SHIFTED = 0.8  # what is left of a run at the next one then
_LEFT = 20.0  # and of all of them at most, so that hundreds do not outweigh the first new ones
_PEAK_SHARE, _PEAK_RUNS = 0.15, 3.0  # of all runs, and that many more, stand in a peak
_PEAK_MOST = 0.8
_WIDTHS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64)  # of a peak, in buckets
_CHANCE = 1e-6  # a blurred bucket with less is empty


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
    """Neighbouring buckets; how much of each lies in a span, and how much of the span in each."""

    buckets: range
    covered: list[float]
    shares: list[float]


class _Row(NamedTuple):
    """Weights of neighbouring buckets, and the number of the first one."""

    first: int
    weights: list[float]

    @property
    def whole(self) -> float:
        """The weight of all."""
        return sum(self.weights)

    def at(self, buckets: range) -> list[float]:
        """Return the weights of such buckets."""
        start, stop = buckets.start - self.first, buckets.stop - self.first
        within = self.weights[max(start, 0) : max(stop, 0)]
        before = min(max(-start, 0), len(buckets))
        return [0.0] * before + within + [0.0] * (len(buckets) - before - len(within))

    def before(self, bucket: int) -> float:
        """Return the weight of all that is shorter."""
        return sum(self.weights[: max(bucket - self.first, 0)])


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

    def learned(self, *spans: Span) -> "Sketch":
        """Return the sketch with more runs in it, and all before each a little paler.

        Those that are told together are spread by what was known before them, which is blurred once.
        """
        sketch, blurred = self, self._blurred()
        for span in spans:
            sketch = sketch._with(span, blurred)
        return sketch

    def _with(self, span: Span, blurred: _Row) -> "Sketch":
        buckets, covered, shares = _touched(span)
        known = [*map(mul, blurred.at(buckets), covered)]
        within, whole = sum(known), blurred.whole
        place = (blurred.before(buckets.start) + within / 2) / whole if whole else _MIDDLE
        lean = self.lean + (place - self.lean) * _LEANING
        kept, even = _KEPT, _EVEN / (within + _EVEN)
        if abs(lean - _MIDDLE) > _SHIFTED:
            kept, even = min(_KEPT_SHIFTED, _LEFT / (self.weight or 1.0)), 1.0
        weights = {bucket: weight * kept for bucket, weight in self.weights.items() if weight > _NOTHING}
        as_known = (1 - even) / (within or 1.0)
        for bucket, share, weight in zip(buckets, shares, known, strict=True):
            weights[bucket] = weights.get(bucket, 0.0) + even * share + as_known * weight
        return Sketch(runs=self.runs + 1, lean=lean, weights=weights)

    def blurred(self) -> "Sketch":
        """Return the sketch with each weight spread to both sides, as far as its sharpest peak is wide."""
        first, row = self._blurred()
        weights = {bucket: weight for bucket, weight in enumerate(row, first) if weight > _CHANCE}
        return Sketch(runs=self.runs, lean=self.lean, weights=weights)

    def _blurred(self) -> _Row:
        first, last, known = min(self.weights, default=0), max(self.weights, default=0), self.weights.get
        sums = [*accumulate([known(bucket, 0.0) for bucket in range(first, last + 1)])]
        width = _peak(sums)
        return _row(first - width + 1, _averaged_twice(sums, width))

    def parts(self) -> list[Part]:
        """Return the distribution in ascending order, without what is empty."""
        whole = self.weight
        return [
            Part(_BORDERS_S[bucket], _BORDERS_S[bucket + 1], weight / whole)
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


def _row(first: int, weights: list[float]) -> _Row:
    """Return a row; what stands outside all buckets is added to the first or the last one."""
    below, above = max(-first, 0), max(first + len(weights) - _BUCKETS, 0)
    if below:
        weights = [sum(weights[: below + 1]), *weights[below + 1 :]]
    if above:
        weights = [*weights[: -above - 1], sum(weights[-above - 1 :])]
    return _Row(first + below, weights)


def _peak(sums: list[float]) -> int:
    """Return the least number of neighbours that hold as many runs as make a peak."""
    whole, before = sums[-1], [0.0, *sums]
    enough = min(whole * _PEAK_SHARE + _PEAK_RUNS, whole * _PEAK_MOST)

    def holds(width: int) -> bool:
        return max(map(sub, before[width:], before), default=whole) >= enough

    return _WIDTHS[bisect_left(_WIDTHS, x=True, hi=len(_WIDTHS) - 1, key=holds)]


def _averaged_twice(sums: list[float], width: int) -> list[float]:
    """Return the averages of so many neighbours each, and of these once more; a triangle, by its second differences."""
    twice = [0.0] * (2 * width) + [*accumulate(sums + sums[-1:] * (2 * width - 2))]
    parts = 1 / width**2
    return [
        (upto - 2 * middle + before) * parts
        for before, middle, upto in zip(twice, twice[width:], twice[2 * width :], strict=False)
    ]


def _bucket(seconds: float) -> int:
    octaves = math.log2(max(seconds, _LEAST_S) / _LEAST_S)
    return min(math.floor(octaves * _PER_OCTAVE), _BUCKETS - 1)


def _touched(span: Span) -> _Touched:
    """Return the buckets that a span touches; one without length is a thousandth of its age long."""
    by_s = min(max(span.by_s, _LEAST_S), _BORDERS_S[-1])
    after_s = max(min(span.after_s, by_s * 0.999), 0.0)
    first, last = _bucket(after_s), _bucket(by_s)
    borders = [after_s, *_BORDERS_S[first + 1 : last + 1], by_s]
    lengths = [*map(sub, borders[1:], borders)]
    widths = map(sub, _BORDERS_S[first + 1 : last + 2], _BORDERS_S[first:])
    return _Touched(
        range(first, last + 1), [*map(truediv, lengths, widths)], [each / (by_s - after_s) for each in lengths]
    )
