"""Who may call which route: one table for all of them, read by the check of API keys and by the API document.

A key of a wider scope may do all that a narrower one may. A route that does not stand here asks for the widest, and
a test says so.
"""

from typing import Literal

from service.store.base import KeyScope

Access = Literal["public", "link", "read", "run", "admin"]

# `public` needs no key; `link` takes a signed link in place of a key, and of keys any.
ACCESS: dict[str, Access] = {
    "GET /v1/nodes": "read",
    "GET /v1/nodes/{node}": "read",
    "POST /v1/nodes/{node}/runs": "run",
    "GET /v1/nodes/{node}/socket": "run",
    "GET /v1/runs": "read",
    "GET /v1/runs/{run}": "read",
    "GET /v1/runs/{run}/timeline": "read",
    "POST /v1/runs/{run}/cancel": "run",
    "POST /v1/runs/{run}/adopt": "admin",
    "POST /v1/runs/{run}/abandon": "admin",
    "POST /v1/runs/{run}/retry": "run",
    "GET /v1/events": "read",
    "GET /v1/events/stream": "read",
    "POST /v1/events/{event}/replay": "run",
    "POST /v1/endpoints": "run",
    "GET /v1/endpoints": "read",
    "GET /v1/endpoints/{endpoint}": "read",
    "PATCH /v1/endpoints/{endpoint}": "run",
    "DELETE /v1/endpoints/{endpoint}": "run",
    "POST /v1/endpoints/{endpoint}/enable": "run",
    "POST /v1/endpoints/{endpoint}/disable": "run",
    "POST /v1/endpoints/{endpoint}/test": "run",
    "GET /v1/endpoints/{endpoint}/secrets": "run",
    "POST /v1/endpoints/{endpoint}/rotate-secret": "run",
    "POST /v1/endpoints/{endpoint}/recover": "run",
    "POST /v1/groups": "run",
    "GET /v1/groups": "read",
    "GET /v1/groups/{group}": "read",
    "POST /v1/groups/{group}/close": "run",
    "POST /v1/groups/{group}/cancel": "run",
    "GET /v1/deliveries": "read",
    "GET /v1/deliveries/{delivery}": "read",
    "POST /v1/deliveries/{delivery}/retry": "run",
    "GET /v1/artifacts/{artifact}": "link",
    "HEAD /v1/artifacts/{artifact}": "link",
    "POST /v1/files": "run",
    "GET /v1/files/{file}": "read",
    "DELETE /v1/files/{file}": "run",
    "POST /v1/callbacks/{token}": "public",
    "GET /healthz": "public",
    "GET /readyz": "public",
    "GET /metrics": "public",
    "GET /openapi.json": "public",
    "GET /asyncapi.json": "public",
    "GET /.well-known/jwks.json": "public",
}
_WIDTH: tuple[KeyScope, ...] = ("read", "run", "admin")


def needed_scope(method: str, template: str) -> KeyScope:
    """Return the scope that a key needs for a route.

    Args:
        method: Of the request; a WebSocket begins with GET.
        template: Path of the route, with its parameters by name.
    """
    access = ACCESS.get(f"{method} {template}", "admin")
    return "read" if access == "public" or access == "link" else access  # noqa: PLR1714 - the type checker follows it


def covers(scope: KeyScope, needed: KeyScope) -> bool:
    """Tell whether a scope is as wide as what is needed."""
    return _WIDTH.index(scope) >= _WIDTH.index(needed)
