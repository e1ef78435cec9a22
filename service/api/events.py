"""Events for whoever has no URL to be told at: a list for polling triggers, and a stream that can be taken up again.

Both read the store, in the order in which events became visible; commits of this process only bring the next look
forward. What a listener is told is read in small pages as fast as it takes them, so a slow one costs no memory.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

import msgspec
from litestar import Response, get
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream
from msgspec import Struct

from service.api.answers import json_response
from service.api.deps import CalledBy, Services, Using
from service.api.live_answers import EVENT_STREAM, STREAM_HEADERS
from service.api.parameters import EVENT_STREAM_OPTIONS, EVENTS, ParameterCheck
from service.api.starts import AnyRequest
from service.api.urls import base_url
from service.errors import StoreError
from service.ids import first_id, is_id
from service.lifecycle.run import EventType
from service.lifecycle.view import EndpointEventView, EventView, GroupEventView
from service.store.base import EventFilter, KeptEvent, Place

# Whoever wants to hear of every step of a progress has to say so.
_TOLD_TYPES = tuple(each for each in get_args(EventType) if each != "run.progressed")
_PAGE = 20
_RECHECK_S = 1.0  # another process's commits ring nobody here
_SOON_S = 0.05  # a commit may be hidden for a moment by one that was begun before it
_BURST_S = 0.02  # commits that follow each other are read together
_RETRY_MS = 2000

_list_parameters = ParameterCheck(EVENTS)
_stream_parameters = ParameterCheck(EVENT_STREAM_OPTIONS)


# Written already, each as it is delivered.
AnyEvent = Annotated[
    msgspec.Raw,
    msgspec.Meta(
        extra_json_schema={
            "anyOf": [
                {"$ref": f"#/components/schemas/{view.__name__}"}
                for view in (EventView, GroupEventView, EndpointEventView)
            ]
        }
    ),
]


class EventList(Struct, frozen=True, kw_only=True):
    """A page of events as they are delivered; `next` is the URL of the page after it, or null."""

    data: list[AnyEvent]
    next: str | None


@get("/v1/events")
async def list_events(request: AnyRequest, caller: CalledBy, services: Using) -> Response[bytes]:
    """List events, newest first; or, with `after`, those that came after one, oldest first."""
    given = _list_parameters.read(request)
    limit, after, cursor = given.get("limit", 50), given.get("after"), given.get("cursor")
    wanted, place = _filter(given, caller.workspace), _place(cursor) if cursor else None
    if after is None:
        found = await services.store.events_before(wanted, place, limit + 1)
    else:
        place = place or await services.store.place_of(caller.workspace, after)
        found = await services.store.events_after(wanted, place, limit + 1)
    page, following = found[:limit], None
    if len(found) > limit:
        query = urlencode({**given, "limit": limit, "cursor": _cursor(page[-1].place)}, doseq=True)
        following = f"{base_url(request, services)}/v1/events?{query}"
    return json_response(EventList(data=[msgspec.Raw(each.body) for each in page], next=following))


@get("/v1/events/stream")
async def stream_events(request: AnyRequest, caller: CalledBy, services: Using) -> Stream:
    """Tell of events as they come; after `Last-Event-ID`, of those since."""
    given = _stream_parameters.read(request)
    last_id = str(given.get("last_event_id") or request.headers.get("last-event-id", ""))
    stack, rung = contextlib.ExitStack(), asyncio.Event()
    if is_id("evt", last_id):
        place = await services.store.place_of(caller.workspace, last_id)
    else:
        place = await services.store.newest_place(caller.workspace)
        last_id = place.event_id or first_id("evt", 0)
    stack.enter_context(services.switchboard.hearing(caller.workspace, rung.set))
    telling = _Telling(_filter(given, caller.workspace), place, last_id, services=services, rung=rung)
    ending = BackgroundTask(stack.close)
    return Stream(telling.pieces(), status_code=200, media_type=EVENT_STREAM, headers=STREAM_HEADERS, background=ending)


class _Telling:
    """A stream of events on its way to one listener."""

    def __init__(
        self, wanted: EventFilter, place: Place, last_id: str, *, services: Services, rung: asyncio.Event
    ) -> None:
        self._wanted = wanted
        self._place = place
        self._last_id = last_id
        self._services = services
        self._rung = rung
        self._pause_s = _RECHECK_S

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield where the stream begins, the events as they come, and comments while there are none."""
        clock = asyncio.get_running_loop().time
        until, spoke_at = clock() + self._services.stream_cap_s, clock()
        yield b"retry: %d\n%b\n" % (_RETRY_MS, self._id_line())
        with contextlib.suppress(StoreError):  # the listener comes back and goes on where it was
            while clock() < until and self._services.is_ready():
                for event in (page := await self._look()):
                    yield told(event)
                if page:
                    spoke_at = clock()
                elif clock() - spoke_at >= self._services.keep_alive_s:
                    yield self._id_line() + b": keep-alive\n\n"
                    spoke_at = clock()
                else:
                    await self._rest(until - clock())

    async def _look(self) -> list[KeptEvent]:
        """Return the next page, and go on after it; all that does not fit the filter is passed by as well."""
        store = self._services.store
        newest = await store.newest_place(self._wanted.workspace)
        if newest <= self._place:
            return []
        page = await store.events_after(self._wanted, self._place, _PAGE)
        last = page[-1].place if page else newest
        self._place = last if len(page) == _PAGE else max(newest, last)
        self._last_id = self._place.event_id
        return page

    async def _rest(self, left_s: float) -> None:
        """Wait for the next commit of this process, for a second at most, or for the next word that is due."""
        longest_s = max(min(self._pause_s, self._services.keep_alive_s, left_s), 0.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._rung.wait()
        if self._rung.is_set():
            await asyncio.sleep(_BURST_S)
            self._rung.clear()
            self._pause_s = _SOON_S
        else:
            self._pause_s = min(2 * self._pause_s, _RECHECK_S)

    def _id_line(self) -> bytes:
        """Return the line by which a listener knows where to go on, even if it has been told of nothing."""
        return b"id: %b\n" % self._last_id.encode()


def told(event: KeptEvent) -> bytes:
    """Write an event as a server-sent one; JSON has no line ends."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.type.encode(), event.body)


def _filter(given: dict[str, Any], workspace: str) -> EventFilter:
    return EventFilter(
        workspace=workspace,
        types=tuple(given.get("type") or _TOLD_TYPES),
        node=given.get("node"),
        reference=given.get("reference"),
        run=given.get("run"),
    )


def _cursor(place: Place) -> str:
    return f"{place.number}-{place.event_id}"


def _place(cursor: str) -> Place:
    number, _, event_id = cursor.partition("-")
    return Place(int(number), event_id)
