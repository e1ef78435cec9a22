"""What every store must do for groups, over SQLite and over PostgreSQL alike."""

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from service.artifacts.retention import Retention
from service.artifacts.vault import FolderVault
from service.errors import StoreError
from service.lifecycle import transitions as rules
from service.lifecycle.endpoint import Endpoint, disabled
from service.lifecycle.group import Group, GroupChange, closed, looked_at
from service.lifecycle.run import Change, Entry, Run, Webhook
from service.lifecycle.transitions import queued
from service.log import silent_log
from service.settings import Secret
from service.store.base import EventFilter, Store
from service.store.groups import Member
from service.store.opening import store_of
from service.store.outbox import DeliveryResult
from service.store.sql_store import SqlStore
from service.store.starts import Allowance, Idempotency
from service.workers.gatherer import Gatherer
from tests.fakes.clock import ManualClock
from tests.unit.lifecycle.test_transitions import a_run

DAY_S = 86400.0


def a_run_of(key: str, number: int) -> Run:
    """Return a queued run of a group."""
    return a_run("queued", id=f"run_{number:026d}", callback_token=f"token-{number}", group=key)


def a_group(number: int = 1, **words: object) -> Group:
    """Return a group that has not been looked at."""
    made = Group(id=f"grp_{number:026d}", workspace="w", created_at=100.0, deadline_at=5000.0, due_at=5000.0)
    return msgspec.structs.replace(made, **words)


def members(group: Group, *numbers: int) -> list[Member]:
    """Return the runs that a group starts with."""
    return [Member(queued(a_run_of(group.key, number)), {"n": number}) for number in numbers]


def an_endpoint() -> Endpoint:
    """Return an endpoint that wants to hear of endpoints."""
    words = {"url": "u", "url_hash": "h", "origin": "o"}
    return Endpoint(id="ep_1", workspace="w", types=("endpoint.disabled",), created_at=100.0, **words)


async def ended(store: Store, run_id: str) -> Change | None:
    """End a run."""
    return await store.change(run_id, lambda run: rules.canceled(run, 110.0))


def gatherer(store: Store, clock: ManualClock) -> Gatherer:
    """Return a worker that completes groups."""
    return Gatherer(store, clock, lambda _change: None, silent_log())


async def told(store: Store) -> list[str]:
    """Return which groups have completed, by their events."""
    wanted = EventFilter(workspace="w", types=("group.completed",))
    for _ in range(100):  # on PostgreSQL an event is listed once the transactions begun before it have ended
        found = await store.events_before(wanted, None, 100)
        if found:
            return [msgspec.json.decode(event.body)["data"]["id"] for event in found]
        await asyncio.sleep(0.01)
    return []


async def test_a_group_starts_with_its_runs_or_not_at_all(store: Store) -> None:
    """Group and runs come back as they went in; one bad row leaves none of them, and news of nothing."""
    group = a_group(size=2, webhook=Webhook(url="u", events=("group.completed",)), outcomes=("run_1", {"status": 422}))
    bad = members(a_group(2), 8, 9)
    bad[1] = Member(queued(msgspec.structs.replace(bad[1].change.run, callback_token="token-8")), {})
    with pytest.raises((StoreError, sqlite3.IntegrityError)):
        await store.start_group(a_group(2, size=2), bad, None, None)
    started = await store.start_group(group, members(group, 1, 2), None, None)

    assert started.run.id == a_run_of("", 1).id
    assert await store.group("w", group.id) == group
    assert (await store.group("elsewhere", group.id), await store.group("w", a_group(2).id)) == (None, None)
    assert [run.id for run in await store.group_runs("w", group.key, 10)] == [a_run_of("", n).id for n in (1, 2)]
    assert await store.group_states("w", [group.key, "none"]) == {group.key: {"queued": 2}, "none": {}}
    assert await store.run_input(a_run_of("", 2).id) == {"n": 2}
    assert await store.group_news(100.0, 10) == []


async def test_a_key_starts_a_group_once(store: Store, clock: ManualClock) -> None:
    """The same request again is told the first group's run; another is told that the key is taken."""
    key = Idempotency(scope="k", key="album", fingerprint="f")
    answers = await asyncio.gather(
        *(store.start_group(a_group(n, size=2), members(a_group(n), 2 * n, 2 * n + 1), key, None) for n in (1, 2, 3))
    )
    other = msgspec.structs.replace(key, fingerprint="g")
    refused = await store.start_group(a_group(4, size=1), members(a_group(4), 9), other, None)
    first = next(each.run for each in answers if not each.replayed)

    assert sorted(each.replayed for each in answers) == [False, True, True]
    assert {each.run.id for each in answers} == {first.id}
    assert (refused.key_reused, refused.run.id) == (True, first.id)
    assert [group.id for group in await store.groups("w")] == [first.group]
    assert len(await store.group_runs("w", str(first.group), 10)) == 2
    assert await store.run_of_key("k", "album", clock.time) == ("f", first)
    assert await store.run_of_key("k", "album", clock.time + 8 * DAY_S) is None


async def test_a_group_counts_all_its_runs_against_the_day(store: Store) -> None:
    """What does not fit into a day is not started in part; what fits is counted."""
    allowance = Allowance(key_id="key_1", runs_per_day=4)
    over = await store.start_group(a_group(1), members(a_group(1), 1, 2, 3, 4, 5), None, allowance)
    fits = await store.start_group(a_group(2), members(a_group(2), 6, 7, 8), None, allowance)
    again = await store.start_group(a_group(3), members(a_group(3), 9, 10), None, allowance)
    last = await store.start(queued(a_run_of("", 11)), {}, None, allowance)

    assert [each.over_allowance for each in (over, fits, again, last)] == [True, False, True, False]
    assert [group.id for group in await store.groups("w")] == [a_group(2).id]
    assert [group.id for group in await store.groups("w", state="open")] == [a_group(2).id]
    assert await store.groups("w", state="completed") == []


async def test_a_name_is_taken_once(store: Store) -> None:
    """However many make a group of one name or one key at once, there is one, in each workspace."""
    named = await asyncio.gather(*(store.add_group(a_group(number, name="album")) for number in range(1, 5)))
    keyed = [await store.add_group(a_group(number, identity="key", fingerprint=str(number))) for number in (5, 6)]
    foreign = await store.add_group(a_group(7, name="album", workspace="elsewhere"))

    assert len({group.id for group in named}) == 1
    assert await store.group("w", "album") == named[0]
    assert [(group.id, group.fingerprint) for group in keyed] == [(a_group(5).id, "5")] * 2
    assert await store.group_of_identity("w", "key") == keyed[0]
    assert foreign.id == a_group(7).id
    page = await store.groups("w", state="open", limit=1)
    assert [each.id for each in (*page, *await store.groups("w", before=page[0].id))] == [keyed[0].id, named[0].id]


async def test_the_end_of_a_run_is_news_of_its_group(store: Store) -> None:
    """News are there with the end and until they are forgotten; a label may come to be a group's name."""
    group = a_group(size=2)
    await store.start_group(group, members(group, 1, 2), None, None)
    await store.start(queued(a_run_of("label", 3)), {}, None)
    before = await store.group_news(100.0, 10)
    await ended(store, a_run_of("", 1).id)
    await ended(store, a_run_of("", 3).id)
    news = {each.group and each.group.id: each.ids for each in await store.group_news(100.0, 10)}
    late = await store.add_group(a_group(2, name="label", due_at=100.0))
    found = {each.group and each.group.id for each in await store.group_news(100.0, 10)}
    await store.forget_news(news[group.id])

    assert before == []
    assert news.keys() == {group.id, None}
    assert found == {group.id, late.id}
    assert [each.group for each in await store.group_news(100.0, 10)] == [late]


async def test_a_group_completes_once_whoever_looks(
    database: Path | Secret, store: SqlStore, clock: ManualClock
) -> None:
    """Two workers that look again and again while runs end, and after it, write one event with its delivery."""
    group = a_group(size=8, webhook=Webhook(url="u", target="t", events=("group.completed",)))
    await store.start_group(group, members(group, *range(8)), None, None)
    other = store_of(database, clock) if isinstance(database, Secret) else store
    if other is not store:
        await other.open()
    workers = [gatherer(store, clock), gatherer(other, clock)]

    async def look() -> None:
        for _ in range(6):
            await asyncio.gather(*(worker.run_once() for worker in workers))

    await asyncio.gather(*(ended((store, other)[n % 2], a_run_of("", n).id) for n in range(8)), look())
    await look()
    kept = await store.group("w", group.id)
    await store.add_group(a_group(2, name="other", due_at=100.0))
    deliveries = await store.claim_deliveries(1e9, {"t": 10, "": 10}, 60)
    if other is not store:
        await other.close()

    assert kept is not None
    assert (kept.state, kept.reason) == ("completed", "all_ended")
    assert await told(store) == [group.id]
    assert [(each.event_type, each.run_id, each.url) for each in deliveries] == [("group.completed", group.id, "u")]
    assert all(run["state"] == "canceled" for run in msgspec.json.decode(deliveries[0].body)["data"]["runs"])
    assert [each.ids for each in await store.group_news(clock.time, 10)] == [()]  # the group that is new


async def test_a_look_that_was_overtaken_counts_for_nothing(store: SqlStore, clock: ManualClock) -> None:
    """A group that is closed while somebody looks at it is looked at again, and not put off to its deadline."""
    group = await store.add_group(a_group(1, name="feed", due_at=100.0))
    await store.start(queued(a_run_of("feed", 1)), {}, None)
    await ended(store, a_run_of("", 1).id)

    class Closing:
        """Closes the group after its runs have been read."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        async def group_runs(self, workspace: str, key: str, limit: int) -> list[Run]:
            await store.change_group(group.id, lambda current: closed(current, 1, 100.0))
            return await store.group_runs(workspace, key, limit)

    again = await gatherer(Closing(), clock).run_once()  # type: ignore[arg-type]
    between = await store.group("w", "feed")
    await gatherer(store, clock).run_once()

    assert again
    assert between is not None
    assert (between.state, between.due_at, len(await store.group_news(100.0, 10))) == ("open", 100.0, 0)
    assert await told(store) == [group.id]


async def test_a_group_is_changed_by_one_at_a_time(store: Store) -> None:
    """A decision is made on the group as it is, so of two that complete it one finds it completed."""
    group = a_group(size=1)
    await store.start_group(group, members(group, 1), None, None)
    run = await ended(store, a_run_of("", 1).id)
    assert run is not None

    def complete(current: Group) -> GroupChange | None:
        return looked_at(current, [run.run], 120.0)

    changes = await asyncio.gather(*(store.change_group(group.id, complete) for _ in range(5)))

    assert sum(change is not None for change in changes) == 1
    assert await store.change_group("grp_none", complete) is None


async def test_what_belongs_to_an_open_group_is_kept(store: SqlStore, clock: ManualClock) -> None:
    """Runs go once their group is over; the group with its event once that is delivered and no key holds it."""
    clock.time = 200.0
    group = a_group(size=1, webhook=Webhook(url="u", target="t", events=("group.completed",)))
    key = Idempotency(scope="k", key="album", fingerprint="f", kept_s=1000.0)
    await store.start_group(group, members(group, 1), key, None)
    await store.add_group(a_group(2, name="feed", identity="i", due_at=100.0, size=0))
    await ended(store, a_run_of("", 1).id)

    async def forgettable(now: float) -> tuple[list[str], list[str]]:
        runs = await store.forgettable(now, now, "", 10)
        return [run.id for run in runs], await store.forgettable_groups(now, now, "", 10)

    while_open = await forgettable(5000.0)
    await gatherer(store, clock).run_once()
    while_told = await forgettable(5000.0)
    for delivery in await store.claim_deliveries(5000.0, {"t": 10}, 60):
        entry = Entry(at=5000.0, kind="delivery", detail={})
        done = DeliveryResult(state="delivered", attempts=1, due_at=None, entry=entry)
        await store.finish_delivery(delivery, done)
    while_held = await forgettable(1000.0)
    at_last = await forgettable(5000.0)
    after_a_week = await forgettable(8 * DAY_S)
    counted = await store.count_rows([group.id], "groups")
    gone = await store.forget([group.id], "groups")

    assert while_open == ([], [])
    assert while_told == ([a_run_of("", 1).id], [])
    assert while_held == ([], [])
    assert at_last == ([a_run_of("", 1).id], [group.id])
    assert after_a_week[1] == [group.id, a_group(2).id]
    assert counted == gone == {"groups": 1, "events": 1, "deliveries": 1, "timeline": 1}
    assert await store.group("w", group.id) is None


async def test_old_events_of_endpoints_go_by_themselves(store: SqlStore, clock: ManualClock) -> None:
    """They belong to nothing that ends, so their own age counts."""
    kept = await store.add_endpoint(an_endpoint())
    await store.change_endpoint(kept.id, lambda current: disabled(current, clock.time, "gone"))
    (found,) = await store.forgettable_events(101.0, "", 10)

    assert await store.forgettable_events(100.0, "", 10) == []
    assert await store.forgettable_events(101.0, found, 10) == []
    counted = await store.count_rows([found], "events")
    assert counted == await store.forget([found], "events")
    assert counted["events"] == 1
    assert await store.forgettable_events(101.0, "", 10) == []


async def test_old_groups_are_pruned_with_their_runs(store: SqlStore, clock: ManualClock, tmp_path: Path) -> None:
    """What a dry run counts is what goes, events of endpoints as well; what is young or open stays."""
    for number in (1, 2, 3):
        group = a_group(number, size=1 if number < 3 else 2)
        await store.start_group(group, members(group, number), None, None)
    await store.add_endpoint(an_endpoint())
    await store.change_endpoint("ep_1", lambda current: disabled(current, clock.time, "gone"))
    for number, at in ((1, 110.0), (2, 900.0), (3, 110.0)):
        clock.time = at
        await store.change(a_run_of("", number).id, lambda run: rules.canceled(run, clock.time))
        await gatherer(store, clock).run_once()
    clock.time = 1000.0
    retention = Retention(store, FolderVault(tmp_path / "vault"), clock)

    async def pruned(*, dry_run: bool) -> Counter[str]:
        gone = Counter[str]()
        async for batch in retention.forget(500.0, dry_run=dry_run):
            gone.update(batch)
        return +gone

    counted = await pruned(dry_run=True)
    gone = await pruned(dry_run=False)

    assert counted == gone
    assert {name: gone[name] for name in ("runs", "groups", "events")} == {"runs": 1, "groups": 1, "events": 4}
    assert [group.id for group in await store.groups("w")] == [a_group(n).id for n in (3, 2)]
    assert [len(await store.group_runs("w", a_group(n).id, 10)) for n in (1, 2, 3)] == [0, 1, 1]
    assert await pruned(dry_run=False) == Counter()
