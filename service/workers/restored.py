"""A database that was brought back from a backup: what may have been sent since then is never sent again by itself."""

import math

import msgspec

from service.clock import Clock
from service.lifecycle.run import Change, Entry, Run
from service.lifecycle.transitions import interrupted, submission_begun
from service.store.base import Store

_BATCH = 500
_REASON = "the database was restored from a backup; whether the run had been sent since then is not known"


async def settle_restored(store: Store, clock: Clock) -> int:
    """Make every run that waited to be sent, or was being sent, `submit_unknown`; returns how many there were."""
    now, settled = clock.now(), 0
    await store.enroll()
    for lane in await store.due_lanes("queued", math.inf):
        while lost := await store.claim_submissions(lane, math.inf, _BATCH, lambda run: _lost(run, now)):
            settled += len(lost)
    settled += await store.take_over(now, lambda run: interrupted(run, now), was_nobody_there=True)
    await store.leave()
    return settled


def _lost(run: Run, now: float) -> Change | None:
    begun = submission_begun(run, now)
    lost = interrupted(begun.run, now) if begun else None
    if lost is None or lost.run.error is None:
        return None
    error = msgspec.structs.replace(lost.run.error, message=f"{_REASON}.")
    unknown = msgspec.structs.replace(lost.run, error=error, attempts=run.attempts, submitted_at=run.submitted_at)
    entry = Entry(at=now, kind="state", detail={"state": unknown.state, "reason": _REASON})
    return Change(run=unknown, events=lost.events, entries=(entry,))
