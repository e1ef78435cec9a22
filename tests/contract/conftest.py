"""A Halley on a loopback port in a thread of its own, which cannot reach anything beyond loopback."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from service.app import Tuning
from service.simulator import Simulator, SimulatorOptions
from tests.fakes.house import API_KEY, House, house

TUNING = Tuning(
    submit_s=0.05, poll_s=0.05, reconcile_s=0.05, expire_s=0.1, deliver_s=0.05, wait_cap_s=0.05
)


class NoNames(AbstractResolver):
    """Resolves nothing and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Refuse a name."""
        self.asked.append(host)
        raise OSError("no names in tests")

    async def close(self) -> None:
        """Hold nothing."""


class Fence:
    """Refuses every connection and every look-up that would leave loopback, before anything is sent."""

    def __init__(self) -> None:
        self.is_up = False
        self.refused: list[str] = []
        sys.addaudithook(self._judge)

    def _judge(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_up or event not in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
            return
        host = args[0] if event == "socket.getaddrinfo" else args[1][0]
        if not _is_loopback(host):
            self.refused.append(f"{event} {host}")
            raise OSError(f"{host} is beyond loopback")


def _is_loopback(host: object) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


class Running(Struct, frozen=True):
    """A Halley under test."""

    url: str
    house: House
    resolver: NoNames
    fence: Fence

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"X-API-Key": API_KEY}


@contextlib.asynccontextmanager
async def _halley(folder: Path, resolver: NoNames) -> AsyncIterator[House]:
    tuning = Tuning(
        submit_s=0.05,
        poll_s=0.05,
        reconcile_s=0.05,
        expire_s=0.1,
        deliver_s=0.05,
        wait_cap_s=0.05,
        resolver=resolver,
    )
    options = SimulatorOptions(strict_sessions=False, duration_s=0.2)
    async with Simulator(options) as sim, house(folder, sim, environ={"HALLEY_EGRESS_ALLOW": ""}, tuning=tuning) as it:
        yield it


async def _run(folder: Path, resolver: NoNames, ready: Any) -> None:
    async with _halley(folder, resolver) as running:
        stop = asyncio.Event()
        ready(running, asyncio.get_running_loop(), stop)
        await stop.wait()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Halley in a thread, with the simulator upstream and sweeps at work."""
    resolver, fence, started, box = NoNames(), Fence(), threading.Event(), {}

    def ready(house: House, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        box.update(house=house, loop=loop, stop=stop)
        started.set()

    folder = tmp_path_factory.mktemp("halley")
    thread = threading.Thread(target=lambda: asyncio.run(_run(folder, resolver, ready)), name="halley")
    fence.is_up = True
    thread.start()
    try:
        assert started.wait(20), "Halley did not start"
        yield Running(box["house"].url, box["house"], resolver, fence)
    finally:
        if box:
            box["loop"].call_soon_threadsafe(box["stop"].set)
        thread.join(30)
        fence.is_up = False
    assert not thread.is_alive(), "Halley did not stop"
