"""Receivers of deliveries in a process of their own: `/ok…` answers at once, `/slow…` after 100 ms, `/hung…` never.

`GET /arrivals` tells when each event came first, in epoch seconds, by path; `GET /count?path=/ok` how many came to
paths that begin so.
"""

import asyncio
import sys
import time

from aiohttp import web

_SLOW_S = 0.1


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
