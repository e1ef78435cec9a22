"""What is written for people: tables, JSON, the progress of runs; pretty on a terminal, plain elsewhere.

What is said stands in `cli` and `demo`.
"""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TextIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), flush=True)  # noqa: T201


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows: ruled on a terminal, aligned and never shortened elsewhere."""
    if sys.stdout.isatty():
        table = Table(*columns)
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print(_aligned(row, widths))  # noqa: T201


def print_groups(columns: Sequence[str], groups: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Print rows under headings; the columns of all groups are aligned with each other."""
    if sys.stdout.isatty():
        table = Table(*columns)
        for heading, rows in groups.items():
            table.add_row(Text(heading, style="bold"))
            for row in rows:
                table.add_row(*map(Text, row))
            table.add_section()
        Console().print(table)
        return
    every = [columns, *(row for rows in groups.values() for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*every, strict=True)]
    for heading, rows in groups.items():
        print(f"\n{heading}")  # noqa: T201
        for row in rows:
            print("  " + _aligned(row, widths))  # noqa: T201


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


class Watch(Protocol):
    """Shows how runs come along."""

    def show(self, name: str, state: str, progress: float | None) -> None:
        """Show where a run stands; progress is 0 to 1."""


@contextlib.contextmanager
def watching(stream: TextIO) -> Iterator[Watch]:
    """Show the progress of runs: bars on a terminal, a line for each change elsewhere."""
    if not stream.isatty():
        yield _Lines(stream)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as bars:
        yield _Bars(bars)


def said(state: str, progress: float | None) -> str:
    """Write a state and its progress: `running 30 %`."""
    return state if progress is None else f"{state} {progress:.0%}".replace("%", " %")


class _Lines:
    """One line for each change of a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun_at = time.monotonic()
        self._last: dict[str, str] = {}

    def show(self, name: str, state: str, progress: float | None) -> None:
        """Write a line, unless nothing has changed."""
        words = said(state, progress)
        if self._last.get(name) != words:
            self._last[name] = words
            passed_s = time.monotonic() - self._begun_at
            print(f"{passed_s:6.1f} s  {name}  {words}", file=self._stream, flush=True)


class _Bars:
    """One bar for each run; it pulses until there is a progress to show."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, state: str, progress: float | None) -> None:
        """Move a run's bar."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None, said="")
        total = None if progress is None else 1.0
        self._bars.update(self._tasks[name], total=total, completed=progress or 0.0, said=said(state, progress))
