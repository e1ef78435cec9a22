"""An upstream in a process of its own that costs as little as can be: jobs that end after a while; see `bench/nodes`.

`python -m bench.parts.upstream PORT SECONDS [SIGMA]`: all jobs take so long, or, with a sigma, it is the median of a
log-normal distribution, drawn anew in the same order by each process. A job that is given `notify` tells there when it
has ended. The text "broken" fails at once, "standing" is under way until all jobs are over, and `/bench/direct` answers
with its result. What it saw is told in JSON, times in epoch seconds: `GET /bench/called` when it called back for each
text and how long the answer took, `GET /bench/asked` when it was asked about each job, `GET /bench/ends` when each is
over. After `POST /bench/over` all jobs are over. `/failing` is a receiver that takes nothing, at another origin than
those that do.
"""

import asyncio
import itertools
import math
import random
import sys
import time
from typing import Any

import aiohttp
from aiohttp import web

_DIRECT = {"job": {"id": "direct", "phase": "done", "files": [{"href": "https://files.example/direct.png"}]}}
_KEEPALIVE_S = 3.0  # shorter than Halley's: a callback that meets a connection being closed is lost, and not repeated
_SEED = 7
_SURELY_OVER_S = 0.01  # a timer may come a moment early, and what it tells then is no end


class Upstream:
    """Jobs, and what became of them."""

    def __init__(self, seconds: float, sigma: float = 0.0) -> None:
        self._seconds = seconds
        self._sigma = sigma
        self._chance = random.Random(_SEED)  # the same durations for whoever is measured
        self._ends: dict[str, float] = {}
        self._numbers = itertools.count()
        self._asked: dict[str, list[float]] = {}
        self._called: dict[str, tuple[float, float]] = {}
        self._is_over = False
        self._calls = set[asyncio.Task[None]]()
        self._client: aiohttp.ClientSession

    def _job(self, name: str) -> dict[str, Any]:
        is_over = self._is_over or time.monotonic() >= self._ends[name]
        files = [{"href": f"https://files.example/{name}.png"}] if is_over else []
        return {"job": {"id": name, "phase": "done" if is_over else "drawing", "files": files}}

    async def submit(self, request: web.Request) -> web.Response:
        """Begin a job."""
        given, name = await request.json(), f"j{next(self._numbers)}"
        if given["text"] == "broken":
            return web.json_response({"job": {"id": name, "phase": "broken", "files": []}})
        takes_s = self._seconds * math.exp(self._sigma * self._chance.gauss(0, 1))
        self._ends[name] = math.inf if given["text"] == "standing" else time.monotonic() + takes_s
        self._asked[name] = []
        if "notify" in given:
            task = asyncio.create_task(self._call(given["notify"], name, given["text"], takes_s))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        return web.json_response({"job": {"id": name, "phase": "waiting"}})

    async def _call(self, url: str, name: str, text: str, after_s: float) -> None:
        await asyncio.sleep(after_s + _SURELY_OVER_S)
        began_at = time.time()
        async with self._client.post(url, json=self._job(name)) as answer:
            await answer.read()
        self._called[text] = began_at, time.time() - began_at

    async def direct(self, _: web.Request) -> web.Response:
        """Do a job while the caller waits."""
        return web.json_response(_DIRECT)

    async def fail(self, _: web.Request) -> web.Response:
        """Take nothing."""
        return web.Response(status=500)

    async def show(self, request: web.Request) -> web.Response:
        """Tell of a job."""
        name = request.match_info["name"]
        self._asked[name].append(time.time())
        return web.json_response(self._job(name))

    async def called(self, _: web.Request) -> web.Response:
        """Tell of callbacks."""
        return web.json_response(self._called)

    async def asked(self, _: web.Request) -> web.Response:
        """Tell of questions."""
        return web.json_response(self._asked)

    async def ends(self, _: web.Request) -> web.Response:
        """Tell when jobs are over."""
        ahead_s = time.time() - time.monotonic()
        return web.json_response({name: at + ahead_s for name, at in self._ends.items()})

    async def over(self, _: web.Request) -> web.Response:
        """End all jobs."""
        self._is_over = True
        return web.Response()

    async def begin(self, _: web.Application) -> None:
        """Open the client."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S)
        self._client = aiohttp.ClientSession(connector=connector)

    async def end(self, _: web.Application) -> None:
        """Close the client."""
        await self._client.close()


def application(upstream: Upstream) -> web.Application:
    """Return an upstream as an application."""
    app = web.Application()
    app.on_startup.append(upstream.begin)
    app.on_cleanup.append(upstream.end)
    app.router.add_post("/bench/jobs", upstream.submit)
    app.router.add_get("/bench/jobs/{name}", upstream.show)
    app.router.add_post("/bench/direct", upstream.direct)
    app.router.add_post("/failing", upstream.fail)
    app.router.add_get("/bench/called", upstream.called)
    app.router.add_get("/bench/asked", upstream.asked)
    app.router.add_get("/bench/ends", upstream.ends)
    app.router.add_post("/bench/over", upstream.over)
    return app


if __name__ == "__main__":
    web.run_app(
        application(Upstream(*map(float, sys.argv[2:]))),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        shutdown_timeout=0.1,
    )
