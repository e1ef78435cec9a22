"""`python -m bench` prints one table of all that Halley promises; `python -m bench NAME …` runs the parts named.

A part is a module beside this one: `lines` gives its lines of the table, `main` prints all that it has to say,
and may read options that follow its name.
"""

import importlib
import sys
import time
from collections.abc import Sequence
from itertools import takewhile
from types import ModuleType

import uvloop

from bench.parts.ground import ground
from bench.parts.table import Line, print_lines

TABLE = ("runs", "latency", "pace", "open_runs", "deliveries", "definitions", "idle")
LONG = ("store", "workers", "scale", "growth", "soak", "peer", "instructions")


def main(wanted: Sequence[str]) -> int:
    """Run what is wanted; returns the exit code."""
    if unknown := sorted(set(wanted) - {*TABLE, *LONG}):
        known = ", ".join((*TABLE, *LONG))
        print(f"there is no benchmark {', '.join(unknown)}; there are: {known}", file=sys.stderr)
        return 2
    modules = {name: importlib.import_module(f"bench.{name}") for name in wanted or TABLE}
    in_full = {name: module for name, module in modules.items() if wanted and hasattr(module, "main")}
    for name, module in in_full.items():
        print(f"== {name}", flush=True)
        module.main()
    if in_table := {name: module for name, module in modules.items() if name not in in_full}:
        print_lines(uvloop.run(_lines(in_table)))
    return 0


async def _lines(modules: dict[str, ModuleType]) -> list[Line]:
    async with ground() as on:
        found = on.lines()
        for name, module in modules.items():
            began_at = time.perf_counter()
            found += await module.lines(on)
            print(f"{name}: measured in {time.perf_counter() - began_at:.0f} s", file=sys.stderr, flush=True)
        return found


if __name__ == "__main__":
    sys.exit(main([*takewhile(lambda word: not word.startswith("--"), sys.argv[1:])]))
