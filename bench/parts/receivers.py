"""Receivers of deliveries in a process of their own: `/ok…` answers at once, `/slow…` after 100 ms, `/hung…` never.

`GET /arrivals` tells when each event came first, in epoch seconds, by path; `GET /count?path=/ok` how many came to
paths that begin so. `python -m bench.parts.receivers PORT`.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from bench.parts.processes import Running, listening

_SLOW_S = 0.1
_PATIENCE_S = 180.0


class Receivers:
    """The process, and what it tells.

    Args:
        process: As it says.
        url: Of the receivers.
        client: Asks them.
    """

    def __init__(self, process: Running, url: str, client: aiohttp.ClientSession) -> None:
        self.process = process
        self.url = url
        self._client = client

    async def count(self, prefix: str = "/ok") -> int:
        """Return how many events have come to paths that begin so."""
        async with self._client.get(f"{self.url}/count", params={"path": prefix}) as answer:
            return int(await answer.text())

    async def told(self, count: int) -> None:
        """Return once so many events have come to those that answer at once."""
        async with asyncio.timeout(_PATIENCE_S):
            while await self.count() < count:  # noqa: ASYNC110 - they come to another process
                await asyncio.sleep(0.05)

    async def arrivals(self) -> dict[str, dict[str, float]]:
        """Return when each event came, in epoch seconds, by path."""
        async with self._client.get(f"{self.url}/arrivals") as answer:
            return dict(await answer.json())


@contextlib.asynccontextmanager
async def receivers(client: aiohttp.ClientSession) -> AsyncIterator[Receivers]:
    """Run receivers until the end of the block."""
    async with listening("bench.parts.receivers", path="/count?path=/") as (process, url):
        yield Receivers(process, url, client)


def application() -> web.Application:
    """Return the receivers."""
    arrivals: dict[str, dict[str, float]] = {}

    async def take(request: web.Request) -> web.Response:
        await request.read()
        arrivals.setdefault(request.path, {}).setdefault(request.headers["webhook-id"], time.time())
        if request.path.startswith("/hung"):
            await asyncio.Event().wait()
        if request.path.startswith("/slow"):
            await asyncio.sleep(_SLOW_S)
        return web.Response()

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(arrivals)

    async def count(request: web.Request) -> web.Response:
        wanted = request.query["path"]
        return web.json_response(sum(len(events) for path, events in arrivals.items() if path.startswith(wanted)))

    app = web.Application()
    app.router.add_get("/count", count)
    app.router.add_get("/arrivals", tell)
    app.router.add_post("/{tail:.*}", take)
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), print=None, shutdown_timeout=0.1)
