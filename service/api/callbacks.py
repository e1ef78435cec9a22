"""Inbound provider callbacks: stored, answered at once, and never believed without asking upstream."""

from typing import Annotated

from litestar import Response, post
from litestar.params import PathParameter

from service.api.answers import json_response
from service.api.deps import provide_services
from service.api.limits import client_of, too_many
from service.api.starts import AnyRequest
from service.definitions.paths import decode_body
from service.definitions.reader import Answer
from service.definitions.schema import seconds
from service.errors import NotFound
from service.lifecycle.transitions import hinted

MAX_CALLBACK_BYTES = 1024 * 1024
Token = Annotated[str, PathParameter(max_length=100)]


@post("/v1/callbacks/{token:str}", status_code=200, request_max_body_size=MAX_CALLBACK_BYTES)
async def receive_callback(request: AnyRequest, token: Token) -> Response[bytes]:
    """Take a provider's report about a run. The token in the path is the only credential.

    Of too many reports the rest is refused, not swallowed: what is answered with 200 has been stored.
    """
    services = provide_services(request.app.state)
    body, now = await request.body(), services.clock.now()
    addressed = await services.store.addressed(token)
    node = services.catalog.nodes.get(addressed.node) if addressed else None
    if addressed is None or node is None or node.plan.callback is None:
        services.metrics.callbacks("unknown").inc()
        wait_s = services.inbound.failed("callback", client_of(request.scope), now)
        if wait_s:
            return too_many(wait_s)
        raise NotFound("No run has this callback URL.")
    run_id = addressed.run_id
    if wait_s := services.inbound.called_back(run_id, now):
        services.metrics.callbacks("too_many").inc()
        return too_many(wait_s)
    callback, said = node.plan.callback, decode_body(body)
    if callback.challenge and isinstance(said, dict) and callback.challenge in said:
        # Upstream tries whether we are who the run says; nothing is told about the task yet.
        services.log.info("callback.challenged", run=run_id)
        return json_response({callback.challenge: said[callback.challenge]})
    reading = node.reader.read("callback", Answer(body=said))
    min_interval_s = seconds(callback.min_interval)
    change = await services.store.record_callback(
        run_id, body, now, lambda current: hinted(current, reading, now, min_interval_s=min_interval_s)
    )
    is_late = change is None or change.run.is_final
    services.metrics.callbacks("late" if is_late else "taken").inc()
    services.log.info("callback.received", run=run_id, state=reading.state, status=reading.raw_status)
    return json_response({"received": True})
