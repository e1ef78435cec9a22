"""The text family: chat, responses, embeddings, and the native faces of Claude and Gemini.

`speech` decides what is said, `stream` how it comes in pieces, `spoken` what the surfaces share; `chat`, `responses`,
`claude`, `gemini` and `embeddings` are the surfaces, each with its bodies and its ways of answering. Chat models that
make files (videos and pictures as links in markdown) answer here too, since the path is the same. The socket is in
`realtime`, the lists of models in `platform`.
"""

from aiohttp import web

from service.simulator.stage import Stage
from service.simulator.text.chat import Chat
from service.simulator.text.claude import Claude
from service.simulator.text.embeddings import Embeddings
from service.simulator.text.gemini import Gemini
from service.simulator.text.moderations import Moderations
from service.simulator.text.responses import Responses

__all__ = ["Text"]


class Text:
    """The family, played on one stage."""

    def __init__(self, stage: Stage) -> None:
        surfaces = (Chat, Responses, Embeddings, Moderations, Claude, Gemini)
        self._surfaces = [surface(stage) for surface in surfaces]

    def routes(self) -> list[web.RouteDef]:
        """List the routes of all surfaces."""
        return [route for surface in self._surfaces for route in surface.routes()]
