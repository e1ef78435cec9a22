"""The one place where stage, families, sample files and control surface become an application."""

from collections.abc import Callable

from aiohttp import web

from service.simulator.aggregator import page
from service.simulator.control import Control
from service.simulator.journal import Received
from service.simulator.kling import Kling
from service.simulator.samples import Samples
from service.simulator.stage import Stage

MAX_BODY_BYTES = 64 * 1024 * 1024


async def _nothing_here(_request: web.Request, _received: Received) -> web.Response:
    return page()


Cast = Callable[[Stage], list[web.RouteDef]]


def all_families(stage: Stage) -> list[web.RouteDef]:
    """List the routes of every family."""
    return Kling(stage).routes()


def create_app(stage: Stage, families: Cast = all_families) -> web.Application:
    """Build the application around a stage; whatever has no route answers with a web page."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.add_routes(
        [
            *Control(stage).routes(),
            *Samples(stage.clock).routes(),
            *families(stage),
            web.route("*", "/{path:.*}", stage.recorded(_nothing_here)),
        ]
    )
    return app
