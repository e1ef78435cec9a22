"""The upstream of `mode=mock`: a door that is there from the start, and a simulator behind it once somebody knocks.

Loading the simulator takes a tenth of a start and 5 MB, and a Halley that only makes live runs never asks it.
"""

import asyncio
import contextlib
import importlib
import socket
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def understudy(listener: socket.socket) -> AsyncIterator[None]:
    """Play the upstream on a socket until the end of the block."""
    listener.setblocking(False)
    listener.listen()
    playing = asyncio.create_task(_play(listener))
    try:
        yield
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing


async def _play(listener: socket.socket) -> None:
    await _knock(listener)
    simulator = await asyncio.to_thread(importlib.import_module, "service.simulator")
    # Quick enough to try a workflow with, slow enough to see it wait; the wrapped envelope tells of progress. Ids of
    # anybody are taken, so that documented examples run as they stand.
    options = simulator.SimulatorOptions(speed=12.0, envelope="wrapped", strict_sessions=False)
    playing = simulator.Simulator(options)
    await playing.start(listener=listener)
    try:
        await asyncio.Event().wait()
    finally:
        await playing.stop()


async def _knock(listener: socket.socket) -> None:
    """Return once somebody has connected; the connection waits to be taken."""
    loop, knocked = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(listener, knocked.set)
    try:
        await knocked.wait()
    finally:
        loop.remove_reader(listener)
