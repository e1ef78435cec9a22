"""Hints between workers of one machine: they arrive together, and nothing that happens to one holds up another."""

import asyncio
import contextlib
import os
from collections.abc import Iterator

import msgspec

from service.lifecycle.run import Change
from service.workers.siblings import Inbox, Siblings, inboxes
from tests.unit.lifecycle.test_transitions import a_run


@contextlib.contextmanager
def pipes(count: int) -> Iterator[list[Inbox]]:
    """Make inboxes and close them at the end."""
    made = inboxes(count)
    try:
        yield made
    finally:
        for inbox in made:
            os.close(inbox.read)
            os.close(inbox.write)


def ended(number: int) -> Change:
    """Return the end of a run."""
    run = msgspec.structs.replace(a_run(), id=f"run_{number:026}", state="succeeded", deadline_at=None)
    return Change(run=run, events=("run.succeeded",))


async def test_ends_arrive_at_all_others() -> None:
    """Each of many ends is heard by both others, the workspace once; who told it hears nothing."""
    with pipes(3) as (one, two, three), contextlib.ExitStack() as stack:
        heard: list[tuple[str, str]] = []
        full = asyncio.Event()

        def hearing(name: str, own: Inbox, others: list[Inbox]) -> Siblings:
            def hear(rested: object, workspaces: object) -> None:
                heard.extend((name, each) for each in (*rested, *workspaces))  # type: ignore[misc]
                if len(heard) == 2 * 26:
                    full.set()

            siblings = Siblings(own, others)
            stack.enter_context(siblings.heard_by(hear))
            return siblings

        teller = hearing("one", one, [two, three])
        hearing("two", two, [one, three])
        hearing("three", three, [one, two])
        for number in range(25):
            teller.notify(ended(number))
        async with asyncio.timeout(5):
            await full.wait()

    runs = {f"run_{number:026}" for number in range(25)}
    assert {each for name, each in heard if name == "two"} == {each for name, each in heard if name == "three"}
    assert {each for name, each in heard if name == "two"} == runs | {"w"}


async def test_a_full_inbox_holds_up_nobody_and_a_torn_record_is_passed_over() -> None:
    """A dead worker's inbox fills up, and the one that comes after it hears what is whole of it and what comes then."""
    with pipes(2) as (one, two):
        teller = Siblings(one, [two])
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(two.write, b'["half of a rec' * 10)
        with teller.heard_by(lambda *_: None):
            teller.notify(ended(1))  # told at the end of the block, to no effect
        heard, arrived = list[str](), asyncio.Event()

        def hear(rested: object, _workspaces: object) -> None:
            heard.extend(rested)  # type: ignore[call-overload]
            arrived.set()

        with Siblings(two, [one]).heard_by(hear), teller.heard_by(lambda *_: None):
            async with asyncio.timeout(5):
                while not heard:
                    teller.notify(ended(2))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(arrived.wait(), 0.05)

    assert set(heard) == {f"run_{2:026}"}
