"""The bytes of what Halley keeps: artifacts of runs, and uploads. By signed link or by API key; whole or in part."""

import asyncio
import re
import string
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from litestar import HttpMethod, Response, route
from litestar.params import PathParameter
from litestar.response import Stream
from msgspec import Struct

from service.api.deps import Services, Using
from service.api.limits import client_of, too_many
from service.api.multipart import AnyRequest
from service.api.problems import Problem, problem_response
from service.artifacts.files import read_head
from service.artifacts.sniff import Sniffed, sniff
from service.errors import Forbidden, NotFound
from service.lifecycle.artifacts import run_of
from service.store.base import FileRecord

ArtifactId = Annotated[str, PathParameter(max_length=64)]
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*")
_PIECE_BYTES = 256 * 1024
_CACHED_S = 3600
# Bytes of strangers: a browser may show them, also in pages of others, and may run nothing that is in them.
_SHOWN_ONLY = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class Content(Struct, frozen=True, kw_only=True):
    """Something to be sent: where it is, and how it is described."""

    name: str
    title: str
    path: Path
    size_bytes: int
    kind: Sniffed

    @property
    def etag(self) -> str:
        """Its entity tag: what is kept under a name never changes."""
        return f'"{self.name}-{self.size_bytes}"'


@route("/v1/artifacts/{artifact:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD], status_code=HTTPStatus.OK)
async def send_artifact(request: AnyRequest, artifact: ArtifactId, services: Using) -> Response[bytes] | Stream:
    """Send the bytes of a stored artifact or of an upload; whoever has the signed link needs no key."""
    signature = request.query_params.get("signature")
    if signature is None:
        elsewhere = await _allowed_elsewhere(request, artifact, services)
        if elsewhere is not None:
            return Response(b"", status_code=HTTPStatus.FOUND, headers={"Location": elsewhere})
    else:
        wait_s = _check_link(request, artifact, signature, services)
        if wait_s:
            return too_many(wait_s)
    content = await _content(artifact, services)
    return _answer(request.headers, content, is_whole=request.method == HttpMethod.HEAD)


def _check_link(request: AnyRequest, name: str, signature: str, services: Services) -> float:
    """Return 0 when a link is good, or for how long there have been too many that are not; raises `Forbidden`."""
    now = services.clock.now()
    try:
        services.links.check(name, request.query_params.get("expires", ""), signature, now)
    except Forbidden:
        wait_s = services.inbound.failed("link", client_of(request.scope), now)
        if wait_s:
            return wait_s
        raise
    return 0.0


async def _allowed_elsewhere(request: AnyRequest, name: str, services: Services) -> str | None:
    """Return where upstream keeps an artifact of the caller's, or None when it is kept here."""
    caller = await services.keys.identify(request.headers)
    if name.startswith("file_"):
        if await services.files.get(caller.workspace, name) is None:
            raise _not_there()
        return None
    run = await services.store.run(run_of(name))
    own = run.artifacts if run is not None and run.workspace == caller.workspace else ()
    found = next((each for each in own if each.id == name), None)
    if found is None:
        raise _not_there()
    if found.stored or found.url is None:
        return None
    return quote(found.url, safe=string.punctuation)


async def _content(name: str, services: Services) -> Content:
    path = services.vault.path(name)
    if path is None:
        raise _not_there()
    record = await services.store.file(name) if name.startswith("file_") else None
    size, kind = await asyncio.to_thread(_described, path)
    return Content(name=name, title=_title(name, record, kind), path=path, size_bytes=size, kind=kind)


def _described(path: Path) -> tuple[int, Sniffed]:
    return path.stat().st_size, sniff(read_head(path))


def _title(name: str, record: FileRecord | None, kind: Sniffed) -> str:
    return f"{name}.{kind.extension}" if record is None else record.name


def _not_there() -> NotFound:
    return NotFound("There is nothing of this id here (any more).")


def _answer(asked: Mapping[str, str], content: Content, *, is_whole: bool) -> Response[bytes] | Stream:
    headers = _headers(content)
    if content.etag in asked.get("if-none-match", "") or asked.get("if-none-match") == "*":
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    is_whole = is_whole or asked.get("if-range", content.etag) != content.etag
    part = None if is_whole else _range(asked.get("range", ""), content.size_bytes)
    if part is not None and part[0] >= content.size_bytes:
        return _unsatisfiable(content)
    first, last = part or (0, content.size_bytes - 1)
    if part is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{content.size_bytes}"
    headers["Content-Length"] = str(last - first + 1)
    return Stream(
        _pieces(content.path, first, last),
        status_code=HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT,
        headers=headers,
    )


def _headers(content: Content) -> dict[str, str]:
    plain = re.sub(r'[^ -~]|["\\%]', "_", content.title)
    charset = "; charset=utf-8" if content.kind.mime.startswith("text/") else ""
    return {
        **_SHOWN_ONLY,
        "Content-Type": content.kind.mime + charset,
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={_CACHED_S}",
        "Content-Disposition": f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(content.title, safe='')}",
        "ETag": content.etag,
    }


def _range(wanted: str, size: int) -> tuple[int, int] | None:
    """Return first and last byte of a single range; None, for the whole, of anything else, as RFC 9110 allows."""
    match = _RANGE.fullmatch(wanted)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        length = int(match[2])
        return (max(size - length, 0), size - 1) if length else (size, size)
    first, last = int(match[1]), int(match[2]) if match[2] else size - 1
    return None if match[2] and last < first else (first, min(last, size - 1))


def _unsatisfiable(content: Content) -> Response[bytes]:
    problem = Problem(
        type="urn:halley:problem:range",
        title="There is no such range",
        status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        detail=f"The file has {content.size_bytes} bytes.",
        code="range",
    )
    return problem_response(problem, {"Content-Range": f"bytes */{content.size_bytes}", "Accept-Ranges": "bytes"})


async def _pieces(path: Path, first: int, last: int) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (piece := await asyncio.to_thread(file.read, min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece
