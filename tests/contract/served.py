"""A process with a Halley on loopback and the simulator upstream; it serves until its standard input ends.

A process of its own, because schemathesis watches the use of randomness in the process that it runs in. First it
prints the URL; at the end what tried to leave loopback, which was refused before anything was sent.
"""

import asyncio
import ipaddress
import json
import socket
import sys
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from service.app import Tuning
from service.simulator import Simulator, SimulatorOptions
from tests.fakes.house import house


class NoNames(AbstractResolver):
    """Knows no name."""

    async def resolve(
        self,
        host: str,  # noqa: ARG002 - the interface of resolvers
        port: int = 0,  # noqa: ARG002
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """Refuse a name."""
        raise OSError("there are no names here")

    async def close(self) -> None:
        """Hold nothing."""


class Fence:
    """Refuses every connection, datagram and look-up that would leave loopback."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        sys.addaudithook(self._judge)

    def _judge(self, event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto"):
            host = args[1][0] if isinstance(args[1], tuple) else ""
        elif event == "socket.getaddrinfo":
            host = args[0]
        else:
            return
        if not _is_loopback(host):
            self.refused.append(f"{event} {host}")
            raise OSError(f"{host} is beyond loopback")


def _is_loopback(host: object) -> bool:
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


async def serve(folder: Path) -> None:
    """Run Halley until standard input ends."""
    tuning = Tuning(
        submit_s=0.05,
        poll_s=0.05,
        reconcile_s=0.05,
        expire_s=0.1,
        deliver_s=0.05,
        wait_cap_s=0.05,
        stream_cap_s=0.05,
        resolver=NoNames(),
    )
    options = SimulatorOptions(strict_sessions=False, duration_s=0.2)
    async with (
        Simulator(options) as sim,
        house(folder, sim, environ={"HALLEY_EGRESS_ALLOW": ""}, tuning=tuning) as running,
    ):
        print(running.url, flush=True)  # noqa: T201 - the parent reads it
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    fence = Fence()
    asyncio.run(serve(Path(sys.argv[1])))
    print(json.dumps(fence.refused), flush=True)  # noqa: T201 - the parent reads it
