"""Endpoints and their deliveries in the store, over SQLite and over PostgreSQL alike."""

import asyncio
from typing import Any

import msgspec

from service.ids import first_id, new_id
from service.lifecycle import transitions as rules
from service.lifecycle.endpoint import EVERYWHERE, Endpoint, EndpointChange, attempted, disabled
from service.lifecycle.run import Entry, Run, Webhook
from service.store.outbox import DeliveryFilter, DeliveryResult
from service.store.sql_store import SqlStore
from tests.conformance.test_store import ManualClock, numbered, put

QUEUED = ("run.queued",)
ATTEMPT = Entry(at=100.0, kind="delivery", detail={"outcome": "failed"})


def an_endpoint(number: int, **words: Any) -> Endpoint:
    """Return an endpoint of its own that wants to hear of queued runs."""
    ident = f"ep_{number:026d}"
    plain = {"workspace": "w", "url": "sealed", "url_hash": ident, "origin": "https://x", "types": QUEUED}
    return Endpoint(**{"id": ident, "created_at": 1.0, **plain, **words})


async def told(store: SqlStore, endpoint: str, **words: Any) -> list[str]:
    """Return the runs that deliveries of an endpoint tell of."""
    found = await store.deliveries(DeliveryFilter(workspace="w", endpoint=endpoint, **words))
    return sorted(each.run_id for each in found)


async def test_an_endpoint_comes_back_as_it_went_in(store: SqlStore) -> None:
    """The same events at the same URL are one endpoint, whoever comes first; others are their own."""
    first, twin = an_endpoint(1, nodes=("text.*",)), an_endpoint(2, url_hash=an_endpoint(1).url_hash, nodes=("text.*",))
    other = an_endpoint(3, url_hash=first.url_hash)
    kept = await asyncio.gather(*(store.add_endpoint(each) for each in (first, other)))
    again = await store.add_endpoint(twin)

    assert [each.id for each in kept] == [first.id, other.id]
    assert again == first
    assert await store.endpoint(first.id) == first
    assert await store.endpoint(twin.id) is None
    assert {each.id for each in await store.endpoints("w", url_hash=first.url_hash)} == {first.id, other.id}
    assert [each.id for each in await store.endpoints("w", before=other.id)] == [first.id]
    assert await store.endpoints("elsewhere") == []


async def test_an_event_is_written_with_a_delivery_for_each_that_wants_it(store: SqlStore, clock: ManualClock) -> None:
    """All words of a filter must fit; `%` and `_` are themselves; who is disabled or expired hears nothing."""
    words: list[dict[str, Any]] = [
        {},
        {"types": ("run.failed",)},
        {"nodes": ("p.*",)},
        {"nodes": ("p%", "p_n", "q.*")},
        {"reference_prefix": "order-"},
        {"reference_prefix": "Order-"},
        {"group": "g"},
        {"group": "h"},
        {"state": "disabled"},
        {"expires_at": clock.now()},
        {"workspace": "elsewhere"},
        {"workspace": EVERYWHERE, "id": "nats://broker/place"},
    ]
    made = [await store.add_endpoint(an_endpoint(number, **each)) for number, each in enumerate(words)]
    await put(store, numbered(1, reference="order-42", group="g"))
    due = {each.target for each in await store.due_targets(clock.now())}

    assert due == {made[number].id for number in (0, 2, 4, 6, 11)}
    assert await told(store, made[0].id) == [numbered(1).id]
    assert await told(store, made[11].id) == []  # the operator's own are not the tenants' to see


async def test_targets_are_claimed_as_far_as_there_is_room(store: SqlStore, clock: ManualClock) -> None:
    """Each target gives what it is asked for and no more, the longest due first; an endpoint's limits are told."""
    await store.add_endpoint(an_endpoint(1, concurrency=3, rate_per_s=0.5))
    for number in range(6):
        clock.time += 1
        await put(store, numbered(number, webhook=Webhook(url="u", target=f"t{number % 2}", events=QUEUED)))
    due = await store.due_targets(clock.now())
    first = await store.claim_deliveries(clock.now(), {an_endpoint(1).id: 2, "t0": 1, "t1": 9, "none": 5}, 60.0)
    rest = await store.due_targets(clock.now())

    assert {each.target: (each.concurrency, each.rate_per_s) for each in due} == {
        an_endpoint(1).id: (3, 0.5),
        "t0": (None, None),
        "t1": (None, None),
    }
    claimed = sorted((each.target, each.run_id) for each in first)
    assert claimed == sorted(
        [(an_endpoint(1).id, numbered(0).id), (an_endpoint(1).id, numbered(1).id), ("t0", numbered(0).id)]
        + [("t1", numbered(number).id) for number in (1, 3, 5)]
    )
    assert {each.target for each in rest} == {an_endpoint(1).id, "t0"}


async def test_a_change_of_an_endpoint_tells_of_itself(store: SqlStore, clock: ManualClock) -> None:
    """Two that decide at once decide one after the other; its one event goes to who wants it, not to itself."""
    endpoint = await store.add_endpoint(an_endpoint(1, types=("endpoint.disabled",)))
    other = await store.add_endpoint(an_endpoint(2, types=("endpoint.disabled",)))
    changes = await asyncio.gather(
        *(store.change_endpoint(endpoint.id, lambda now: disabled(now, 100.0, "gone")) for _ in range(5))
    )
    (delivery,) = await store.deliveries(DeliveryFilter(workspace="w"))
    body = await store.body_of("w", delivery.event_id)

    assert sum(each is not None for each in changes) == 1
    assert (delivery.endpoint_id, delivery.run_id, delivery.event_type) == (other.id, endpoint.id, "endpoint.disabled")
    assert body is not None
    assert msgspec.json.decode(body[1])["data"]["disabled_reason"] == "gone"
    assert await store.body_of("elsewhere", delivery.event_id) is None


async def test_what_was_given_up_or_missed_is_recovered_once(store: SqlStore, clock: ManualClock) -> None:
    """Since a moment: failed deliveries go out again, missed events for the first time, delivered ones not at all."""
    endpoint = await store.add_endpoint(an_endpoint(1, reference_prefix="a"))
    for number in range(4):
        clock.time = 1000.0 * (number + 1)
        if number == 2:
            await store.change_endpoint(endpoint.id, lambda now: disabled(now, clock.time, "manual"))
        await put(store, numbered_at(number, clock.now(), reference="a"))
        await put(store, numbered_at(number + 10, clock.now(), reference="b"))
    claimed = await store.claim_deliveries(clock.now(), {endpoint.id: 10}, 60.0)
    for place, delivery in enumerate(sorted(claimed, key=lambda each: each.run_id)):
        state = "delivered" if place else "failed"
        await store.finish_delivery(
            delivery, DeliveryResult(state=state, attempts=9, due_at=None, outcome="failed", entry=ATTEMPT)
        )
    late = await store.recover(endpoint.id, 3500.0, clock.now())
    all_of_them = await store.recover(endpoint.id, 0.0, clock.now())
    again = await store.recover(endpoint.id, 0.0, clock.now())
    pending = await store.deliveries(DeliveryFilter(workspace="w", endpoint=endpoint.id, state="pending"))

    assert (late, all_of_them, again) == (1, 2, 0)
    assert sorted(each.run_id[-1] for each in pending) == ["0", "2", "3"]
    assert {each.attempts for each in pending} == {0}


async def test_attempts_are_kept_and_deliveries_sent_again(store: SqlStore, clock: ManualClock) -> None:
    """The log holds each attempt; what has ended is sent again from the bottom of the ladder, what is under way not."""
    await store.add_endpoint(an_endpoint(1))
    await put(store, numbered(1))
    (claimed,) = await store.claim_deliveries(clock.now(), {an_endpoint(1).id: 1}, 60.0)
    under_way = await store.send_again([claimed.id], clock.now())
    result = DeliveryResult(state="failed", attempts=1, due_at=None, outcome="gone", status=410, entry=ATTEMPT)
    await store.finish_delivery(claimed, result)
    ended = await store.delivery("w", claimed.id)
    assert ended is not None
    await store.note_attempt(ended, ATTEMPT)
    sent = await store.send_again([claimed.id], 200.0)
    (again,) = await store.claim_deliveries(200.0, {an_endpoint(1).id: 1}, 60.0)

    assert (under_way, sent) == (0, 1)
    assert (ended.state, ended.outcome, ended.status, ended.attempted_at) == ("failed", "gone", 410, 100.0)
    assert (again.id, again.attempts, again.first_at) == (claimed.id, 0, 200.0)
    assert await store.attempts(claimed.id) == [ATTEMPT, ATTEMPT]
    assert [each.kind for each in await store.timeline(numbered(1).id)] == ["state", "delivery", "delivery"]
    assert await store.delivery("elsewhere", claimed.id) is None


async def test_an_event_is_replayed_to_all_or_to_one(store: SqlStore, clock: ManualClock) -> None:
    """To all that it went to; to one endpoint also when it was not there at the time, once."""
    await store.add_endpoint(an_endpoint(1))
    await put(store, numbered(1))
    (claimed,) = await store.claim_deliveries(clock.now(), {an_endpoint(1).id: 1}, 60.0)
    await store.finish_delivery(claimed, DeliveryResult(state="delivered", attempts=1, due_at=None, entry=ATTEMPT))
    late = await store.add_endpoint(an_endpoint(2, types=("run.failed",)))
    counts = [await store.replay("w", claimed.event_id, each, clock.now()) for each in (None, late.id, late.id)]
    foreign = await store.replay("elsewhere", claimed.event_id, None, clock.now())

    assert counts == [1, 1, 1]
    assert foreign == 0
    assert await told(store, late.id, state="pending") == [numbered(1).id]
    assert len(await store.deliveries(DeliveryFilter(workspace="w", event=claimed.event_id))) == 2


async def test_endpoints_are_looked_at_when_their_time_comes(store: SqlStore) -> None:
    """Those that are due are found, and who wants progress; a change moves both."""
    endpoint = await store.add_endpoint(an_endpoint(1, types=("run.progressed",), due_at=50.0))
    before = (await store.due_endpoints(49.0, 10), await store.due_endpoints(50.0, 10), await store.progress_wanted())
    replace = msgspec.structs.replace
    await store.change_endpoint(
        endpoint.id, lambda now: EndpointChange(endpoint=replace(now, due_at=None, types=QUEUED))
    )
    await store.change_endpoint(endpoint.id, lambda now: attempted(now, 9.0, is_delivered=True, is_gone=False))

    assert (before[0], [each.id for each in before[1]], before[2]) == ([], [endpoint.id], {"w"})
    assert (await store.due_endpoints(1e9, 10), await store.progress_wanted()) == ([], frozenset())


async def test_a_deleted_endpoint_hears_nothing_more(store: SqlStore, clock: ManualClock) -> None:
    """Its deliveries stay in the log; of another workspace nobody deletes it."""
    endpoint = await store.add_endpoint(an_endpoint(1))
    await put(store, numbered(1))
    await store.delete_endpoint("elsewhere", endpoint.id)
    kept = await store.endpoint(endpoint.id)
    await store.delete_endpoint("w", endpoint.id)
    await put(store, numbered(2))

    assert kept == endpoint
    assert await store.endpoint(endpoint.id) is None
    assert await told(store, endpoint.id) == [numbered(1).id]


async def test_the_end_of_a_run_is_told_to_endpoints_in_its_transaction(store: SqlStore) -> None:
    """A change that loses against another tells nobody."""
    endpoint = await store.add_endpoint(an_endpoint(1, types=("run.canceled",)))
    run = await put(store, numbered(1))
    await asyncio.gather(*(store.change(run.id, lambda now: rules.canceled(now, 120.0)) for _ in range(6)))

    assert await told(store, endpoint.id) == [run.id]


def numbered_at(number: int, at: float, **words: Any) -> Run:
    """Return a run whose events bear the time."""
    assert new_id("evt", at) >= first_id("evt", at)
    return numbered(number, created_at=at, **words)
