"""A listener to a stream of server-sent events, which keeps to the standard and knows nothing of Halley."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from msgspec import Struct


class Told(Struct, frozen=True):
    """One event of a stream."""

    id: str
    name: str
    data: Any


class Listener:
    """Reads the events of a stream one by one; `last_id` is what an `EventSource` would come back with."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self.comments = 0
        self._lines = self._cut()

    async def _cut(self) -> AsyncIterator[str]:
        held = b""
        async for piece in self.response.aiter_bytes():
            *lines, held = (held + piece).split(b"\n")
            for line in lines:
                yield line.decode()

    async def block(self) -> Told | None:
        """Return what the next block tells, None if it tells nothing; raises `StopAsyncIteration` at the end."""
        name, data = "", None
        while line := await anext(self._lines):
            field, _, value = line.partition(": ")
            self.comments += field == ""
            name = value if field == "event" else name
            data = json.loads(value) if field == "data" else data
            self.last_id = value if field == "id" else self.last_id
        return None if data is None else Told(self.last_id, name, data)

    async def next(self) -> Told:
        """Return the next event."""
        while (told := await self.block()) is None:
            pass
        return told

    async def take(self, count: int) -> list[Told]:
        """Return the next events."""
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Told]:
        """Return the events that come before the stream ends in good order."""
        events = []
        with contextlib.suppress(StopAsyncIteration):
            while True:
                events.append(await self.next())
        return events


@contextlib.asynccontextmanager
async def listening(
    client: httpx.AsyncClient, last_id: str | None = None, *, timeout_s: float = 30.0, **query: Any
) -> AsyncIterator[Listener]:
    """Listen until the block ends; where the stream begins has been decided when it begins."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with (
        asyncio.timeout(timeout_s),
        client.stream("GET", "/v1/events/stream", params=query, headers=headers) as response,
    ):
        listener = Listener(response)
        assert response.status_code == 200, await response.aread()
        assert await listener.block() is None
        yield listener
