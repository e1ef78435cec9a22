"""Groups: many runs of which one event tells, because one step of a flow goes on once."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from litestar import HttpMethod, Response, get, post, route
from litestar.params import PathParameter
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from service.api.answers import json_response
from service.api.auth import Caller
from service.api.bodies import PLAIN_LIMIT_BYTES
from service.api.deps import CalledBy, Services, Using
from service.api.group_starts import Made, make_group, read_group
from service.api.node_routes import preferred_wait_s
from service.api.parameters import GROUPS, READ, ParameterCheck
from service.api.problems import Problem
from service.api.starts import AnyRequest, guess_warnings, told_headers
from service.api.urls import base_url
from service.errors import NotFound
from service.lifecycle.group import MOST_RUNS, Group, canceled, closed
from service.lifecycle.run import Run
from service.lifecycle.view import GroupSummary, GroupView, group_summary, group_view
from service.store.groups import DecideGroup
from service.workers.gatherer import cancel_open

GroupKey = Annotated[str, PathParameter(max_length=100)]
SMALL_BODY_BYTES = 64 * 1024
_RECHECK_S = 1.0  # another process may complete it

_list_parameters = ParameterCheck(GROUPS)
_read_parameters = ParameterCheck(READ)


class RunResult(Struct, frozen=True, kw_only=True):
    """What became of a run that was to be started with a group.

    Attributes:
        index: Its place in `runs` of the request.
        status: 202 when it was started, else the HTTP status that it would have been refused with alone.
        run: Its id.
        error: Why it was not started.
    """

    index: int
    status: int
    run: str | UnsetType = UNSET
    error: Problem | UnsetType = UNSET


class GroupMade(GroupView, frozen=True, kw_only=True):
    """A group, and what became of each run that was to be started with it.

    Attributes:
        results: One for each of the `runs` of the request, in their order.
        warnings: What should be known of the request although it was accepted.
    """

    results: list[RunResult]
    warnings: list[str]


class GroupList(Struct, frozen=True, kw_only=True):
    """A page of groups, newest first; `next` is the URL of the page after it, or null."""

    data: list[GroupSummary]
    next: str | None


# One handler for each path, since the framework tells in `Allow` of the first handler's methods alone.
@route(
    "/v1/groups",
    http_method=[HttpMethod.GET, HttpMethod.POST],
    status_code=HTTPStatus.OK,
    request_max_body_size=PLAIN_LIMIT_BYTES,
)
async def all_groups(request: AnyRequest, caller: CalledBy, services: Using) -> Response[bytes]:
    """List groups; or make one."""
    answer = _list if request.method == HttpMethod.GET else _create
    return await answer(request, caller, services)


async def _list(request: AnyRequest, caller: Caller, services: Services) -> Response[bytes]:
    given = _list_parameters.read(request)
    limit = given.get("limit", 50)
    store, workspace = services.store, caller.workspace
    found = await store.groups(workspace, state=given.get("state"), before=given.get("cursor"), limit=limit + 1)
    page, following = found[:limit], None
    if len(found) > limit:
        query = urlencode({**given, "limit": limit, "cursor": page[-1].id})
        following = f"{base_url(request, services)}/v1/groups?{query}"
    states = await store.group_states(workspace, [group.key for group in page])
    return json_response(GroupList(data=[group_summary(each, states[each.key]) for each in page], next=following))


async def _create(request: AnyRequest, caller: Caller, services: Services) -> Response[bytes]:
    """Make a group. One that is there already by its name or its idempotency key is answered with 200."""
    asked = await read_group(request, services)
    made = await make_group(asked, caller, services, base_url(request, services))
    group, runs = made.group, await _runs(made.group, services)
    shown = group_view(group, runs, services.clock.now(), services.links.for_answer)
    whole = GroupMade(**asdict(shown), results=_results(group), warnings=guess_warnings(group.webhook))
    headers = {"Location": shown.status_url, **told_headers(group.webhook, is_replayed=made.is_replayed)}
    return json_response(whole, _status(made), headers)


def _status(made: Made) -> int:
    is_under_way = (made.is_new or made.is_replayed) and made.group.state == "open"
    return HTTPStatus.ACCEPTED if is_under_way else HTTPStatus.OK


def _results(group: Group) -> list[RunResult]:
    return [
        RunResult(index=index, status=HTTPStatus.ACCEPTED, run=outcome)
        if isinstance(outcome, str)
        else RunResult(index=index, status=outcome["status"], error=msgspec.convert(outcome, Problem))
        for index, outcome in enumerate(group.outcomes)
    ]


@get("/v1/groups/{group:str}")
async def show_group(request: AnyRequest, group: GroupKey, caller: CalledBy, services: Using) -> Response[bytes]:
    """Show a group by its id or name, with its runs; `wait` holds the answer back until it completes."""
    wanted = float(_read_parameters.read(request).get("wait", preferred_wait_s(request) or 0.0))
    found = await _own(group, caller, services)
    return await _shown(await _waited(found, services, min(wanted, services.wait_cap_s)), services)


@post("/v1/groups/{group:str}/close", status_code=HTTPStatus.OK, request_max_body_size=SMALL_BODY_BYTES)
async def close_group(group: GroupKey, caller: CalledBy, services: Using) -> Response[bytes]:
    """Let no more runs come: the group completes when those that it has have come far enough."""
    found = await _own(group, caller, services)
    count, now = await _count(found, services), services.clock.now()
    return await _moved(found, lambda current: closed(current, count, now), services)


@post("/v1/groups/{group:str}/cancel", status_code=HTTPStatus.OK, request_max_body_size=SMALL_BODY_BYTES)
async def cancel_group(group: GroupKey, caller: CalledBy, services: Using) -> Response[bytes]:
    """Cancel the runs of a group that are still open, and let no more come."""
    found = await _own(group, caller, services)
    count, now = await _count(found, services), services.clock.now()
    await services.store.change_group(found.id, lambda current: canceled(current, count, now))
    # One that is just being submitted is canceled by a sweep, as soon as that has ended.
    await cancel_open(await _runs(found, services), services.store, now)
    return await _moved(found, lambda _current: None, services)


async def _moved(group: Group, decide: DecideGroup, services: Services) -> Response[bytes]:
    change = await services.store.change_group(group.id, decide)
    services.switchboard.ring("groups")
    return await _shown(change.group if change else await _again(group, services), services)


async def _own(key: str, caller: Caller, services: Services) -> Group:
    """Return a group of the caller's workspace.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    found = await services.store.group(caller.workspace, key)
    if found is None:
        raise NotFound(f"There is no group {key!r}.")
    return found


async def _waited(group: Group, services: Services, wait_s: float) -> Group:
    """Return a group once it has completed, or as it is after the time."""
    until = services.clock.now() + wait_s
    while group.state == "open" and services.is_ready() and (left_s := until - services.clock.now()) > 0:
        await services.switchboard.wait(group.id, min(left_s, _RECHECK_S))
        group = await _again(group, services)
    return group


async def _again(group: Group, services: Services) -> Group:
    return await services.store.group(group.workspace, group.id) or group


async def _runs(group: Group, services: Services) -> list[Run]:
    return await services.store.group_runs(group.workspace, group.key, MOST_RUNS)


async def _count(group: Group, services: Services) -> int:
    return sum((await services.store.group_states(group.workspace, [group.key]))[group.key].values())


async def _shown(group: Group, services: Services) -> Response[bytes]:
    runs, now = await _runs(group, services), services.clock.now()
    return json_response(group_view(group, runs, now, services.links.for_answer))
