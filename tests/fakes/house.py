"""A whole Halley on loopback: the real application in a real server, the simulator upstream, a quick pace."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn
from litestar import Litestar

from service.app import Mock, Tuning, create_app
from service.definitions.catalog import Catalog, CompiledPace, load_catalog
from service.log import silent_log
from service.settings import load_settings
from service.simulator import Simulator, SimulatorOptions
from service.simulator.callbacks import LoopbackResolver
from tests.fakes.ports import free_port
from tests.fakes.postgres import PostgresServer

API_KEY = "test-key"
QUICK = CompiledPace(
    first_s=0.1, every_s=0.1, growth=1.1, at_most_s=0.5, deadline_s=60, with_callback=50, at_least_s=0.05
)
TUNING = Tuning(
    submit_s=0.05,
    poll_s=0.05,
    reconcile_s=0.05,
    recover_s=0.05,
    expire_s=0.1,
    deliver_s=0.05,
    stream_cap_s=0.2,
    resolver=LoopbackResolver(),
)


@functools.cache
def shipped_catalog() -> Catalog:
    """Return the shipped nodes, compiled once for all tests of a process."""
    return load_catalog()


def quick_catalog(**pace: float) -> Catalog:
    """Return the shipped nodes, asked about ten times a second."""
    words = msgspec.structs.replace(QUICK, **pace)
    nodes = shipped_catalog().nodes
    return Catalog({name: msgspec.structs.replace(node, pace=words) for name, node in nodes.items()})


class Databases:
    """Where whole Halleys keep their runs: a file in their folder, or a database for each folder."""

    def __init__(self) -> None:
        self.server: PostgresServer | None = None
        self._urls: dict[Path, str] = {}

    async def environ(self, folder: Path) -> dict[str, str]:
        """Return the settings that lead a Halley to its database."""
        if self.server is None:
            return {}
        if folder not in self._urls:
            self._urls[folder] = await self.server.database()
        return {"HALLEY_DATABASE_URL": self._urls[folder]}


DATABASES = Databases()


class House:
    """A running Halley and its client."""

    def __init__(self, url: str, app: Litestar, sim: Simulator, client: httpx.AsyncClient) -> None:
        self.url = url
        self.app = app
        self.sim = sim
        self.client = client

    async def start(self, node: str, body: dict[str, Any], **query: Any) -> httpx.Response:
        """Start a run."""
        return await self.client.post(f"/v1/nodes/{node}/runs", json=body, params=query)

    async def end(self, run_id: str, timeout_s: float = 25.0) -> dict[str, Any]:
        """Return a run once it has ended."""
        async with asyncio.timeout(timeout_s):
            while True:
                run = (await self.client.get(f"/v1/runs/{run_id}", params={"wait": 10})).json()
                if run["state"] in ("succeeded", "failed", "canceled", "timed_out"):
                    return dict(run)

    async def until(self, run_id: str, state: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """Return a run once it is in a state."""
        async with asyncio.timeout(timeout_s):
            while True:
                run = (await self.client.get(f"/v1/runs/{run_id}", params={"wait": 0.02})).json()
                if run["state"] == state:
                    return dict(run)

    async def timeline(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's timeline."""
        return list((await self.client.get(f"/v1/runs/{run_id}/timeline")).json()["data"])

    async def told(self, run_id: str, kind: str, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """Return the details of a kind of timeline entries, once there are any."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = [entry["detail"] for entry in await self.timeline(run_id) if entry["kind"] == kind]
                if found:
                    return found
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def house(
    folder: Path,
    sim: Simulator,
    *,
    public: bool = True,
    environ: dict[str, str] | None = None,
    catalog: Catalog | None = None,
    tuning: Tuning = TUNING,
    port: int | None = None,
) -> AsyncIterator[House]:
    """Run Halley on a loopback port until the block ends, then stop it gracefully."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    settings = load_settings(
        {
            "HALLEY_DATA_DIR": str(folder),
            "HALLEY_API_KEY": API_KEY,
            "HALLEY_UPSTREAM_URL": sim.url,
            "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
            "COMETAPI_KEY": "sk-canary-upstream-key",
            **({"HALLEY_PUBLIC_URL": url} if public else {}),
            **await DATABASES.environ(folder),
            **(environ or {}),
        }
    )
    app = create_app(
        settings,
        silent_log(),
        mock=Mock(url=sim.url, callback_base=url),
        catalog=catalog or quick_catalog(),
        tuning=tuning,
    )
    async with (
        served(app, port),
        httpx.AsyncClient(base_url=url, headers={"X-API-Key": API_KEY}, timeout=40) as client,
    ):
        yield House(url, app, sim, client)


@contextlib.asynccontextmanager
async def served(app: Any, port: int) -> AsyncIterator[None]:
    """Serve an application on a loopback port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    task = asyncio.create_task(server._serve())  # the public `serve` would take over signals
    try:
        async with asyncio.timeout(10):
            while not server.started:
                if task.done():
                    task.result()
                    raise RuntimeError("the server did not start")
                await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


def quick_simulator(**options: Any) -> Simulator:
    """Return a simulator whose tasks take a third of a second."""
    return Simulator(SimulatorOptions(**{"duration_s": 0.3, **options}))
