"""What every store must do, over SQLite and over PostgreSQL alike; what only one of them can do stands at the end."""

import asyncio
import contextlib
import itertools
import sqlite3
from pathlib import Path
from typing import Any, get_args

import asyncpg
import msgspec
import pytest

from service.errors import StoreError
from service.ids import first_id
from service.lifecycle import transitions as rules
from service.lifecycle.durations import Sketch, Span
from service.lifecycle.run import Change, Entry, EventType, Run, Webhook
from service.lifecycle.transitions import queued
from service.settings import Secret
from service.store.base import EventFilter, KeptEvent, KeyRecord, Place, RunFilter, Store
from service.store.opening import store_of
from service.store.outbox import DeliveryResult
from service.store.sketches import KeptSketch
from service.store.sql_store import SqlStore
from service.store.starts import Allowance, Idempotency
from tests.fakes.clock import ManualClock
from tests.fakes.postgres import PostgresServer
from tests.unit.lifecycle.test_transitions import a_run


def numbered(number: int, **words: object) -> Run:
    """Return a queued run of its own."""
    return a_run("queued", id=f"run_{number:026d}", callback_token=f"token-{number}", **words)


async def put(store: Store, run: Run) -> Run:
    """Store a run and return it as stored."""
    return (await store.start(queued(run), {"prompt": "x"}, None)).run


async def test_a_run_comes_back_as_it_went_in(store: Store) -> None:
    """Run, whole input, token and timeline are found again."""
    run = await put(store, numbered(1, reference="r", metadata={"a": 1}, webhook=Webhook(url="https://x")))

    assert await store.run(run.id) == run
    assert await store.addressed("token-1") == (run.id, run.node)
    assert await store.addressed("token-2") is None
    assert await store.run_input(run.id) == {"prompt": "x"}
    assert [entry.detail["state"] for entry in await store.timeline(run.id)] == ["queued"]
    assert await store.run("run_none") is None


async def test_a_change_its_events_and_deliveries_are_one_transaction(store: Store, clock: ManualClock) -> None:
    """A change that cannot be written whole is not written at all; one that can brings its delivery."""
    run = await put(store, numbered(1, webhook=Webhook(url="https://x", events=("run.canceled",))))

    def broken(current: Run) -> Change | None:
        change = rules.canceled(current, 110.0)
        assert change is not None
        bad = Entry(at=110.0, kind="nonsense\0", detail={"x": object()})  # type: ignore[arg-type]
        return msgspec.structs.replace(change, entries=(bad,))

    with pytest.raises(TypeError):
        await store.change(run.id, broken)
    assert await store.run(run.id) == run
    assert await store.claim_deliveries(200.0, {"": 10}, 60) == []

    change = await store.change(run.id, lambda current: rules.canceled(current, 110.0))
    (delivery,) = await store.claim_deliveries(200.0, {"": 10}, 60)
    assert change is not None
    assert (delivery.event_type, delivery.url, delivery.attempts) == ("run.canceled", "https://x", 0)
    assert msgspec.json.decode(delivery.body)["sequence"] == change.run.sequence == 2


async def test_many_changes_at_once_lose_nothing(store: Store) -> None:
    """Waiting writes are grouped into commits, and one that fails takes nothing of its neighbours with it."""
    runs = [await put(store, numbered(n)) for n in range(20)]

    def fails(_run: Run) -> Change | None:
        raise ValueError("mine alone")

    results = await asyncio.gather(
        *(store.change(run.id, (lambda r: rules.canceled(r, 110.0)) if n % 2 else fails) for n, run in enumerate(runs)),
        return_exceptions=True,
    )

    assert [isinstance(result, ValueError) for result in results] == [n % 2 == 0 for n in range(20)]
    states = [(await store.run(run.id)).state for run in runs]  # type: ignore[union-attr]
    assert states == ["queued", "canceled"] * 10


async def test_due_runs_are_claimed_once_until_their_lease_ends(store: Store) -> None:
    """A claimed run is not due again before its lease ends, and only in its own lane."""
    for number, lane in enumerate(("a", "a", "b")):
        run = await put(store, numbered(number, lane=lane))
        await store.change(run.id, lambda current: rules.submission_begun(current, 100.0))
        outcome = rules.Accepted(reading=rules.Reading(task_id="t", state="queued"), path="/p")
        following = rules.Following(pace=PACE, expects_callback=False, needs_result=True, jitter=0.5)
        await store.change(run.id, lambda r, o=outcome, f=following: rules.submission_ended(r, o, 100.0, f, attempt=1))

    assert sorted(await store.due_lanes("running", 1000.0)) == ["a", "b"]
    first = await store.claim("running", "a", 1000.0, 10, lease_s=60)
    assert len(first) == 2
    assert await store.claim("running", "a", 1001.0, 10, lease_s=60) == []
    assert len(await store.claim("running", "a", 1061.0, 10, lease_s=60)) == 2


PACE = rules.CompiledPace(first_s=10, every_s=10, growth=1, at_most_s=10, deadline_s=3600, with_callback=1)


async def test_news_without_a_result_leave_leases_and_wake_ups_alone(store: Store) -> None:
    """A callback that only tells of progress hands out no run twice and lets nobody's wake-up be forgotten."""
    for number, awaits_input in enumerate((False, True)):
        run = await put(store, numbered(number))
        await store.change(run.id, lambda current: rules.submission_begun(current, 100.0))
        reading = rules.Reading(task_id=f"t{number}", state="running", awaits_input=awaits_input)
        outcome = rules.Accepted(reading=reading, path="/p")
        following = rules.Following(pace=PACE, expects_callback=False, needs_result=True, jitter=0.5)
        await store.change(run.id, lambda r, o=outcome, f=following: rules.submission_ended(r, o, 100.0, f, attempt=1))
    leased = await store.claim("running", run.lane, 1000.0, 10, lease_s=60)
    assert await store.wake(run.lane, "t1", 1000.0) == 1

    for each in (leased[0], run):
        progress = rules.Reading(task_id=each.upstream_task_id, state="running")
        await store.record_callback(
            each.id, b"{}", 1001.0, lambda r, p=progress: rules.hinted(r, p, 1001.0, min_interval_s=1)
        )

    assert [each.id for each in leased] == [numbered(0).id]
    assert [each.id for each in await store.claim("running", run.lane, 1002.0, 10, lease_s=60)] == [run.id]


async def test_submissions_are_claimed_in_order_and_within_the_limit(store: Store) -> None:
    """The runs due longest come first; each is `submitting` when the claim is committed."""
    for number in range(3):
        await put(store, numbered(number, due_at=100.0 - number))

    claimed = await store.claim_submissions("p", 100.0, 2, lambda run: rules.submission_begun(run, 100.0))

    assert [run.id for run in claimed] == [f"run_{n:026d}" for n in (2, 1)]
    assert {run.state for run in claimed} == {"submitting"}


async def test_what_a_dead_process_left_is_taken_over(database: Path | Secret, clock: ManualClock) -> None:
    """Submissions without an outcome become `submit_unknown`, leased rows are due at once."""
    before = store_of(database, clock)
    await before.open()
    run = await put(before, numbered(1))
    await before.change(run.id, lambda r: rules.submission_begun(r, 100.0))
    other = await put(before, numbered(2, webhook=Webhook(url="https://x", events=("run.queued",))))
    assert len(await before.claim_deliveries(100.0, {"": 10}, lease_s=3600)) == 1
    await before.close()

    after = store_of(database, clock)
    await after.open()
    await after.enroll()
    is_first = await after.is_first()
    settled = await after.take_over(120.0, lambda r: rules.interrupted(r, 120.0), was_nobody_there=is_first)
    left = await after.run(run.id)
    untouched = await after.run(other.id)
    deliveries = await after.claim_deliveries(120.0, {"": 10}, lease_s=60)
    await after.close()

    assert settled == 1
    assert left is not None
    assert left.state == "submit_unknown"
    assert untouched == other
    assert len(deliveries) == 1


async def test_however_many_runs_are_open_all_are_looked_at_after_a_start(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running runs become due in parts, those that are leased and those that were to be looked at later."""
    monkeypatch.setattr("service.store.sql_store._RELEASE_BATCH", 2)
    following = rules.Following(pace=PACE, expects_callback=False, needs_result=True, jitter=0.5)
    outcome = rules.Accepted(reading=rules.Reading(task_id="t", state="queued"), path="/p")
    for number in range(5):
        run = await put(store, numbered(number))
        await store.change(run.id, lambda current: rules.submission_begun(current, 100.0))
        await store.change(run.id, lambda r: rules.submission_ended(r, outcome, 100.0, following, attempt=1))
    assert len(await store.claim("running", "p", 200.0, 2, lease_s=600)) == 2

    await store.take_over(105.0, lambda _: None, was_nobody_there=True)

    assert len(await store.claim("running", "p", 105.0, 10, lease_s=60)) == 5


async def test_a_process_known_to_be_dead_is_not_waited_for(database: Path | Secret, clock: ManualClock) -> None:
    """Whoever takes its place and says whom it replaces has at once what that one had in hand."""
    before, after = store_of(database, clock, owner="own_1"), store_of(database, clock, owner="own_2")
    await before.open()
    await before.enroll()
    run = await put(before, numbered(1, webhook=Webhook(url="https://x", events=("run.queued",))))
    await before.change(run.id, lambda r: rules.submission_begun(r, 100.0))
    assert len(await before.claim_deliveries(100.0, {"": 10}, lease_s=3600)) == 1
    await after.open()

    await after.leave("own_1")
    await after.enroll()
    is_first = await after.is_first()
    settled = await after.take_over(101.0, lambda r: rules.interrupted(r, 101.0), was_nobody_there=False)
    deliveries = await after.claim_deliveries(101.0, {"": 10}, lease_s=60)
    for store in (before, after):
        await store.close()

    assert (is_first, settled, len(deliveries)) == (True, 1, 1)


async def test_who_began_first_knows(postgres: PostgresServer, clock: ManualClock) -> None:
    """Of several that begin at once one finds that nobody was there; a later one does only when these have left."""
    url = Secret(await postgres.database())
    stores = [store_of(url, clock, owner=f"own_{number}") for number in range(3)]
    for store in stores:
        await store.open()
    for store in stores[1:]:
        await store.enroll()
    found = [await store.is_first() for store in stores[1:]]
    await stores[0].enroll()
    found += [await store.is_first() for store in stores]
    await stores[0].leave()
    await stores[1].leave()
    found.append(await stores[2].is_first())
    for store in stores:
        await store.close()

    assert found == [True, False, True, False, False, True]


async def test_a_lease_of_who_lives_is_left_alone(pair: tuple[SqlStore, SqlStore]) -> None:
    """Who finds that nobody was there before it takes nothing from those that came with it."""
    store, other = pair
    await store.enroll()
    await other.enroll()
    await put(store, numbered(1, webhook=Webhook(url="https://x", events=("run.queued",))))
    assert len(await store.claim_deliveries(100.0, {"": 10}, lease_s=3600)) == 1

    await other.take_over(101.0, lambda _: None, was_nobody_there=True)
    kept = await other.claim_deliveries(101.0, {"": 10}, lease_s=60)
    await store.leave()
    await other.take_over(101.0, lambda _: None, was_nobody_there=True)
    left = await other.claim_deliveries(101.0, {"": 10}, lease_s=60)

    assert (len(kept), len(left)) == (0, 1)


async def test_news_of_another_process_leave_a_submission_whose_it_is(pair: tuple[SqlStore, SqlStore]) -> None:
    """A callback taken in by one process does not hide that the one that submits is dead."""
    store, other = pair
    await other.enroll()
    run = await put(store, numbered(1))
    await store.change(run.id, lambda r: rules.submission_begun(r, 100.0))
    early = rules.Reading(task_id="t", state="running")

    await other.record_callback(run.id, b"{}", 101.0, lambda r: rules.hinted(r, early, 101.0, min_interval_s=1))
    settled = await other.take_over(120.0, lambda r: rules.interrupted(r, 120.0), was_nobody_there=False)

    assert settled == 1


async def test_two_processes_never_claim_the_same(pair: tuple[SqlStore, SqlStore]) -> None:
    """Runs and deliveries that are due go to one of those who ask at the same time."""
    store, other = pair
    for number in range(40):
        await put(store, numbered(number, webhook=Webhook(url="https://x", events=("run.queued",))))

    submissions = await asyncio.gather(
        *(
            each.claim_submissions("p", 102.0, 7, lambda run: rules.submission_begun(run, 102.0))
            for each in (store, other) * 5
        )
    )
    deliveries = await asyncio.gather(*(each.claim_deliveries(102.0, {"": 7}, 60) for each in (store, other) * 5))

    for claims in (submissions, deliveries):
        ids = [claimed.id for claim in claims for claimed in claim]
        assert len(ids) == len(set(ids)) == 40


async def test_changes_of_one_run_by_two_processes_are_all_made(pair: tuple[SqlStore, SqlStore]) -> None:
    """Each decision is made on the run as the one before left it, whoever made that one."""
    run = await put(pair[0], numbered(1))

    def add(current: Run) -> Change:
        return Change(run=msgspec.structs.replace(current, looks=current.looks + 1))

    await asyncio.gather(*(each.change(run.id, add) for each in pair * 20))

    counted = await pair[0].run(run.id)
    assert counted is not None
    assert counted.looks == 40


async def test_a_key_starts_no_more_than_it_may_in_a_day(store: Store, clock: ManualClock) -> None:
    """Starts at once are counted one by one; a repeated start costs nothing, another day and another key are free."""
    three = Allowance(key_id="key_1", runs_per_day=3)
    key = Idempotency(scope="k", key="order-42", fingerprint="f")
    first = await store.start(queued(numbered(0)), {}, key, three)
    started = await asyncio.gather(*(store.start(queued(numbered(n)), {}, None, three) for n in range(1, 11)))
    again = await store.start(queued(numbered(11)), {}, key, three)
    other = await store.start(queued(numbered(12)), {}, None, Allowance(key_id="key_2", runs_per_day=3))
    clock.time += DAY_S
    tomorrow = await store.start(queued(numbered(13)), {}, None, three)

    assert sorted(each.over_allowance for each in started) == [False] * 2 + [True] * 8
    assert (first.over_allowance, again.replayed, again.over_allowance) == (False, True, False)
    assert (other.over_allowance, tomorrow.over_allowance) == (False, False)
    assert len(await store.runs(RunFilter(workspace="w"))) == 5


async def test_a_finished_lease_changes_nothing_but_a_delivery(store: Store) -> None:
    """Whoever lost a lease neither ends nor puts off what another has in hand; what it delivered is delivered."""
    await put(store, numbered(1, webhook=Webhook(url="https://x", events=("run.queued",))))
    (frozen,) = await store.claim_deliveries(100.0, {"": 10}, 60)
    (held,) = await store.claim_deliveries(161.0, {"": 10}, 60)
    entry = Entry(at=100.0, kind="delivery", detail={})

    await store.finish_delivery(frozen, DeliveryResult(state="failed", attempts=1, due_at=None, entry=entry))
    (again,) = await store.claim_deliveries(222.0, {"": 10}, 60)
    await store.finish_delivery(held, DeliveryResult(state="delivered", attempts=1, due_at=None, entry=entry))

    assert again.id == held.id
    assert await store.claim_deliveries(1e9, {"": 10}, 60) == []


async def test_a_delivery_says_how_and_since_when_it_is_tried(store: Store) -> None:
    """Profile, method and the run's deadline come with it; its first attempt stays the first, a dead one included."""
    hook = Webhook(url="https://x", events=("run.queued",), profile="n8n-resume", method="GET")
    await put(store, numbered(1, webhook=hook, deadline_at=3700.0))
    (first,) = await store.claim_deliveries(120.0, {"": 10}, 60)
    (again,) = await store.claim_deliveries(200.0, {"": 10}, 60)

    assert (first.profile, first.method, first.until, first.first_at) == ("n8n-resume", "GET", 3700.0, 120.0)
    assert msgspec.structs.replace(again, leased_until=first.leased_until) == first


async def test_deliveries_end_or_wait_for_their_next_attempt(store: Store) -> None:
    """A failed attempt comes back when it is due, a delivered one never."""
    await put(store, numbered(1, webhook=Webhook(url="https://x", events=("run.queued",))))
    (delivery,) = await store.claim_deliveries(100.0, {"": 10}, 60)
    entry = Entry(at=100.0, kind="delivery", detail={})
    await store.finish_delivery(delivery, DeliveryResult(state="pending", attempts=1, due_at=105.0, entry=entry))

    assert await store.claim_deliveries(104.0, {"": 10}, 60) == []
    (again,) = await store.claim_deliveries(105.0, {"": 10}, 60)
    assert again.attempts == 1
    await store.finish_delivery(again, DeliveryResult(state="delivered", attempts=2, due_at=None, entry=entry))
    assert await store.claim_deliveries(1e9, {"": 10}, 60) == []


async def test_idempotency_keys_are_kept_for_seven_days(store: Store, clock: ManualClock) -> None:
    """Same key and request: the first run; other request: refused; other scope or after a week: a new run."""
    key = Idempotency(scope="k1", key="order-42", fingerprint="f")
    first = await store.start(queued(numbered(1)), {}, key)
    same = await store.start(queued(numbered(2)), {}, key)
    other = await store.start(queued(numbered(3)), {}, msgspec.structs.replace(key, fingerprint="g"))
    foreign = await store.start(queued(numbered(4)), {}, msgspec.structs.replace(key, scope="k2"))
    clock.time += 7 * 86400 + 1
    later = await store.start(queued(numbered(5)), {}, key)

    assert (same.run.id, same.replayed) == (first.run.id, True)
    assert other.key_reused
    assert [foreign.run.id, later.run.id] == [f"run_{n:026d}" for n in (4, 5)]
    assert await store.run(f"run_{2:026d}") is None


async def test_lists_keep_workspaces_apart(store: Store) -> None:
    """A list holds a workspace's own runs, newest first, filtered and cut."""
    for number in range(4):
        await put(store, numbered(number, workspace="w" if number else "v", reference=f"r{number % 2}"))

    every = await store.runs(RunFilter(workspace="w"))
    odd = await store.runs(RunFilter(workspace="w", reference="r1", limit=1))
    after = await store.runs(RunFilter(workspace="w", reference="r1", before=odd[0].id))

    assert [run.id[-1] for run in every] == ["3", "2", "1"]
    assert [run.id[-1] for run in (*odd, *after)] == ["3", "1"]


def wanting(**words: Any) -> EventFilter:
    """Return a filter of the workspace's events, of all types unless said otherwise."""
    return EventFilter(**{"workspace": "w", "types": get_args(EventType), **words})


BEGIN = Place(0, "")


async def test_events_are_listed_both_ways_in_the_order_of_their_commits(store: Store, clock: ManualClock) -> None:
    """Newest first is oldest first turned round, even when the clock is set back; bodies are those of deliveries."""
    for number in range(4):
        await put(store, numbered(number, webhook=Webhook(url="https://x", events=("run.queued",))))
        clock.time -= 7
    await store.change(numbered(2).id, lambda run: rules.canceled(run, 110.0))

    newest = await store.events_before(wanting(), None, 10)
    oldest = await store.events_after(wanting(), BEGIN, 10)
    delivered = {delivery.event_id: delivery.body for delivery in await store.claim_deliveries(1e9, {"": 10}, 60)}

    told = [(event["data"]["id"][-1], event["type"]) for event in map(decoded, oldest)]
    assert told == [("0", "run.queued"), ("1", "run.queued"), ("2", "run.queued"), ("3", "run.queued"),
                    ("2", "run.canceled")]  # fmt: skip
    assert newest == oldest[::-1]
    assert {event.id: event.body for event in oldest if event.id in delivered} == delivered
    assert await store.newest_place("w") == oldest[-1].place


def decoded(event: KeptEvent) -> Any:
    """Return the body of an event."""
    return msgspec.json.decode(event.body)


async def test_pages_of_events_neither_skip_nor_repeat_while_others_come(store: Store) -> None:
    """Towards the past pages hold what was there, towards the present all that has come meanwhile."""
    for number in range(5):
        await put(store, numbered(number))
    past: list[KeptEvent] = []
    present: list[KeptEvent] = []

    for number in range(5, 8):
        past += await store.events_before(wanting(), past[-1].place if past else None, 2)
        present += await store.events_after(wanting(), present[-1].place if present else BEGIN, 2)
        await put(store, numbered(number))
    present += await store.events_after(wanting(), present[-1].place, 10)

    assert [decoded(event)["data"]["id"][-1] for event in past] == list("43210")
    assert [decoded(event)["data"]["id"][-1] for event in present] == list("01234567")


@pytest.mark.parametrize("window", [0, 1, 3])
async def test_rare_events_are_found_however_far_they_are(
    store: Store, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """What is looked for in many short looks is found whole, in order, page by page."""
    monkeypatch.setattr("service.store.sql_store._WINDOW", window)
    for number in range(9):
        await put(store, numbered(number, reference="rare" if number in (0, 1, 5) else "usual"))
        await store.change(numbered(number).id, lambda run: rules.canceled(run, 110.0))

    found = await store.events_before(wanting(reference="rare"), None, 10)
    first = await store.events_before(wanting(reference="rare"), None, 4)
    rest = await store.events_before(wanting(reference="rare"), first[-1].place, 4)
    seldom = await store.events_before(wanting(reference="rare", types=("run.canceled",)), None, 10)

    assert [decoded(event)["data"]["id"][-1] for event in found] == list("551100")
    assert first + rest == found
    assert seldom == found[::2]


async def test_events_are_filtered(store: Store) -> None:
    """By type, pattern of nodes, reference, run and workspace; what stands for itself in SQL is no pattern."""
    await put(store, numbered(1, node="text.chat", reference="r"))
    await put(store, numbered(2, node="textxchat"))
    await put(store, numbered(3, node="kling.text_to_video", reference="r"))
    await put(store, numbered(4, node="kling.textxtoxvideo"))
    await put(store, numbered(5, workspace="v"))
    await store.change(numbered(1).id, lambda run: rules.canceled(run, 110.0))

    async def of(**words: Any) -> list[str]:
        both = [
            await store.events_before(wanting(**words), None, 9),
            await store.events_after(wanting(**words), BEGIN, 9),
        ]
        assert both[0] == both[1][::-1]
        return [decoded(event)["data"]["id"][-1] for event in both[1]]

    assert await of() == ["1", "2", "3", "4", "1"]
    assert await of(types=("run.canceled",)) == ["1"]
    assert await of(types=()) == []
    assert await of(node="text.*") == ["1", "1"]
    assert await of(node="kling.text_to_video") == ["3"]
    assert await of(node="*video") == ["3", "4"]
    assert await of(reference="r", types=("run.queued",)) == ["1", "3"]
    assert await of(run=numbered(1).id) == ["1", "1"]
    assert await of(run=numbered(5).id) == []
    assert await of(workspace="v") == ["5"]


async def test_the_place_of_an_event_outlives_it(store: Store, clock: ManualClock) -> None:
    """After an event that was pruned, or is somebody else's, come those made later; after one to come, none."""
    for number in range(3):
        await put(store, numbered(number, workspace="v" if number == 1 else "w"))
        clock.time += 10
    first, third = await store.events_after(wanting(), BEGIN, 10)
    (foreign,) = await store.events_after(wanting(workspace="v"), BEGIN, 10)
    known = await store.place_of("w", first.id)
    await store.forget([numbered(0).id])

    async def after(event_id: str) -> list[str]:
        place = await store.place_of("w", event_id)
        return [event.id for event in await store.events_after(wanting(), place, 10)]

    assert known == first.place
    assert await after(first.id) == [third.id]
    assert await after(foreign.id) == [third.id]
    assert await after(first_id("evt", 0)) == [third.id]
    assert await after(third.id) == []
    assert await after(first_id("evt", clock.time)) == []
    assert await store.newest_place("nobody") == BEGIN


async def test_places_grow_even_when_all_events_were_pruned(store: Store, clock: ManualClock) -> None:
    """Whoever listens for long misses nothing that comes after an upkeep."""
    for number in range(3):
        await put(store, numbered(number))
    place = await store.newest_place("w")
    await store.forget([numbered(number).id for number in range(3)])
    clock.time += 60

    await put(store, numbered(3))

    assert await store.newest_place("w") > place


async def test_keys_are_found_by_hash_until_revoked(store: Store) -> None:
    """A key's record is found by its hash, a name is taken once, a revoked key is gone."""
    record = KeyRecord(id="key_1", name="n8n", workspace="n8n", hint="hly_abcd", created_at=100.0)

    assert await store.add_key(record, "hash")
    assert not await store.add_key(msgspec.structs.replace(record, id="key_2"), "other")
    assert await store.key_by_hash("hash") == record
    assert await store.revoke_key("n8n", 110.0)
    assert not await store.revoke_key("n8n", 111.0)
    assert await store.key_by_hash("hash") is None
    assert [key.revoked_at for key in await store.keys()] == [110.0]


DAY_S = 86400.0


async def ended(store: Store, number: int, **words: object) -> Run:
    """Store a run that ended at once, and return it."""
    run = await put(store, numbered(number, **words))
    change = await store.change(run.id, lambda current: rules.canceled(current, 100.0))
    assert change is not None
    return change.run


async def delivered(store: Store) -> None:
    """Bring every event that is due to its end."""
    for delivery in await store.claim_deliveries(1e9, {"": 100}, 60):
        entry = Entry(at=100.0, kind="delivery", detail={})
        await store.finish_delivery(delivery, DeliveryResult(state="delivered", attempts=1, due_at=None, entry=entry))


async def everything(database: Path | Secret) -> list[str]:
    """Return all that is kept, a text for each table."""
    if isinstance(database, Path):
        with contextlib.closing(sqlite3.connect(database)) as lite:
            tables = [row[0] for row in lite.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return [str(lite.execute(f"SELECT * FROM {table}").fetchall()) for table in tables]  # noqa: S608 - our own
    connection: Any = await asyncpg.connect(database.reveal())
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return [str([tuple(row) for row in await connection.fetch(f"SELECT * FROM {name}")]) for (name,) in names]  # noqa: S608
    finally:
        await connection.close()


async def forgettable(store: Store, now: float = 100 * DAY_S) -> list[str]:
    """Return the ids of runs that may go, of those that ended more than 30 days ago."""
    return [run.id for run in await store.forgettable(now - 30 * DAY_S, now, "", 100)]


async def test_a_forgotten_run_leaves_nothing(database: Path | Secret, store: Store) -> None:
    """An old run goes with every row that is its own; its neighbour stays whole."""
    webhook = Webhook(url="https://x", events=("run.queued", "run.canceled"))
    old, young = [await ended(store, number, webhook=webhook) for number in (1, 2)]
    for run in (old, young):
        await store.record_callback(run.id, b"{}", 100.0, lambda _run: None)
    await delivered(store)
    before = await store.count_rows([young.id])

    counted = await store.count_rows([old.id])
    gone = await store.forget([old.id])

    assert gone == counted == before
    assert all(number > 0 for number in gone.values())
    assert (await store.run(old.id), await store.run_input(old.id), await store.timeline(old.id)) == (None, {}, [])
    assert set((await store.count_rows([old.id])).values()) == {0}
    assert await store.count_rows([young.id]) == before
    assert [text for text in await everything(database) if old.id in text] == []


async def test_old_runs_are_found_in_order_and_batch_by_batch(store: Store) -> None:
    """Every run that ended long enough ago is found once, however small the batches are; a younger one is not."""
    runs = [await ended(store, number) for number in range(5)]
    found: list[str] = []

    while batch := await store.forgettable(100 * DAY_S, 100 * DAY_S, found[-1] if found else "", 2):
        found += [run.id for run in batch]

    assert found == [run.id for run in runs]
    assert await store.forgettable(100.0, 100 * DAY_S, "", 100) == []
    assert len(await store.forgettable(100.1, 100 * DAY_S, "", 100)) == 5


async def test_an_open_run_is_never_forgettable(store: Store) -> None:
    """However old it is, due or not, a run that has not ended stays, and the steps of a flow that has not."""
    flow = await put(store, numbered(1))
    step = await ended(store, 2, parent=flow.id)

    due = await forgettable(store)
    begun = await store.change(flow.id, lambda current: rules.submission_begun(current, 100.0))
    not_due = await forgettable(store)
    refused = rules.Refused(error=rules.ReadError(code="quota", message="no credit", retryable=False))
    following = rules.Following(pace=PACE, expects_callback=False, needs_result=True, jitter=0.5)
    await store.change(flow.id, lambda current: rules.submission_ended(current, refused, 100.0, following, attempt=1))

    assert begun is not None
    assert begun.run.due_at is None
    assert (due, not_due) == ([], [])
    assert await forgettable(store) == [flow.id, step.id]


async def test_a_watched_run_is_not_forgettable(store: Store) -> None:
    """A run that timed out stays as long as upstream is asked about it."""
    run = await put(store, numbered(1))
    following = rules.Following(pace=PACE, expects_callback=False, needs_result=True, jitter=0.5)
    accepted = rules.Accepted(reading=rules.Reading(task_id="t", state="queued"), path="/p")
    await store.change(run.id, lambda current: rules.submission_begun(current, 100.0))
    await store.change(run.id, lambda current: rules.submission_ended(current, accepted, 100.0, following, attempt=1))
    await store.expire(run.deadline_at, 10, lambda current: rules.expired(current, run.deadline_at))

    watched = await forgettable(store)
    await store.change(run.id, lambda current: Change(run=msgspec.structs.replace(current, due_at=None)))

    assert watched == []
    assert await forgettable(store) == [run.id]


async def test_a_run_whose_events_are_on_their_way_is_not_forgettable(store: Store) -> None:
    """A delivery that is not over keeps its run; one that is over, either way, does not."""
    run = await ended(store, 1, webhook=Webhook(url="https://x", events=("run.canceled",)))

    pending = await forgettable(store)
    (delivery,) = await store.claim_deliveries(1e9, {"": 10}, 60)
    entry = Entry(at=100.0, kind="delivery", detail={})
    await store.finish_delivery(delivery, DeliveryResult(state="failed", attempts=9, due_at=None, entry=entry))

    assert pending == []
    assert await forgettable(store) == [run.id]


async def test_an_idempotency_key_keeps_its_run_for_seven_days(store: Store, clock: ManualClock) -> None:
    """Forgetting a run never makes a repeated start a second one; after its week a key goes by itself."""
    key = Idempotency(scope="k", key="order-42", fingerprint="f")
    run = (await store.start(queued(numbered(1)), {}, key)).run
    await store.change(run.id, lambda current: rules.canceled(current, 100.0))
    held_until = run.created_at + 7 * DAY_S
    clock.time = held_until - 1

    held = [each.id for each in await store.forgettable(clock.time, clock.time, "", 10)]
    kept = await store.forget_keys(held_until - 1, 10)
    again = await store.start(queued(numbered(2)), {}, key)
    free = [each.id for each in await store.forgettable(held_until, held_until, "", 10)]
    counted, gone = await store.count_old_keys(held_until), await store.forget_keys(held_until, 10)

    assert (held, kept, again.replayed) == ([], 0, True)
    assert free == [run.id]
    assert (counted, gone, await store.count_old_keys(held_until)) == (1, 1, 0)


async def test_a_list_finds_the_same_runs_by_whichever_words(store: Store) -> None:
    """Words in any number narrow a list down, whichever of them finds the rows, and pages go on after an id."""
    for number in range(12):
        words = {"node": "p.a" if number % 2 else "p.b", "reference": "r" if number % 3 else None}
        run = await put(store, numbered(number, group="g" if number % 4 else None, **words))
        if number < 6:
            await store.change(run.id, lambda current: rules.canceled(current, 110.0))
    every = await store.runs(RunFilter(workspace="w"))
    assert len(every) == 12

    for state in (None, "queued", "canceled", "succeeded"):
        for node, reference, group in itertools.product((None, "p.a"), (None, "r"), (None, "g")):
            wanted = RunFilter(workspace="w", state=state, node=node, reference=reference, group=group, limit=20)
            pairs = (state, "state"), (node, "node"), (reference, "reference"), (group, "group")
            fits = [run for run in every if all(word in (None, getattr(run, name)) for word, name in pairs)]
            assert await store.runs(wanted) == fits
            after = msgspec.structs.replace(wanted, before=every[5].id)
            assert await store.runs(after) == [run for run in fits if run.id < every[5].id]


async def test_what_was_learned_is_kept_by_whoever_saw_it_last(store: Store, clock: ManualClock) -> None:
    """Of two processes that learned from the same state one is refused, and nothing that the other wrote is lost."""
    fresh = Sketch().learned(Span(1, 2))
    assert await store.sketches(["a", "b"]) == {}
    assert await store.sketches([]) == {}

    assert await store.keep_sketch("a", fresh, 0, clock.now())
    assert not await store.keep_sketch("a", Sketch().learned(Span(5, 6)), 0, clock.now())
    kept = await store.sketches(["a", "b"])
    assert kept == {"a": KeptSketch(fresh, 1)}

    learned = await asyncio.gather(
        *(store.keep_sketch("a", fresh.learned(Span(n, n + 1)), kept["a"].version, clock.now()) for n in range(5))
    )
    assert sorted(learned) == [False] * 4 + [True]
    (again,) = (await store.sketches(["a"])).values()
    assert (again.version, again.sketch.runs) == (2, 2)


async def test_what_was_learned_long_ago_is_forgotten(store: Store) -> None:
    """Kinds of tasks that nothing was added to since a moment go, others stay."""
    for kind, at in (("old", 100.0), ("new", 200.0)):
        assert await store.keep_sketch(kind, Sketch().learned(Span(1, 2)), 0, at)

    assert await store.forget_sketches(200.0) == 1
    assert [*await store.sketches(["old", "new"])] == ["new"]


async def test_the_hot_queries_use_their_indexes(tmp_path: Path, clock: ManualClock) -> None:
    """Sweeps never scan the runs: due runs, deadlines and deliveries are found by index."""
    store = store_of(tmp_path / "halley.db", clock)
    await store.open()
    await store.close()
    connection = sqlite3.connect(tmp_path / "halley.db")
    queries = {
        "runs_due": "SELECT doc FROM runs WHERE state = 'running' AND lane = 'p' AND due_at <= 1 ORDER BY due_at",
        "runs_deadline": "SELECT doc FROM runs WHERE deadline_at <= 1 ORDER BY deadline_at LIMIT 5",
        "deliveries_due": "SELECT id FROM deliveries WHERE target = 't' AND due_at <= 1 ORDER BY due_at LIMIT 5",
        "endpoints_open": "SELECT id FROM endpoints WHERE workspace IN ('w', '*') AND state = 'enabled'",
        "runs_group": "SELECT id FROM runs WHERE workspace = 'w' AND group_id = 'g' ORDER BY id LIMIT 5",
        "timeline_delivery": "SELECT at FROM timeline WHERE delivery_id = 'd' ORDER BY id LIMIT 5",
        "deliveries_run": "SELECT id FROM deliveries WHERE run_id = 'r'",
        "events_workspace": "SELECT id FROM events WHERE workspace = 'w' AND (position, id) < (9, 'e')"
        " ORDER BY position DESC, id DESC LIMIT 5",
        "run_id=?": "SELECT id FROM events WHERE run_id = 'r' AND +workspace = 'w' AND (position, id) < (9, 'e')",
        "idempotency_expiry": "SELECT key FROM idempotency_keys WHERE expires_at <= 1 ORDER BY expires_at LIMIT 5",
    }

    for index, query in queries.items():
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
        assert index in plan
        assert "TEMP B-TREE" not in plan
    connection.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path, clock: ManualClock) -> None:
    """A corrupt file is a clear error with its path, and it is left as it is."""
    path = tmp_path / "halley.db"
    path.write_bytes(b"this is not a database" * 100)

    with pytest.raises(StoreError, match=r"halley\.db"):
        await store_of(path, clock).open()
    assert path.read_bytes().startswith(b"this is not")


async def test_a_newer_database_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    """A database of a later version is not touched."""
    path = tmp_path / "halley.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()

    with pytest.raises(StoreError, match="newer"):
        await store_of(path, clock).open()
