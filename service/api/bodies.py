"""Request bodies into the plain input of a node: JSON, forms and multipart give the same."""

import base64
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State, UploadFile
from litestar.exceptions import HTTPException

from service.errors import CallerError, Fault, InvalidInput, UnsupportedMedia

AnyRequest = Request[Any, Any, State]


class BrokenBody(CallerError):
    """The body is not what its content type says."""

    title = "The body cannot be read"


_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def is_form(request: AnyRequest) -> bool:
    """Tell whether a body is a form, in which everything is text."""
    return _kind(request) in _FORMS


def _kind(request: AnyRequest) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_input(request: AnyRequest) -> dict[str, Any]:
    """Return the fields of a body.

    Raises:
        BrokenBody: It is not what its content type says.
        InvalidInput: It is JSON, but no object.
        UnsupportedMedia: Its content type is another one.
    """
    kind, body = _kind(request), await request.body()
    if kind in _FORMS and not body.lstrip().startswith(b"{"):  # curl calls JSON a form unless it is told otherwise
        return await _form(request)
    if not body:
        return {}
    if kind and kind not in (*_FORMS, "application/json") and not kind.endswith("+json"):
        raise UnsupportedMedia("Send application/json, application/x-www-form-urlencoded or multipart/form-data.")
    return _json(body)


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise BrokenBody(f"The body is not valid JSON: {exc}.") from None
    if not isinstance(value, dict):
        message = "the body must be a JSON object with the node's fields"
        raise InvalidInput((Fault(pointer="", code="type", message=message),))
    return value


async def _form(request: AnyRequest) -> dict[str, Any]:
    try:
        form = await request.form()
    except HTTPException as exc:
        if exc.status_code == BrokenBody.status:
            raise BrokenBody("The form cannot be read; is the boundary right?") from None
        raise
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        plain = await _data_uri(value) if isinstance(value, UploadFile) else value
        if plain == "" or plain is None:
            continue  # an empty form field is one that was not filled in
        fields[name] = [*_listed(fields[name]), plain] if name in fields else plain
    return fields


async def _data_uri(upload: UploadFile) -> str | None:
    data = await upload.read()
    kind = upload.content_type.partition(";")[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}" if data else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
