"""An application on a socket, inside the event loop that is already running, and the signals that end it.

What the application is made of stands in `app`, what a command says about it in `cli`.
"""

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence

import uvicorn
from litestar import Litestar

from service.api.limits import InboundLimits
from service.api.relay import RELAY_MESSAGE_BYTES
from service.errors import SettingsError
from service.wire_limits import LimitedProtocol

# Requests under way are given this long; what the application has under way comes after, both within 10 s.
_GRACE_S = 3
# Longer than clients keep connections: a callback that goes out as its connection is closed is lost where upstream does
# not try again.
_KEEP_ALIVE_S = 75
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised here, not bound
_WRONG_WORDS = "ASGI callable returned without completing handshake."
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# So many objects more than were freed are there before the youngest are looked through (the default is 700): a run
# makes some thousands, nearly all of which are freed by their last user. What is left in circles, a few objects of a
# run, waits for it in some megabytes.
_GC_THRESHOLDS = (20_000, 10, 10)


def open_socket(host: str, port: int) -> socket.socket:
    """Take an address; nothing is answered there yet.

    Args:
        host: An address or name of this machine.
        port: 0 takes a free one.

    Raises:
        SettingsError: It is taken, or is no address of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    except (OSError, UnicodeError):
        raise SettingsError(f"HALLEY_HOST: {host!r} is no address of this machine") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as exc:
        listener.close()
        raise _cannot_listen(host, port, exc) from None
    return listener


def _cannot_listen(host: str, port: int, exc: OSError) -> SettingsError:
    return SettingsError(
        f"HALLEY_HOST, HALLEY_PORT: cannot listen on {host} port {port}: {exc.strerror}; "
        "stop what listens there, or take another port with --port"
    )


def local_url(listener: socket.socket) -> str:
    """Return the URL under which this machine reaches a socket."""
    host, port = listener.getsockname()[:2]
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def serving(
    app: Litestar, listener: socket.socket, *, limits: InboundLimits | None = None
) -> AsyncIterator[None]:
    """Open an application, serve it until the block ends, finish what is under way and close it.

    Args:
        app: The application.
        listener: Where it is served.
        limits: How large and slow requests may be.

    Raises:
        SettingsError: The application cannot be opened, or the address was taken meanwhile.
    """
    logger = logging.getLogger("uvicorn.error")
    logger.addFilter(_is_true)
    try:
        async with app.lifespan():
            server = _Server(_config(app, limits or InboundLimits()))
            running = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                await _started(server, running, listener)
                _spare_garbage_collection()
                yield
            finally:
                server.should_exit = True
                await asyncio.wait([running])
    except BaseExceptionGroup as exc:
        raise _unwrapped(exc) from None
    finally:
        logger.removeFilter(_is_true)


def _spare_garbage_collection() -> None:
    """Never again look for garbage among what was made at the start: it stays, and it is most of what there is.

    Nothing of it is garbage but a few thousand objects, which cost less than a tenth of a second of looking for them.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(*_GC_THRESHOLDS)


def _is_true(record: logging.LogRecord) -> bool:
    """Drop a line that uvicorn writes of every WebSocket refused in good order (its pull request 3138)."""
    return record.getMessage() != _WRONG_WORDS


def _unwrapped(exc: BaseException) -> BaseException:
    """Return what was raised: the framework's lifespan puts every exception into a group of its own."""
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc


def _config(app: Litestar, limits: InboundLimits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=functools.partial(LimitedProtocol, limits=limits),  # type: ignore[arg-type]  # called as the class is
        ws="websockets-sansio",
        ws_max_size=RELAY_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # a dictionary for each connection costs more memory than speech saves
        # Opened and closed around the server, where its errors are still exceptions and no log lines.
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )


async def _started(server: "_Server", running: "asyncio.Task[None]", listener: socket.socket) -> None:
    starting = asyncio.create_task(server.is_up.wait())
    await asyncio.wait([starting, running], return_when=asyncio.FIRST_COMPLETED)
    starting.cancel()
    if running.done():
        try:
            running.result()
        except OSError as exc:
            host, port = listener.getsockname()[:2]
            raise _cannot_listen(host, port, exc) from exc


class _Server(uvicorn.Server):
    """A server that tells when it is up, and leaves signals to whoever runs it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: the original ends the process by the signal again, with another exit code than 0."""
        yield


@contextlib.contextmanager
def signals_set(stop: asyncio.Event, numbers: Sequence[signal.Signals] = _SIGNALS) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set an event; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    def first() -> None:
        restore()
        stop.set()

    for number in numbers:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        restore()
