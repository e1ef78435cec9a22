"""Rings every sweep at its interval. The only importer of APScheduler, which keeps one job in memory: the tick.

Each sweep as a job of its own would wake the process fifteen times a second, each time for a small part of what is due
anyway; a tick as short as the shortest interval rings all whose time has come.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from service.workers.sweep import Sweep

_JITTER_SHARE = 0.1  # processes that began together need not sweep together
_GUARD_S = 1.0
_SLACK = timedelta(seconds=1)


class SweepScheduler:
    """Owns the recurring job.

    Args:
        sweeps: What to ring.
    """

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self._sweeps = list(sweeps)
        self._tick_s = min(sweep.interval_s for sweep in sweeps)
        self._rung_at: dict[str, float] = {}
        self._guard: asyncio.Task[None] | None = None
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # A late tick is still a tick: nothing is skipped after a pause of the process.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Begin to ring, every sweep at once for the first time."""
        self._scheduler.add_job(self._tick, "interval", seconds=self._tick_s, jitter=self._tick_s * _JITTER_SHARE)
        for sweep in self._sweeps:
            self._ring(sweep, time.monotonic())
        self._scheduler.start()
        self._guard = asyncio.get_running_loop().create_task(self._keep_ticking())

    async def _tick(self) -> None:
        """Ring the sweeps whose time has come; what would come before half a tick is over has come."""
        now = time.monotonic()
        for sweep in self._sweeps:
            if now - self._rung_at[sweep.name] >= sweep.interval_s - self._tick_s / 2:
                self._ring(sweep, now)

    def _ring(self, sweep: Sweep, now: float) -> None:
        self._rung_at[sweep.name] = now
        sweep.ring()

    async def _keep_ticking(self) -> None:
        """Bring forward a tick that is too far ahead: APScheduler goes by the wall clock, which may be set back."""
        while True:
            await asyncio.sleep(_GUARD_S)
            now = datetime.now(UTC)
            for job in self._scheduler.get_jobs():
                if job.next_run_time - now > 2 * job.trigger.interval + _SLACK:
                    job.modify(next_run_time=now)

    async def stop(self) -> None:
        """Ring no more, and wait for the passes under way."""
        if self._guard is not None:
            self._guard.cancel()
        if self._scheduler.running:
            self._scheduler.pause()
        for sweep in self._sweeps:
            await sweep.stop()
        if self._scheduler.running:
            # Its executor cancels running jobs, so this comes after the sweeps have stopped.
            self._scheduler.shutdown(wait=False)
