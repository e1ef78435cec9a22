"""Request bodies into the plain input of a node: JSON, forms and multipart give the same."""

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from service.api.multipart import AnyRequest, BrokenBody, Part, parts
from service.artifacts.intake import Intake
from service.errors import Fault, InvalidInput, TooLarge, UnsupportedMedia

__all__ = ["AnyRequest", "BrokenBody", "is_form", "read_input"]

PLAIN_LIMIT_BYTES = 64 * 1024 * 1024
_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_FORMS = (_URLENCODED, _MULTIPART)


def is_form(request: AnyRequest) -> bool:
    """Tell whether a body is a form, in which everything is text."""
    return _kind(request) in _FORMS


def _kind(request: AnyRequest) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_input(request: AnyRequest, intake: Intake | None = None) -> dict[str, Any]:
    """Return the fields of a body; a file in it is taken in, and its id is the field's value.

    Args:
        request: The request.
        intake: Where files go; without one they are refused.

    Raises:
        BrokenBody: It is not what its content type says.
        InvalidInput: It is JSON, but no object; or it holds a file where none is taken.
        TooLarge: It is over the limit, files aside.
        UnsupportedMedia: Its content type is another one.
    """
    kind = _kind(request)
    if kind == _MULTIPART:
        return await _multipart(request, intake)
    body = await _whole(request)
    if kind == _URLENCODED and not body.lstrip().startswith(b"{"):  # curl calls JSON a form unless told otherwise
        return _urlencoded(body)
    if not body:
        return {}
    if kind and kind not in (_URLENCODED, "application/json") and not kind.endswith("+json"):
        raise UnsupportedMedia("Send application/json, application/x-www-form-urlencoded or multipart/form-data.")
    return _json(body)


async def _whole(request: AnyRequest) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > PLAIN_LIMIT_BYTES:
            raise TooLarge("The body is larger than 64 MB; send large files to POST /v1/files, or as multipart.")
        pieces.append(piece)
    return b"".join(pieces)


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise BrokenBody(f"The body is not valid JSON: {exc}.") from None
    if not isinstance(value, dict):
        message = "the body must be a JSON object with the node's fields"
        raise InvalidInput((Fault(pointer="", code="type", message=message),))
    return value


def _urlencoded(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except (UnicodeError, ValueError):
        raise BrokenBody("The form cannot be read: it is not text in UTF-8.") from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        _add(fields, name, value)
    return fields


async def _multipart(request: AnyRequest, intake: Intake | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    async for part in parts(request):
        value = await part.text(PLAIN_LIMIT_BYTES) if part.filename is None else await _taken(part, intake)
        _add(fields, part.name, value)
    return fields


async def _taken(part: Part, intake: Intake | None) -> str:
    if intake is None:
        message = "no file is taken here; send the value itself"
        raise InvalidInput((Fault(pointer=f"/{part.name}", code="type", message=message),))
    return await intake.take(part.chunks(), part.filename)


def _add(fields: dict[str, Any], name: str, value: str) -> None:
    """Add a field; an empty one was not filled in, and one that comes again makes a list."""
    if value != "":
        fields[name] = [*_listed(fields[name]), value] if name in fields else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
