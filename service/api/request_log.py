"""Around every request: an id that follows it through the log, one log line, one measurement."""

import re
import time
from http import HTTPStatus
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Send

from service.ids import new_id
from service.log import request_id

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,100}")
_LAST = ((b"connection", b"close"),)  # who keeps a connection to a process that stops would meet a closed door
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestLog(ASGIMiddleware):
    """Gives every request an id (`X-Request-Id`, taken over where the caller sends one)."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Any, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on and tell what became of it."""
        services = scope["litestar_app"].state["services"]
        begun = time.perf_counter()
        ident = _given_id(scope) or new_id("req", services.clock.now())
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", ident.encode()),
                    *(() if services.is_ready() else _LAST),
                ]
            await send(message)

        before = request_id.set(ident)
        try:
            await next_app(scope, receive, send_with_id)
            took_s = time.perf_counter() - begun
            route = _route(scope)
            services.metrics.requests(scope["method"], route, str(status)).observe(took_s)
            if scope["path"] not in _QUIET:
                services.log.info(
                    "request.answered",
                    method=scope["method"],
                    route=route,
                    status=status,
                    ms=round(took_s * 1000, 1),
                )
        finally:
            request_id.reset(before)


def _given_id(scope: Any) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return str(value.decode())
    return None


def _route(scope: Any) -> str:
    """Return the route's template, which has few values, never the path, which may hold a token."""
    return str(scope.get("path_template") or "unknown")
