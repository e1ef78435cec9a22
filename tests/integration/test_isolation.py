"""Receivers apart: one that hangs, one tenant's flood and an outage leave the others' events alone.

Nothing here goes by the clock: what must not wait for something arrives while that is still held up.
"""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from service.api.auth import add_key
from service.simulator import Simulator
from tests.fakes.house import House, house
from tests.fakes.receiver import Receiver

NODE = "platform.models"  # local and over at once


async def ended(client: httpx.AsyncClient, **query: Any) -> None:
    """Carry out a run that ends at once."""
    answer = await client.post(f"/v1/nodes/{NODE}/runs", json={}, params={"mode": "mock", **query})
    assert answer.status_code in (200, 202), answer.text


async def paths(receiver: Receiver, prefix: str, count: int) -> list[str]:
    """Return the paths of deliveries that begin so, once there are so many."""
    async with asyncio.timeout(30):
        while True:
            found = [each.path for each in receiver.got if each.path.startswith(prefix)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def only_pending(client: httpx.AsyncClient, count: int) -> None:
    """Return once so many deliveries are pending; that one has arrived is written a moment after it has."""
    async with asyncio.timeout(30):
        while True:
            answer = await client.get("/v1/deliveries", params={"state": "pending", "limit": 200})
            if len(answer.json()["data"]) == count:
                return
            await asyncio.sleep(0.02)


async def test_a_receiver_that_hangs_holds_up_nobody(halley: House, receiver: Receiver) -> None:
    """With 40 events for one that never answers, 20 others get all of theirs before one of its attempts ends."""
    hangs = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await hangs.wait()
        return web.Response()

    async with Receiver() as hung:
        hung.answers = [hang] * 100
        await halley.client.post("/v1/endpoints", json={"url": hung.url, "types": ["run.succeeded"]})
        for number in range(20):
            await halley.client.post(
                "/v1/endpoints", json={"url": f"{receiver.url}/{number}", "types": ["run.succeeded"]}
            )
        for _ in range(40):
            await ended(halley.client)
        got = await paths(receiver, "/", 800)
        await only_pending(halley.client, 40)
        hangs.set()

    assert sorted(got) == sorted(f"/{number}" for number in range(20) for _ in range(40))
    assert len(hung.got) < 40


async def test_a_flood_of_one_tenant_leaves_another_its_turn(halley: House, receiver: Receiver) -> None:
    """Hundreds of events of one tenant wait for its slow receiver; another tenant's event goes out before them."""
    gate = asyncio.Semaphore(0)

    async def when_told(_: web.Request) -> web.Response:
        await gate.acquire()
        return web.Response()

    services = halley.app.state.services
    key = await add_key(services.store, services.clock, "other", "elsewhere")
    async with Receiver() as slow:
        slow.answers = [when_told] * 1000
        await halley.client.post("/v1/endpoints", json={"url": slow.url, "types": ["run.succeeded"]})
        for _ in range(150):
            await ended(halley.client)
        async with httpx.AsyncClient(base_url=halley.url, headers={"X-API-Key": str(key)}) as other:
            await other.post("/v1/endpoints", json={"url": receiver.url, "types": ["run.succeeded"]})
            await ended(other)
        await receiver.wait_for(1)
        waiting = 150 - len(slow.got)
        for _ in range(1000):
            gate.release()
        await slow.wait_for(150)

    assert waiting > 100


async def test_an_outage_ends_with_all_that_was_owed(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """300 events that came due while Halley was down all arrive once it is up, each once."""
    async with house(tmp_path, sim) as halley:
        await halley.client.post("/v1/endpoints", json={"url": receiver.url, "types": ["run.succeeded"]})
        receiver.answers = [503] * 100_000
        for _ in range(300):
            await ended(halley.client)
        await receiver.wait_for(1)
    receiver.answers = []
    tried = len(receiver.got)
    with sqlite3.connect(tmp_path / "halley.db") as connection:
        connection.execute("UPDATE deliveries SET due_at = 1 WHERE state = 'pending'")
    connection.close()
    async with house(tmp_path, sim):
        await receiver.wait_for(tried + 300, timeout_s=30)

    told = [each.headers["webhook-id"] for each in receiver.got[tried:]]
    assert len(told) == len(set(told)) == 300
