"""Headers that tell browsers what an answer may not be used for. They go out with every answer, errors included."""

from typing import Any

_STARTS = ("http.response.start", "websocket.http.response.start")
_YEAR_S = 365 * 86400

# What a route says itself stands; artifacts do, since they are shown in pages.
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class SecurityHeaders:
    """Adds the headers to answers as they are sent, which no route and no error can avoid.

    Args:
        public_url: Where the outside reaches Halley; when that is by TLS, browsers are told to stay with it.
    """

    def __init__(self, public_url: str | None) -> None:
        is_tls = public_url is not None and public_url.startswith("https://")
        tls = ((b"strict-transport-security", b"max-age=%d" % _YEAR_S),) if is_tls else ()
        self._headers = (*_HEADERS, *tls)

    async def __call__(self, message: Any, _scope: Any) -> None:
        """Add what is missing to the beginning of an answer."""
        if message["type"] in _STARTS:
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            message["headers"] = given + [each for each in self._headers if each[0] not in names]
