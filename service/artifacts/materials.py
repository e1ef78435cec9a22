"""What a run brings along: every media text of an input in the form that upstream takes.

A user gives a URL, bytes, or the id of something that Halley keeps. What upstream takes as it is, is passed on
unchanged; everything else is fetched, read or linked here, just before the submission, and gone after it.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from service.artifacts.examples import Fetches
from service.artifacts.files import FILE_LIMIT_BYTES, Files, read_head
from service.artifacts.links import Links
from service.artifacts.sniff import UNKNOWN, Sniffed, sniff
from service.artifacts.vault import Vault
from service.clock import Clock
from service.definitions.catalog import CompiledNode
from service.definitions.inputs import media_values, replaced_media
from service.definitions.media import (
    FORMATS,
    HEAD_BYTES,
    content_faults,
    data_part,
    format_names,
    is_reference,
)
from service.definitions.outgoing import FilePart
from service.definitions.schema import Field, size_bytes
from service.errors import Fault, InvalidInput, MediaUnavailable, NotFound, TooLarge
from service.lifecycle.artifacts import run_of
from service.lifecycle.run import Artifact
from service.store.base import Store

_MOST_INLINE_BYTES = 64_000_000  # a JSON body larger than this no upstream takes
_ARTIFACT_SCHEME = "artifact://"


class _Bytes(Struct, frozen=True, kw_only=True):
    """A file to be sent: where it is, what it is, what its owner called it."""

    path: Path
    size_bytes: int
    kind: Sniffed
    head: bytes
    title: str


class _Place(Struct, frozen=True, kw_only=True):
    """Where a media text stands, whose it is, and what is cleaned up with the run's submission."""

    pointer: str
    field: Field
    workspace: str
    stack: contextlib.AsyncExitStack
    fetches: bool

    @property
    def forms(self) -> list[str]:
        """Forms that upstream takes, best first."""
        return list(self.field.send or ["url"])

    @property
    def limit_bytes(self) -> int:
        """Largest file that is worth fetching."""
        return size_bytes(self.field.max_size) if self.field.max_size else FILE_LIMIT_BYTES


class Materials:
    """Makes ready what runs bring along.

    Args:
        vault: Where bytes are.
        fetcher: Fetches URLs.
        store: Where runs are.
        files: The uploads.
        links: Makes links for upstreams that take nothing but URLs.
        public_url: Where upstream reaches Halley, if it can.
        clock: The time.
    """

    def __init__(
        self,
        vault: Vault,
        fetcher: Fetches,
        store: Store,
        *,
        files: Files,
        links: Links,
        public_url: str | None,
        clock: Clock,
    ) -> None:
        self._vault = vault
        self._fetcher = fetcher
        self._store = store
        self._files = files
        self._links = links
        self._public_url = public_url
        self._clock = clock

    @contextlib.asynccontextmanager
    async def ready(
        self, node: CompiledNode, values: Mapping[str, Any], workspace: str, *, fetches: bool = True
    ) -> AsyncIterator[dict[str, Any]]:
        """Give an input as it goes upstream; what was fetched for it is removed at the end of the block.

        Args:
            node: What is run.
            values: The checked input.
            workspace: Whose run it is.
            fetches: False leaves URLs as they are, for a look at the request.

        Raises:
            InvalidInput: A file does not fit, told by its bytes; or there is no way to hand it to upstream.
            NotFound: An upload or artifact is not there (any more).
            MediaUnavailable: A URL cannot be fetched.
            StoreError: The disk is full.
        """
        async with contextlib.AsyncExitStack() as stack:
            made: dict[str, Any] = {}
            for pointer, text, field in _texts(node, values):
                place = _Place(pointer=pointer, field=field, workspace=workspace, stack=stack, fetches=fetches)
                made[pointer] = await self._made(text, place)
            yield replaced_media(values, made)

    async def check(self, node: CompiledNode, values: Mapping[str, Any], workspace: str) -> None:
        """Tell at once what `ready` would refuse without fetching anything.

        Raises:
            InvalidInput: With a fault for each file that does not fit.
            NotFound: With a fault for each upload or artifact that is not there.
        """
        missing: list[Fault] = []
        faults: list[Fault] = []
        for pointer, text, field in _texts(node, values):
            try:
                faults += await self._faults(text, pointer, field, workspace)
            except NotFound as exc:
                missing += exc.faults
        if missing:
            raise NotFound(" ".join(fault.message for fault in missing), tuple(missing))
        if faults:
            raise InvalidInput(tuple(faults))

    async def _faults(self, text: str, pointer: str, field: Field, workspace: str) -> list[Fault]:
        async with contextlib.AsyncExitStack() as stack:
            place = _Place(pointer=pointer, field=field, workspace=workspace, stack=stack, fetches=False)
            if is_reference(text):
                source = await self._kept(text, place)
                return [] if isinstance(source, str) else self._unfit(source, place)
            needs_link = data_part(text) is not None and place.forms == ["url"]
            return [_no_link(pointer)] if needs_link and self._public_url is None else []

    # -- from what the user gave to what is sent

    async def _made(self, text: str, place: _Place) -> Any:
        kept = await self._kept(text, place) if is_reference(text) else text
        if isinstance(kept, str) and _is_taken(kept, place):
            return kept
        source = await self._bytes_of(kept, place) if isinstance(kept, str) else kept
        if source is None:
            return text
        if faults := self._unfit(source, place):
            raise InvalidInput(tuple(faults))
        return await self._sent(source, place)

    async def _kept(self, text: str, place: _Place) -> "_Bytes | str":
        """Return what an id stands for: its bytes, or the URL where upstream keeps it."""
        name = text.removeprefix(_ARTIFACT_SCHEME)
        if name.startswith("file_"):
            record = await self._files.get(place.workspace, name)
            path = self._vault.path(name)
            if record is None or path is None:
                raise _not_there("upload", name, place.pointer)
            return await _described(path, record.size_bytes, record.name)
        artifact = await self._artifact(name, place)
        if artifact.url is not None and "url" in place.forms:
            return artifact.url
        path = self._vault.path(name)
        if path is not None:
            return await _described(path, path.stat().st_size, name)
        if artifact.url is None:
            raise _not_there("artifact", name, place.pointer)
        return artifact.url

    async def _artifact(self, name: str, place: _Place) -> Artifact:
        run = await self._store.run(run_of(name))
        own = run.artifacts if run is not None and run.workspace == place.workspace else ()
        artifact = next((each for each in own if each.id == name), None)
        if artifact is None:
            raise _not_there("artifact", name, place.pointer)
        return artifact

    async def _bytes_of(self, text: str, place: _Place) -> _Bytes | None:
        """Return the bytes of a URL or a Base64 text; None for a URL that is left alone."""
        data = data_part(text)
        if data is not None:
            spooled = await self._vault.spool(await asyncio.to_thread(base64.b64decode, data), limit_bytes=len(data))
            place.stack.push_async_callback(self._vault.discard, spooled)
            return await _described(spooled.path, spooled.size_bytes, "")
        if not place.fetches:
            return None
        try:
            spooled = await self._fetcher.fetch(text, limit_bytes=place.limit_bytes)
        except TooLarge:
            limit = place.field.max_size or f"{FILE_LIMIT_BYTES // 1_000_000}MB"
            fault = Fault(pointer=place.pointer, code="max_size", message=f"the file is larger than {limit}")
            raise InvalidInput((fault,)) from None
        except MediaUnavailable as exc:
            raise MediaUnavailable(exc.why, pointer=place.pointer, retryable=exc.retryable) from exc
        place.stack.push_async_callback(self._vault.discard, spooled)
        return await _described(spooled.path, spooled.size_bytes, _title(text))

    def _unfit(self, source: _Bytes, place: _Place) -> list[Fault]:
        if source.kind.mime == "text/html" and place.field.media != "file":
            message = f"this is a web page and no {place.field.media} file; give the file's own address"
            return [Fault(pointer=place.pointer, code="format", message=message)]
        faults = content_faults(source.head, source.size_bytes, place.field, place.pointer)
        if not faults and self._form(source, place) is None:
            faults = [_no_link(place.pointer)]
        return faults

    def _form(self, source: _Bytes, place: _Place) -> str | None:
        """Return the best form in which these bytes can go; a link is the last resort, since upstream must reach us."""
        for form in place.forms:
            if form == "file" or (form in ("base64", "data_uri") and source.size_bytes <= _MOST_INLINE_BYTES):
                return form
        return "url" if "url" in place.forms and self._public_url is not None else None

    async def _sent(self, source: _Bytes, place: _Place) -> Any:
        form = self._form(source, place)
        kind = _fitting(source.kind, place.field, source.title)
        if form == "file":
            stem = source.title.rpartition(".")[0] or source.title or place.pointer.strip("/").replace("/", "-")
            return FilePart(filename=f"{stem}.{kind.extension}", mime=kind.mime, path=source.path)
        if form == "url":
            return await self._linked(source, place)
        data = base64.b64encode(await asyncio.to_thread(source.path.read_bytes)).decode()
        return data if form == "base64" else f"data:{kind.mime};base64,{data}"

    async def _linked(self, source: _Bytes, place: _Place) -> str:
        name = source.path.name
        if self._vault.path(name) != source.path:
            pieces = _read(source.path)
            name = (await self._files.add(place.workspace, pieces, source.title or None)).id
        base = self._public_url or ""
        return self._links.sign(name, base, self._clock.now())[0]


def _texts(node: CompiledNode, values: Mapping[str, Any]) -> list[tuple[str, str, Field]]:
    return [
        found
        for name, value in values.items()
        if name in node.fields
        for found in media_values(value, node.fields[name], f"/{name}")
    ]


def _is_taken(text: str, place: _Place) -> bool:
    """Tell whether a URL or a Base64 text can go as it is; the request plan knows both spellings of Base64."""
    forms = {"url"} if data_part(text) is None else {"base64", "data_uri"}
    return not forms.isdisjoint(place.forms)


async def _described(path: Path, size: int, title: str) -> _Bytes:
    head = await asyncio.to_thread(read_head, path, HEAD_BYTES)
    return _Bytes(path=path, size_bytes=size, kind=sniff(head), head=head, title=title)


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, 1024 * 1024):
            yield piece


def _fitting(kind: Sniffed, field: Field, title: str) -> Sniffed:
    """Return type and extension as upstream knows them: one container may be sound or film, one type has many names."""
    names = format_names(field)
    if field.media == "audio" and kind.mime in ("video/mp4", "video/webm"):
        kind = Sniffed(kind.mime.replace("video/", "audio/"), "m4a" if kind.extension == "mp4" else kind.extension)
    if kind.extension not in names:
        alias = next((name for name in names if FORMATS[name].mime == kind.mime), None)
        kind = Sniffed(kind.mime, alias) if alias and field.formats else kind
    own = title.rpartition(".")[2].lower() if "." in title else ""
    if kind.mime in (UNKNOWN.mime, "text/plain", "application/json") and own.isalnum():
        return Sniffed(kind.mime, own)
    return kind


def _title(url: str) -> str:
    path = url.partition("?")[0].partition("#")[0].partition("://")[2]
    last = unquote(path.rpartition("/")[2]) if "/" in path else ""
    return "".join(c for c in last if c.isalnum() or c in "._- ")[-100:].strip(". ")


def _not_there(what: str, name: str, pointer: str) -> NotFound:
    message = f"There is no {what} {name} (any more)."
    return NotFound(message, (Fault(pointer=pointer, code="not_found", message=message),))


def _no_link(pointer: str) -> Fault:
    message = (
        "upstream takes this file only as a URL: give a public URL, "
        "or set HALLEY_PUBLIC_URL so that upstream can fetch the file here"
    )
    return Fault(pointer=pointer, code="no_public_url", message=message)
