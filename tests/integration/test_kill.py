"""The command `halley serve` as a process: killed over a free question, stopped in good order, and what it logs.

What is promised of runs when a process is killed is the matter of `test_crash`.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import httpx
import msgspec

from service.simulator import Simulator
from tests.fakes.house import API_KEY, free_port, quick_simulator
from tests.fakes.receiver import Receiver

RUNS = 12


class SilentAtFirst:
    """An upstream that leaves its first question without an answer, and knows no models."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            if self.asked.is_set():
                body = b'{"data": []}'
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
            self.asked.set()
            await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def process(folder: Path, sim: Simulator | SilentAtFirst, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `halley serve` as a process of its own until it is ready, and kill what is left of it."""
    environ = {
        **os.environ,
        "HALLEY_DATA_DIR": str(folder),
        "HALLEY_API_KEY": API_KEY,
        "HALLEY_UPSTREAM_URL": sim.url,
        "HALLEY_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "HALLEY_PORT": str(port),
        "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
        "COMETAPI_KEY": "sk-canary-upstream-key",
        "HALLEY_LOG": "json",
    }
    with (folder / "server.log").open("ab") as log:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve", env=environ, stdout=log, stderr=log
        )
    try:
        await _ready(server, port, folder)
        yield server
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


async def _ready(server: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    async with asyncio.timeout(20), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while True:
            assert server.returncode is None, (folder / "server.log").read_text()
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def _start_runs(port: int, receiver_url: str) -> list[str]:
    headers = {"X-API-Key": API_KEY}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
        answers = await asyncio.gather(
            *(
                client.post(
                    "/v1/nodes/kling.text_to_video/runs",
                    json={"prompt": f"comet {number}"},
                    params={"webhook_url": receiver_url},
                )
                for number in range(RUNS)
            )
        )
    return [answer.json()["id"] for answer in answers]


async def _end(port: int, run_id: str) -> dict[str, object]:
    headers = {"X-API-Key": API_KEY}
    async with (
        asyncio.timeout(40),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=40) as client,
    ):
        while True:
            run = (await client.get(f"/v1/runs/{run_id}", params={"wait": 10})).json()
            if run["finished_at"]:
                return dict(run)


async def test_a_question_that_costs_nothing_is_asked_again_after_a_kill(tmp_path: Path) -> None:
    """A run that only asks is never left as one that may have been paid."""
    port = free_port()
    async with SilentAtFirst() as upstream:
        async with process(tmp_path, upstream, port) as server:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": API_KEY}) as client:
                run = (await client.post("/v1/nodes/platform.models/runs", params={"wait": 0}, json={})).json()
            async with asyncio.timeout(10):
                await upstream.asked.wait()
            server.send_signal(signal.SIGKILL)
            await server.wait()
        async with process(tmp_path, upstream, port):
            ended = await _end(port, run["id"])

    assert (ended["state"], ended["error"]) == ("succeeded", None)


async def test_log_lines_are_structured_and_hold_no_secret(tmp_path: Path) -> None:
    """Every line of the service's log is JSON with its facts as fields; keys and callback tokens are in none."""
    port = free_port()
    async with quick_simulator() as sim, Receiver() as receiver:
        async with process(tmp_path, sim, port) as server:
            (run_id, *_) = await _start_runs(port, receiver.url)
            await _end(port, run_id)
            await receiver.wait_for(RUNS)
            server.send_signal(signal.SIGTERM)
            await server.wait()
        tokens = [task.callback_url.rpartition("/")[2] for task in sim.tasks]

    text = (tmp_path / "server.log").read_text()
    events = {msgspec.json.decode(line)["event"] for line in text.splitlines() if line.startswith("{")}
    assert {"request.answered", "submission.accepted", "callback.received", "delivery.attempt"} <= events
    assert all(tokens)
    assert [word for word in ("sk-canary", API_KEY, *tokens) if word in text] == []


async def test_sigterm_drains_and_exits_zero(tmp_path: Path) -> None:
    """A graceful stop answers what is under way, ends within ten seconds and leaves nothing undecided."""
    port = free_port()
    async with quick_simulator() as sim, Receiver() as receiver, process(tmp_path, sim, port) as server:
        await _start_runs(port, receiver.url)
        server.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            code = await server.wait()

    assert code == 0
    externals = [task.external_id for task in sim.tasks]
    assert len(externals) == len(set(externals))
