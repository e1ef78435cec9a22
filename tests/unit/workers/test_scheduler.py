"""One tick rings all sweeps, each at its own interval."""

import asyncio
import time

from service.log import silent_log
from service.workers.scheduler import SweepScheduler
from service.workers.sweep import Sweep

FAST_S, SLOW_S = 0.02, 0.1
LIMIT_S = 30.0


async def test_each_sweep_is_rung_at_once_and_then_at_its_interval() -> None:
    """The slow one is neither forgotten nor rung as often as the fast one, which sets the tick."""
    passes: dict[str, list[float]] = {"fast": [], "slow": [], "seldom": []}
    enough = asyncio.Event()

    def sweep(name: str, interval_s: float) -> Sweep:
        async def run_once() -> bool:
            passes[name].append(time.monotonic())
            if len(passes["slow"]) == 5:
                enough.set()
            return False

        return Sweep(name, interval_s, run_once, silent_log())

    scheduler = SweepScheduler([sweep("slow", SLOW_S), sweep("fast", FAST_S), sweep("seldom", 3600.0)])
    scheduler.start()
    try:
        await asyncio.wait_for(enough.wait(), LIMIT_S)
    finally:
        await scheduler.stop()

    slow = passes["slow"]
    assert slow[-1] - slow[0] > (len(slow) - 1) * (SLOW_S - FAST_S)
    assert len(passes["fast"]) > len(passes["slow"])
    assert len(passes["seldom"]) == 1
