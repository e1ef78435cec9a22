"""Where to look at a task so that its end is seen soon with few looks, given how long such tasks take. Pure.

Each look costs a request; each second between the end and the look that sees it costs somebody a second. A price of one
look in seconds makes both one sum. The least sum is found backwards, from the longest known duration to the shortest,
and the price is chosen so that a run takes as many looks as it may. A plan is made now and then; a look only reads it.
"""

import math
from bisect import bisect_right
from itertools import accumulate, pairwise

from msgspec import Struct

from service.definitions.catalog import CompiledPace
from service.lifecycle.durations import Part, Sketch

ENOUGH_RUNS = 6
_FINE = 128  # the more, the closer to each other are the ages that a look may be placed at
_WIDEST = 0.2  # no two of them are further apart than this part of their age
_GAP = 1.05  # a stretch in which nothing ends, if it is so many times as long as what was before it
_ROUNDS = 12  # halvings of the price of a look
_CHEAPEST = 1e-4  # price of a look, in longest durations
_JITTER = 0.05  # of the gap between two looks
_TAIL = 0.2  # this part of its age is waited at a task that takes longer than any known one


class LookPlan(Struct, frozen=True, kw_only=True):
    """For every age of a task that is still at work, the age at which to look next.

    Attributes:
        ages_s: Ages, ascending; the first one is 0.
        next_s: Age of the next look, for each of them but the last.
        gaps_s: Time from that look to the one after it, likewise.
        at_least_s: Shortest wait.
        at_most_s: Longest wait.
    """

    ages_s: tuple[float, ...]
    next_s: tuple[float, ...]
    gaps_s: tuple[float, ...]
    at_least_s: float
    at_most_s: float

    def wait_s(self, age_s: float, jitter: float = 0.5) -> float:
        """Return the wait before the next look at a task of this age.

        Args:
            age_s: Time since its submission.
            jitter: 0 to 1; spreads looks over a part of the gap between them.
        """
        place = self._place(age_s)
        if place < len(self.next_s):
            wait_s = self.next_s[place] - age_s
            wait_s += min(wait_s, self.gaps_s[place]) * _JITTER * (2 * jitter - 1)
        else:
            wait_s = age_s * _TAIL
        return min(max(wait_s, self.at_least_s), self.at_most_s)

    def _place(self, age_s: float) -> int:
        """Return the nearest age: a look that came a little early tells as much as one that came in time."""
        after = bisect_right(self.ages_s, age_s, lo=1)
        if after < len(self.ages_s) and self.ages_s[after] - age_s < age_s - self.ages_s[after - 1]:
            return after
        return after - 1


class Grid(Struct, frozen=True, kw_only=True):
    """Ages at which a look may be placed, and what has ended by then.

    Attributes:
        ages_s: Ages, ascending; the first one is 0.
        ended: Share of all tasks that have ended by then.
        moments_s: Their durations, each times its share, summed up.
    """

    ages_s: list[float]
    ended: list[float]
    moments_s: list[float]


def look_plan(sketch: Sketch, pace: CompiledPace) -> LookPlan | None:
    """Return the best plan for what is known, or None while that is too little."""
    if sketch.runs < ENOUGH_RUNS:
        return None
    grid = grid_of(sketch.blurred().parts(), pace.at_most_s)
    ages, following = grid.ages_s, best_for(grid, pace)
    gaps = [ages[following[place]] - ages[place] for place in range(len(following))]
    return LookPlan(
        ages_s=tuple(ages),
        next_s=tuple(ages[place] for place in following),
        gaps_s=tuple((*gaps, math.inf)[place] for place in following),
        at_least_s=pace.at_least_s,
        at_most_s=pace.at_most_s,
    )


def best_for(grid: Grid, pace: CompiledPace) -> list[int]:
    """Return for every age but the last the place of the age to look at next, with as many looks as the pace allows."""
    low, high = grid.ages_s[-1] * _CHEAPEST, grid.ages_s[-1]
    for _ in range(_ROUNDS):
        price_s = math.sqrt(low * high)
        if expected_looks(grid, best_at(grid, price_s, pace)) > pace.looks:
            low = price_s
        else:
            high = price_s
    few, many = best_at(grid, high, pace), best_at(grid, low, pace)
    return min(few, many, key=lambda following: abs(expected_looks(grid, following) - pace.looks))


def best_at(grid: Grid, price_s: float, pace: CompiledPace) -> list[int]:
    """Return the same at a price of one look.

    The lag of what ends between two looks is the later age times its share, less its moments. So a later look has a
    cost of its own (`own`), and one that falls with what had ended at the look before it. The later a task is looked
    at, the later it is looked at again, which bounds the search from above.
    """
    ages, ended, last = grid.ages_s, grid.ended, len(grid.ages_s) - 1
    own = [0.0] * last + [ages[last] * ended[last] - grid.moments_s[last]]
    following = [last] * last
    for place in range(last - 1, -1, -1):
        age_s, gone = ages[place], ended[place]
        latest = following[place + 1] if place + 1 < last else last
        least, choice = math.inf, latest
        for later in range(place + 1, latest + 1):
            wait_s = ages[later] - age_s
            if wait_s > pace.at_most_s and least < math.inf:
                break
            cost = own[later] - ages[later] * gone
            if cost < least and (wait_s >= pace.at_least_s or later == latest):
                least, choice = cost, later
        following[place] = choice
        cost_on = own[choice] - ages[choice] * gone + price_s * (1 - gone)
        own[place] = age_s * gone + cost_on
    return following


def expected_looks(grid: Grid, following: list[int]) -> float:
    """Return how many looks a run takes on average."""
    looks, place = 0.0, 0
    while place < len(following):
        looks += 1 - grid.ended[place]
        place = following[place]
    return looks


def grid_of(parts: list[Part], at_most_s: float) -> Grid:
    """Return the ages that looks may be placed at, for a distribution: as dense as looks are best themselves.

    That is the square root of the rate at which tasks end that are still at work.
    """
    ages, shares, moments = [0.0], [0.0], [0.0]

    def reach(age_s: float, share: float) -> None:
        pieces = math.ceil((age_s - ages[-1]) / at_most_s)
        borders = [ages[-1] + (age_s - ages[-1]) * piece / pieces for piece in range(pieces + 1)]
        for from_s, to_s in pairwise(borders):
            ages.append(to_s)
            shares.append(share / pieces)
            moments.append(share / pieces * (from_s + to_s) / 2)

    gathered, rest = 0.0, 1.0
    for place, (from_s, to_s, own) in enumerate(parts):
        if not gathered and from_s > ages[-1]:
            reach(from_s, 0.0)
        gathered += own
        gap_follows = place + 1 == len(parts) or parts[place + 1].from_s > to_s * _GAP
        if gap_follows or gathered >= math.sqrt(rest) / _FINE or to_s - ages[-1] >= _WIDEST * to_s:
            reach(to_s, gathered)
            gathered, rest = 0.0, max(rest - gathered, 0.0)
    return Grid(ages_s=ages, ended=list(accumulate(shares)), moments_s=list(accumulate(moments)))
