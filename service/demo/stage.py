"""What the demo plays on: the real application, the simulated upstream and a receiver, in one event loop.

Settings are written here and not taken from the environment: no key of the user's can come into it.
"""

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from service.api.auth import DEFAULT_WORKSPACE
from service.app import Mock, create_app
from service.clock import SystemClock
from service.definitions.catalog import Catalog, load_catalog
from service.definitions.compiler import CompiledNode
from service.delivery.signer import derive_secret
from service.demo.receiver import Receiver
from service.errors import SettingsError
from service.log import silent_log
from service.secret_key import load_secret_keys
from service.serving import local_url, open_socket, serving
from service.settings import load_settings
from service.simulator import Simulator, SimulatorOptions
from service.simulator.showcase import Scene, scenes

_HOST = "127.0.0.1"
# Well apart from the moments at which a run that is called back about is also asked about.
_DURATION_S = 6.1


class Stage(Struct, frozen=True, kw_only=True):
    """The three that play together.

    Attributes:
        url: Where Halley listens.
        key: An API key of Halley's.
        secret: What its events are signed with.
        simulator: The simulated upstream.
        receiver: Told of the runs' ends.
        scenes: The runs to show.
    """

    url: str
    key: str
    secret: str
    simulator: Simulator
    receiver: Receiver
    scenes: tuple[Scene, ...]


@contextlib.asynccontextmanager
async def staged(port: int, marks: Sequence[str]) -> AsyncIterator[Stage]:
    """Put the stage up, and clear it away when the block ends.

    Args:
        port: Where Halley listens, if nothing else does.
        marks: Played by the simulator for every submission.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halley-demo-")))
        options = SimulatorOptions(duration_s=_DURATION_S, envelope="wrapped", marks=tuple(marks))
        simulator = await stack.enter_async_context(Simulator(options))
        listener = stack.enter_context(_socket(port))
        key = await _halley(stack, folder, listener, simulator)
        secret = derive_secret(load_secret_keys(None, folder).current, DEFAULT_WORKSPACE)
        receiver = Receiver(secret, SystemClock())
        await receiver.start()
        stack.push_async_callback(receiver.stop)
        yield Stage(
            url=local_url(listener),
            key=key,
            secret=secret,
            simulator=simulator,
            receiver=receiver,
            scenes=scenes(simulator.url),
        )


async def _halley(stack: contextlib.AsyncExitStack, folder: Path, listener: socket.socket, simulator: Simulator) -> str:
    url, keys = local_url(listener), list[str]()
    settings = load_settings(
        {"HALLEY_DATA_DIR": str(folder), "HALLEY_PUBLIC_URL": url, "HALLEY_EGRESS_ALLOW": "127.0.0.0/8"}
    )
    app = create_app(
        settings,
        silent_log(),
        mock=Mock(url=simulator.url, callback_base=url),
        catalog=_quick_catalog(scenes(simulator.url)),
        announce_key=keys.append,
    )
    await stack.enter_async_context(serving(app, listener))
    return keys[0]


def _socket(port: int) -> socket.socket:
    try:
        return open_socket(_HOST, port)
    except SettingsError:
        return open_socket(_HOST, 0)


def _quick_catalog(shown: Sequence[Scene]) -> Catalog:
    """Return the shipped nodes, those to be shown at a pace for people who watch."""
    nodes = dict(load_catalog().nodes)
    for scene in shown:
        nodes[scene.node] = _paced(nodes[scene.node], scene.look_s)
    return Catalog(nodes)


def _paced(node: CompiledNode, look_s: float) -> CompiledNode:
    pace = msgspec.structs.replace(
        node.pace, first_s=look_s, every_s=look_s, growth=1.0, at_most_s=look_s, with_callback=1.0
    )
    return msgspec.structs.replace(node, pace=pace)
