"""Sweeps and budgets: rung work is done once and completely, shared limits hold."""

import asyncio

from service.definitions.schema import Budget
from service.log import silent_log
from service.workers.budget import ProviderBudget
from service.workers.sweep import Crew, Sweep


async def test_a_ring_during_a_pass_makes_one_more_pass() -> None:
    """However often it is rung meanwhile, one more pass follows, and never two at a time."""
    passes, at_once, most = 0, 0, 0
    enter, leave = asyncio.Event(), asyncio.Event()

    async def run_once() -> bool:
        nonlocal passes, at_once, most
        passes, at_once = passes + 1, at_once + 1
        most = max(most, at_once)
        enter.set()
        await leave.wait()
        at_once -= 1
        return False

    sweep = Sweep("test", 1, run_once, silent_log())
    sweep.ring()
    await enter.wait()
    for _ in range(5):
        sweep.ring()
    leave.set()
    await asyncio.sleep(0)
    await sweep.stop()

    assert (passes <= 2, most) == (True, 1)


async def test_a_pass_that_found_more_is_followed_by_another() -> None:
    """A sweep goes on until a pass says that nothing more is due."""
    left = [True, True, False]
    done = asyncio.Event()

    async def run_once() -> bool:
        more = left.pop(0)
        if not left:
            done.set()
        return more

    Sweep("test", 1, run_once, silent_log()).ring()
    async with asyncio.timeout(5):
        await done.wait()

    assert left == []


async def test_a_pass_that_fails_does_not_end_the_sweep() -> None:
    """After an error the next ring tries again."""
    calls = 0
    done = asyncio.Event()

    async def run_once() -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("no database")
        done.set()
        return False

    sweep = Sweep("test", 1, run_once, silent_log())
    async with asyncio.timeout(5):
        while not done.is_set():
            sweep.ring()
            await asyncio.sleep(0)

    assert calls == 2


async def test_a_crew_waits_for_work_and_cancels_what_is_late() -> None:
    """Draining returns when all is done, and after its time with what is left canceled."""
    crew, finished, canceled = Crew(silent_log()), asyncio.Event(), asyncio.Event()

    async def quick() -> None:
        finished.set()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            canceled.set()

    crew.start(quick())
    crew.start(endless())
    await crew.drain(0.05)

    assert finished.is_set()
    assert canceled.is_set()
    assert len(crew) == 0


def test_a_budget_limits_requests_in_flight_and_queries_per_second() -> None:
    """Places come back when requests end, the rate refills with time, a pause lasts a minute at most."""
    time = 0.0
    budget = ProviderBudget(Budget(concurrency=3, queries_per_s=2), lambda: time)

    assert (budget.free_submissions(), budget.free_queries()) == (2, 2)
    budget.begin(query=True)
    budget.begin(query=True)
    assert (budget.free_submissions(), budget.free_queries()) == (1, 0)
    budget.end(query=True)
    time = 0.5
    assert (budget.free_submissions(), budget.free_queries()) == (2, 1)
    budget.pause(5000)
    assert budget.free_submissions() == 0
    time = 61
    assert budget.free_submissions() == 2


def test_neither_questions_nor_submissions_take_all_places_of_a_provider() -> None:
    """What hangs of one kind leaves room for the other; where there is one place they take turns."""
    budget = ProviderBudget(Budget(concurrency=8, queries_per_s=100), lambda: 0.0)
    for _ in range(budget.free_queries()):
        budget.begin(query=True)
    one = ProviderBudget(Budget(concurrency=1, queries_per_s=100), lambda: 0.0)
    alone = one.free_submissions(), one.free_queries()
    one.begin(query=False)

    assert (budget.free_queries(), budget.free_submissions()) == (0, 2)
    assert (alone, one.free_queries()) == ((1, 1), 0)


def test_processes_share_a_budget() -> None:
    """Each of several processes takes its part, and at least one request."""
    budget = ProviderBudget(Budget(concurrency=8, queries_per_s=100), lambda: 0.0)

    budget.share(4)
    part = budget.free_submissions()
    budget.share(100)

    assert (part, budget.free_submissions()) == (1, 1)


async def test_a_sweep_tells_how_long_it_has_been_silent() -> None:
    """The silence ends with a whole pass; one that fails leaves it."""
    time, fails = [0.0], [True]

    async def run_once() -> bool:
        if fails[0]:
            raise ValueError
        return False

    sweep = Sweep("poll", 1, run_once, silent_log(), lambda: time[0])
    time[0] = 40.0
    sweep.ring()
    await _passed(sweep)
    silent_s = sweep.silence_s
    fails[0] = False
    sweep.ring()
    await _passed(sweep)

    assert (silent_s, sweep.silence_s) == (40.0, 0.0)


async def _passed(sweep: Sweep) -> None:
    assert sweep._task is not None
    await sweep._task


async def test_a_stop_waits_for_what_work_has_begun_in_its_turn() -> None:
    """The delivery of an end that comes during the stop is on its way before the process goes."""
    crew, done = Crew(silent_log()), list[str]()

    async def delivery() -> None:
        await asyncio.sleep(0)
        done.append("delivered")

    async def look() -> None:
        await asyncio.sleep(0)
        done.append("ended")
        crew.start(delivery())

    crew.start(look())
    await crew.drain(5.0)

    assert (done, len(crew)) == (["ended", "delivered"], 0)
