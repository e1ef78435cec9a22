"""What all lines of the table stand on: the floors of this machine, and a PostgreSQL server where there is one."""

import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct

from bench.parts.floors import Floors, floors
from bench.parts.table import Line
from tests.fakes.postgres import PostgresServer, postgres_server


class Ground(Struct, frozen=True, kw_only=True):
    """The floors, and the server."""

    floors: Floors
    postgres: PostgresServer | None

    def lines(self) -> list[Line]:
        """Return the floors as lines of the table."""
        found = self.floors
        return [
            Line(what="floor: a bare answer", unit="ms cpu", measured=found.answer_ms),
            Line(what="floor: a bare request", unit="ms cpu", measured=found.request_ms),
            *(
                Line(what=f"floor: a row in a commit of 16, {name}", unit="ms cpu", measured=row_ms)
                for name, row_ms in found.row_ms.items()
            ),
            *(
                Line(what=f"floor: flushed commits one by one, {name}", unit="commits/s", measured=per_s)
                for name, per_s in found.commits_per_s.items()
            ),
        ]


@contextlib.asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    """Measure the floors; a PostgreSQL server with flushed commits runs until the block ends, if one is installed."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halley-bench-")))
        try:
            postgres = stack.enter_context(postgres_server(durable=True))
        except RuntimeError as exc:
            print(f"without PostgreSQL: {exc}", file=sys.stderr, flush=True)
            postgres = None
        url = await postgres.database() if postgres else None
        yield Ground(floors=await floors(folder, url), postgres=postgres)
