"""The upstream of `upstream`, and what else a mixed load meets there.

What asks for "standing" is never done, what asks for "broken" fails, `/bench/direct` answers with its result, and
`/failing` is a receiver that takes nothing. `python -m bench.parts.standing PORT SECONDS`.
"""

import sys

from aiohttp import web
from aiohttp.typedefs import Handler

from bench.parts.upstream import Upstream, application

_NAME = "standing"
_RESULT = {"job": {"id": "direct", "phase": "done", "files": [{"href": "https://files.example/direct.png"}]}}


@web.middleware
async def standing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what is special, and leave the rest to the usual upstream."""
    if request.path == "/failing":
        return web.Response(status=500)
    if request.path == "/bench/direct":
        return web.json_response(_RESULT)
    if request.path.endswith(f"/{_NAME}"):
        return web.json_response({"job": {"id": _NAME, "phase": "drawing", "files": []}})
    text = (await request.json()).get("text", "") if request.method == "POST" else ""
    if text in (_NAME, "broken"):
        job = {"id": _NAME, "phase": "waiting" if text == _NAME else "broken", "files": []}
        return web.json_response({"job": job})
    return await handler(request)


if __name__ == "__main__":
    upstream = application(Upstream(float(sys.argv[2])))
    upstream.middlewares.append(standing)
    web.run_app(upstream, host="127.0.0.1", port=int(sys.argv[1]), print=None, shutdown_timeout=0.1)
