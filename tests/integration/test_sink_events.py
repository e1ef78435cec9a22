"""Events in message brokers: from the same outbox, at least once, through outages of the broker."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from service.simulator import Simulator
from tests.fakes.brokers import Arrived, NatsServer, RedisServer, Server, nats_server, redis_server
from tests.fakes.house import House, house

PLACE = "outbox"


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    """A NATS server."""
    with nats_server() as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis server."""
    with redis_server() as server:
        yield server


async def ended(halley: House, count: int) -> set[str]:
    """Carry out runs and return their ids."""
    starts = [await halley.start("kling.text_to_video", {"prompt": "a comet"}) for _ in range(count)]
    return {(await halley.end(each.json()["id"]))["id"] for each in starts}


async def told(server: Server, place: str, runs: set[str]) -> list[Arrived]:
    """Return what a broker holds, once the end of each run is among it."""
    async with asyncio.timeout(20):
        while True:
            found = await server.messages(place)
            events = [msgspec.json.decode(each.body) for each in found]
            if runs <= {each["data"]["id"] for each in events if each["type"] == "run.succeeded"}:
                return found
            await asyncio.sleep(0.05)


async def test_every_event_reaches_every_broker_once(
    tmp_path: Path, sim: Simulator, nats: NatsServer, redis: RedisServer
) -> None:
    """NATS and Redis hold each event of the list under its id; tenants see nothing of the operator's brokers."""
    sinks = f"{nats.url(PLACE)} {redis.url(PLACE)}"
    async with house(tmp_path, sim, environ={"HALLEY_SINKS": sinks}) as halley:
        runs = await ended(halley, 5)
        arrived = [await told(server, PLACE, runs) for server in (nats, redis)]
        events = (await halley.client.get("/v1/events")).json()["data"]
        shown = [(await halley.client.get(f"/v1/{kind}")).json()["data"] for kind in ("deliveries", "endpoints")]

    listed = {each["id"]: each for each in events}
    for found in arrived:
        assert {each.id: msgspec.json.decode(each.body) for each in found} == listed
        assert len(found) == len(listed)
    assert shown == [[], []]


async def test_an_outage_of_the_broker_loses_nothing(tmp_path: Path, sim: Simulator, nats: NatsServer) -> None:
    """Events that come while the broker is away, and over a restart of Halley, are there once it is back."""
    environ = {"HALLEY_SINKS": nats.url("outage")}
    async with house(tmp_path, sim, environ=environ) as halley:
        runs = await ended(halley, 2)
        await told(nats, "outage", runs)
        nats.stop()
        runs |= await ended(halley, 3)
    nats.start()
    async with house(tmp_path, sim, environ=environ) as halley:
        runs |= await ended(halley, 1)
        arrived = await told(nats, "outage", runs)

    assert len({each.id for each in arrived}) == len(arrived)


async def test_a_sink_that_is_named_no_more_gets_nothing(tmp_path: Path, sim: Simulator, redis: RedisServer) -> None:
    """Without the setting no event is written for it; with it again, what comes from then on."""
    environ = {"HALLEY_SINKS": redis.url("named")}
    async with house(tmp_path, sim, environ=environ) as halley:
        first = await ended(halley, 1)
        await told(redis, "named", first)
    async with house(tmp_path, sim) as halley:
        silent = await ended(halley, 1)
    async with house(tmp_path, sim, environ=environ) as halley:
        last = await ended(halley, 1)
        arrived = await told(redis, "named", last)

    heard = {msgspec.json.decode(each.body)["data"]["id"] for each in arrived}
    assert heard == first | last
    assert not heard & silent
