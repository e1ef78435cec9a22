"""A simulator on a socket, inside the event loop that is already running; it installs no signal handlers."""

import socket
from types import TracebackType
from typing import Self

from aiohttp import web

from service.clock import Clock, SystemClock
from service.simulator.app import Cast, all_families, create_app
from service.simulator.journal import Received
from service.simulator.scenario import SimulatorOptions
from service.simulator.stage import Stage
from service.simulator.tasks import Task

SHUTDOWN_TIMEOUT_S = 0.2
BACKLOG = 1024


class Simulator:
    """An upstream of our own.

    As a context manager it listens on a free port of 127.0.0.1. It can be stopped and started again, and
    remembers its tasks meanwhile.
    """

    def __init__(
        self, options: SimulatorOptions | None = None, clock: Clock | None = None, families: Cast = all_families
    ) -> None:
        self._families = families
        self._stage = Stage(options or SimulatorOptions(), clock or SystemClock())
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, listener: socket.socket | None = None) -> None:
        """Begin to listen: on a socket that has an address already, or on a new one; port 0 takes a free one."""
        if self._runner is not None:
            raise RuntimeError("the simulator is running already")
        await self._stage.open()
        runner = web.AppRunner(
            create_app(self._stage, self._families),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )
        self._runner = runner
        try:
            await runner.setup()
            if listener is None:
                await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
            else:
                await web.SockSite(runner, listener, backlog=BACKLOG).start()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Cut what hangs, give up coming callbacks and stop listening."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        self._stage.end_hanging()
        await runner.cleanup()
        await self._stage.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the simulator is not running")
        host, port, *_ = self._runner.addresses[0]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def tasks(self) -> list[Task]:
        """The tasks created so far, oldest first."""
        return self._stage.tasks.all()

    @property
    def requests(self) -> list[Received]:
        """The requests received so far, oldest first."""
        return self._stage.journal.all()

    def submissions(self, external_id: str) -> int:
        """Count the tasks that were created under one external id."""
        return len(self._stage.tasks.by_external_id(external_id))

    async def reset(self) -> None:
        """Forget tasks, requests, sessions and coming callbacks."""
        await self._stage.reset()
