"""A client of a simulator with some families on stage, for tests of what those families answer."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from service.simulator.family import Family
from service.simulator.scenario import SimulatorOptions
from service.simulator.server import Simulator

Json = dict[str, Any]


class Caller:
    """Sends requests with a key and returns status and decoded body; a body that is no JSON comes as bytes."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def get(self, path: str) -> tuple[int, Any]:
        """Ask."""
        async with self.session.get(self.simulator.url + path) as answer:
            return answer.status, await _decoded(answer)

    async def post(self, path: str, body: Json, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Send JSON."""
        async with self.session.post(self.simulator.url + path, json=body, headers=headers) as answer:
            return answer.status, await _decoded(answer)

    async def send_form(self, path: str, fields: Json, **files: tuple[str, bytes, str]) -> tuple[int, Any]:
        """Send a form; a file is its name, its bytes and its content type."""
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            form.add_field(name, str(value))
        for name, (filename, data, content_type) in files.items():
            form.add_field(name, data, filename=filename, content_type=content_type)
        async with self.session.post(self.simulator.url + path, data=form) as answer:
            return answer.status, await _decoded(answer)


async def _decoded(answer: aiohttp.ClientResponse) -> Any:
    return await answer.json() if answer.content_type == "application/json" else await answer.read()


@asynccontextmanager
async def playing(*families: type[Family], **options: Any) -> AsyncIterator[Caller]:
    """Run a simulator with nothing but some families and give a client of it."""
    simulator = Simulator(
        SimulatorOptions(**options),
        families=lambda stage: [route for family in families for route in family(stage).routes()],
    )
    session = aiohttp.ClientSession(headers={"Authorization": "Bearer sk-test"})
    async with simulator, session:
        yield Caller(simulator, session)


@asynccontextmanager
async def solo(family: type[Family], **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """Run a simulator that plays one family, whose tasks end at once, and give a bare client of it."""
    words = {"duration_s": 0, **options}
    simulator = Simulator(SimulatorOptions(**words), families=lambda stage: family(stage).routes())
    async with simulator, aiohttp.ClientSession(simulator.url, headers={"Authorization": "Bearer sk-test"}) as session:
        yield session


async def post(client: aiohttp.ClientSession, path: str, **body: Any) -> tuple[int, Any]:
    """Send a create; return status and body."""
    async with client.post(path, json=body) as response:
        return response.status, await response.json()


async def get(client: aiohttp.ClientSession, path: str, **query: str) -> tuple[int, Any]:
    """Ask; return status and body."""
    async with client.get(path, params=query) as response:
        return response.status, await response.json()
