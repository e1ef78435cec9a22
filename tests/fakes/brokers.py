"""Message brokers of the tests' own: real servers in temporary folders, on loopback, gone with the tests."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import nats
import redis.asyncio
from msgspec import Struct

from tests.fakes.ports import free_port

PASSWORD = "secret-canary"
_START_S = 20.0

ServerT = TypeVar("ServerT", bound="Server")


class Arrived(Struct, frozen=True, kw_only=True):
    """A message that a broker holds."""

    id: str
    body: bytes
    headers: dict[str, str]


class Server(ABC):
    """A broker that can be stopped, frozen and started again with what it held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = PASSWORD
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line of the server."""

    @abstractmethod
    def url(self, place: str) -> str:
        """Return the URL of a sink that publishes to a place nobody else uses."""

    @abstractmethod
    async def messages(self, place: str) -> list[Arrived]:
        """Return what came to a place, oldest first."""

    def start(self) -> None:
        """Start the server and wait until it listens."""
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(self.command(), cwd=self.folder, stdout=log, stderr=log)  # noqa: S603
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Stop the server in good order; one that is stopped stays so."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server hold its connections and say nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # a thread or two may run on for a moment
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


class NatsServer(Server):
    """A NATS server with JetStream and a stream of all subjects under `halley`."""

    def command(self) -> list[str]:
        """Return the command line; the binary comes with the test packages."""
        program = str(Path(sys.executable).with_name("nats-server"))
        listening = ["-a", "127.0.0.1", "-p", str(self.port), "--user", "halley", "--pass", self.password]
        return [program, *listening, "-js", "-sd", str(self.folder / "data")]

    @property
    def server(self) -> str:
        """URL of the server."""
        return f"nats://halley:{PASSWORD}@127.0.0.1:{self.port}"

    def url(self, place: str) -> str:
        """Return the URL of a sink."""
        return f"{self.server}?stream=HALLEY&subject=halley.{place}.{{workspace}}.{{type}}&types=*"

    async def make_stream(self) -> None:
        """Make the stream that the operator would make."""
        async with self._client() as client:
            await client.jetstream().add_stream(name="HALLEY", subjects=["halley.>"])

    async def messages(self, place: str) -> list[Arrived]:
        """Read them through a consumer."""
        async with self._client() as client:
            stream = client.jetstream()
            info = await stream.stream_info("HALLEY", subjects_filter=f"halley.{place}.>")
            count = sum((info.state.subjects or {}).values())
            subscription = await stream.subscribe(f"halley.{place}.>", ordered_consumer=True)
            found = [await subscription.next_msg(timeout=5) for _ in range(count)]
        return [
            Arrived(id=(each.headers or {})["Nats-Msg-Id"], body=each.data, headers=each.headers or {})
            for each in found
        ]

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[nats.NATS]:
        client = await nats.connect(self.server)
        try:
            yield client
        finally:
            await client.close()


class RedisServer(Server):
    """A Redis server that keeps its streams over a restart."""

    def command(self) -> list[str]:
        """Return the command line."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("there is no Redis; `make test` installs it, or: apt install redis-server")
        keeping = ["--save", "", "--appendonly", "yes", "--dir", str(self.folder)]
        return [program, "--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", self.password, *keeping]

    @property
    def server(self) -> str:
        """URL of the server."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def url(self, place: str) -> str:
        """Return the URL of a sink."""
        return f"{self.server}?stream=halley.{place}&types=*"

    async def messages(self, place: str) -> list[Arrived]:
        """Read the stream."""
        async with redis.asyncio.from_url(self.server) as client:
            entries = await client.xrange(f"halley.{place}")
        told = [{name.decode(): value for name, value in fields.items()} for _, fields in entries]
        return [
            Arrived(
                id=fields["id"].decode(),
                body=fields["data"],
                headers={name: value.decode() for name, value in fields.items() if name != "data"},
            )
            for fields in told
        ]


@contextlib.contextmanager
def nats_server() -> Iterator[NatsServer]:
    """Run a NATS server until the block ends."""
    with _running(NatsServer) as server:
        asyncio.run(server.make_stream())
        yield server


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis server until the block ends."""
    with _running(RedisServer) as server:
        yield server


@contextlib.contextmanager
def _running(kind: type[ServerT]) -> Iterator[ServerT]:
    folder = Path(tempfile.mkdtemp(prefix="halley-broker-"))
    server = kind(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
