"""A real `halley serve` on loopback, with an upstream and a receiver that are processes of their own."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from bench.parts.floors import bare_client
from bench.parts.processes import Running, answering, running
from tests.fakes.ports import free_port

_KEY = "bench-key"
_PATIENCE_S = 180.0
_NODES = Path(__file__).parents[1] / "nodes"


class World:
    """Halley, which may be killed and started again, and those around it.

    Args:
        folder: Its data.
        client: Makes the requests.
        more: Settings beside those that all have.

    Attributes:
        folder: Halley's data.
        upstream: URL of the upstream.
        halley: The process, while it is open.
    """

    def __init__(self, folder: Path, client: aiohttp.ClientSession, more: dict[str, str]) -> None:
        port, self._upstream_port, self._receiver_port = (free_port() for _ in range(3))
        self._url, self.upstream, self._receiver = (
            f"http://127.0.0.1:{each}" for each in (port, self._upstream_port, self._receiver_port)
        )
        self.folder = folder
        self.halley: Running
        self._client = client
        self._settings = {
            "COMETAPI_KEY": "sk-bench",
            "HALLEY_API_KEY": _KEY,
            "HALLEY_DATA_DIR": str(folder),
            "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
            "HALLEY_LOG": "json",
            "HALLEY_NODES_PATH": str(_NODES),
            "HALLEY_PORT": str(port),
            "HALLEY_PUBLIC_URL": self._url,
            "HALLEY_UPSTREAM_URL": self.upstream,
        } | more

    @contextlib.asynccontextmanager
    async def surroundings(self, job_s: float) -> AsyncIterator[None]:
        """Run the upstream, whose jobs take so long, and the receiver."""
        async with (
            running("-m", "bench.parts.upstream", str(self._upstream_port), str(job_s)),
            running("-m", "bench.parts.receivers", str(self._receiver_port)),
        ):
            await answering(f"{self.upstream}/bench/called")
            await answering(f"{self._receiver}/count?path=/")
            yield

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[float]:
        """Run Halley until the end of the block, where it is killed; yields after how many seconds it was ready."""
        began_at = time.perf_counter()
        async with running("-m", "service", "serve", environ=self._settings) as self.halley:
            await answering(f"{self._url}/readyz")
            yield time.perf_counter() - began_at

    async def start(self, node: str, number: int) -> float:
        """Start a run whose end is told to a path of its own; returns how many seconds the answer took."""
        began_at = time.perf_counter()
        async with self._client.post(
            f"{self._url}/v1/nodes/{node}/runs",
            json={"text": f"A comet {number}"},
            headers={"X-API-Key": _KEY, "Halley-Webhook-Url": f"{self._receiver}/ok/{number}"},
        ) as answer:
            if answer.status != 202:
                raise RuntimeError(await answer.text())
            await answer.read()
        return time.perf_counter() - began_at

    async def told(self, count: int) -> None:
        """Return once so many events have come to the receiver."""
        async with asyncio.timeout(_PATIENCE_S):
            while await self.count() < count:  # noqa: ASYNC110 - they come to another process
                await asyncio.sleep(0.05)

    async def count(self) -> int:
        """Return how many events have come to the receiver."""
        async with self._client.get(f"{self._receiver}/count", params={"path": "/ok"}) as answer:
            return int(await answer.text())

    async def arrivals(self) -> dict[int, float]:
        """Return when the event of each run came, in epoch seconds."""
        async with self._client.get(f"{self._receiver}/arrivals") as answer:
            events = await answer.json()
        return {int(path.rpartition("/")[2]): min(times.values()) for path, times in events.items()}

    async def callbacks(self) -> dict[int, tuple[float, float]]:
        """Return when upstream called back for each run, and how many seconds the answer took."""
        async with self._client.get(f"{self.upstream}/bench/called") as answer:
            return {int(text.rpartition(" ")[2]): (at, took_s) for text, (at, took_s) in (await answer.json()).items()}

    async def asked(self) -> dict[str, list[float]]:
        """Return when upstream was asked about each job."""
        async with self._client.get(f"{self.upstream}/bench/asked") as answer:
            return dict(await answer.json())

    async def end_jobs(self) -> None:
        """Let all jobs of the upstream be over from now on."""
        await self._client.post(f"{self.upstream}/bench/over")


@contextlib.asynccontextmanager
async def world(job_s: float, database: str | None = None) -> AsyncIterator[World]:
    """Run a Halley that is not open yet, on a SQLite file or on another database, and those around it."""
    with tempfile.TemporaryDirectory(prefix="halley-bench-") as folder:
        async with bare_client() as client:
            made = World(Path(folder), client, {} if database is None else {"HALLEY_DATABASE_URL": database})
            async with made.surroundings(job_s):
                yield made
