"""Canaries: secrets with which a real Halley runs, works and fails, and which are then searched for in all it leaves.

Upstream here is the worst one: whatever it refuses, it repeats the request with the key. What has to hold a secret is
named where it is searched: the database knows callback tokens, since by them it finds the run.
"""

import asyncio
import base64
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from aiohttp import web

from service.simulator import Simulator, SimulatorOptions
from tests.fakes.house import free_port
from tests.fakes.receiver import Receiver

UPSTREAM_KEY = "sk-canary-upstream-7Qd/x+0123456789"
STATIC_KEY = "canary-static-api-key-0123456789"
MASTER = b"canary-master-key-of-32-bytes-xx"
HOOK_PATH, HOOK_QUERY = "canary-hook-path-91b2", "canary-hook-signature-44fe"
HOOK_USER, HOOK_PASSWORD = "canary-hook-user", "canary-hook-password"

T2V, CHAT = "/v1/nodes/kling.text_to_video/runs", "/v1/nodes/text.chat/runs"
ENDED = ("succeeded", "failed", "canceled", "timed_out", "submit_unknown")


class Echo:
    """An upstream that repeats every request in its answer; what it does stands in the prompt."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.polled = 0

    @property
    def routes(self) -> list[web.RouteDef]:
        """All paths, one handler."""
        return [web.route("*", "/{tail:.*}", self.answer)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Refuse, accept what will fail, or stream, and always tell what was asked."""
        body = (await request.read()).decode()
        echo = f"no rights for {request.headers.get('Authorization', '')}; you sent {request.url} {body}"
        self.seen.append(echo)
        if "[[stream]]" in body:
            return await self._stream(request, echo)
        if request.method == "GET" and "/images/" not in request.path:
            return self._polled(request, echo)
        if "[[accept]]" in body:
            data = {"task_id": "861309198188019719", "task_status": "submitted", "task_status_msg": echo}
            return web.json_response({"code": 0, "message": echo, "data": data})
        for status in (400, 401, 429, 500):
            if f"[[{status}]]" in body:
                error = {"message": echo, "code": echo[:40], "type": "x"}
                return web.json_response({"error": error, "message": echo, "code": 1001}, status=status)
        return web.Response(status=403, text=f"<html>{echo}</html>", content_type="text/html")

    def _polled(self, request: web.Request, echo: str) -> web.Response:
        """Answer a question with an error first, then with a state of its own, then with the failure."""
        self.polled += 1
        if request.path == "/v1/models":
            return web.json_response({"error": {"message": echo}}, status=401)
        if self.polled == 1:
            return web.json_response({"error": {"message": echo}}, status=503)
        status = f"odd {echo}" if self.polled == 2 else "failed"
        data = {"task_id": "861309198188019719", "task_status": status, "task_status_msg": echo}
        return web.json_response({"code": 0, "message": echo, "data": data})

    async def _stream(self, request: web.Request, echo: str) -> web.StreamResponse:
        """Say it in the events of an answer, cut in the middle of the key."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        said = msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": echo}}]})
        whole = b"data: " + said + b"\n\ndata: [DONE]\n\n"
        cut = whole.find(UPSTREAM_KEY.encode()) + 9
        for piece in (whole[:cut], whole[cut:]):
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response


class Traces:
    """All that was seen of Halley from outside, under a name that tells where."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.found: dict[str, bytes] = {}

    def keep(self, name: str, content: bytes) -> None:
        """Keep something to be searched."""
        self.found[f"{len(self.found)} {name}"] = content

    async def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Make a request and keep head and body of its answer."""
        answer = await self.client.request(method, path, **given)
        self.keep(f"{method} {path}", str(answer.headers).encode() + answer.content)
        return answer

    async def end(self, run_id: str) -> dict[str, Any]:
        """Wait for the end of a run, and keep it and its timeline."""
        async with asyncio.timeout(40):
            while True:
                run = (await self.client.get(f"/v1/runs/{run_id}", params={"wait": 5})).json()
                if run["state"] in ENDED:
                    break
        await self.ask("GET", f"/v1/runs/{run_id}")
        await self.ask("GET", f"/v1/runs/{run_id}/timeline")
        return dict(run)


def forms(secret: str) -> list[bytes]:
    """Return a secret as it may be written: plain, in a URL, in JSON, in Base64 and in hex."""
    plain = secret.encode()
    found = [plain, quote(secret, safe="").encode(), secret.replace("/", "\\/").encode(), plain.hex().encode()]
    for before in range(3):  # Base64 of a text that holds it somewhere depends on where
        coded = base64.b64encode(b"\0" * before + plain)
        inner = coded[4 if before else 0 : -4]
        found += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return found


def leaks(traces: dict[str, bytes], secrets: dict[str, str]) -> list[tuple[str, str]]:
    """Return where something was found that should not be there."""
    return [
        (what, where)
        for what, secret in secrets.items()
        for form in forms(secret)
        for where, content in traces.items()
        if form in content
    ]


def test_the_search_finds_what_it_should() -> None:
    """A search that finds nothing proves something only when it would have found it."""
    secret = "canary-secret-0123456789"
    texts = (
        secret,
        quote("a " + secret, safe=""),
        *(base64.b64encode(f"{'x' * n}{secret}yy".encode()).decode() for n in range(4)),
    )

    assert [leaks({"log": f"... {text} ...".encode()}, {"key": secret}) == [] for text in texts] == [False] * 6
    assert leaks({"log": b"nothing"}, {"key": secret}) == []


@contextlib.asynccontextmanager
async def running(environ: dict[str, str], log: Path) -> AsyncIterator[None]:
    """Run `halley serve` until the block ends; stop it gracefully."""
    with log.open("ab") as file:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve", env=environ, stdout=file, stderr=file
        )
    try:
        await _ready(f"http://127.0.0.1:{environ['HALLEY_PORT']}")
        yield
        server.send_signal(signal.SIGTERM)
        assert await server.wait() == 0
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


async def _ready(url: str) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=url) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def command(environ: dict[str, str], *words: str) -> bytes:
    """Return all that a command prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service",
        *words,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said


async def test_no_secret_is_found_in_anything_that_halley_leaves(tmp_path: Path) -> None:
    """Runs that succeed, fail and stream; answers, errors, events, log, exports, database: no secret in any."""
    folder, port, echo = tmp_path / "data", free_port(), Echo()
    async with Simulator(SimulatorOptions(), families=lambda _: echo.routes) as upstream, Receiver() as receiver:
        environ = _environ(folder, port, upstream.url)
        made = msgspec.json.decode(
            await command(environ, "keys", "create", "robot", "--workspace", "default", "--json")
        )
        async with (
            running(environ, tmp_path / "server.log"),
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": made["key"]}, timeout=40
            ) as client,
        ):
            traces = Traces(client)
            calling = asyncio.create_task(_call_back(echo))
            runs = await _work(traces, receiver)
            calling.cancel()
            await _look_around(traces)
            await receiver.wait_for(len(runs) - 1)
        await _collect(traces, receiver, environ, tmp_path)

    secrets = {
        "upstream key": UPSTREAM_KEY,
        "static key": STATIC_KEY,
        "made key": made["key"],
        "signing secret": made["signing_secret"].removeprefix("whsec_"),
        "secret key": MASTER.decode(),
        "secret key as set": base64.urlsafe_b64encode(MASTER).decode().rstrip("="),
        "webhook path": HOOK_PATH,
        "webhook query": HOOK_QUERY,
        "webhook user": HOOK_USER,
        "webhook password": HOOK_PASSWORD,
    }
    tokens = _tokens(echo)
    assert {run["state"] for run in runs} >= {"succeeded", "failed"}
    assert any(UPSTREAM_KEY in said for said in echo.seen)
    assert len(tokens) >= 3
    assert {got.path for got in receiver.got} == {f"/{HOOK_PATH}?signature={HOOK_QUERY}"}
    assert leaks(traces.found, secrets) == []
    outside = {name: content for name, content in traces.found.items() if "halley.db" not in name}
    assert leaks(outside, {f"token {n}": token for n, token in enumerate(tokens)}) == []


def _environ(folder: Path, port: int, upstream_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "HALLEY_DATA_DIR": str(folder),
        "HALLEY_API_KEY": STATIC_KEY,
        "HALLEY_SECRET_KEY": base64.urlsafe_b64encode(MASTER).decode(),
        "HALLEY_UPSTREAM_URL": upstream_url,
        "HALLEY_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "HALLEY_PORT": str(port),
        "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
        "COMETAPI_KEY": UPSTREAM_KEY,
        "HALLEY_LOG": "json",
    }


async def _work(traces: Traces, receiver: Receiver) -> list[dict[str, Any]]:
    """Start runs of several kinds, good and bad, and wait for their ends."""
    hook = {"webhook_url": f"{receiver.url}/{HOOK_PATH}?signature={HOOK_QUERY}"}
    with_password = receiver.url.replace("//", f"//{HOOK_USER}:{HOOK_PASSWORD}@") + f"/{HOOK_PATH}"
    marks = ("[[400]]", "[[401]]", "[[accept]]", "[[html]]")
    starts = [await traces.ask("POST", T2V, params=hook, json={"prompt": f"comet {mark}"}) for mark in marks]
    starts.append(await traces.ask("POST", T2V, params={**hook, "mode": "mock"}, json={"prompt": "a comet"}))
    chat: dict[str, Any] = {"model": "gpt-5.4"}
    asked = {"params": {**hook, "wait": 0}}
    starts += [await traces.ask("POST", CHAT, **asked, json={**chat, "prompt": m}) for m in ("[[400]]", "[[stream]]")]
    # Refused, in an answer that repeats the URL to who sent it; nothing of it may be anywhere else.
    refused = await traces.client.post(T2V, headers={"Halley-Webhook-Url": with_password}, json={"prompt": "x"})
    assert refused.status_code == 422
    assert [start.text for start in starts if start.status_code not in (200, 202)] == []
    ended = [await traces.end(start.json()["id"]) for start in starts]
    retried = await traces.ask("POST", f"/v1/runs/{ended[0]['id']}/retry")
    ended.append(await traces.end(retried.json()["id"]))
    live = {"Accept": "text/event-stream"}
    await traces.ask("POST", CHAT, headers=live, json={**chat, "prompt": "say [[stream]]"})
    return ended


async def _look_around(traces: Traces) -> None:
    """Ask for everything that can be asked for, in the right way and in wrong ones."""
    hook = {"webhook_url": f"http://10.1.2.3/{HOOK_PATH}?signature={HOOK_QUERY}"}
    for path in (
        "/v1/runs",
        "/v1/nodes",
        "/metrics",
        "/readyz",
        "/healthz",
        "/openapi.json",
        "/asyncapi.json",
        "/v1/nodes/text.chat",
    ):
        await traces.ask("GET", path)
    async with asyncio.timeout(20):
        while True:
            if b"not asked yet" not in (await traces.ask("GET", "/readyz")).content:
                break
            await asyncio.sleep(0.05)
    await traces.ask("POST", T2V, params={"mode": "preview", **hook}, json={"prompt": "x"})
    await traces.ask("POST", T2V, params={"mode": "preview"}, json={"prompt": "x"})
    await traces.ask("POST", T2V, params={**hook, "wait": "no"}, json={"promt": "x"})
    await traces.ask("POST", T2V, params=hook, json={"prompt": "x"})
    await traces.ask("GET", "/v1/runs", headers={"X-API-Key": STATIC_KEY[:-1]})
    await traces.ask("GET", "/v1/runs", headers={"Authorization": f"Bearer {STATIC_KEY}"})
    await traces.ask("GET", f"/v1/{STATIC_KEY[:5]}")


async def _collect(traces: Traces, receiver: Receiver, environ: dict[str, str], folder: Path) -> None:
    """Keep what is left behind: events, the log, what commands print and write, every file of the data folder."""
    for got in receiver.got:
        traces.keep("event", got.body + str(got.headers).encode())
    traces.keep("log", (folder / "server.log").read_bytes())
    for words in (("keys", "list", "--json"), ("keys", "list"), ("db", "check", "--json"), ("check", "--json")):
        traces.keep(" ".join(words), await command(environ, *words))
    (folder / "export" / "docs").mkdir(parents=True)
    traces.keep("export", await command(environ, "export", "--root", str(folder / "export")))
    await command(environ, "db", "backup", str(folder / "data" / "backup-halley.db"))
    for path in (*(folder / "data").rglob("*"), *(folder / "export").rglob("*")):
        if path.is_file():
            traces.keep(str(path.relative_to(folder)), path.read_bytes())


async def _call_back(echo: Echo) -> None:
    """Report about every task again and again, as a provider may, so that its state is asked for soon."""
    async with httpx.AsyncClient() as client:
        while True:
            for url in _callback_urls(echo):
                await client.post(url, json={"task_id": "1", "task_status": "failed", "callback_url": url})
            await asyncio.sleep(1)


def _tokens(echo: Echo) -> set[str]:
    """Return the callback tokens that upstream was told."""
    return {url.rpartition("/")[2] for url in _callback_urls(echo)}


def _callback_urls(echo: Echo) -> set[str]:
    return {url for said in echo.seen for url in re.findall(r'http[^" ]+/v1/callbacks/[^" ]+', said)}
