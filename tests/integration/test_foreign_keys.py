"""Workspaces apart: with a key of another workspace nothing of this one is there, on any route.

Not there means exactly that: the answer is the one that an id gets which does not exist at all.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Struct

from service.api.auth import add_key
from service.ids import new_id
from service.simulator import Simulator
from tests.fakes.house import House, house
from tests.fakes.receiver import Receiver
from tests.fakes.routes import all_routes, ask
from tests.integration.test_files import PNG, with_artifact
from tests.integration.test_http import I2V, T2V

ADOPT = "POST /v1/runs/{run}/adopt"
OWNED = (
    "GET /v1/runs/{run}",
    "GET /v1/runs/{run}/timeline",
    "POST /v1/runs/{run}/cancel",
    ADOPT,
    "POST /v1/runs/{run}/abandon",
    "POST /v1/runs/{run}/retry",
    "GET /v1/artifacts/{artifact}",
    "HEAD /v1/artifacts/{artifact}",
    "GET /v1/files/{file}",
    "DELETE /v1/files/{file}",
    "GET /v1/groups/{group}",
    "POST /v1/groups/{group}/close",
    "POST /v1/groups/{group}/cancel",
    "GET /v1/endpoints/{endpoint}",
    "PATCH /v1/endpoints/{endpoint}",
    "POST /v1/endpoints/{endpoint}/enable",
    "POST /v1/endpoints/{endpoint}/disable",
    "POST /v1/endpoints/{endpoint}/test",
    "GET /v1/endpoints/{endpoint}/secrets",
    "POST /v1/endpoints/{endpoint}/rotate-secret",
    "POST /v1/endpoints/{endpoint}/recover",
    "GET /v1/deliveries/{delivery}",
    "POST /v1/deliveries/{delivery}/retry",
    "POST /v1/events/{event}/replay",
)
REMOVE = "DELETE /v1/endpoints/{endpoint}"  # as often as a tool likes, so what is not there is no error
BODIES = {ADOPT: {"task_id": "1"}, "POST /v1/endpoints/{endpoint}/recover": {"since": "2026-01-01"}}
NOBODYS = {
    "GET /v1/nodes/{node}": "nodes are the same for all workspaces",
    "POST /v1/nodes/{node}/runs": "what its input names is tried below",
    "GET /v1/nodes/{node}/socket": "takes nothing that is kept",
    "POST /v1/callbacks/{token}": "the token is the only credential, and providers have no key",
}


class Neighbour(Struct, frozen=True):
    """Two workspaces: what one of them has, and a client with a key of the other."""

    halley: House
    ids: dict[str, str]
    stranger: httpx.AsyncClient

    def absent(self) -> dict[str, str]:
        """Return ids of the same form that nothing has."""
        now = self.halley.app.state.services.clock.now()
        fresh = new_id("art", now)
        return {
            "run": new_id("run", now),
            "file": new_id("file", now),
            "group": new_id("grp", now),
            "endpoint": new_id("ep", now),
            "delivery": new_id("dlv", now),
            "event": new_id("evt", now),
            "artifact": fresh + self.ids["artifact"][len(fresh) :],
        }


@pytest.fixture
async def next_door(tmp_path: Path, sim: Simulator) -> AsyncIterator[Neighbour]:
    """A workspace with a run that has ended, its artifact and events, an endpoint, an upload; and a key of another."""
    async with Receiver() as receiver, house(tmp_path, sim) as halley:
        services = halley.app.state.services
        endpoint = (await halley.client.post("/v1/endpoints", json={"url": receiver.url})).json()["id"]
        artifact = await with_artifact(halley, PNG)
        (run,) = (await halley.client.get("/v1/runs")).json()["data"]
        file = (await halley.client.post("/v1/files", content=PNG)).json()
        key = await add_key(services.store, services.clock, "stranger", "elsewhere") or ""
        delivery = await delivered(halley)
        ids = {"run": run["id"], "artifact": artifact, "file": file["id"], "endpoint": endpoint}
        ids["group"] = (await halley.client.post("/v1/groups", json={"name": "theirs"})).json()["id"]
        ids |= {"delivery": delivery["id"], "event": delivery["event"]}
        async with httpx.AsyncClient(base_url=halley.url, headers={"X-API-Key": key}, timeout=40) as stranger:
            yield Neighbour(halley, ids, stranger)


async def delivered(halley: House) -> dict[str, str]:
    """Return a delivery once its attempt has ended."""
    async with asyncio.timeout(20):
        while True:
            answer = await halley.client.get("/v1/deliveries", params={"state": "delivered"})
            if answer.json()["data"]:
                return dict(answer.json()["data"][0])
            await asyncio.sleep(0.02)


def like(answer: httpx.Response, ids: dict[str, str]) -> tuple[int, str, dict[str, str]]:
    """Return what can be told from an answer, with the ids that were asked for taken out."""
    text = answer.text
    for name, value in ids.items():
        text = text.replace(value, f"<{name}>")
    told = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status_code, text, told


def test_every_route_with_an_id_is_tried() -> None:
    """A new route that takes an id has to be added to this file."""
    with_id = {route for route in all_routes() if "{" in route}

    assert with_id == {*OWNED, *NOBODYS, REMOVE}


@pytest.mark.parametrize("route", OWNED)
async def test_a_foreign_id_is_as_unknown_as_any(next_door: Neighbour, route: str) -> None:
    """404, and nothing in the answer tells it from that for an id that does not exist."""
    body, absent = BODIES.get(route), next_door.absent()

    foreign = await ask(next_door.stranger, route, body=body, **next_door.ids)
    unknown = await ask(next_door.stranger, route, body=body, **absent)

    assert foreign.status_code == 404
    assert like(foreign, next_door.ids) == like(unknown, absent)


async def test_nothing_was_changed_by_trying(next_door: Neighbour) -> None:
    """After a stranger has tried every route the owner has all that was there, as it was."""
    halley, owner = next_door.halley, next_door.halley.client
    seen = [route for route in OWNED if route.startswith("GET ")]
    before = [await ask(owner, route, **next_door.ids) for route in seen]

    for route in OWNED:
        await ask(next_door.stranger, route, body=BODIES.get(route), **next_door.ids)

    after = [await ask(owner, route, **next_door.ids) for route in seen]
    assert [answer.status_code for answer in before] == [200] * len(seen)
    assert [answer.content for answer in after] == [answer.content for answer in before]
    assert len((await halley.client.get("/v1/runs")).json()["data"]) == 1


async def test_a_foreign_endpoint_is_removed_by_nobody(next_door: Neighbour) -> None:
    """The answer is that for one that does not exist, and the owner still has it."""
    absent = next_door.absent()
    foreign, unknown = [await ask(next_door.stranger, REMOVE, **ids) for ids in (next_door.ids, absent)]
    left = await ask(next_door.halley.client, "GET /v1/endpoints/{endpoint}", **next_door.ids)

    assert foreign.status_code == 204
    assert like(foreign, next_door.ids) == like(unknown, absent)
    assert left.status_code == 200


async def test_an_upload_is_used_through_no_other_id_route(next_door: Neighbour) -> None:
    """The route of artifacts hands out uploads too, but not to strangers."""
    absent = next_door.absent()

    foreign = await ask(next_door.stranger, "GET /v1/artifacts/{artifact}", artifact=next_door.ids["file"])
    unknown = await ask(next_door.stranger, "GET /v1/artifacts/{artifact}", artifact=absent["file"])

    assert foreign.status_code == 404
    assert like(foreign, next_door.ids) == like(unknown, absent)


@pytest.mark.parametrize("mode", ["mock", "live", "preview"])
@pytest.mark.parametrize("form", ["{file}", "{artifact}", "artifact://{artifact}"])
async def test_an_input_names_nothing_foreign(next_door: Neighbour, mode: str, form: str) -> None:
    """A start with a foreign upload or artifact is 404 like one with an id that does not exist, and is not kept."""
    absent, answers = next_door.absent(), []
    for ids in (next_door.ids, absent):
        body = {"image": form.format(**ids), "prompt": "x"}
        url = f"/v1/nodes/{I2V}/runs"
        answers.append(await next_door.stranger.post(url, params={"mode": mode}, json=body))
    foreign, unknown = answers

    assert foreign.status_code == 404
    assert like(foreign, next_door.ids) == like(unknown, absent)
    assert (await next_door.stranger.get("/v1/runs")).json()["data"] == []


async def test_lists_hold_nothing_foreign(next_door: Neighbour) -> None:
    """No filter and no cursor shows a run of another workspace."""
    owner, run_id = next_door.halley.client, next_door.ids["run"]
    marks: dict[str, Any] = {"mode": "mock", "reference": "order-42", "group": "g"}
    marked = (await owner.post(f"/v1/nodes/{T2V}/runs", params=marks, json={"prompt": "x"})).json()
    later = new_id("run", next_door.halley.app.state.services.clock.now() + 60)
    queries = [
        {},
        {"reference": "order-42"},
        {"group": "g"},
        {"node": T2V},
        {"state": "succeeded"},
        {"cursor": run_id},
        {"cursor": marked["id"]},
        {"cursor": later},
    ]

    answers = [await next_door.stranger.get("/v1/runs", params=query) for query in queries]
    own = await owner.get("/v1/runs", params={"cursor": later})

    assert [answer.json() for answer in answers] == [{"data": [], "next": None}] * len(queries)
    assert len(own.json()["data"]) == 2


async def test_events_are_told_to_their_workspace_alone(next_door: Neighbour) -> None:
    """No filter, no cursor and no id of a foreign event lists or streams one; its id is as unknown as any."""
    owner, stranger = next_door.halley.client, next_door.stranger
    own = (await owner.get("/v1/events", params={"limit": 1})).json()
    oldest = (await owner.get("/v1/events", params={"limit": 200})).json()["data"][-1]["id"]
    cursor = dict(httpx.URL(own["next"]).params)["cursor"]
    queries = [{}, {"run": next_door.ids["run"]}, {"node": "*"}, {"after": oldest}, {"cursor": cursor}]

    lists = [await stranger.get("/v1/events", params=query) for query in queries]
    streams = [
        await stranger.get("/v1/events/stream", params=query, headers={"Last-Event-ID": oldest})
        for query in ({}, {"run": next_door.ids["run"]}, {"node": "*"})
    ]
    heard = await owner.get("/v1/events/stream", headers={"Last-Event-ID": oldest})

    assert own["data"]
    assert [answer.json() for answer in lists] == [{"data": [], "next": None}] * len(queries)
    assert [b"data:" in answer.content for answer in streams] == [False] * 3
    assert b"data:" in heard.content


@pytest.mark.parametrize("options", [{}, {"dedupe": 60}])
async def test_equal_starts_of_two_workspaces_are_two_runs(next_door: Neighbour, options: dict[str, Any]) -> None:
    """An idempotency key, or an equal input within `dedupe`, never answers with somebody else's run."""
    headers = {} if options else {"Idempotency-Key": "order-42"}
    params: dict[str, Any] = {"mode": "mock", **options}

    runs = [
        await client.post(f"/v1/nodes/{T2V}/runs", params=params, json={"prompt": "x"}, headers=headers)
        for client in (next_door.halley.client, next_door.stranger)
    ]

    assert [answer.status_code for answer in runs] == [202, 202]
    assert runs[0].json()["id"] != runs[1].json()["id"]
    assert "idempotency-replayed" not in runs[1].headers


async def test_a_signed_link_is_good_whoever_holds_it(next_door: Neighbour) -> None:
    """A link is a capability for one thing: it needs no key, no key takes it away, and it opens nothing else."""
    name = next_door.ids["artifact"]
    services, url = next_door.halley.app.state.services, next_door.halley.url
    link, _ = services.links.sign(name, url, services.clock.now())
    elsewhere = link.replace(name, next_door.ids["file"])
    nothing = link.replace(name, next_door.absent()["artifact"])

    with_key = await next_door.stranger.get(link)
    moved = [await next_door.stranger.get(each) for each in (elsewhere, nothing)]

    assert (with_key.status_code, with_key.content) == (200, PNG)
    assert [answer.status_code for answer in moved] == [403, 403]
    assert moved[0].text == moved[1].text
