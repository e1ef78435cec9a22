"""Several real `halley serve` processes on one database, each of which can be killed, frozen and stopped alone."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.house import API_KEY, free_port

SECRET_KEY = "c2VjcmV0LWNhbmFyeS1zZWNyZXQtY2FuYXJ5LXNlY3JldA"


class Replica:
    """One process and its client."""

    def __init__(self, url: str, server: asyncio.subprocess.Process, log: Path) -> None:
        self.url = url
        self.log = log
        self._server = server
        self.client = httpx.AsyncClient(base_url=url, headers={"X-API-Key": API_KEY}, timeout=40)

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._server.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._server.send_signal(number)

    async def ended(self) -> int:
        """Return the exit code once there is one."""
        return await self._server.wait()

    async def close(self) -> None:
        """Leave nothing behind."""
        await self.client.aclose()
        if self._server.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._server.kill()
        await self._server.wait()

    async def start(self, node: str, body: dict[str, Any], **query: Any) -> dict[str, Any]:
        """Start a run and return it."""
        answer = await self.client.post(f"/v1/nodes/{node}/runs", json=body, params=query)
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())

    async def run(self, run_id: str, **query: Any) -> dict[str, Any]:
        """Return a run."""
        return dict((await self.client.get(f"/v1/runs/{run_id}", params=query)).json())

    async def end(self, run_id: str, timeout_s: float = 40.0) -> dict[str, Any]:
        """Return a run once it has ended."""
        return await self._until(run_id, lambda run: run["finished_at"] is not None, timeout_s)

    async def rest(self, run_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Return a run once it goes on by itself no more."""
        return await self._until(run_id, lambda run: run["finished_at"] or run["state"] == "submit_unknown", timeout_s)

    async def _until(self, run_id: str, is_so: Callable[[dict[str, Any]], Any], timeout_s: float) -> dict[str, Any]:
        """Return a run once it is as wanted; says how it came to be otherwise."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            run = await self.run(run_id, wait=5)
            if is_so(run):
                return run
            await asyncio.sleep(0.1)
        lines = (await self.client.get(f"/v1/runs/{run_id}/timeline")).json()["data"]
        raise AssertionError("\n".join([f"{run_id} is {run['state']}", *(str(line) for line in lines)]))

    async def ready(self, status: int = 200) -> None:
        """Return once the process takes requests, or says that it takes no more (503)."""
        async with asyncio.timeout(30):
            while True:
                assert self._server.returncode is None, self.log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    if (await self.client.get("/readyz")).status_code == status:
                        return
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def replica(
    folder: Path, upstream_url: str, database_url: str | None = None, *, port: int | None = None, **environ: str
) -> AsyncIterator[Replica]:
    """Run `halley serve` in a folder of its own until the block ends, and kill what is left of it then."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    words = {
        "HALLEY_DATA_DIR": str(folder),
        "HALLEY_API_KEY": API_KEY,
        "HALLEY_SECRET_KEY": SECRET_KEY,
        "HALLEY_UPSTREAM_URL": upstream_url,
        "HALLEY_PUBLIC_URL": url,
        "HALLEY_PORT": str(port),
        "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
        "COMETAPI_KEY": "sk-canary-upstream-key",
        "HALLEY_LOG": "json",
        **({"HALLEY_DATABASE_URL": database_url} if database_url else {}),
        **environ,
    }
    log = folder / "server.log"
    with log.open("ab") as file:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve", env={**os.environ, **words}, stdout=file, stderr=file
        )
    made = Replica(url, server, log)
    try:
        await made.ready()
        yield made
    finally:
        await made.close()
