"""Our own secrets, taken out of what upstream says: some answers repeat the request that they refuse.

An answer goes into timelines, events and logs as it was read, so this is done once, before anybody reads it. Files are
left alone: they are results, and nothing of them is told.
"""

import base64
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import msgspec

from service.settings import Secret

_MASK = b"********"
_SHORTEST = 16  # a shorter key is one for trying out, and may be a word of any text
_TOKEN = re.compile(rb"(v1(?:/|\\/|%2[Ff])callbacks(?:/|\\/|%2[Ff]))[A-Za-z0-9_-]{20,}")


class Mask:
    """Replaces the upstream key, and the tokens of callback URLs, by stars.

    Args:
        key: The key as it is sent.
    """

    def __init__(self, key: Secret | None) -> None:
        text = key.reveal() if key is not None else ""
        self._forms = _forms(text) if len(text) >= _SHORTEST else ()

    def whole(self, body: bytes) -> bytes:
        """Return an answer without our secrets."""
        masked = self._without_key(body)
        return _TOKEN.sub(rb"\1" + _MASK, masked) if b"callbacks" in masked else masked

    def text(self, text: str) -> str:
        """Return a text without the key."""
        return self._without_key(text.encode()).decode() if self._forms else text

    async def pieces(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the pieces of an answer without the key, wherever it is cut; what may be its begin is held back."""
        held = b""
        async for piece in pieces:
            ready = self._without_key(held + piece)
            end = self._begun_at(ready)
            ready, held = ready[:end], ready[end:]
            if ready:
                yield ready
        if held:
            yield held

    def _without_key(self, body: bytes) -> bytes:
        for form in self._forms:
            if form in body:
                body = body.replace(form, _MASK)
        return body

    def _begun_at(self, piece: bytes) -> int:
        """Return where at the end of a piece one of the forms may have begun."""
        return min((_begun_at(form, piece) for form in self._forms), default=len(piece))


def _forms(key: str) -> tuple[bytes, ...]:
    """Return a key as it may stand in an answer: plain, in a URL, in JSON, in Base64."""
    in_json = msgspec.json.encode(key)[1:-1]
    forms = (key.encode(), quote(key, safe="").encode(), in_json, in_json.replace(b"/", rb"\/"))
    return tuple(dict.fromkeys((*forms, base64.b64encode(key.encode()).rstrip(b"="))))


def _begun_at(form: bytes, piece: bytes) -> int:
    at = piece.find(form[:1], max(0, len(piece) - len(form) + 1))
    while at >= 0 and not form.startswith(piece[at:]):
        at = piece.find(form[:1], at + 1)
    return at if at >= 0 else len(piece)
