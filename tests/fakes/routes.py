"""All routes of the service as tests walk them, and a request for any of them."""

import re
from collections.abc import Iterator

import httpx
from litestar.handlers import HTTPRouteHandler

from service.api.surface import ROUTES

SOCKET = "GET /v1/nodes/{node}/socket"
_HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def all_routes() -> list[str]:
    """Return every route as method and path, such as `GET /v1/runs/{run}`; a WebSocket begins with GET."""
    return sorted(_all_routes())


def _all_routes() -> Iterator[str]:
    for handler in ROUTES:
        methods = handler.http_methods if isinstance(handler, HTTPRouteHandler) else {"GET"}
        for path in handler.paths:
            template = re.sub(r":\w+}", "}", path)
            yield from (f"{method} {template}" for method in methods)


async def ask(
    client: httpx.AsyncClient, route: str, *, key: str = "", body: object = None, **ids: str
) -> httpx.Response:
    """Send a request to a route.

    Args:
        client: Who sends it.
        route: Method and path.
        key: API key, if one is sent.
        body: JSON body.
        ids: What stands in the path.
    """
    method, _, template = route.partition(" ")
    headers = {"X-API-Key": key} if key else {}
    headers |= _HANDSHAKE if route == SOCKET else {}
    return await client.request(method, template.format(**ids), headers=headers, json=body)
