"""How many instructions a whole run takes: a figure that repeats to one per cent where processor time does to twenty.

`python -m bench instructions [--runs 600]` needs valgrind, whose callgrind counts what one `halley serve` executes in
user space, thirty times slower than it is. Compare it with the same figure of another version. What the kernel does
is not in it, nor what waiting for memory costs.
"""

import argparse
import asyncio
import re
import shutil
import sys
from pathlib import Path

import uvloop

from bench.parts.latencies import at_once
from bench.parts.table import figure, print_table
from bench.parts.world import world
from bench.runs import WAYS, Way

_JOB_S = 2.5
_AT_ONCE = 32
_WARM_RUNS = 100
_STOP_S = 60.0
_REST_S = 1.0
_TOTAL = re.compile(r"Collected : (\d+)")


async def instructions(way: Way, runs: int) -> float:
    """Return the instructions of a run on SQLite, in millions."""
    async with world(_JOB_S) as around:
        told = around.folder / "callgrind.log"
        under = (
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--log-file={told}",
            f"--callgrind-out-file={around.folder / 'callgrind.out'}",
        )
        async with around.open(under=under, stop_s=_STOP_S):
            await at_once(_AT_ONCE, range(_WARM_RUNS), lambda number: around.start(way.node, number))
            await around.receivers.told(_WARM_RUNS)
            await _count(around.halley.pid, "on")
            await at_once(_AT_ONCE, range(_WARM_RUNS, _WARM_RUNS + runs), lambda number: around.start(way.node, number))
            await around.receivers.told(_WARM_RUNS + runs)
            await asyncio.sleep(_REST_S)  # what is written after the last delivery belongs to it
            await _count(around.halley.pid, "off")
        return _total(told) / runs / 1e6


async def _count(pid: int, how: str) -> None:
    control = await asyncio.create_subprocess_exec(
        "callgrind_control", "-i", how, str(pid), stdout=asyncio.subprocess.DEVNULL
    )
    await control.wait()


def _total(told: Path) -> int:
    found = _TOTAL.findall(told.read_text(encoding="utf-8"))
    return int(found[-1])


async def _counted(runs: int) -> list[tuple[str, str]]:
    return [(way.name, figure(await instructions(way, runs), 2)) for way in WAYS]


def main() -> None:
    """Print the instructions of a run, called back and polled."""
    parser = argparse.ArgumentParser(prog="python -m bench instructions")
    parser.add_argument("--runs", type=int, default=600)
    given, _ = parser.parse_known_args(sys.argv[1:])
    if shutil.which("valgrind") is None:
        print("this needs valgrind: apt install valgrind", file=sys.stderr)
        return
    print_table(("whole runs, sqlite", "million instructions"), uvloop.run(_counted(given.runs)))
