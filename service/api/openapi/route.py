"""A row of the tables of operations."""

from typing import Any

from msgspec import Struct


class Route(Struct, frozen=True, kw_only=True):
    """A row of the table.

    Attributes:
        at: Method and path, as in `GET /v1/nodes`.
        id: Name of the operation; that of the handler.
        tag: Group in lists.
        summary: What it does.
        about: What else must be known.
        gives: Schema of the good answer; None for a started run.
        takes: References to parameters.
        body: Request body.
        errors: Error answers that can occur, besides those that every key may get.
        answers: The good answers, where they are no JSON of status 200.
    """

    at: str
    id: str
    tag: str
    summary: str
    about: str = ""
    gives: dict[str, Any] | None
    takes: tuple[str, ...] = ()
    body: dict[str, Any] | None = None
    errors: tuple[int, ...] = ()
    answers: dict[str, Any] | None = None
