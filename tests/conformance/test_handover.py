"""What a commit makes due at once goes to who works on it, leased in the same transaction; on both engines."""

from typing import Any

import pytest

from service.errors import NotFound
from service.lifecycle import transitions as rules
from service.lifecycle.run import Change, Entry, Run, Webhook
from service.store.base import Store
from service.store.outbox import DeliveryResult
from service.store.sql_store import SqlStore
from tests.conformance.test_store import PACE, numbered, put
from tests.fakes.clock import ManualClock

DONE = rules.Reading(task_id="t", state="succeeded", has_result=True)
FOLLOWING = rules.Following(pace=PACE, expects_callback=False, needs_result=True, jitter=0.5)


class Hand:
    """Takes what it has room for, and keeps account."""

    lease_s = 60.0

    def __init__(self, room: int) -> None:
        self.room = room
        self.begun: list[Any] = []
        self.rings = 0

    def reserve(self, _item: object) -> bool:
        """Take a place."""
        self.room -= 1
        if self.room < 0:
            self.room += 1
            return False
        return True

    def release(self, _item: object) -> None:
        """Give it back."""
        self.room += 1

    def begin(self, item: object) -> None:
        """Note what came."""
        self.begun.append(item)

    def ring(self) -> None:
        """Note that there is more."""
        self.rings += 1


async def running(store: Store, number: int) -> Run:
    """Return a run that upstream works on, which is not due yet."""
    run = await put(store, numbered(number, webhook=Webhook(url="https://x", target="t")))
    await store.change(run.id, lambda current: rules.submission_begun(current, 100.0))
    outcome = rules.Accepted(reading=rules.Reading(task_id=f"t{number}", state="queued"), path="/p")
    change = await store.change(run.id, lambda r: rules.submission_ended(r, outcome, 100.0, FOLLOWING, attempt=1))
    assert change is not None
    return change.run


async def called_back(store: Store, run: Run) -> Change | None:
    """Take in a callback that tells of the end."""
    return await store.record_callback(run.id, b"{}", 100.0, lambda r: rules.hinted(r, DONE, 100.0, min_interval_s=0))


async def test_a_callback_hands_its_run_over_for_a_look(store: SqlStore, clock: ManualClock) -> None:
    """The run comes leased, so no sweep finds it, and the look's outcome is written under that lease."""
    clock.time = 100.0
    looks, attempts = Hand(1), Hand(0)
    store.hand_over(looks, attempts)
    run = await running(store, 1)

    await called_back(store, run)
    (handed,) = looks.begun
    found = await store.claim("running", run.lane, 159.0, 10, lease_s=60)
    kept = await store.run(run.id)

    assert (handed.id, handed.due_at, handed.hinted, found) == (run.id, 160.0, True, [])
    assert kept is not None
    assert rules.is_held(kept, handed)
    assert looks.rings == 0
    again = await store.claim("running", run.lane, 161.0, 10, lease_s=60)
    assert [each.id for each in again] == [run.id]  # whoever took it died


async def test_without_room_a_look_is_left_to_the_sweep(store: SqlStore, clock: ManualClock) -> None:
    """Nothing is leased, and the sweep is rung."""
    clock.time = 100.0
    looks = Hand(0)
    store.hand_over(looks, Hand(0))
    run = await running(store, 1)

    await called_back(store, run)

    assert (looks.begun, looks.rings) == ([], 1)
    assert [each.id for each in await store.claim("running", run.lane, 100.0, 10, lease_s=60)] == [run.id]


async def test_an_end_hands_its_delivery_over(store: SqlStore, clock: ManualClock) -> None:
    """The delivery is what a claim would have brought; its outcome is written, and it is not found again."""
    clock.time = 100.0
    attempts = Hand(1)
    store.hand_over(Hand(0), attempts)
    run, other = await running(store, 1), await running(store, 2)

    for each in (run, other):
        await store.change(each.id, lambda current: rules.canceled(current, 100.0))
    (handed,) = attempts.begun
    (left,) = await store.claim_deliveries(100.0, {"t": 10}, 60)

    alike = ("event_type", "workspace", "url", "target", "attempts", "profile", "method", "first_at", "until")
    assert [getattr(handed, name) for name in alike] == [getattr(left, name) for name in alike]
    assert handed.body == await _body(store, handed.workspace, handed.event_id)
    assert (handed.run_id, left.run_id, attempts.rings) == (run.id, other.id, 1)
    entry = Entry(at=101.0, kind="delivery", detail={})
    await store.finish_delivery(handed, DeliveryResult(state="delivered", attempts=1, due_at=None, entry=entry))
    assert [each.run_id for each in await store.claim_deliveries(1e9, {"t": 10}, 60)] == [other.id]


async def test_a_handed_over_delivery_of_a_process_that_died_is_found_again(
    store: SqlStore, clock: ManualClock
) -> None:
    """Its lease ends like that of any other."""
    clock.time = 100.0
    attempts = Hand(1)
    store.hand_over(Hand(0), attempts)
    run = await running(store, 1)

    await store.change(run.id, lambda current: rules.canceled(current, 100.0))
    early = await store.claim_deliveries(159.0, {"t": 10}, 60)
    (late,) = await store.claim_deliveries(161.0, {"t": 10}, 60)

    assert (early, late.id) == ([], attempts.begun[0].id)


async def test_a_change_that_fails_gives_its_places_back(store: SqlStore, clock: ManualClock) -> None:
    """Neither a look nor a delivery begins for what was not committed, and the room is there for others."""
    clock.time = 100.0
    looks, attempts = Hand(1), Hand(1)
    store.hand_over(looks, attempts)
    run = await running(store, 1)

    def broken(current: Run) -> Change | None:
        change = rules.canceled(current, 100.0)
        return change and Change(run=change.run, events=change.events, entries=("nonsense",))  # type: ignore[arg-type]

    with pytest.raises(AttributeError):
        await store.change(run.id, broken)

    assert (looks.room, attempts.room, looks.begun, attempts.begun) == (1, 1, [], [])
    assert (await called_back(store, run)) is not None
    assert len(looks.begun) == 1


async def _body(store: SqlStore, workspace: str, event_id: str) -> bytes:
    told = await store.body_of(workspace, event_id)
    assert told is not None
    return told[1]


async def test_what_was_just_written_is_told_from_memory_and_after_a_restart_from_the_database(
    store: SqlStore, clock: ManualClock
) -> None:
    """Tokens and inputs lead to the same, whether this process started the run or not."""
    run = await put(store, numbered(1))
    other = store_of_same(store, clock)

    for each in (store, other):
        assert await each.addressed(run.callback_token) == (run.id, run.node)
        assert await each.run_input(run.id) == await each.run_input(run.id) == {"prompt": "x"}


async def test_a_callback_for_a_run_that_is_gone_is_refused(store: SqlStore) -> None:
    """Its token may still be remembered, but nothing would be kept of what it says."""
    run = await put(store, numbered(1))
    await store.forget([run.id])

    with pytest.raises(NotFound):
        await store.record_callback(run.id, b"{}", 100.0, lambda _run: None)
    assert (await store.stray_rows()) == dict.fromkeys(await store.stray_rows(), 0)


def store_of_same(store: SqlStore, clock: ManualClock) -> SqlStore:
    """Return a store that has written nothing itself, over the same open engine."""
    return SqlStore(store._engine, clock)
