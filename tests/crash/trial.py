"""One data folder and the servers that live and die in it."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import httpx

from tests.crash.nursery import Server, shared_nursery
from tests.crash.steps import Fuse
from tests.crash.world import World
from tests.fakes.house import API_KEY, free_port

_KEPT = ("PATH", "HOME", "LANG")


class Trial:
    """Starts servers one after the other in one folder, and remembers when each was ended.

    Args:
        folder: Its data folder, and beside it the log.
        world: What its servers talk to.
        words: More of the environment; `HALLEY_DATABASE_URL` for another database than a file in the folder.

    Attributes:
        url: Where its servers listen.
        server: The present one.
        kills: When servers were ended without warning, in epoch seconds.
    """

    server: Server

    def __init__(self, folder: Path, upstream_url: str, **words: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.folder = folder
        self.log = folder / "server.log"
        self.url = f"http://127.0.0.1:{port}"
        self.kills: list[float] = []
        self.environ = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "HALLEY_DATA_DIR": str(folder / "data"),
            "HALLEY_API_KEY": API_KEY,
            "HALLEY_UPSTREAM_URL": upstream_url,
            "HALLEY_PUBLIC_URL": self.url,
            "HALLEY_PORT": str(port),
            "HALLEY_EGRESS_ALLOW": "127.0.0.0/8",
            "HALLEY_LOG": "json",
            "COMETAPI_KEY": "sk-canary-upstream-key",
            **words,
        }

    def start(self, crash_at: str = "") -> Server:
        """Start a server, which may die at a step."""
        self.server = shared_nursery().spawn({**self.environ, "CRASH_AT": crash_at}, self.log)
        return self.server

    async def started(self, crash_at: str = "") -> Server:
        """Start a server and return it once it is ready."""
        self.start(crash_at)
        await self.ready()
        return self.server

    async def ready(self, timeout_s: float = 20.0) -> None:
        """Return once the present server takes work."""
        async with asyncio.timeout(timeout_s), httpx.AsyncClient(base_url=self.url) as client:
            while True:
                assert not self.server.is_over, self.log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.02)

    async def ended(self, timeout_s: float) -> bool:
        """Wait for the present server's death; returns whether it came in time, and kills it where it did not."""
        is_in_time = True
        try:
            await self.server.wait(timeout_s)
        except TimeoutError:
            is_in_time = False
            self.server.kill()
            await self.server.wait()
        self.kills.append(time.time())
        self.server.close()
        return is_in_time

    async def killed(self) -> None:
        """Kill the present server now."""
        self.server.kill()
        await self.ended(20)

    async def command(self, *words: str) -> tuple[int, str]:
        """Run another command with the same settings; returns its exit code and what it printed."""
        log = self.folder / "command.log"
        log.unlink(missing_ok=True)
        command = shared_nursery().spawn(self.environ, log, *words)
        try:
            return await command.wait(60), log.read_text()
        finally:
            command.close()


async def died_at(trial: Trial, world: World, step: str, count: int, *, is_store: bool, patience_s: float) -> bool:
    """Start a server and have it killed at a step; returns whether the step was reached in time."""
    words = f"{step}:{count}"
    server = trial.start(words if is_store else "")
    world.set_fuse() if is_store else world.set_fuse(Fuse(words, server.kill))
    is_reached = await trial.ended(patience_s)
    world.set_fuse()
    return is_reached
