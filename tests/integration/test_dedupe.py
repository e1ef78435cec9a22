"""One run for equal starts: by `Idempotency-Key`, and by `dedupe` for tools that cannot set a header."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest

from service.api.auth import add_key
from service.store.starts import Idempotency, Started
from tests.fakes.house import House
from tests.integration.test_http import I2V, T2V, png

URL = f"/v1/nodes/{T2V}/runs"
COMET = {"prompt": "a comet"}
FIFTY = 50


@pytest.fixture
async def crowd(halley: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client that opens a connection for each request that is under way."""
    limits = httpx.Limits(max_connections=FIFTY, max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=halley.url, headers=halley.client.headers, limits=limits, timeout=40
    ) as client:
        yield client


async def started(halley: House, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
    """Start a run that is compared with others within a minute, and return it."""
    params = {"dedupe": 60, **query}
    answer = await halley.client.post(URL, json=body or COMET, params=params)
    assert answer.status_code in (200, 202), answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("headers", "query"),
    [({"Idempotency-Key": "order-42"}, {}), ({}, {"dedupe": 60}), ({"Halley-Dedupe": "60"}, {})],
    ids=["key", "dedupe", "dedupe as a header"],
)
async def test_fifty_equal_starts_at_once_are_one_run(
    halley: House, crowd: httpx.AsyncClient, headers: dict[str, str], query: dict[str, Any]
) -> None:
    """All are answered with the same run, 49 of them as replays, and upstream is called once."""
    answers = await asyncio.gather(*(crowd.post(URL, json=COMET, params=query, headers=headers) for _ in range(FIFTY)))
    run = await halley.end(answers[0].json()["id"])

    listed = (await halley.client.get("/v1/runs")).json()["data"]
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["id"] for answer in answers} == {run["id"]}
    assert sum(answer.headers.get("idempotency-replayed") == "true" for answer in answers) == FIFTY - 1
    assert [each["id"] for each in listed] == [run["id"]]
    assert [request.method for request in halley.sim.requests].count("POST") == 1
    assert len(halley.sim.tasks) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"webhook_url": "http://127.0.0.1:9/waiting/2"},
        {"webhook_events": "run.failed"},
        {"reference": "order-43"},
        {"metadata": '{"execution": 2}'},
        {"group": "g"},
        {"deadline": 50},
        {"wait": 0.1},
        {"dedupe": 600},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_how_a_run_is_run_makes_no_difference(halley: House, other: dict[str, Any]) -> None:
    """A workflow that runs again brings another address to answer to, and means the same run."""
    first = await started(halley, webhook_url="http://127.0.0.1:9/waiting/1")

    second = await started(halley, **other)

    assert second["id"] == first["id"]


async def test_what_is_run_makes_the_difference(halley: House) -> None:
    """Node, input and mode; a number that comes as text is the number."""
    body = {**COMET, "cfg_scale": 0.5}
    first = await started(halley, body)

    same = await started(halley, {"cfg_scale": "0.50", **COMET})
    others = [
        await started(halley, {**body, "prompt": "a comet "}),
        await started(halley, COMET),
        await started(halley, body, mode="mock"),
        (await halley.client.post(URL, json=body)).json(),
    ]

    assert same["id"] == first["id"]
    assert len({run["id"] for run in (first, *others)}) == len(others) + 1


async def test_a_file_that_was_uploaded_again_is_the_same_file(halley: House) -> None:
    """Its bytes count and not its id, whether it was uploaded before or comes along."""
    files = [png(400, 400), png(400, 400), png(500, 500)]
    uploads = [(await halley.client.post("/v1/files", content=data)).json()["id"] for data in files]
    url, params = f"/v1/nodes/{I2V}/runs", {"dedupe": 60, "mode": "mock"}

    named = [
        (await halley.client.post(url, params=params, json={**COMET, "image": each})).json()["id"] for each in uploads
    ]
    sent = await halley.client.post(url, params=params, data=COMET, files={"image": ("a.png", files[0], "image/png")})

    assert named[0] == named[1] == sent.json()["id"]
    assert named[2] != named[0]


async def test_a_replay_says_so(halley: House) -> None:
    """As with a key, in the header that is known for it."""
    answers = [await halley.client.post(URL, json=COMET, params={"dedupe": 60}) for _ in range(2)]

    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true"]


async def test_the_window_ends(halley: House) -> None:
    """After so many seconds an equal start is a new run."""
    first = await started(halley, dedupe=1, mode="mock")

    async with asyncio.timeout(20):
        while (later := await started(halley, dedupe=1, mode="mock"))["id"] == first["id"]:
            pass

    assert later["id"] > first["id"]


async def test_a_key_goes_before_the_window(halley: House) -> None:
    """Who sends a key says what is the same: the key alone decides, whatever `dedupe` says beside it."""

    async def start(key: str, dedupe: int) -> httpx.Response:
        return await halley.client.post(URL, json=COMET, params={"dedupe": dedupe}, headers={"Idempotency-Key": key})

    first, other, again = await start("one", 60), await start("two", 60), await start("one", 600)

    assert other.json()["id"] != first.json()["id"]
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


async def test_no_key_can_be_taken_for_a_window(halley: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a caller sends as a key, it is in another scope than what Halley made of an input."""
    store, made = halley.app.state.services.store, []
    start = store.start

    async def heard(change: Any, full_input: Any, key: Idempotency, allowance: Any) -> Started:
        made.append(key)
        return cast("Started", await start(change, full_input, key, allowance))

    monkeypatch.setattr(store, "start", heard)
    first = await started(halley)

    keys = (made[0].key, f"dedupe:{made[0].key}", f"{made[0].scope}:{made[0].key}")
    others = [await halley.client.post(URL, json=COMET, headers={"Idempotency-Key": key}) for key in keys]

    assert made[0].kept_s == 60.0
    assert [answer.status_code for answer in others] == [202] * 3
    assert len({first["id"], *(answer.json()["id"] for answer in others)}) == 4


async def test_each_api_key_has_windows_of_its_own(halley: House) -> None:
    """As with idempotency keys: what another key has started is not this key's, in the same workspace too."""
    services = halley.app.state.services
    other = await add_key(services.store, services.clock, "second", "default") or ""
    first = await started(halley, mode="mock")

    second = await halley.client.post(
        URL, json=COMET, params={"dedupe": 60, "mode": "mock"}, headers={"X-API-Key": other}
    )

    assert second.json()["id"] != first["id"]


@pytest.mark.parametrize("window", ["0", "0.5", "604801", "-1", "a day"])
async def test_a_window_has_limits(halley: House, window: str) -> None:
    """From a second to a week, for which keys are kept."""
    answer = await halley.client.post(URL, json=COMET, params={"dedupe": window})

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["query:dedupe"]
