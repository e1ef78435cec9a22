"""Multipart bodies, part by part as they arrive: a file in them is never held in memory as a whole."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from litestar import Request
from litestar.datastructures import State
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from service.errors import CallerError, TooLarge

AnyRequest = Request[Any, Any, State]
_MOST_PARTS = 1000
_Events = AsyncGenerator[MultipartSegment | bytes | None, None]


class BrokenBody(CallerError):
    """The body is not what its content type says."""

    title = "The body cannot be read"


class Part:
    """One part of a body. Its bytes can be read once, and only before the next part is asked for.

    Attributes:
        name: Name of the field.
        filename: Name of the file; None when the part is a plain value.
    """

    def __init__(self, segment: MultipartSegment, events: _Events) -> None:
        self.name: str = segment.name or ""
        self.filename: str | None = segment.filename or None
        self._events = events

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the part."""
        async for event in self._events:
            if event is None:
                return
            if not isinstance(event, MultipartSegment):
                yield bytes(event)

    async def text(self, limit_bytes: int) -> str:
        """Return the part as text.

        Raises:
            BrokenBody: It is not UTF-8.
            TooLarge: It is over the limit.
        """
        whole = bytearray()
        async for chunk in self.chunks():
            whole += chunk
            if len(whole) > limit_bytes:
                raise TooLarge(f"The field {self.name!r} is larger than {limit_bytes:,} bytes.")
        try:
            return whole.decode()
        except UnicodeDecodeError:
            raise BrokenBody(f"The field {self.name!r} is not text in UTF-8; send files with a file name.") from None


async def parts(request: AnyRequest) -> AsyncIterator[Part]:
    """Yield the parts of a multipart body in order; what is left unread of one is skipped.

    Raises:
        BrokenBody: It is not multipart.
    """
    boundary = request.content_type[1].get("boundary")
    if not boundary:
        raise BrokenBody("The content type of the form names no boundary.")
    async with aclosing(_events(request, boundary)) as events:
        async for event in events:
            if isinstance(event, MultipartSegment):
                part = Part(event, events)
                yield part
                if not event.complete:
                    async for _ in part.chunks():
                        pass


async def _events(request: AnyRequest, boundary: str) -> _Events:
    try:
        with PushMultipartParser(boundary, max_segment_count=_MOST_PARTS) as parser:
            async for chunk in request.stream():
                if chunk and not parser.closed:
                    for event in parser.parse(chunk):
                        yield event
    except MultipartError as exc:
        raise BrokenBody(f"The form cannot be read: {exc}. Is the boundary right?") from None
