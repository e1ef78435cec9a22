"""Runs: reading, listing, and the operator's moves."""

from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import PathParameter
from msgspec import Struct

from service.api.answers import json_response, retry_after, run_response, waited
from service.api.auth import Caller
from service.api.bodies import read_input
from service.api.delivery_views import DeliveryView, delivery_view
from service.api.deps import CalledBy, Services, Using
from service.api.node_routes import node_for, preferred_wait_s
from service.api.parameters import LIST, READ, ParameterCheck
from service.api.starts import AnyRequest, Start, idempotency_key, refuse_impossible, start_run, started_headers
from service.api.urls import base_url
from service.clock import isoformat
from service.definitions.inputs import InputCheck
from service.definitions.schema import Field
from service.errors import Conflict, Fault, InvalidInput, NotFound
from service.lifecycle.run import Change, Run, Webhook
from service.lifecycle.transitions import abandoned, adopted, canceled
from service.lifecycle.view import RunView, view
from service.sealing import CannotOpen, Sealer
from service.store.base import RunFilter
from service.store.outbox import DeliveryFilter

RunId = Annotated[str, PathParameter(max_length=64)]
SMALL_BODY_BYTES = 64 * 1024

_list_parameters = ParameterCheck(LIST)
_read_parameters = ParameterCheck(READ)
ADOPT = {
    "task_id": Field(
        type="string",
        required=True,
        min_length=1,
        max_length=200,
        about="Upstream's id of the task, as its console or support tells it.",
        example="861309198188019719",
    )
}
_adopt_check = InputCheck(ADOPT, (), {})


class RunList(Struct, frozen=True, kw_only=True):
    """A page of runs, newest first; `next` is the URL of the page after it, or null."""

    data: list[RunView]
    next: str | None


class RunDetail(RunView, frozen=True, kw_only=True):
    """A run, and where its events are.

    Attributes:
        deliveries: Its events on their way to who waits for them, the newest first; 50 at most.
    """

    deliveries: list[DeliveryView]


class TimelineEntry(Struct, frozen=True, kw_only=True):
    """A line of a run's timeline."""

    at: str
    kind: str
    detail: dict[str, Any]


class Timeline(Struct, frozen=True, kw_only=True):
    """All that happened to a run, oldest first."""

    data: list[TimelineEntry]


async def own_run(run_id: str, caller: Caller, services: Services) -> Run:
    """Return a run of the caller's workspace.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    run = await services.store.run(run_id)
    if run is None or run.workspace != caller.workspace:
        raise NotFound(f"There is no run {run_id!r}.")
    return run


@get("/v1/runs")
async def list_runs(request: AnyRequest, caller: CalledBy, services: Using) -> Response[bytes]:
    """List runs by state, node, reference or group."""
    wanted = _list_parameters.read(request)
    limit, cursor = wanted.pop("limit", 50), wanted.pop("cursor", None)
    found = await services.store.runs(RunFilter(workspace=caller.workspace, before=cursor, limit=limit + 1, **wanted))
    page, following = found[:limit], None
    if len(found) > limit:
        query = urlencode({**wanted, "limit": limit, "cursor": page[-1].id})
        following = f"{base_url(request, services)}/v1/runs?{query}"
    now = services.clock.now()
    return json_response(RunList(data=[view(run, now, services.links.for_answer) for run in page], next=following))


@get("/v1/runs/{run:str}")
async def show_run(request: AnyRequest, run: RunId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Show a run and what became of its events; `wait` holds the answer back until it ends."""
    wanted = _read_parameters.read(request).get("wait", preferred_wait_s(request) or 0.0)
    found = await own_run(run, caller, services)
    found = await waited(found, services, min(float(wanted), services.wait_cap_s))
    records = await services.store.deliveries(DeliveryFilter(workspace=caller.workspace, run=found.id))
    shown = view(found, services.clock.now(), services.links.for_answer)
    detail = RunDetail(
        **{n: getattr(shown, n) for n in shown.__struct_fields__}, deliveries=[delivery_view(each) for each in records]
    )
    return json_response(detail, headers=retry_after(found, services))


@get("/v1/runs/{run:str}/timeline")
async def show_timeline(run: RunId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Show every transition, poll, callback and delivery attempt of a run, with its reason."""
    found = await own_run(run, caller, services)
    entries = await services.store.timeline(found.id)
    lines = [TimelineEntry(at=isoformat(entry.at), kind=entry.kind, detail=entry.detail) for entry in entries]
    return json_response(Timeline(data=lines))


@post("/v1/runs/{run:str}/cancel", status_code=200, request_max_body_size=SMALL_BODY_BYTES)
async def cancel_run(run: RunId, caller: CalledBy, services: Using) -> Response[bytes]:
    """End a run that is no longer wanted; what upstream has begun goes on there and may be billed."""
    found = await own_run(run, caller, services)
    now = services.clock.now()
    change = await services.store.change(found.id, lambda current: canceled(current, now))
    if change is None and found.state == "canceled":
        return await run_response(found, services, 0.0)
    return _moved(change, found, services, "A run can be canceled while it is queued or running")


@post("/v1/runs/{run:str}/adopt", status_code=200, request_max_body_size=SMALL_BODY_BYTES)
async def adopt_run(request: AnyRequest, run: RunId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Tell which upstream task a run of unknown outcome led to; Halley follows it from there."""
    task_id = str(_adopt_check.check(await read_input(request))["task_id"])
    found = await own_run(run, caller, services)
    now = services.clock.now()
    change = await services.store.change(found.id, lambda current: adopted(current, task_id, now))
    return _moved(change, found, services, "Only a run in submit_unknown can be adopted")


@post("/v1/runs/{run:str}/abandon", status_code=200, request_max_body_size=SMALL_BODY_BYTES)
async def abandon_run(run: RunId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Give up a run of unknown outcome."""
    found = await own_run(run, caller, services)
    now = services.clock.now()
    change = await services.store.change(found.id, lambda current: abandoned(current, now))
    return _moved(change, found, services, "Only a run in submit_unknown can be abandoned; use cancel")


@post("/v1/runs/{run:str}/retry", status_code=202, request_max_body_size=SMALL_BODY_BYTES)
async def retry_run(request: AnyRequest, run: RunId, caller: CalledBy, services: Using) -> Response[bytes]:
    """Start a new run with the input of one that has ended. It is paid for like any other."""
    found = await own_run(run, caller, services)
    node = node_for(caller, found.node, services)
    if not found.is_final:
        raise Conflict(f"The run is {found.state}; only a run that has ended can be retried.")
    refuse_impossible(found.mode, services)
    faults: list[Fault] = []
    key = idempotency_key(request.headers, faults)
    if faults:
        raise InvalidInput(tuple(faults))
    start = Start(
        node=node,
        options=_options_of(found, services.sealer),
        values=await services.store.run_input(found.id),
        key=key,
        fingerprint=f"retry:{found.id}",
    )
    started = await start_run(start, caller, services, base_url(request, services), retry_of=found.id)
    return await run_response(started.run, services, 0.0, started_headers(started), is_start=True)


def _options_of(run: Run, sealer: Sealer) -> dict[str, Any]:
    options: dict[str, Any] = {
        "mode": run.mode,
        "metadata": run.metadata,
        "deadline": run.deadline_at - run.created_at,
    }
    options |= {name: value for name, value in (("reference", run.reference), ("group", run.group)) if value}
    if run.webhook is not None:
        options |= _webhook_options(run.webhook, sealer)
    return options


def _webhook_options(webhook: Webhook, sealer: Sealer) -> dict[str, Any]:
    return {
        "webhook_url": _opened(webhook.url, sealer),
        "webhook_events": list(webhook.events),
        "webhook_method": webhook.method,
        **({} if webhook.guessed else {"webhook_profile": webhook.profile}),
    }


def _opened(url: str, sealer: Sealer) -> str:
    try:
        return sealer.open(url)
    except CannotOpen as exc:
        raise Conflict(f"The run's webhook URL cannot be read: {exc}.") from None


def _moved(change: Change | None, found: Run, services: Services, rule: str) -> Response[bytes]:
    if change is None:
        raise Conflict(f"{rule}; this one is {found.state}.")
    return json_response(view(change.run, services.clock.now(), services.links.for_answer))
