"""Uploads: files that are sent once and named in inputs by their id."""

from http import HTTPStatus
from typing import Annotated

from litestar import HttpMethod, Response, post, route
from litestar.params import PathParameter
from msgspec import Struct

from service.api.answers import json_response
from service.api.deps import CalledBy, Services, Using
from service.api.multipart import AnyRequest, BrokenBody, parts
from service.api.urls import base_url
from service.artifacts.files import FILE_LIMIT_BYTES
from service.artifacts.intake import Intake
from service.clock import isoformat
from service.errors import Fault, InvalidInput, NotFound
from service.store.base import FileRecord

FileId = Annotated[str, PathParameter(max_length=64)]
MAX_BODY_BYTES = FILE_LIMIT_BYTES + 1024 * 1024  # a file, and what stands around it in a form


class FileView(Struct, frozen=True, kw_only=True):
    """An upload.

    Attributes:
        id: `file_…`; inputs take it wherever they take a file.
        mime: Media type, told by its first bytes.
        size_bytes: Its size.
        name: File name.
        created_at: When it was taken in.
        expires_at: When it is deleted.
        url: Link to its bytes, good for a day without an API key.
    """

    id: str
    mime: str
    size_bytes: int
    name: str
    created_at: str
    expires_at: str
    url: str


@post("/v1/files", request_max_body_size=MAX_BODY_BYTES)
async def upload_file(request: AnyRequest, caller: CalledBy, services: Using) -> Response[bytes]:
    """Take a file in: the part `file` of a multipart body, or the whole body whatever its content type."""
    async with Intake(services.files, caller.workspace) as intake:
        if request.content_type[0] == "multipart/form-data":
            file_id = await _from_form(request, intake)
        else:
            file_id = await intake.take(request.stream())
        record = await own_file(file_id, caller.workspace, services)
        if not record.size_bytes:
            raise BrokenBody("The file is empty.")
        intake.settle()
    base = base_url(request, services)
    location = {"Location": f"{base}/v1/files/{record.id}"}
    return json_response(_view(record, base, services), HTTPStatus.CREATED, location)


async def _from_form(request: AnyRequest, intake: Intake) -> str:
    taken = [await intake.take(part.chunks(), part.filename) async for part in parts(request) if part.name == "file"]
    if len(taken) != 1:
        code, message = ("repeated", "send one file at a time") if taken else ("required", "file is required")
        raise InvalidInput((Fault(pointer="/file", code=code, message=message),))
    return taken[0]


# One handler, since the framework tells in `Allow` of the first handler's methods alone.
@route("/v1/files/{file:str}", http_method=[HttpMethod.GET, HttpMethod.DELETE], status_code=HTTPStatus.OK)
async def show_or_delete_file(request: AnyRequest, file: FileId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Show what is known of an upload; or delete it."""
    record = await own_file(file, caller.workspace, services)
    if request.method == HttpMethod.GET:
        return json_response(_view(record, base_url(request, services), services))
    await services.files.remove(caller.workspace, record.id)
    return Response(b"", status_code=HTTPStatus.NO_CONTENT)


async def own_file(file_id: str, workspace: str, services: Services) -> FileRecord:
    """Return an upload of a workspace.

    Raises:
        NotFound: There is none, it has expired, or it is another workspace's.
    """
    record = await services.files.get(workspace, file_id)
    if record is None:
        raise NotFound("There is no file of this id (any more).")
    return record


def _view(record: FileRecord, base: str, services: Services) -> FileView:
    return FileView(
        id=record.id,
        mime=record.mime,
        size_bytes=record.size_bytes,
        name=record.name,
        created_at=isoformat(record.created_at),
        expires_at=isoformat(record.expires_at),
        url=services.links.for_answer(record.id, base, services.clock.now())[0],
    )
