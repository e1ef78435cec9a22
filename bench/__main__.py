"""`python -m bench [NAME …]`: runs the benchmarks named, or all: each module beside this one that has a `main`."""

import importlib
import pkgutil
import sys
from pathlib import Path


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
    for name in wanted or known:
        print(f"== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
