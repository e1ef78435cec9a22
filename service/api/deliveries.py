"""The delivery log: what is on its way to whom, what became of each attempt, and sending it again."""

from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import PathParameter
from msgspec import Struct

from service.api.answers import json_response
from service.api.auth import Caller
from service.api.bodies import is_form, read_input
from service.api.delivery_views import DeliveryView, delivery_view, delivery_words
from service.api.deps import CalledBy, Services, Using
from service.api.endpoints import SMALL_BODY_BYTES, Recovered, own_endpoint
from service.api.parameters import DELIVERIES, ParameterCheck
from service.api.starts import AnyRequest
from service.api.urls import base_url
from service.clock import isoformat
from service.definitions.inputs import InputCheck
from service.definitions.schema import Field
from service.errors import Conflict, NotFound
from service.store.outbox import DeliveryFilter, DeliveryRecord

DeliveryId = Annotated[str, PathParameter(max_length=64)]
EventId = Annotated[str, PathParameter(max_length=64)]

_list_parameters = ParameterCheck(DELIVERIES)
REPLAY = {
    "endpoint": Field(
        type="string",
        max_length=64,
        about="Only to this endpoint, whether the event went there before or not; default: to all that it went to.",
    )
}
_replay_check = InputCheck(REPLAY, (), {})


class DeliveryList(Struct, frozen=True, kw_only=True):
    """A page of deliveries, newest first; `next` is the URL of the page after it, or null."""

    data: list[DeliveryView]
    next: str | None


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt.

    Attributes:
        at: When it ended.
        detail: Outcome, status, latency, reason, how the answer began, and when it is tried again.
    """

    at: str
    detail: dict[str, Any]


class DeliveryDetail(DeliveryView, frozen=True, kw_only=True):
    """A delivery with all its attempts, oldest first."""

    log: list[AttemptView]


@get("/v1/deliveries")
async def list_deliveries(request: AnyRequest, caller: CalledBy, services: Using) -> Response[bytes]:
    """List deliveries by endpoint, run, event or state."""
    given = _list_parameters.read(request)
    limit, cursor = given.pop("limit", 50), given.pop("cursor", None)
    wanted = DeliveryFilter(workspace=caller.workspace, before=cursor, limit=limit + 1, **given)
    found = await services.store.deliveries(wanted)
    page, following = found[:limit], None
    if len(found) > limit:
        query = urlencode({**given, "limit": limit, "cursor": page[-1].id})
        following = f"{base_url(request, services)}/v1/deliveries?{query}"
    return json_response(DeliveryList(data=[delivery_view(each) for each in page], next=following))


@get("/v1/deliveries/{delivery:str}")
async def show_delivery(delivery: DeliveryId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Show a delivery with all its attempts."""
    return await _detail(await _own(delivery, caller, services), services)


@post("/v1/deliveries/{delivery:str}/retry", status_code=200, request_max_body_size=SMALL_BODY_BYTES)
async def retry_delivery(delivery: DeliveryId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Try a delivery again now, from the bottom of its ladder, whatever became of it before."""
    found = await _own(delivery, caller, services)
    if not await services.store.send_again([found.id], services.clock.now()):
        raise Conflict("An attempt of this delivery is under way; look at it again in a moment.")
    services.switchboard.ring("deliver")
    return await _detail(await _own(delivery, caller, services), services)


@post("/v1/events/{event:str}/replay", status_code=200, request_max_body_size=SMALL_BODY_BYTES)
async def replay_event(request: AnyRequest, event: EventId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Send an event again, to all that it went to or to one endpoint. Its id stays the same."""
    wanted = _replay_check.check(await read_input(request), is_json=not is_form(request))
    if await services.store.body_of(caller.workspace, event) is None:
        raise NotFound(f"There is no event {event!r}.")
    endpoint = wanted.get("endpoint")
    if endpoint is not None:
        await own_endpoint(endpoint, caller, services)
    count = await services.store.replay(caller.workspace, event, endpoint, services.clock.now())
    services.switchboard.ring("deliver")
    return json_response(Recovered(deliveries=count))


async def _own(delivery_id: str, caller: Caller, services: Services) -> DeliveryRecord:
    found = await services.store.delivery(caller.workspace, delivery_id)
    if found is None:
        raise NotFound(f"There is no delivery {delivery_id!r}.")
    return found


async def _detail(record: DeliveryRecord, services: Services) -> Response[bytes]:
    attempts = await services.store.attempts(record.id)
    log = [AttemptView(at=isoformat(each.at), detail=each.detail) for each in attempts]
    return json_response(DeliveryDetail(**delivery_words(record), log=log))
