"""Subscriptions: who is told of which events. They come and go as no-code tools make and remove their triggers."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import msgspec
from litestar import HttpMethod, Response, get, post, route
from litestar.params import PathParameter
from msgspec import Struct

from service.api.answers import json_response
from service.api.auth import Caller
from service.api.bodies import is_form, read_input
from service.api.deps import CalledBy, Services, Using
from service.api.endpoint_fields import EndpointForm, new_secret
from service.api.event_types import example, sample_run
from service.api.events import AnyEvent
from service.api.parameters import ENDPOINTS, ParameterCheck
from service.api.starts import AnyRequest
from service.api.urls import base_url
from service.clock import parse_moment
from service.definitions.inputs import InputCheck
from service.definitions.schema import Field
from service.delivery.courier import Letter, address_of
from service.delivery.receivers import hash_url
from service.delivery.sender import Outcome
from service.errors import Conflict, Fault, InvalidInput, NotFound
from service.ids import is_id, made_at, new_id
from service.lifecycle.endpoint import (
    Endpoint,
    EndpointChange,
    SigningSecret,
    active_secrets,
    disabled,
    enabled,
    rotated,
)
from service.lifecycle.view import EndpointView, endpoint_view
from service.sealing import CannotOpen

EndpointId = Annotated[str, PathParameter(max_length=64)]
SMALL_BODY_BYTES = 64 * 1024
MOST_ENDPOINTS = 200  # of a workspace; each of them is looked at for every event
_DAY_S = 86400.0

_list_parameters = ParameterCheck(ENDPOINTS)
ROTATE = {
    "overlap_days": Field(
        type="number",
        minimum=0,
        maximum=7,
        assumed=1,
        unit="days",
        about="For so long events are signed with the old secret as well.",
    )
}
ENABLE = {
    "recover": Field(
        type="boolean", assumed=False, about="Send what it has missed since it was disabled, or began to fail."
    )
}
RECOVER = {
    "since": Field(
        type="string",
        required=True,
        max_length=40,
        about="A moment, as `2027-01-31T12:00:00Z`, or the id of an event.",
        example="2026-11-28T00:00:00Z",
    )
}
_rotate_check, _enable_check, _recover_check = (InputCheck(fields, (), {}) for fields in (ROTATE, ENABLE, RECOVER))


class EndpointMade(EndpointView, frozen=True, kw_only=True):
    """An endpoint with the secret that its events are signed with.

    Attributes:
        secret: `whsec_…`; keep it where you check signatures.
    """

    secret: str


class EndpointList(Struct, frozen=True, kw_only=True):
    """A page of endpoints, newest first; `next` is the URL of the page after it, or null."""

    data: list[EndpointView]
    next: str | None


class Secrets(Struct, frozen=True, kw_only=True):
    """What an endpoint's events are signed with, the newest first; each signature is one of them."""

    secrets: list[str]


class TestResult(Struct, frozen=True, kw_only=True):
    """What became of a test event.

    Attributes:
        outcome: `delivered`, or what went wrong.
        status: HTTP status of the answer, if there was one.
        latency_ms: How long it took.
        reason: The same for people.
        answer: How the answer began.
        event: What was sent, before it was put into its envelope.
    """

    outcome: Outcome
    status: int | None
    latency_ms: float
    reason: str
    answer: str
    event: AnyEvent


class Recovered(Struct, frozen=True, kw_only=True):
    """How many deliveries are on their way again."""

    deliveries: int


async def own_endpoint(endpoint_id: str, caller: Caller, services: Services) -> Endpoint:
    """Return an endpoint of the caller's workspace.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    found = await services.store.endpoint(endpoint_id)
    if found is None or found.workspace != caller.workspace:
        raise NotFound(f"There is no endpoint {endpoint_id!r}.")
    return found


def _renewed(current: Endpoint, words: dict[str, Any], now: float) -> EndpointChange:
    """Take over what is said of an endpoint that is there; whoever subscribes again wants to hear again."""
    told = msgspec.structs.replace(current, **words)
    return enabled(told, now) or EndpointChange(endpoint=told)


def _amended(current: Endpoint, words: dict[str, Any]) -> EndpointChange:
    """Change an endpoint; one that is disabled is looked at when it would have been anyway."""
    told = msgspec.structs.replace(current, **words)
    due_at = told.due_at if current.state == "enabled" else current.due_at
    return EndpointChange(endpoint=msgspec.structs.replace(told, due_at=due_at))


async def _agreed(form: EndpointForm, url: str, services: Services) -> dict[str, Any]:
    """Ask a receiver for its permission, where that is wanted; returns what follows from its answer.

    Raises:
        Conflict: It does not agree.
    """
    if not form.asks_first:
        return {}
    origin = urlsplit(services.public_url or "").hostname or "halley"
    rate = form.values.get("rate_per_s")
    answer = await services.courier.ask(url, origin, rate_per_s=rate)
    if not answer.allowed:
        raise Conflict(f"The receiver was asked for its permission and does not agree: {answer.reason}")
    rates = [each for each in (rate, answer.rate_per_s) if each is not None]
    return {"request_origin": origin, "rate_per_s": min(rates, default=None)}


async def _grouped(form: EndpointForm, caller: Caller, services: Services) -> dict[str, Any]:
    """Return the word that the runs of a group give for it, whether the endpoint names it by its id or by its name."""
    name = form.values.get("group")
    group = None if name is None else await services.store.group(caller.workspace, str(name))
    return {} if group is None else {"group": group.key}


# One handler for each path, since the framework tells in `Allow` of the first handler's methods alone.
@route(
    "/v1/endpoints",
    http_method=[HttpMethod.GET, HttpMethod.POST],
    status_code=HTTPStatus.OK,
    request_max_body_size=SMALL_BODY_BYTES,
)
async def all_endpoints(request: AnyRequest, caller: CalledBy, services: Using) -> Response[bytes]:
    """List endpoints or find those of a URL; or make one."""
    answer = _list if request.method == HttpMethod.GET else _create
    return await answer(request, caller, services)


async def _list(request: AnyRequest, caller: Caller, services: Services) -> Response[bytes]:
    given = _list_parameters.read(request)
    limit, url = given.get("limit", 50), given.get("url")
    found = await services.store.endpoints(
        caller.workspace, url_hash=hash_url(url) if url else None, before=given.get("cursor"), limit=limit + 1
    )
    page, following = found[:limit], None
    if len(found) > limit:
        query = urlencode({**given, "limit": limit, "cursor": page[-1].id})
        following = f"{base_url(request, services)}/v1/endpoints?{query}"
    return json_response(EndpointList(data=[_view(each, services) for each in page], next=following))


async def _create(request: AnyRequest, caller: Caller, services: Services) -> Response[bytes]:
    """Subscribe to events. The same events at the same URL again are the endpoint that is there, enabled."""
    form = EndpointForm(await read_input(request), is_json=not is_form(request), is_new=True)
    now = services.clock.now()
    words = form.words(services.sealer, services.guard, now)
    words |= await _agreed(form, str(form.url), services) | await _grouped(form, caller, services)
    secret = SigningSecret(sealed=services.sealer.seal(form.secret))
    wanted = Endpoint(id=new_id("ep", now), workspace=caller.workspace, created_at=now, secrets=(secret,), **words)
    kept = await services.store.add_endpoint(wanted)
    if kept.id == wanted.id:
        await _check_room(kept, services)
    else:
        words |= {"secrets": (secret,)} if "secret" in form.values else {}
        change = await services.store.change_endpoint(kept.id, lambda current: _renewed(current, words, now))
        kept = change.endpoint if change else kept
    services.switchboard.ring("interest")
    status = HTTPStatus.CREATED if kept.id == wanted.id else HTTPStatus.OK
    location = {"Location": f"{base_url(request, services)}/v1/endpoints/{kept.id}"}
    return json_response(_made(kept, services), status, location)


async def _check_room(made: Endpoint, services: Services) -> None:
    """Take an endpoint back where a workspace has too many; it was added first, so what was there already is found.

    Raises:
        Conflict: It is one too many.
    """
    found = await services.store.endpoints(made.workspace, limit=MOST_ENDPOINTS + 1)
    if len(found) > MOST_ENDPOINTS:
        await services.store.delete_endpoint(made.workspace, made.id)
        raise Conflict(
            f"There are {MOST_ENDPOINTS} endpoints already, and no more can be made. Delete those that nobody needs, "
            "or give each run its own webhook_url; the same events at the same URL need no second endpoint."
        )


@route(
    "/v1/endpoints/{endpoint:str}",
    http_method=[HttpMethod.GET, HttpMethod.PATCH, HttpMethod.DELETE],
    status_code=HTTPStatus.OK,
    request_max_body_size=SMALL_BODY_BYTES,
)
async def one_endpoint(request: AnyRequest, endpoint: EndpointId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Show, change or remove an endpoint; removing one that is not there is no error."""
    if request.method == HttpMethod.DELETE:
        if not is_id("ep", endpoint):
            raise NotFound(f"{endpoint!r} is not the id of an endpoint.")
        await services.store.delete_endpoint(caller.workspace, endpoint)
        services.switchboard.ring("interest")
        return Response(b"", status_code=HTTPStatus.NO_CONTENT)
    found = await own_endpoint(endpoint, caller, services)
    if request.method == HttpMethod.GET:
        return json_response(_view(found, services))
    form = EndpointForm(await read_input(request), is_json=not is_form(request), is_new=False)
    now = services.clock.now()
    words = form.words(services.sealer, services.guard, now)
    words |= await _agreed(form, form.url or _opened(found.url, services), services)
    words |= await _grouped(form, caller, services)
    await _refuse_twin(msgspec.structs.replace(found, **words), services)
    changed = await _change(found, services, lambda current: _amended(current, words))
    services.switchboard.ring("interest")
    return json_response(_view(changed, services))


async def _refuse_twin(changed: Endpoint, services: Services) -> None:
    for each in await services.store.endpoints(changed.workspace, url_hash=changed.url_hash, limit=200):
        if each.id != changed.id and each.identity == changed.identity:
            raise Conflict(f"The endpoint {each.id} is told the same events at the same URL; delete one of the two.")


async def _change(
    endpoint: Endpoint, services: Services, decide: Callable[[Endpoint], EndpointChange | None]
) -> Endpoint:
    change = await services.store.change_endpoint(endpoint.id, decide)
    if change is not None and change.events:
        services.switchboard.ring("deliver")
    return endpoint if change is None else change.endpoint


@post("/v1/endpoints/{endpoint:str}/enable", status_code=HTTPStatus.OK, request_max_body_size=SMALL_BODY_BYTES)
async def enable_endpoint(
    request: AnyRequest, endpoint: EndpointId, caller: CalledBy, services: Using
) -> Response[bytes]:
    """Send an endpoint events again, and if wanted those that it has missed."""
    wanted = _enable_check.check(await read_input(request), is_json=not is_form(request))
    found = await own_endpoint(endpoint, caller, services)
    now = services.clock.now()
    since = found.failing_since or found.disabled_at
    changed = await _change(found, services, lambda current: enabled(current, now))
    if wanted.get("recover") and since is not None:
        await services.store.recover(changed.id, since, now)
        services.switchboard.ring("deliver")
    return json_response(_view(changed, services))


@post("/v1/endpoints/{endpoint:str}/disable", status_code=HTTPStatus.OK, request_max_body_size=SMALL_BODY_BYTES)
async def disable_endpoint(endpoint: EndpointId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Send an endpoint no more events until it is enabled."""
    found = await own_endpoint(endpoint, caller, services)
    now = services.clock.now()
    changed = await _change(found, services, lambda current: disabled(current, now, "manual"))
    return json_response(_view(changed, services))


@post("/v1/endpoints/{endpoint:str}/test", status_code=HTTPStatus.OK, request_max_body_size=SMALL_BODY_BYTES)
async def send_test_event(endpoint: EndpointId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Send an endpoint an example of what it subscribes to, at once and once, and tell what became of it."""
    found = await own_endpoint(endpoint, caller, services)
    now = services.clock.now()
    run = msgspec.structs.replace(sample_run(services.catalog), workspace=caller.workspace, metadata={"test": True})
    event_id = new_id("evt", now)
    letter = Letter(
        event_id=event_id,
        event_type=found.types[0],
        told_of=run.id,
        workspace=caller.workspace,
        body=msgspec.json.encode(example(found.types[0], run, event_id)),
    )
    exchange = await services.courier.send(letter, address_of(found, now))
    return json_response(
        TestResult(
            outcome=exchange.outcome,
            status=exchange.status,
            latency_ms=round(exchange.latency_ms, 1),
            reason=exchange.reason,
            answer=exchange.answer[:200],
            event=msgspec.Raw(letter.body),
        )
    )


@get("/v1/endpoints/{endpoint:str}/secrets")
async def show_secrets(endpoint: EndpointId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Show what an endpoint's events are signed with now."""
    found = await own_endpoint(endpoint, caller, services)
    sealed = active_secrets(found, services.clock.now())
    return json_response(Secrets(secrets=[_opened(each, services) for each in sealed]))


@post("/v1/endpoints/{endpoint:str}/rotate-secret", status_code=HTTPStatus.OK, request_max_body_size=SMALL_BODY_BYTES)
async def rotate_secret(
    request: AnyRequest, endpoint: EndpointId, caller: CalledBy, services: Using
) -> Response[bytes]:
    """Sign an endpoint's events with a new secret, and with the old ones as well for a while."""
    wanted = _rotate_check.check(await read_input(request), is_json=not is_form(request))
    found = await own_endpoint(endpoint, caller, services)
    now, overlap_s = services.clock.now(), float(wanted.get("overlap_days", 1)) * _DAY_S
    sealed = services.sealer.seal(new_secret())
    changed = await _change(found, services, lambda current: rotated(current, sealed, now, overlap_s))
    return json_response(_made(changed, services))


@post("/v1/endpoints/{endpoint:str}/recover", status_code=HTTPStatus.OK, request_max_body_size=SMALL_BODY_BYTES)
async def recover_endpoint(
    request: AnyRequest, endpoint: EndpointId, caller: CalledBy, services: Using
) -> Response[bytes]:
    """Send an endpoint all that it should have got since a moment and has not, within its own rate."""
    wanted = _recover_check.check(await read_input(request), is_json=not is_form(request))
    since = _moment(str(wanted["since"]))
    found = await own_endpoint(endpoint, caller, services)
    if not found.is_open(services.clock.now()):
        raise Conflict("The endpoint is disabled; enable it first, with `recover: true` to send what it has missed.")
    count = await services.store.recover(found.id, since, services.clock.now())
    services.switchboard.ring("deliver")
    return json_response(Recovered(deliveries=count))


def _moment(text: str) -> float:
    try:
        return made_at(text) if text.startswith("evt_") else parse_moment(text)
    except (ValueError, OverflowError):
        message = "must be a moment such as 2026-11-28T00:00:00Z, or the id of an event"
        raise InvalidInput((Fault(pointer="/since", code="format", message=message),)) from None


def _view(endpoint: Endpoint, services: Services) -> EndpointView:
    return endpoint_view(endpoint, _opened(endpoint.url, services))


def _made(endpoint: Endpoint, services: Services) -> EndpointMade:
    shown = msgspec.structs.asdict(_view(endpoint, services))
    return EndpointMade(**shown, secret=_opened(endpoint.secrets[0].sealed, services))


def _opened(text: str, services: Services) -> str:
    try:
        return services.sealer.open(text)
    except CannotOpen as exc:
        raise Conflict(f"The endpoint cannot be read: {exc}.") from None
