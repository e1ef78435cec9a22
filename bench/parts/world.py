"""A real `halley serve` on loopback, with an upstream and a receiver that are processes of their own."""

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from bench.parts.floors import bare_client
from bench.parts.processes import Running, answering, listening, running
from bench.parts.receivers import Receivers, receivers
from tests.fakes.ports import free_port

AUTH = {"X-API-Key": "bench-key"}
_NODES = Path(__file__).parents[1] / "nodes"


class World:
    """Halley, which may be ended and started again, and those around it.

    Args:
        folder: Its data.
        client: Makes the requests.
        upstream: The process that its runs are sent to, and the URL of that.
        receivers: Those that hear of ends.
        more: Settings beside those that all have.

    Attributes:
        url: Of Halley.
        upstream: URL of the upstream.
        halley: The process, while it is open.
    """

    def __init__(
        self,
        folder: Path,
        client: aiohttp.ClientSession,
        upstream: tuple[Running, str],
        receivers: Receivers,
        more: dict[str, str],
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.receivers = receivers
        self.upstream_process, self.upstream = upstream
        self.halley: Running
        self._client = client
        self._settings = {
            "COMETAPI_KEY": "sk-bench",
            "HALLEY_API_KEY": AUTH["X-API-Key"],
            "HALLEY_DATA_DIR": str(folder),
            "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
            "HALLEY_LOG": "json",
            "HALLEY_NODES_PATH": str(_NODES),
            "HALLEY_PORT": str(port),
            "HALLEY_PUBLIC_URL": self.url,
            "HALLEY_UPSTREAM_URL": self.upstream,
        } | more

    @contextlib.asynccontextmanager
    async def open(self, *words: str, stop_s: float = 0.0, under: Sequence[str] = ()) -> AsyncIterator[float]:
        """Run Halley until the end of the block; yields after how many seconds it was ready.

        Args:
            words: Of `halley serve`.
            stop_s: How long it may take to stop in good order; without, it is killed.
            under: Another program that runs it.
        """
        began_at = time.perf_counter()
        process = running("-m", "service", "serve", *words, environ=self._settings, stop_s=stop_s, under=under)
        async with process as self.halley:
            await answering(f"{self.url}/readyz")
            yield time.perf_counter() - began_at

    async def start(self, node: str, number: int) -> float:
        """Start a run whose end is told to a path of its own; returns how many seconds the answer took."""
        began_at = time.perf_counter()
        headers = {"Halley-Webhook-Url": f"{self.receivers.url}/ok/{number}"}
        await self.call("POST", f"/v1/nodes/{node}/runs", json={"text": f"A comet {number}"}, headers=headers)
        return time.perf_counter() - began_at

    async def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **words: Any) -> bytes:
        """Ask something of Halley; returns the body of its answer.

        Raises:
            RuntimeError: It was refused.
        """
        async with self._client.request(method, self.url + path, headers=AUTH | (headers or {}), **words) as answer:
            if not answer.ok:
                raise RuntimeError(await answer.text())
            return await answer.read()

    async def arrivals(self) -> dict[int, float]:
        """Return when the event of each run came, in epoch seconds."""
        events = await self.receivers.arrivals()
        return {int(path.rpartition("/")[2]): min(times.values()) for path, times in events.items()}

    async def callbacks(self) -> dict[int, tuple[float, float]]:
        """Return when upstream called back for each run, and how many seconds the answer took."""
        async with self._client.get(f"{self.upstream}/bench/called") as answer:
            return {int(text.rpartition(" ")[2]): (at, took_s) for text, (at, took_s) in (await answer.json()).items()}

    async def asked(self) -> dict[str, list[float]]:
        """Return when upstream was asked about each job."""
        async with self._client.get(f"{self.upstream}/bench/asked") as answer:
            return dict(await answer.json())

    async def ends(self) -> dict[str, float]:
        """Return when each job of the upstream is over."""
        async with self._client.get(f"{self.upstream}/bench/ends") as answer:
            return dict(await answer.json())

    async def end_jobs(self) -> None:
        """Let all jobs of the upstream be over from now on."""
        await self._client.post(f"{self.upstream}/bench/over")


@contextlib.asynccontextmanager
async def world(
    job_s: float, database: str | None = None, *, sigma: float = 0.0, **environ: str
) -> AsyncIterator[World]:
    """Run a Halley that is not open yet, on a SQLite file or on another database, and those around it.

    Args:
        job_s: How long a job of the upstream takes.
        database: URL of another database.
        sigma: How far the jobs' durations are from each other, in the logarithm; `job_s` is their median then.
        environ: More of Halley's environment.
    """
    more = environ if database is None else {"HALLEY_DATABASE_URL": database, **environ}
    async with (
        bare_client() as client,
        listening("bench.parts.upstream", str(job_s), str(sigma), path="/bench/called") as upstream,
        receivers(client) as told,
    ):
        with tempfile.TemporaryDirectory(prefix="halley-bench-") as folder:
            yield World(Path(folder), client, upstream, told, more)
