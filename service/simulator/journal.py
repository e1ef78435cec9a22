"""The record of what the simulator received, for tests that want to know what was really sent.

Bodies are kept with long strings shortened: they hold whole pictures.
"""

from collections import deque
from typing import Any

import msgspec
from aiohttp import web

MAX_STRING_CHARS = 512


class Received(msgspec.Struct, kw_only=True):
    """One request of a family's API.

    Attributes:
        received_at: Epoch seconds.
        operation: The family's operation, empty when the path has none.
        unknown_keys: Paths of body keys that the reference does not list for the operation.
        model_name_missing: The operation knows a model name and none was sent.
        status: HTTP status of the answer; None while there is none, 499 when the connection was cut instead.
    """

    received_at: float
    method: str
    path: str
    query: str
    content_type: str
    operation: str = ""
    external_task_id: str = ""
    unknown_keys: tuple[str, ...] = ()
    model_name_missing: bool = False
    status: int | None = None
    body: Any = None


def shortened(value: Any) -> Any:
    """Copy a decoded body with long strings cut to their beginning and their length."""
    if isinstance(value, str) and len(value) > MAX_STRING_CHARS:
        return f"{value[:32]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shortened(item) for item in value]
    return value


def unknown_keys(sent: Any, known: Any, path: str = "") -> list[str]:
    """List the dotted paths of keys in a body that its typed form does not have.

    Args:
        sent: The body as decoded.
        known: The same body after its conversion to a typed form and back.
        path: Where in the body this part stands.
    """
    if isinstance(sent, dict) and isinstance(known, dict):
        return [
            found
            for key, value in sent.items()
            for found in (unknown_keys(value, known[key], f"{path}{key}.") if key in known else [f"{path}{key}"])
        ]
    if isinstance(sent, list) and isinstance(known, list):
        return [
            found
            for index, (value, typed) in enumerate(zip(sent, known, strict=True))
            for found in unknown_keys(value, typed, f"{path}{index}.")
        ]
    return []


class Journal:
    """The newest requests."""

    def __init__(self, limit: int) -> None:
        self._entries: deque[Received] = deque(maxlen=limit)

    def open(self, request: web.Request, now: float) -> Received:
        """Begin the record of a request; its reader adds what it finds out."""
        received = Received(
            received_at=now,
            method=request.method,
            path=request.path,
            query=request.query_string,
            content_type=request.content_type,
        )
        self._entries.append(received)
        return received

    def all(self) -> list[Received]:
        """List the requests, oldest first."""
        return list(self._entries)

    def clear(self) -> None:
        """Forget all requests."""
        self._entries.clear()
