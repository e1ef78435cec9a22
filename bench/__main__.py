"""`python -m bench [NAME …] [--OPTION …]`: runs the benchmarks named, or all that do not take very long.

Each module beside this one that has a `main` is one; options are read by those that have some.
"""

import importlib
import pkgutil
import sys
from itertools import takewhile
from pathlib import Path

_LONG = ("growth", "soak")  # a quarter of an hour and more: only when named


def names() -> list[str]:
    """Return the names of all benchmarks."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(each.name for each in found if not each.ispkg and not each.name.startswith("_"))


def main(wanted: list[str]) -> int:
    """Run benchmarks; returns the exit code."""
    known = names()
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        print(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in wanted or [name for name in known if name not in _LONG]:
        print(f"== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main([*takewhile(lambda word: not word.startswith("--"), sys.argv[1:])]))
