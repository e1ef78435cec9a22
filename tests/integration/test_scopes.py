"""Keys that may not do everything: scopes on every route, nodes, runs a day."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from click.testing import CliRunner, Result

from service.api.auth import add_key
from service.api.scopes import ACCESS
from service.cli import main
from service.store.base import KeyScope
from tests.fakes.house import House
from tests.fakes.routes import SOCKET, all_routes, ask

T2V = "kling.text_to_video"
MOCK = {"mode": "mock"}
IDS = {
    "node": T2V,
    "run": "run_00000000000000000000000000",
    "file": "file_00000000000000000000000000",
    "group": "grp_00000000000000000000000000",
    "endpoint": "ep_00000000000000000000000000",
    "delivery": "dlv_00000000000000000000000000",
    "event": "evt_00000000000000000000000000",
    "artifact": "art_0000000000000000000000000000",
    "token": "nobody",
}


@pytest.fixture
async def client(halley: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with httpx.AsyncClient(base_url=halley.url, timeout=40) as opened:
        yield opened


async def new_key(halley: House, name: str, **allowed: Any) -> str:
    """Make a key for the workspace `default`."""
    services = halley.app.state.services
    return await add_key(services.store, services.clock, name, "default", **allowed) or ""


async def start(client: httpx.AsyncClient, key: str, node: str = T2V, **more: Any) -> httpx.Response:
    """Start a mock run with a key."""
    headers = {"X-API-Key": key, **more.pop("headers", {})}
    body = more.pop("body", {"prompt": "a comet"})
    return await client.post(f"/v1/nodes/{node}/runs", params=MOCK | more, json=body, headers=headers)


# -- scopes


def test_every_route_says_who_may_call_it() -> None:
    """The table holds each route and nothing else: a new route needs its line."""
    assert sorted(ACCESS) == all_routes()


def test_who_only_sees_changes_nothing() -> None:
    """What a reader may call are questions; what decides about lost submissions is for those who may do everything."""
    seeing = {route.partition(" ")[0] for route, access in ACCESS.items() if access in ("read", "link")}
    admins = {route for route, access in ACCESS.items() if access == "admin"}

    assert seeing == {"GET", "HEAD"}
    assert admins == {"POST /v1/runs/{run}/adopt", "POST /v1/runs/{run}/abandon"}


@pytest.mark.parametrize("scope", get_args(KeyScope))
async def test_every_route_keeps_to_the_table(halley: House, client: httpx.AsyncClient, scope: KeyScope) -> None:
    """A key is refused with 403 where the table asks for a wider scope, and nowhere else."""
    key, order = await new_key(halley, scope, scope=scope), ["public", "link", *get_args(KeyScope)]

    answers = {route: await ask(client, route, key=key, **IDS) for route in ACCESS}

    beyond = {route for route, access in ACCESS.items() if order.index(access) > order.index(scope)}
    assert {route for route, answer in answers.items() if answer.status_code == 403} == beyond
    for route in beyond:
        problem = answers[route].json()
        assert answers[route].headers["content-type"] == "application/problem+json"
        assert (problem["code"], problem["retryable"]) == ("auth", False)
        assert f"halley keys create NAME --workspace default --scope {ACCESS[route]}" in problem["detail"]


async def test_only_public_routes_answer_without_a_key(client: httpx.AsyncClient) -> None:
    """Everything else is 401, whatever its path names."""
    statuses = {route: (await ask(client, route, **IDS)).status_code for route in ACCESS}

    assert {route for route, status in statuses.items() if status != 401} == {
        route for route, access in ACCESS.items() if access == "public"
    }


async def test_a_reader_sees_what_others_have_started(halley: House, client: httpx.AsyncClient) -> None:
    """Runs, timelines, files and nodes of its workspace; nothing that it tries to start is kept."""
    run = (await halley.start(T2V, {"prompt": "a comet"}, mode="mock")).json()
    file = (await halley.client.post("/v1/files", content=b"some text")).json()
    key = await new_key(halley, "reader", scope="read")

    seen = [
        await ask(client, f"GET /v1/{what}", key=key)
        for what in (
            f"runs/{run['id']}",
            f"runs/{run['id']}/timeline",
            f"files/{file['id']}",
            f"artifacts/{file['id']}",
        )
    ]
    refused = await start(client, key)
    listed = (await ask(client, "GET /v1/runs", key=key)).json()["data"]

    assert [answer.status_code for answer in seen] == [200] * 4
    assert refused.status_code == 403
    assert [each["id"] for each in listed] == [run["id"]]


# -- nodes


async def test_a_key_for_some_nodes_runs_no_other(halley: House, client: httpx.AsyncClient) -> None:
    """Starts, previews, retries and WebSockets of other nodes are refused, naming the patterns; runs are still seen."""
    key = await new_key(halley, "video", scope="run", nodes=("*.text_to_video", "audio.*"))
    other = await halley.end((await halley.start("platform.models", {}, mode="mock")).json()["id"])

    allowed = await start(client, key)
    refused = [
        await start(client, key, "platform.models", body={}),
        await start(client, key, "platform.models", body={}, mode="preview"),
        await ask(client, f"POST /v1/runs/{other['id']}/retry", key=key),
        await ask(client, SOCKET, key=key, node="text.realtime"),
    ]
    listed = (await ask(client, "GET /v1/runs", key=key)).json()["data"]
    shown = await ask(client, f"GET /v1/runs/{other['id']}", key=key)

    assert allowed.status_code == 202
    assert [answer.status_code for answer in refused] == [403] * 4
    assert all("*.text_to_video, audio.*" in answer.json()["detail"] for answer in refused)
    assert shown.status_code == 200
    assert {each["id"] for each in listed} == {allowed.json()["id"], other["id"]}


async def test_a_key_for_some_nodes_sees_those_in_the_catalogue(halley: House, client: httpx.AsyncClient) -> None:
    """Others are not listed, and asked for by name they are as unknown as any that does not exist."""
    key = await new_key(halley, "video", nodes=("*.text_to_video",))

    listed = (await ask(client, "GET /v1/nodes", key=key)).json()["data"]
    own, other, unknown = [
        await ask(client, "GET /v1/nodes/{node}", key=key, node=node) for node in (T2V, "text.chat", "text.none")
    ]

    names = [node["id"] for node in listed]
    assert T2V in names
    assert all(name.endswith(".text_to_video") for name in names)
    assert own.status_code == 200
    assert [other.status_code, unknown.status_code] == [404, 404]
    assert other.text.replace("text.chat", "text.none") == unknown.text


async def test_steps_of_a_flow_are_not_held_to_the_patterns(halley: House, client: httpx.AsyncClient) -> None:
    """Whoever may run the flow may have it run to its end."""
    flow = halley.app.state.services.catalog.get("midjourney.quick_pipeline")
    key = await new_key(halley, "flow", scope="run", nodes=(flow.id,))

    started = await start(client, key, flow.id, body=flow.example())
    run = await halley.end(started.json()["id"])

    assert run["state"] == "succeeded"


# -- runs a day


async def test_a_key_starts_so_many_runs_a_day(halley: House, client: httpx.AsyncClient) -> None:
    """The next one is refused with the time to wait, in words, body and header; nothing is kept of it."""
    key = await new_key(halley, "two", scope="run", runs_per_day=2)

    answers = [await start(client, key) for _ in range(3)]
    retried = await ask(client, f"POST /v1/runs/{answers[0].json()['id']}/retry", key=key)
    runs = (await halley.client.get("/v1/runs")).json()["data"]

    problem = answers[2].json()
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert retried.status_code in (409, 429)
    assert answers[2].headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["retryable"]) == ("rate_limited", True)
    assert "2 runs a day" in problem["detail"]
    assert answers[2].headers["retry-after"] == str(problem["retry_after_s"])
    assert 0 < problem["retry_after_s"] <= 86400
    assert len(runs) == 2


async def test_a_spent_key_retries_nothing_and_others_go_on(halley: House, client: httpx.AsyncClient) -> None:
    """A retry is a run like any other, and each key has an allowance of its own."""
    spent, other = [await new_key(halley, name, scope="run", runs_per_day=1) for name in ("spent", "other")]
    run = await halley.end((await start(client, spent)).json()["id"])

    retries = [await ask(client, f"POST /v1/runs/{run['id']}/retry", key=key) for key in (spent, other)]

    assert [answer.status_code for answer in retries] == [429, 202]


async def test_replays_and_previews_cost_nothing_of_the_day(halley: House, client: httpx.AsyncClient) -> None:
    """Only a new run counts: not one that was there, not a look at a request, not a start that is refused."""
    key = await new_key(halley, "two", scope="run", runs_per_day=2)
    headers = {"Idempotency-Key": "order-42"}

    first = [await start(client, key, headers=headers) for _ in range(3)]
    preview = await start(client, key, mode="preview")
    refused = await start(client, key, body={"promt": "x"})
    second = await start(client, key)
    replayed = await start(client, key, headers=headers)

    assert [answer.status_code for answer in first] == [202] * 3
    assert [preview.status_code, refused.status_code, second.status_code] == [200, 422, 202]
    assert replayed.json()["id"] == first[0].json()["id"]


async def test_a_key_with_a_limit_opens_no_websocket(halley: House, client: httpx.AsyncClient) -> None:
    """A conversation is no run that could be counted."""
    key = await new_key(halley, "two", runs_per_day=2)

    answer = await ask(client, SOCKET, key=key, node="text.realtime")

    assert answer.status_code == 403
    assert "so many runs a day" in answer.json()["detail"]


# -- on the command line


def keys(folder: Path, *words: str) -> Result:
    """Run `halley keys` with no setting but the data folder."""
    others = {name: None for name in os.environ if name.startswith(("HALLEY_", "COMET"))}
    environ = {**others, "HALLEY_DATA_DIR": str(folder)}
    return CliRunner().invoke(main, ["keys", *words], env=environ, prog_name="halley")


def test_keys_are_made_with_what_they_may_do(tmp_path: Path) -> None:
    """Scope, nodes and runs a day stand in the answer and in the list; without a word a key may do everything."""
    options = ("--scope", "run", "--nodes", "text.*", "--nodes", "*.text_to_video", "--runs-per-day", "5")

    made = json.loads(keys(tmp_path, "create", "amy", *options, "--json").stdout)
    told = keys(tmp_path, "create", "bob", "--workspace", "amy").stdout
    listed = {each["name"]: each for each in json.loads(keys(tmp_path, "list", "--json").stdout)}
    table = keys(tmp_path, "list").stdout

    allowed = {"scope": "run", "nodes": ["text.*", "*.text_to_video"], "runs_per_day": 5}
    assert {name: made[name] for name in allowed} == allowed
    assert {name: listed["amy"][name] for name in allowed} == allowed
    assert (listed["bob"]["scope"], listed["bob"]["nodes"], listed["bob"]["runs_per_day"]) == ("admin", [], None)
    assert "May: admin\n" in told
    assert "run, nodes text.* *.text_to_video, 5 runs a day" in table


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--scope", "root"), "admin"),
        (("--nodes", "text"), "fits no node"),
        (("--nodes", "Text.*"), "fits no node"),
        (("--nodes", ""), "fits no node"),
        (("--runs-per-day", "0"), "runs-per-day"),
    ],
)
def test_a_key_that_would_be_of_no_use_is_not_made(tmp_path: Path, options: tuple[str, ...], word: str) -> None:
    """A wrong scope, a pattern that can fit no node and a day of no runs are refused."""
    result = keys(tmp_path, "create", "amy", *options)

    assert result.exit_code != 0
    assert word in result.stderr
    assert not (tmp_path / "halley.db").exists()
