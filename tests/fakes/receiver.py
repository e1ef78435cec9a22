"""A receiver of completion events on loopback that answers as it is told and keeps what it got."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import msgspec
from aiohttp import web
from msgspec import Struct


class Got(Struct, frozen=True):
    """One request that the receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    @property
    def event(self) -> dict[str, Any]:
        """The decoded event."""
        return dict(msgspec.json.decode(self.body))


class Receiver:
    """Collects events; `answers` is the list of statuses to give first, then 200."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: list[int | Callable[[web.Request], Awaitable[web.StreamResponse]]] = []
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._receive)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        async with self._news:
            self.got.append(Got(request.raw_path, dict(request.headers), body, request.method))
            self._news.notify_all()
        answer = self.answers.pop(0) if self.answers else 200
        return web.Response(status=answer) if isinstance(answer, int) else await answer(request)

    async def wait_for(self, count: int, timeout_s: float = 20.0) -> list[Got]:
        """Return once `count` requests have come."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: len(self.got) >= count)
        return self.got
