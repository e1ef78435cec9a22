"""The HTTP surface: who may call, what bodies give, how errors look, what callbacks may not do."""

import asyncio
import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.auth import add_key
from service.simulator import Simulator
from tests.fakes.house import House, house

T2V = "kling.text_to_video"
I2V = "kling.image_to_video"


def png(width: int, height: int) -> bytes:
    """Return a small grey PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_a_key_is_needed_in_either_header(halley: House) -> None:
    """Bearer and X-API-Key work; no key and a wrong key are told apart from nothing but 401."""
    async with httpx.AsyncClient(base_url=halley.url) as stranger:
        bearer = await stranger.get("/v1/runs", headers={"Authorization": "Bearer test-key"})
        header = await stranger.get("/v1/runs", headers={"X-API-Key": "test-key"})
        none = await stranger.get("/v1/runs")
        wrong = await stranger.get("/v1/runs", headers={"X-API-Key": "wrong"})

    assert [bearer.status_code, header.status_code] == [200, 200]
    assert [none.status_code, wrong.status_code] == [401, 401]
    assert none.headers["content-type"] == "application/problem+json"
    assert none.headers["www-authenticate"] == "Bearer"


async def test_every_fault_is_told_at_once_before_anything_is_sent(halley: House) -> None:
    """Wrong body fields and wrong options come back together, each with its pointer."""
    body = {"promt": "x", "duration": "99", "cfg_scale": 3, "callback_url": "https://example.com"}
    answer = await halley.start(T2V, body, wait=-1, mode="real", webhok_url="x")

    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"/promt", "/prompt", "/duration", "/cfg_scale", "/callback_url"} <= pointers
    assert {"query:wait", "query:mode", "query:webhok_url"} <= pointers
    assert halley.sim.requests == []


async def test_json_form_and_multipart_give_the_same_input(halley: House) -> None:
    """The three kinds of bodies lead to the same upstream request, texts coerced, files as Base64."""
    image = png(320, 320)
    data = base64.b64encode(image).decode()
    url, preview = f"/v1/nodes/{I2V}/runs", {"mode": "preview"}
    fields = {"prompt": "x", "cfg_scale": 0.4, "duration": "5", "image": f"data:image/png;base64,{data}"}
    texts = {**fields, "cfg_scale": "0.4"}
    answers = [
        await halley.client.post(url, params=preview, json=fields),
        await halley.client.post(url, params=preview, data=texts),
        await halley.client.post(
            url,
            params=preview,
            data={k: v for k, v in texts.items() if k != "image"},
            files={"image": ("a.png", image, "image/png")},
        ),
    ]

    bodies = [answer.json()["request"]["body"] for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["image"] == data
    assert bodies[0]["cfg_scale"] == 0.4


async def test_json_that_a_tool_calls_a_form_is_understood(halley: House) -> None:
    """`curl -d '{…}'` without a content type of its own sends JSON as a form; it is meant as JSON."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"/v1/nodes/{T2V}/runs?mode=preview"
    answer = await halley.client.post(url, content=b'{"prompt": "x"}', headers=headers)

    assert answer.json()["request"]["body"]["prompt"] == "x"


async def test_media_that_is_surely_wrong_is_refused(halley: House) -> None:
    """An image below the least size, one too long and thin, and a text that is no image are refused with reasons."""
    codes = []
    for image in (png(100, 100), png(300, 900), b"GIF89a" + bytes(100)):
        body = {"image": base64.b64encode(image).decode(), "prompt": "x"}
        answer = await halley.start(I2V, body, mode="preview")
        codes.append(answer.json()["errors"][0]["code"])

    assert codes == ["min_side", "max_ratio", "format"]


async def test_large_inputs_are_shortened_for_people(halley: House) -> None:
    """The run shows a file's size instead of its data."""
    data = base64.b64encode(png(400, 400)).decode()
    run = (await halley.start(I2V, {"image": data, "prompt": "x"})).json()

    assert data not in str(run)
    assert "bytes" in run["input"]["image"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 422),
        (b'"text"', "application/json", 422),
        (b"\xff\xfe", "application/json", 400),
        (b"<a/>", "text/xml", 415),
        (b"no boundary", "multipart/form-data", 400),
    ],
)
async def test_broken_bodies_get_a_clear_problem(halley: House, content: bytes, kind: str, status: int) -> None:
    """Whatever is wrong with a body is the caller's fault, and said so."""
    answer = await halley.client.post(f"/v1/nodes/{T2V}/runs", content=content, headers={"Content-Type": kind})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_unknown_things_are_404_and_wrong_methods_405(halley: House) -> None:
    """Unknown nodes, runs and routes are problems; a wrong method names the right ones."""
    paths = ("/v1/nodes/no.node", "/v1/runs/run_x", "/v1/runs/run_x/timeline", "/nowhere")
    answers = [await halley.client.get(path) for path in paths]
    wrong = await halley.client.delete("/v1/runs")

    assert [answer.status_code for answer in answers] == [404] * 4
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["allow"]


async def test_workspaces_do_not_see_each_other(tmp_path: Path, sim: Simulator) -> None:
    """A key of another workspace gets 404 for a run, on every route."""
    async with house(tmp_path, sim) as halley:
        services = halley.app.state.services
        other = await add_key(services.store, services.clock, "other", "other")
        run = (await halley.start(T2V, {"prompt": "x"})).json()
        async with httpx.AsyncClient(base_url=halley.url, headers={"X-API-Key": other or ""}) as stranger:
            url = f"/v1/runs/{run['id']}"
            seen = [await stranger.get(url), await stranger.get(f"{url}/timeline")]
            moved = [await stranger.post(f"{url}/{move}") for move in ("cancel", "abandon", "retry")]
            adopt = await stranger.post(f"{url}/adopt", json={"task_id": "1"})
            listed = (await stranger.get("/v1/runs")).json()["data"]

    assert {answer.status_code for answer in (*seen, *moved, adopt)} == {404}
    assert listed == []


async def test_forged_and_oversized_callbacks_do_no_harm(halley: House) -> None:
    """An unknown token is 404, a body over 1 MB is 413, and a forged success does not end a running run."""
    run = (await halley.start(T2V, {"prompt": "x [[duration:60]] [[callback:never]]"})).json()
    await halley.until(run["id"], "running")
    stored = await halley.app.state.services.store.run(run["id"])
    url = f"/v1/callbacks/{stored.callback_token}"
    forged = {
        "task_id": "1",
        "task_status": "succeed",
        "task_result": {"videos": [{"url": "https://evil.example/x.mp4"}]},
    }

    unknown = await halley.client.post("/v1/callbacks/nobody", json=forged)
    large = await halley.client.post(url, content=b"x" * (1024 * 1024 + 1))
    taken = [await halley.client.post(url, json=forged) for _ in range(3)]
    garbage = await halley.client.post(url, content=b"\xff<<<")
    await halley.told(run["id"], "poll")
    after = (await halley.client.get(f"/v1/runs/{run['id']}")).json()

    assert [unknown.status_code, large.status_code, garbage.status_code] == [404, 413, 200]
    assert [answer.status_code for answer in taken] == [200] * 3
    assert (after["state"], after["artifacts"]) == ("running", [])


async def test_requests_carry_an_id(halley: House) -> None:
    """A caller's request id is taken over, an odd one is replaced."""
    given = await halley.client.get("/healthz", headers={"X-Request-Id": "abc-123"})
    odd = await halley.client.get("/healthz", headers={"X-Request-Id": "a b\tc" * 50})

    assert given.headers["x-request-id"] == "abc-123"
    assert odd.headers["x-request-id"].startswith("req_")


async def test_operations_routes_answer_without_a_key(halley: House) -> None:
    """Liveness, readiness, metrics and the API document are open, and the counters count."""
    await halley.end((await halley.start(T2V, {"prompt": "x"})).json()["id"])
    async with httpx.AsyncClient(base_url=halley.url) as stranger:
        health, ready, metrics, document = [
            await stranger.get(path) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json")
        ]

    assert [r.status_code for r in (health, ready, metrics, document)] == [200] * 4
    assert ready.json()["checks"]["database"] == "ok"
    assert 'halley_run_events_total{mode="live",node="kling.text_to_video",type="run.succeeded"} 1.0' in metrics.text


async def test_readiness_tells_more_to_who_has_a_key(halley: House) -> None:
    """With a valid key there is a line for each thing that Halley needs; the key is asked about behind the answer."""
    async with httpx.AsyncClient(base_url=halley.url) as stranger:
        answers = [await stranger.get("/readyz"), await stranger.get("/readyz", headers={"X-API-Key": "wrong"})]
    asked_before = [request.path for request in halley.sim.requests]

    first = {check["name"]: check for check in (await halley.client.get("/readyz")).json()["details"]}
    told = await _asked_key_line(halley)
    for _ in range(5):
        await _key_line(halley)

    asked = [request.path for request in halley.sim.requests if request.path == "/v1/models"]
    assert [(answer.status_code, answer.json()["details"]) for answer in answers] == [(200, [])] * 2
    assert asked_before == []
    assert first.keys() == {"database", "sweeps", "upstream_key", "definitions", "disk"}
    assert all(check["is_good"] for check in first.values())
    assert "not asked yet" in first["upstream_key"]["said"]
    assert "upstream takes it" in told["said"]
    assert len(asked) == 1


async def _asked_key_line(halley: House) -> dict[str, Any]:
    """Return what is told of the key, once upstream has answered."""
    async with asyncio.timeout(20):
        while True:
            line = await _key_line(halley)
            if "not asked yet" not in line["said"]:
                return line
            await asyncio.sleep(0.01)


async def _key_line(halley: House) -> dict[str, Any]:
    details = (await halley.client.get("/readyz")).json()["details"]
    (line,) = [check for check in details if check["name"] == "upstream_key"]
    return dict(line)


async def test_secrets_are_in_no_answer(halley: House) -> None:
    """The upstream key, the API key and callback tokens appear in nothing that users can read."""
    run = (await halley.start(T2V, {"prompt": "x"}, wait=10)).json()
    stored = await halley.app.state.services.store.run(run["id"])
    texts = [
        str(run),
        str(await halley.timeline(run["id"])),
        (await halley.start(T2V, {"prompt": "x"}, mode="preview")).text,
        (await halley.client.get("/metrics")).text,
        (await halley.start(T2V, {"promt": "x"})).text,
        (await halley.client.get("/readyz")).text,
    ]

    for secret in ("sk-canary-upstream-key", "test-key", stored.callback_token):
        assert not [text for text in texts if secret in text]


async def test_waiting_is_capped_and_prefer_is_honoured(halley: House) -> None:
    """`wait` and `Prefer: wait=N` hold the answer back until the end; an open run answers 202 in time."""
    ended = await halley.start(T2V, {"prompt": "x"}, wait=20)
    headers = {"Prefer": "respond-async, wait=20"}
    preferred = await halley.client.post(f"/v1/nodes/{T2V}/runs", json={"prompt": "y"}, headers=headers)
    still_open = await halley.start(T2V, {"prompt": "x [[duration:60]]"}, wait=0.2)

    assert [ended.status_code, preferred.status_code, still_open.status_code] == [200, 200, 202]
    assert "retry-after" not in ended.headers
