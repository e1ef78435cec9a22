"""What a run costs at the store, on a real SQLite file and a real PostgreSQL server, with commits that are flushed.

A life is: start, claim of the submission, its outcome, claim of a look, the end, claim of the delivery, its outcome.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from bench.parts.floors import Floor, postgres_floor, sqlite_floor
from bench.parts.lives import Led, Order
from bench.parts.meters import Size, Spent, server_meter, sizes
from bench.parts.table import figure, print_table
from tests.fakes.postgres import PostgresServer, postgres_server

_FLOOR_S = 1.5
_HEAD = ("store, callers", "runs/s", "x floor", "client ms", "server ms", "transactions", "kB written")


class Case(Struct, frozen=True, kw_only=True):
    """A way to use a store: so many processes with so many callers in all."""

    engine: str
    processes: int
    callers: int
    polls: int = 1

    @property
    def name(self) -> str:
        """What stands in the table."""
        parts = f", {self.processes} processes" if self.processes > 1 else ""
        return f"{self.engine}, {self.callers}{parts}" + (f", {self.polls} looks" if self.polls > 1 else "")


class Outcome(Struct, frozen=True, kw_only=True):
    """What a case took; `spent` is the server's part, where there is one."""

    case: Case
    led: tuple[Led, ...]
    spent: Spent | None = None
    sizes: dict[str, Size] = {}

    @property
    def runs(self) -> int:
        """Runs that were led to their end."""
        return sum(each.runs for each in self.led)

    @property
    def runs_per_s(self) -> float:
        """Those in a second."""
        return self.runs / max(each.seconds for each in self.led)


CASES = (
    *(Case(engine="sqlite", processes=1, callers=callers) for callers in (1, 32, 256)),
    *(Case(engine="postgres", processes=1, callers=callers) for callers in (1, 32, 256)),
    *(Case(engine="postgres", processes=3, callers=callers) for callers in (32, 256)),
    Case(engine="postgres", processes=1, callers=256, polls=4),
)


def main(seconds: float = 4.0, cases: Sequence[Case] = CASES) -> None:
    """Measure all cases and print the table."""
    print(
        f"{os.cpu_count()} cores; load average before: {os.getloadavg()[0]:.1f}, of which nothing is this", flush=True
    )
    uvloop.run(measure(seconds, cases))


async def measure(seconds: float, cases: Sequence[Case]) -> list[Outcome]:
    """Measure cases, each for so long, and print what came out."""
    with tempfile.TemporaryDirectory(prefix="halley-bench-") as name, postgres_server(durable=True) as server:
        folder, url = Path(name), await server.database()
        floors = {
            "sqlite": sqlite_floor(folder, _FLOOR_S),
            "postgres": await postgres_floor(url, 1, _FLOOR_S),
            "postgres, 8 connections": await postgres_floor(url, 8, _FLOOR_S),
        }
        outcomes = [await _outcome(case, folder, server, seconds) for case in cases]
    _print(floors, outcomes)
    return outcomes


async def _outcome(case: Case, folder: Path, server: PostgresServer, seconds: float) -> Outcome:
    if case.engine == "sqlite":
        return Outcome(case=case, led=await _led(case, str(folder / f"{case.callers}.db"), seconds))
    url = await server.database()
    async with server_meter(server, url) as meter:
        before: list[Spent] = []

        async def begin() -> None:
            before.append(await meter.spent())

        led = await _led(case, url, seconds, begin)
        spent = (await meter.spent()).since(before[0])
    return Outcome(case=case, led=led, spent=spent, sizes=await sizes(url))


async def _led(
    case: Case, database: str, seconds: float, begin: Callable[[], Awaitable[None]] | None = None
) -> tuple[Led, ...]:
    """Let processes lead runs, all from the same moment on."""
    order = Order(database=database, callers=-(-case.callers // case.processes), seconds=seconds, polls=case.polls)
    command = (sys.executable, "-m", "bench.parts.lives", msgspec.json.encode(order).decode())
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    processes = [await asyncio.create_subprocess_exec(*command, **pipes) for _ in range(case.processes)]
    for process in processes:
        assert process.stdout is not None
        assert (await process.stdout.readline()) == b"ready\n"
    if begin is not None:
        await begin()
    told = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    return tuple(msgspec.json.decode(out, type=Led) for out, _ in told)


def _print(floors: dict[str, Floor], outcomes: Sequence[Outcome]) -> None:
    print("Floors: one row of 400 bytes in a commit")
    print_table(
        ("", "commits/s", "client ms"), [(k, figure(f.per_s, 0), figure(f.client_ms, 2)) for k, f in floors.items()]
    )
    print("Whole runs; the figures behind `x floor` are for one run")
    print_table(_HEAD, [_row(each, floors) for each in outcomes])
    for outcome in outcomes[-1:]:
        print(f"Tables after {outcome.runs:,} runs ({outcome.case.name}), per 1,000 runs, as they lie there unvacuumed")
        print_table(("", "rows", "kB", "kB of it in indexes"), _size_rows(outcome))


def _row(outcome: Outcome, floors: dict[str, Floor]) -> tuple[str, ...]:
    case, runs, spent = outcome.case, outcome.runs, outcome.spent
    is_alone = case.callers == 1 or case.engine == "sqlite"
    floor = floors[case.engine if is_alone else "postgres, 8 connections"]
    transactions = spent.transactions if spent else sum(each.commits for each in outcome.led)
    written = spent.wal_bytes if spent else sum(each.written_bytes for each in outcome.led)
    return (
        case.name,
        figure(outcome.runs_per_s, 0),
        figure(outcome.runs_per_s / floor.per_s, 2),
        figure(1000 * sum(each.cpu_s for each in outcome.led) / runs, 2),
        figure(1000 * spent.cpu_s / runs if spent else None, 2),
        figure(transactions / runs, 2),
        figure(written / runs / 1000, 1),
    )


def _size_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    thousands = outcome.runs / 1000
    return [
        (name, *(figure(part / thousands, 0) for part in (size.rows, size.all_bytes / 1000, size.index_bytes / 1000)))
        for name, size in outcome.sizes.items()
    ]
