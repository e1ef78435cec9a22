"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, on loopback, gone with the tests."""

import contextlib
import getpass
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from tests.fakes.ports import free_port

_NUMBERS = itertools.count()
_START_S = 30.0
_SETTINGS = ("fsync=off", "listen_addresses=127.0.0.1", "max_connections=120", "shared_buffers=64MB")


class PostgresServer:
    """A running server.

    Args:
        folder: Where its data are.
        port: Where it listens.
        durable: Flush commits as in earnest; only measurements need that.
    """

    def __init__(self, folder: Path, port: int, *, durable: bool = False) -> None:
        self._folder = folder
        self._port = port
        self._settings = _SETTINGS[1:] if durable else _SETTINGS

    @property
    def admin_url(self) -> str:
        """URL of the database that is always there."""
        return self._url("postgres")

    def _url(self, database: str) -> str:
        return f"postgresql://halley:secret-canary@127.0.0.1:{self._port}/{database}"

    def make(self) -> None:
        """Make the cluster."""
        with tempfile.NamedTemporaryFile("w", suffix=".pw") as file:
            file.write("secret-canary\n")
            file.flush()
            Path(file.name).chmod(0o644)
            self._call("initdb", "--username=halley", f"--pwfile={file.name}", "--auth=scram-sha-256", "--no-sync",
                       "--encoding=UTF8", "--locale=C.UTF-8")  # fmt: skip

    def start(self) -> None:
        """Start the server and wait until it answers."""
        words = [word for setting in self._settings for word in ("-c", setting)]
        words += ["-p", str(self._port), "-k", str(self._folder)]
        self._call(
            "pg_ctl", "start", "-w", "-t", str(int(_START_S)), "-l", str(self._folder / "log"), "-o", " ".join(words)
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; `fast` ends sessions in good order, `immediate` like a crash."""
        self._call("pg_ctl", "stop", "-m", mode)

    async def database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"t{os.getpid()}_{next(_NUMBERS)}"
        connection: Any = await asyncpg.connect(self.admin_url)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self._url(name)

    def _call(self, program: str, *words: str) -> None:
        command = [str(_binaries() / program), "-D", str(self._folder / "data"), *words]
        done = subprocess.run(  # noqa: S603 - our own words
            command,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            user=_user(),
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")


@contextlib.contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Run a server until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="halley-pg-"))
    if (user := _user()) is not None:
        shutil.chown(folder, user)
    server = PostgresServer(folder, free_port(), durable=durable)
    try:
        server.make()
        server.start()
        yield server
    finally:
        with contextlib.suppress(RuntimeError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """Return who runs the server: PostgreSQL refuses to be run by root."""
    return "postgres" if getpass.getuser() == "root" else None


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    if named is None:
        raise RuntimeError("there is no PostgreSQL; `make test` installs it, or: apt install postgresql")
    return Path(named).parent
