"""An upstream behind a WebSocket that does what a test says, and keeps what it heard."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from service.simulator.stage import Stage

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


async def echo(socket: web.WebSocketResponse) -> None:
    """Send back whatever comes, as it came."""
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)


class FakeRealtime:
    """The upstream.

    Attributes:
        talk: Holds the conversation.
        refusal: HTTP status that the handshake is answered with, in place of a conversation.
        requests: The handshakes, oldest first.
        heard: JSON messages that `turn` heard.
        closed_with: Code that the last conversation was closed with.
    """

    def __init__(self, talk: Talk = echo) -> None:
        self.talk = talk
        self.refusal: int | None = None
        self.requests: list[web.Request] = []
        self.heard: list[Any] = []
        self.closed_with: int | None = None

    def families(self, _stage: Stage) -> list[web.RouteDef]:
        """Give the one route, in place of the simulator's families."""
        return [web.get("/v1/realtime", self._answer)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.refusal is not None:
            return web.json_response({"error": {"message": "no"}}, status=self.refusal)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.talk(socket)
        self.closed_with = socket.close_code
        return socket

    def turn(self, *events: Any, greets: bool = True) -> Talk:
        """Greet, hear a turn up to its last event, answer with these events and close."""

        async def talk(socket: web.WebSocketResponse) -> None:
            if greets:
                await socket.send_json({"type": "session.created"})
                while not self.heard or self.heard[-1]["type"] != "response.create":
                    self.heard.append(await socket.receive_json())
            for event in events:
                await socket.send_json(event)
            await socket.close(code=WSCloseCode.GOING_AWAY)

        return talk
