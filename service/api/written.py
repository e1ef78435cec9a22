"""Answers that are written already: their bytes are there, so nothing is left to the framework to find out."""

from typing import Any

from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send


class Written(Response[bytes]):
    """An answer of bytes, with no cookies, no encoders and nothing to do after it.

    The framework's own way from a response to the wire is a sixth of what it costs a request (36 us and 30).
    """

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]  # whatever can be called so is sent
        """Return the answer as an application that sends it."""
        body = self.content
        head = [
            (b"content-type", str(self.media_type).encode()),
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()),
        ]
        begin: Any = {"type": "http.response.start", "status": int(self.status_code or 200), "headers": head}
        end: Any = {"type": "http.response.body", "body": body}

        async def send_it(scope: Scope, receive: Receive, send: Send) -> None:  # called by these names
            del scope, receive
            await send(begin)
            await send(end)

        return send_it
