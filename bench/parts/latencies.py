"""Load at a rate or as fast as it is taken, and what latencies come to."""

import asyncio
import itertools
import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class Figures(Struct, frozen=True, kw_only=True):
    """What many latencies come to, in milliseconds."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    worst_ms: float


def figures(latencies_s: Sequence[float]) -> Figures:
    """Sum latencies up."""
    ms = sorted(1000 * each for each in latencies_s)
    return Figures(
        count=len(ms),
        p50_ms=statistics.median(ms),
        p95_ms=ms[int(0.95 * (len(ms) - 1))],
        p99_ms=ms[int(0.99 * (len(ms) - 1))],
        worst_ms=ms[-1],
    )


async def paced(per_s: float, numbers: range, call: Callable[[int], Awaitable[T]]) -> list[T]:
    """Make calls at a rate, whether earlier ones have ended or not; returns what they brought."""
    loop = asyncio.get_running_loop()
    began_at, tasks = loop.time(), []
    for place, number in enumerate(numbers):
        await asyncio.sleep(began_at + place / per_s - loop.time())
        tasks.append(asyncio.ensure_future(call(number)))
    return await asyncio.gather(*tasks)


async def at_once(callers: int, numbers: range, call: Callable[[int], Awaitable[T]]) -> list[T]:
    """Let so many callers make calls one after the other; returns what they brought."""
    left = iter(numbers)

    async def work() -> list[T]:
        return [await call(number) for number in left]

    return list(itertools.chain(*await asyncio.gather(*(work() for _ in range(callers)))))
