"""The nodes: the catalogue, and the one route that starts a run of any of them."""

import contextlib
import math
from typing import Annotated, Any

from litestar import Response, get, post
from litestar.params import PathParameter
from msgspec import Struct

from service.api.answers import json_response, run_response
from service.api.auth import Caller
from service.api.deps import CalledBy, Services, Using, provide_caller, provide_services
from service.api.live_answers import live_response, wants_events
from service.api.node_views import NodeList, detail, summary, typical
from service.api.starts import AnyRequest, Start, read_start, start_run, started_headers
from service.api.urls import base_url
from service.artifacts.files import FILE_LIMIT_BYTES
from service.artifacts.intake import Intake
from service.definitions.catalog import Catalog, CompiledNode
from service.definitions.outgoing import FilePart
from service.definitions.request import OutgoingRequest, address
from service.ids import new_id
from service.workers.experience import kind_of_node

MAX_BODY_BYTES = FILE_LIMIT_BYTES + 1024 * 1024  # a file, and what is said beside it
_MASK = "********"

NodeName = Annotated[str, PathParameter(max_length=200)]


class PreviewRequest(Struct, frozen=True, kw_only=True):
    """The request that would go upstream, secrets masked."""

    method: str
    url: str
    headers: dict[str, str]
    body: Any


class Preview(Struct, frozen=True, kw_only=True):
    """Answer of `mode=preview`: nothing was stored or sent. A node that sends nothing itself has no request."""

    mode: str
    node: str
    request: PreviewRequest | None
    warnings: list[str]


@get("/v1/nodes")
async def list_nodes(caller: CalledBy, services: Using) -> Response[bytes]:
    """List all nodes that the caller's key is for."""
    nodes = _catalog_of(caller, services).nodes.values()
    return json_response(NodeList(data=[summary(node) for node in nodes]))


@get("/v1/nodes/{node:str}")
async def show_node(
    request: AnyRequest,
    node: NodeName,
    caller: CalledBy,
    services: Using,
) -> Response[bytes]:
    """Show one node: inputs as JSON Schema, example, curl line, how long its tasks take."""
    found = _catalog_of(caller, services).get(node)
    kind = kind_of_node(found.id, "live")
    kept = (await services.store.sketches([kind])).get(kind)
    return json_response(detail(found, base_url(request, services), typical(kept.sketch) if kept else None))


def _catalog_of(caller: Caller, services: Services) -> Catalog:
    """Return the nodes that the caller's key is for; the others are not there."""
    nodes = services.catalog.nodes.items()
    return Catalog({name: node for name, node in nodes if caller.may_run(name)}) if caller.nodes else services.catalog


@post("/v1/nodes/{node:str}/runs", request_max_body_size=MAX_BODY_BYTES)
async def start_node(request: AnyRequest, node: NodeName) -> Response[Any]:
    """Start a run. The body is the node's input; how to run it stands in the query."""
    services = provide_services(request.app.state)
    caller = await provide_caller(request, services)
    base, wanted = base_url(request, services), node_for(caller, node, services)
    async with Intake(services.files, caller.workspace) as intake:
        start = await read_start(request, wanted, caller, services, intake)
        if start.mode == "preview":
            return json_response(await preview(start, caller, services))
        run_id = new_id("run", services.clock.now())
        with contextlib.ExitStack() as stack:
            hearing = stack.enter_context(services.live.listening(run_id)) if wants_events(request) else None
            started = await start_run(start, caller, services, base, run_id=run_id)
            if not started.replayed:
                intake.settle()
            if hearing is not None:
                return live_response(started, start.node, services, hearing, stack.pop_all())
    wait_s = wait_wanted_s(request, start, services)
    return await run_response(started.run, services, wait_s, started_headers(started), is_start=True)


def node_for(caller: Caller, node_id: str, services: Services) -> CompiledNode:
    """Return a node that the caller is about to run.

    Raises:
        NotFound: There is none of that id.
        BeyondKey: The caller's key is for others.
    """
    node = services.catalog.get(node_id)
    caller.require_node(node.id)
    return node


def wait_wanted_s(request: AnyRequest, start: Start, services: Services) -> float:
    """Return how long the caller waits: `wait`, `Prefer: wait=N`, or the node's habit, within the cap."""
    wanted = start.options.get("wait", preferred_wait_s(request))
    if wanted is None:
        takes_long = start.node.node.kind in ("task", "flow") and start.node.reader.stream is None
        wanted = 0.0 if takes_long else services.wait_cap_s
    return min(float(wanted), services.wait_cap_s)


def preferred_wait_s(request: AnyRequest) -> float | None:
    """Return N of `Prefer: wait=N`; a preference that is not understood is ignored, as RFC 7240 says."""
    for part in request.headers.get("prefer", "").split(","):
        name, _, value = part.strip().partition("=")
        try:
            seconds = float(value) if name.strip().lower() == "wait" else math.nan
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


async def preview(start: Start, caller: Caller, services: Services) -> Preview:
    """Return the exact upstream request, with everything secret masked; what it would fetch stays a URL."""
    materials = services.materials_of("preview")
    async with materials.ready(start.node, start.values, caller.workspace, fetches=False) as values:
        request = start.node.plan.build(
            values,
            callback_url=f"{services.public_url}/v1/callbacks/{_MASK}" if services.public_url else None,
            external_id="00000000-0000-0000-0000-000000000000",
        )
        shown = _shown_body(request)
    sent = PreviewRequest(
        method=request.method,
        url=_shown_address(request, services.upstream_url),
        headers={**request.headers, **_shown_key(request), **_body_type(request)},
        body=shown,
    )
    return Preview(
        mode="preview",
        node=start.node.id,
        request=sent if start.node.node.submit else None,
        warnings=start.node.warnings(start.values),
    )


def _shown_address(request: OutgoingRequest, base_url: str) -> str:
    url = address(base_url, request)
    return url + ("&" if "?" in url else "?") + f"key={_MASK}" if request.auth == "query" else url


def _shown_key(request: OutgoingRequest) -> dict[str, str]:
    return {"Authorization": f"Bearer {_MASK}"} if request.auth == "bearer" else {}


def _body_type(request: OutgoingRequest) -> dict[str, str]:
    if request.form is not None:
        kind = "multipart/form-data" if request.encoding == "multipart" else "application/x-www-form-urlencoded"
        return {"Content-Type": kind}
    return {"Content-Type": "application/json"} if request.body is not None else {}


def _shown_body(request: OutgoingRequest) -> Any:
    """Return the body for people: a form as a list of its fields, files in it by name and type."""
    if request.form is None:
        return request.body
    return [[name, _shown_file(value) if isinstance(value, FilePart) else value] for name, value in request.form]


def _shown_file(part: FilePart) -> dict[str, str]:
    return {"filename": part.filename, "content_type": part.mime}
