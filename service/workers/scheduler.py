"""Rings every sweep at its interval. The only importer of APScheduler, which keeps these few jobs in memory."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from service.workers.sweep import Sweep

_JITTER_SHARE = 0.1
_GUARD_S = 1.0
_SLACK = timedelta(seconds=1)


class SweepScheduler:
    """Owns the recurring jobs.

    Args:
        sweeps: What to ring.
    """

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self._sweeps = list(sweeps)
        self._guard: asyncio.Task[None] | None = None
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # A late ring is still a ring: nothing is skipped after a pause of the process.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Begin to ring, every sweep at once for the first time."""
        for sweep in self._sweeps:
            jitter = sweep.interval_s * _JITTER_SHARE
            self._scheduler.add_job(_ringing(sweep), "interval", seconds=sweep.interval_s, jitter=jitter)
            sweep.ring()
        self._scheduler.start()
        self._guard = asyncio.get_running_loop().create_task(self._keep_ringing())

    async def _keep_ringing(self) -> None:
        """Bring jobs forward that lie too far ahead: APScheduler goes by the wall clock, which may be set back."""
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


def _ringing(sweep: Sweep) -> Callable[[], Coroutine[Any, Any, None]]:
    async def ring() -> None:
        sweep.ring()

    return ring
