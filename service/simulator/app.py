"""The one place where stage, families, sample files and control surface become an application."""

from collections.abc import Callable

from aiohttp import web

from service.simulator.aggregator import page
from service.simulator.audio import Audio
from service.simulator.bytedance import Bytedance
from service.simulator.control import Control
from service.simulator.flux import Flux
from service.simulator.hunyuan3d import Hunyuan3d
from service.simulator.ideogram import Ideogram
from service.simulator.images import Images
from service.simulator.journal import Received
from service.simulator.kling import Kling
from service.simulator.luma import Luma
from service.simulator.midjourney import Midjourney
from service.simulator.minimax import Minimax
from service.simulator.pika import Pika
from service.simulator.platform import Platform
from service.simulator.realtime import Realtime
from service.simulator.recraft import Recraft
from service.simulator.replicate import Replicate
from service.simulator.runway import Runway
from service.simulator.runway_reverse import RunwayReverse
from service.simulator.samples import Samples
from service.simulator.sora import Sora
from service.simulator.stage import Stage
from service.simulator.suno import Suno
from service.simulator.text import Text
from service.simulator.udio import Udio
from service.simulator.veo import Veo
from service.simulator.videos import Videos

MAX_BODY_BYTES = 64 * 1024 * 1024


async def _nothing_here(_request: web.Request, _received: Received) -> web.Response:
    return page()


Cast = Callable[[Stage], list[web.RouteDef]]


_FAMILIES = (
    Kling,
    Midjourney,
    Suno,
    Udio,
    Flux,
    Replicate,
    Luma,
    Pika,
    Minimax,
    Runway,
    RunwayReverse,
    Veo,
    Sora,
    Bytedance,
    Videos,
    Hunyuan3d,
    Images,
    Recraft,
    Ideogram,
    Audio,
    Text,
    Realtime,
    Platform,
)


def all_families(stage: Stage) -> list[web.RouteDef]:
    """List the routes of every family."""
    return [route for family in _FAMILIES for route in family(stage).routes()]


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
