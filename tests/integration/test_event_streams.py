"""Events for whoever has no URL: the list of polling triggers, and the stream, over a real server."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from service.ids import new_id
from service.lifecycle.run import Change
from service.simulator import Simulator
from service.store.base import EventFilter, KeptEvent, Place, Store
from tests.fakes.house import TUNING, House, free_port, house, quick_simulator
from tests.fakes.listener import listening
from tests.fakes.postgres import PostgresServer
from tests.fakes.receiver import Receiver
from tests.fakes.replicas import replica
from tests.unit.lifecycle.test_transitions import a_run

T2V, IMAGINE, CHAT = "kling.text_to_video", "midjourney.imagine", "text.chat"
HELLO = {"model": "gpt-5.4", "prompt": "hello"}
WHOLE = ["run.queued", "run.running", "run.succeeded"]
LASTING = msgspec.structs.replace(TUNING, stream_cap_s=3600.0, keep_alive_s=0.1)


@pytest.fixture
async def lasting(tmp_path: Path, sim: Simulator) -> AsyncIterator[House]:
    """A Halley whose streams last."""
    async with house(tmp_path / "lasting", sim, tuning=LASTING) as running:
        yield running


async def listed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """Return a page of events."""
    answer = await client.get("/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


async def whole(halley: House, count: int, **query: Any) -> list[str]:
    """Carry out runs one after the other; returns their ids."""
    ids = []
    for _ in range(count):
        started = await halley.start(T2V, {"prompt": "a comet"}, **query)
        ids.append((await halley.end(started.json()["id"]))["id"])
    return ids


# -- the list


async def test_the_list_is_what_receivers_get(halley: House, receiver: Receiver) -> None:
    """Newest first, each event as it was delivered, byte for byte."""
    started = await halley.start(T2V, {"prompt": "a comet"}, webhook_url=receiver.url, webhook_events=",".join(WHOLE))
    got = {each.event["id"]: each.body for each in await receiver.wait_for(3)}
    answer = await halley.client.get("/v1/events")

    page = msgspec.json.decode(answer.content, type=dict[str, msgspec.Raw])
    bodies = [bytes(raw) for raw in msgspec.json.decode(page["data"], type=list[msgspec.Raw])]
    events = [msgspec.json.decode(body) for body in bodies]
    assert answer.json()["next"] is None
    assert [event["type"] for event in events] == WHOLE[::-1]
    assert {event["data"]["id"] for event in events} == {started.json()["id"]}
    assert {event["id"]: body for event, body in zip(events, bodies, strict=True)} == got


async def test_the_list_is_filtered(halley: House) -> None:
    """By types, patterns of nodes, reference and run; what is wrong is refused by name."""
    (video,) = await whole(halley, 1, reference="order-42")
    chat = (await halley.start(CHAT, HELLO)).json()
    client = halley.client

    ended = await listed(client, type="run.succeeded,run.failed")
    repeated = await listed(client, type=["run.succeeded", "run.failed"])
    wrong = await client.get(
        "/v1/events", params={"type": "run.walking", "node": "A b", "after": "evt_1", "limit": 201}
    )

    assert [event["data"]["id"] for event in ended] == [chat["id"], video]
    assert repeated == ended
    assert {event["data"]["id"] for event in await listed(client, node="kling.*")} == {video}
    assert {event["data"]["id"] for event in await listed(client, reference="order-42")} == {video}
    assert {event["data"]["id"] for event in await listed(client, run=chat["id"])} == {chat["id"]}
    assert await listed(client, node="kling.*", run=chat["id"]) == []
    assert wrong.status_code == 422
    pointers = {fault["pointer"] for fault in wrong.json()["errors"]}
    assert pointers == {"query:type/0", "query:node", "query:after", "query:limit"}


async def test_progress_is_told_to_who_asked_for_it(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """It is written where a run's webhook asks for it, and listed and streamed where the type is asked for."""
    asks = {"webhook_url": receiver.url, "webhook_events": "run.progressed"}
    async with (
        house(tmp_path, sim, public=False, tuning=LASTING) as halley,
        listening(halley.client) as plain,
        listening(halley.client, type="run.progressed") as asking,
    ):
        ids = [
            (await halley.start(IMAGINE, {"prompt": "x [[duration:2]]"}, **each)).json()["id"] for each in (asks, {})
        ]
        for run_id in ids:
            await halley.end(run_id)
        moved = await asking.next()
        told = await plain.take(6)
        progressed = await listed(halley.client, type="run.progressed")
        every = await listed(halley.client)

    assert moved.data["data"]["id"] == ids[0]
    assert {event["data"]["id"] for event in progressed} == {ids[0]}
    assert "run.progressed" not in {event.name for event in told}
    assert [event.data for event in told] == every[::-1]


async def test_pages_hold_every_event_once_while_others_come(halley: House) -> None:
    """By `next` to the oldest, and by `after` to the newest; filters go on with the pages."""
    await whole(halley, 2)
    first = (await halley.client.get("/v1/events", params={"limit": 2, "type": WHOLE})).json()
    past, following = first["data"], first["next"]
    while following:
        await whole(halley, 1)
        page = (await halley.client.get(following)).json()
        past, following = past + page["data"], page["next"]

    present, query = [past[-1]], {"after": past[-1]["id"], "limit": 4}
    page = (await halley.client.get("/v1/events", params=query)).json()
    present += page["data"]
    while page["next"]:
        page = (await halley.client.get(page["next"])).json()
        present += page["data"]
    newest = await listed(halley.client, limit=200)

    assert len(past) == 6
    assert past == newest[-6:]
    assert present == newest[::-1]
    assert await listed(halley.client, after=newest[0]["id"]) == []


# -- the stream


async def test_events_are_told_as_they_come(lasting: House) -> None:
    """Each with its id, its type and its whole body, in order, at once; what was before is not told."""
    await whole(lasting, 1)
    async with listening(lasting.client) as listener:
        before = listener.last_id
        (run_id,) = await whole(lasting, 1)
        told = await listener.take(3)

    newest = await listed(lasting.client, limit=4)
    headers = listener.response.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert [event.name for event in told] == WHOLE
    assert [event.data for event in told] == newest[2::-1]
    assert [event.id for event in told] == [event.data["id"] for event in told]
    assert {event.data["data"]["id"] for event in told} == {run_id}
    assert before == newest[3]["id"]


async def test_a_stream_is_filtered_and_goes_on_behind_what_does_not_fit(lasting: House) -> None:
    """What the filter leaves out moves the place, so nobody who comes back has it looked through again."""
    async with listening(lasting.client, node="text.*", type="run.succeeded") as listener:
        await whole(lasting, 1)
        passed = (await listed(lasting.client))[0]["id"]
        while listener.last_id != passed:
            assert await listener.block() is None
        chat = (await lasting.start(CHAT, HELLO)).json()
        told = await listener.next()

    assert listener.comments > 0
    assert (told.name, told.data["data"]["id"]) == ("run.succeeded", chat["id"])


async def test_nothing_is_missed_by_who_comes_back(tmp_path: Path, sim: Simulator) -> None:
    """After a restart of Halley all that came meanwhile is told first; by header, or by query for polyfills."""
    port = free_port()
    async with house(tmp_path, sim, port=port, tuning=LASTING) as before:
        async with listening(before.client) as listener:
            await whole(before, 1)
            told = await listener.take(2)
        await whole(before, 1)
    async with house(tmp_path, sim, port=port, tuning=LASTING) as after:
        async with listening(after.client, listener.last_id) as again:
            told += await again.take(4)
            await whole(after, 1)
            told += await again.take(3)
        async with listening(after.client, last_event_id=told[6].id) as polyfill:
            last = await polyfill.take(2)
        every = await listed(after.client)

    assert [event.data for event in told] == every[::-1]
    assert last == told[7:]


async def test_who_comes_back_after_every_end_is_told_of_each_event_once(halley: House) -> None:
    """Streams end after a while, in good order; before the first event there is a place to come back to as well."""
    told, last_id = [], ""
    async with listening(halley.client) as listener:
        last_id = listener.last_id
        await listener.rest()
    runs = asyncio.create_task(whole(halley, 3))
    while not runs.done() or len(told) < 9:
        async with listening(halley.client, last_id) as listener:
            told += await listener.rest()
            last_id = listener.last_id

    assert [event.data for event in told] == (await listed(halley.client))[::-1]


async def test_an_id_that_is_not_there_is_no_error(lasting: House) -> None:
    """After one that was pruned comes what was made later; what is no id is passed over, and it begins now."""
    old, *_ = await whole(lasting, 2)
    store = lasting.app.state.services.store
    gone = (await listed(lasting.client, run=old))[0]["id"]
    await store.forget([old])

    async with listening(lasting.client, gone) as pruned, listening(lasting.client, "hello") as odd:
        told = await pruned.take(3)
        await whole(lasting, 1)
        now = await odd.take(3)

    every = (await listed(lasting.client))[::-1]
    assert [event.data for event in (*told, *now)] == every


class Counting:
    """A store that counts the events which are read for streams."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read = 0
        self.has_read = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def events_after(self, wanted: EventFilter, after: Place, limit: int) -> list[KeptEvent]:
        """Count what is read."""
        found = await self._store.events_after(wanted, after, limit)
        self.read += len(found)
        self.has_read.set()
        return found


async def test_a_slow_reader_costs_no_memory_and_loses_nothing(tmp_path: Path, sim: Simulator) -> None:
    """While it does not read, no more is read for it than the connection holds; then all comes, in order."""
    counting: list[Counting] = []

    def around(store: Store) -> Store:
        counting.append(Counting(store))
        return counting[0]  # type: ignore[return-value]  # it passes everything on

    tuning = msgspec.structs.replace(LASTING, around_store=around)
    async with house(tmp_path, sim, tuning=tuning) as halley, listening(halley.client) as listener:
        services, ids = halley.app.state.services, []
        for number in range(300):
            ids.append(new_id("run", services.clock.now()))
            words = {"id": ids[-1], "callback_token": f"token-{number}", "workspace": "default"}
            run = a_run("succeeded", **words, input={"prompt": "x" * 200_000}, due_at=None)
            await services.store.start(Change(run=run, events=("run.succeeded",)), {}, None)
        async with asyncio.timeout(20):
            await counting[0].has_read.wait()
        await asyncio.sleep(0.5)  # that nothing more is read can only be seen by waiting
        while_it_slept = counting[0].read
        told = await listener.take(300)

    assert [event.data["data"]["id"] for event in told] == ids
    assert while_it_slept < 150


async def test_a_stop_ends_streams_in_good_order(tmp_path: Path) -> None:
    """A listener hears the end, not a broken connection, and holds up no stop."""
    async with quick_simulator() as sim, replica(tmp_path, sim.url) as one:
        async with listening(one.client) as listener:
            begun = time.monotonic()
            one.send(signal.SIGTERM)
            rest = await listener.rest()
        code = await one.ended()
        took_s = time.monotonic() - begun

    assert rest == []
    assert code == 0
    assert took_s < 5


async def test_events_of_another_process_come_within_about_a_second(tmp_path: Path, postgres: PostgresServer) -> None:
    """A listener at one process hears of the runs of two, each event once, in an order that the list has too."""
    database_url = await postgres.database()
    async with (
        quick_simulator() as sim,
        replica(tmp_path / "0", sim.url, database_url) as one,
        replica(tmp_path / "1", sim.url, database_url) as other,
        listening(other.client, timeout_s=60) as listener,
    ):
        run = await one.start(CHAT, HELLO)
        begun = time.monotonic()
        first = await listener.next()
        lag_s = time.monotonic() - begun
        runs = await asyncio.gather(*((one, other)[n % 2].start(T2V, {"prompt": f"comet {n}"}) for n in range(40)))
        await asyncio.gather(*(one.end(each["id"]) for each in runs))
        every = [first.data]
        while len(every) < len(listed_events := await listed(one.client, limit=200)):
            every.append((await listener.next()).data)

    assert first.data["data"]["id"] == run["id"]
    assert lag_s < 2
    assert every == listed_events[::-1]
    assert {event["data"]["id"] for event in every if event["type"] == "run.succeeded"} >= {each["id"] for each in runs}
