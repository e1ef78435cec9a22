"""The bare server: uvicorn, httptools and uvloop with nothing behind them. `python -m bench.parts.bare PORT`."""

import sys
from typing import Any

import uvicorn

_BODY = b"x" * 1000  # as long as a run
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"1000")]


async def application(_: Any, receive: Any, send: Any) -> None:
    """Read a request and answer it."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


if __name__ == "__main__":
    uvicorn.run(
        application,
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        server_header=False,
        log_config=None,
    )
