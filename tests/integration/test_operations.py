"""What one run costs in operations, as ARCHITECTURE.md has it: writes, reads and requests, counted and not timed."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from service.simulator import Simulator
from service.store.base import Store
from tests.crash.steps import WRITING
from tests.fakes.house import TUNING, House, house
from tests.fakes.receiver import Receiver

T2V = "kling.text_to_video"
# Sweeps that look for what fell by the wayside would be counted too, so they come late or never here.
SELDOM = msgspec.structs.replace(TUNING, submit_s=60, poll_s=60, deliver_s=60, reconcile_s=60, recover_s=60)


class CountingStore:
    """Counts the verbs that have something to say or to write."""

    def __init__(self, store: Store, counts: Counter[str]) -> None:
        self._store = store
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(member):
            return member

        async def call(*args: Any, **words: Any) -> Any:
            result = await member(*args, **words)
            self._counts[name] += result not in ([], 0)
            return result

        return call


async def one_run(halley: House, receiver: Receiver, counts: Counter[str]) -> Counter[str]:
    """Carry out a run that a receiver is told of, and return what it took; the run itself is asked for by nobody."""
    counts.clear()
    answer = await halley.start(T2V, {"prompt": "a comet"}, webhook_url=f"{receiver.url}/end")
    assert answer.status_code == 202
    await receiver.wait_for(1)
    took = Counter(counts)
    await halley.told(answer.json()["id"], "delivery")  # waits until the outcome is written
    return took | Counter(finish_delivery=counts["finish_delivery"])


async def test_a_run_that_is_called_back_takes_six_transactions(
    tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """Accept, claim, outcome, callback, end with its delivery, outcome of that; two requests out, and one to tell.

    Upstream calls back three times: twice of progress, which costs a transaction each and no look.
    """
    counts: Counter[str] = Counter()
    tuning = msgspec.structs.replace(SELDOM, around_store=lambda store: CountingStore(store, counts))
    async with house(tmp_path, sim, tuning=tuning) as halley:
        took = await one_run(halley, receiver, counts)

    writes = {name: count for name, count in took.items() if name in WRITING}
    assert writes == {"start": 1, "claim_submissions": 1, "change": 2, "record_callback": 3, "finish_delivery": 1}
    reads = {name: count for name, count in took.items() if name not in WRITING and name != "sketches"}
    # What was written a moment ago is in memory: of these only the lanes are read from the database.
    assert reads == {"addressed": 3, "due_lanes": 1, "run_input": 1}
    assert [request.method for request in sim.requests] == ["POST", "GET"]
    assert len(receiver.got) == 1
