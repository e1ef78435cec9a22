"""An upstream in a process of its own that costs as little as can be: jobs that end after a while; see `bench/nodes`.

`python -m bench.parts.upstream PORT SECONDS`; a job that is given `notify` tells there when it has ended.
"""

import asyncio
import itertools
import sys
import time
from typing import Any

import aiohttp
from aiohttp import web

_SURELY_OVER_S = 0.01  # a timer may come a moment early, and what it tells then is no end


def application(seconds: float) -> web.Application:
    """Return the upstream."""
    ends: dict[str, float] = {}
    numbers = itertools.count()
    calls = set[asyncio.Task[None]]()
    session: list[aiohttp.ClientSession] = []

    def job(name: str) -> dict[str, Any]:
        is_over = time.monotonic() >= ends[name]
        files = [{"href": f"https://files.example/{name}.png"}] if is_over else []
        return {"job": {"id": name, "phase": "done" if is_over else "drawing", "files": files}}

    async def call(url: str, name: str) -> None:
        await asyncio.sleep(seconds + _SURELY_OVER_S)
        async with session[0].post(url, json=job(name)) as answer:
            await answer.read()

    async def submit(request: web.Request) -> web.Response:
        given, name = await request.json(), f"j{next(numbers)}"
        ends[name] = time.monotonic() + seconds
        if "notify" in given:
            task = asyncio.create_task(call(given["notify"], name))
            calls.add(task)
            task.add_done_callback(calls.discard)
        return web.json_response({"job": {"id": name, "phase": "waiting"}})

    async def show(request: web.Request) -> web.Response:
        return web.json_response(job(request.match_info["name"]))

    async def begin(_: web.Application) -> None:
        session.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))

    async def end(_: web.Application) -> None:
        await session[0].close()

    app = web.Application()
    app.on_startup.append(begin)
    app.on_cleanup.append(end)
    app.router.add_post("/bench/jobs", submit)
    app.router.add_get("/bench/jobs/{name}", show)
    return app


if __name__ == "__main__":
    web.run_app(
        application(float(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), print=None, shutdown_timeout=0.1
    )
