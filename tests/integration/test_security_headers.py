"""Headers that tell browsers what an answer may not be used for: on every route, every error, every status."""

import asyncio
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.api.security_headers import SecurityHeaders
from service.simulator import Simulator
from tests.fakes.house import House, house

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
JSON_ONLY = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
MAY_BE_KEPT = {"/.well-known/jwks.json": {"cache-control": "public, max-age=3600"}}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'


def wrong(answer: httpx.Response, wanted: dict[str, str]) -> list[str]:
    """Return the headers that are not what they should be, each once and only once."""
    return [name for name, value in wanted.items() if answer.headers.get_list(name) != [value]]


async def test_every_route_and_every_error_has_them(halley: House) -> None:
    """A walk over all routes with and without a key, and what no route answers: 404, 405, 413 and broken bodies."""
    answers = []
    async with httpx.AsyncClient(base_url=halley.url) as stranger:
        for route in halley.app.routes:
            for method in getattr(route, "methods", ()):
                answers.append(await halley.client.request(method, route.path_format))
                answers.append(await stranger.request(method, route.path_format))
        answers.append(await stranger.get("/nowhere"))
        answers.append(await halley.client.delete("/v1/runs"))
        answers.append(await halley.client.post("/v1/callbacks/x", content=b"x" * 1_100_000))
        answers.append(await halley.client.post("/v1/files", content=b""))

    assert {200, 401, 404, 405, 413} <= {answer.status_code for answer in answers}
    wanted = [
        EVERYWHERE | JSON_ONLY | (MAY_BE_KEPT.get(a.request.url.path, {}) if a.status_code == 200 else {})
        for a in answers
    ]
    found = [(a.request.url.path, a.status_code, wrong(a, w)) for a, w in zip(answers, wanted, strict=True)]
    assert [each for each in found if each[2]] == []
    assert [answer for answer in answers if "strict-transport-security" in answer.headers] == []


async def test_a_bug_has_them_too(halley: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody planned is no exception."""

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(halley.app.state.services.store, "runs", broken)
    answer = await halley.client.get("/v1/runs")

    assert answer.status_code == 500
    assert wrong(answer, EVERYWHERE | JSON_ONLY) == []


async def test_artifacts_may_be_shown_and_may_run_nothing(halley: House) -> None:
    """A link may stand in a page of others; what it leads to has no scripts, no forms and no origin."""
    link = (await halley.client.post("/v1/files", content=SVG)).json()["url"]
    async with httpx.AsyncClient() as stranger:
        whole = await stranger.get(link)
        part = await stranger.get(link, headers={"Range": "bytes=0-3"})
        known = await stranger.get(link, headers={"If-None-Match": whole.headers["etag"]})
        beyond = await stranger.get(link, headers={"Range": "bytes=9999-"})

    assert [whole.status_code, part.status_code, known.status_code, beyond.status_code] == [200, 206, 304, 416]
    for answer in (whole, part, known):
        policy = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "sandbox", "frame-ancestors 'none'"} <= set(policy)
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["cache-control"].startswith("private")
    assert [wrong(answer, EVERYWHERE) for answer in (whole, part, known, beyond)] == [[]] * 4


async def test_a_refused_websocket_has_them(halley: House) -> None:
    """The answer to a handshake is an answer like any other."""
    url = halley.url.replace("http", "ws") + "/v1/nodes/no.node/socket"
    async with asyncio.timeout(10):
        with pytest.raises(InvalidStatus) as caught:
            await connect(url, proxy=None)

    headers = caught.value.response.headers
    assert caught.value.response.status_code == 401
    assert {name: headers[name] for name in EVERYWHERE | JSON_ONLY} == EVERYWHERE | JSON_ONLY


async def test_browsers_stay_with_tls_where_there_is_tls(tmp_path: Path, sim: Simulator) -> None:
    """Only a public URL by TLS brings the header, since one that is wrong makes a site unreachable for a year."""
    async with house(tmp_path, sim, environ={"HALLEY_PUBLIC_URL": "https://halley.example"}) as halley:
        answer = await halley.client.get("/healthz")

    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert not [each for each in SecurityHeaders("http://h.example")._headers if b"transport" in each[0]]
