"""`halley serve` as users run it, in a process that can be killed."""

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.house import API_KEY
from tests.fakes.ports import free_port
from tests.n8n.instance import until
from tests.n8n.process import Program


class Halley:
    """A Halley with a data folder of its own.

    Args:
        folder: Data and log.
        upstream_url: The simulated upstream.

    Attributes:
        url: Where it listens.
        client: Calls it with its key.
    """

    def __init__(self, folder: Path, upstream_url: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.AsyncClient(base_url=self.url, timeout=30, headers={"X-API-Key": API_KEY})
        environ = {
            "PATH": os.environ["PATH"],
            "HALLEY_DATA_DIR": str(folder / "halley"),
            "HALLEY_API_KEY": API_KEY,
            "HALLEY_PORT": str(port),
            "HALLEY_PUBLIC_URL": self.url,
            "HALLEY_UPSTREAM_URL": upstream_url,
            "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
            "COMETAPI_KEY": "sk-simulated",
        }
        self._program = Program([sys.executable, "-m", "service", "serve"], environ, folder / "halley.log")

    async def started(self) -> None:
        """Start it and return once it takes work."""
        await self._program.start()

        async def is_ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await self.client.get("/readyz")).status_code == httpx.codes.OK
            return False

        await until(is_ready, "Halley is ready", 30)

    async def killed(self) -> None:
        """End it without warning."""
        await self._program.end(signal.SIGKILL)

    async def close(self) -> None:
        """End it for good."""
        await self.client.aclose()
        await self.killed()

    async def start(self, prompt: str, **query: str) -> dict[str, Any]:
        """Start a run."""
        answer = await self.client.post(
            "/v1/nodes/kling.text_to_video/runs", json={"prompt": prompt}, params={"mode": "live", **query}
        )
        return dict(answer.raise_for_status().json())

    async def runs(self, marker: str) -> list[dict[str, Any]]:
        """Return the runs whose prompt begins with a marker."""
        page = (await self.client.get("/v1/runs", params={"limit": 200})).raise_for_status().json()
        return [run for run in page["data"] if str(run["input"]["prompt"]).startswith(marker)]

    async def events(self, marker: str) -> list[dict[str, Any]]:
        """Return the events that tell of an end of such runs."""
        ends = "run.succeeded,run.failed,run.canceled,run.timed_out"
        page = (await self.client.get("/v1/events", params={"limit": 200, "type": ends})).raise_for_status().json()
        return [event for event in page["data"] if str(event["data"]["input"]["prompt"]).startswith(marker)]

    async def attempts(self, marker: str) -> list[dict[str, Any]]:
        """Return all delivery attempts of such runs, as their timelines tell them."""
        found = []
        for run in await self.runs(marker):
            timeline = (await self.client.get(f"/v1/runs/{run['id']}/timeline")).raise_for_status().json()
            found += [entry["detail"] for entry in timeline["data"] if entry["kind"] == "delivery"]
        return found
