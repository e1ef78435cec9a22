"""Tables of figures as plain text, and the lines of the one table of `make bench`."""

from collections.abc import Sequence

from msgspec import Struct

_HEAD = ("what", "unit", "measured", "floor", "x floor", "budget", "met", "the floor is")


class Budget(Struct, frozen=True, kw_only=True):
    """What a figure is to keep to: a number, or something that follows from the floor of the same run.

    Attributes:
        limit: The number; with `floors`, what may come on top of them.
        floors: So many floors are granted.
        is_least: The figure is to be larger, not smaller.
    """

    limit: float = 0.0
    floors: float = 0.0
    is_least: bool = False

    def __str__(self) -> str:
        """Write it as a cell."""
        floors = ("floor" if self.floors == 1 else f"{self.floors:g} x floor") if self.floors else ""
        parts = [floors, f"{self.limit:,g}" if self.limit or not floors else ""]
        return f"{'>=' if self.is_least else '<='} " + " + ".join(filter(None, parts))

    def is_kept(self, measured: float, floor: float | None) -> bool:
        """Tell whether a figure keeps to it."""
        limit = self.limit + self.floors * (floor or 0.0)
        return measured >= limit if self.is_least else measured <= limit


class Line(Struct, frozen=True, kw_only=True):
    """One figure, beside the floor that it stands on and the budget that it has.

    Attributes:
        what: What was measured.
        unit: Of the figure and its floor.
        measured: The figure.
        floor: What cannot be gone below here (or above, for rates), measured in the same run.
        floor_is: What that is.
        budget: As it says.
    """

    what: str
    unit: str
    measured: float
    floor: float | None = None
    floor_is: str = ""
    budget: Budget | None = None

    def cells(self) -> tuple[str, ...]:
        """Write the line."""
        return (
            self.what,
            self.unit,
            short(self.measured),
            short(self.floor),
            short(self.measured / self.floor if self.floor else None),
            str(self.budget or "-"),
            {True: "yes", False: "NO", None: "-"}[self.budget and self.budget.is_kept(self.measured, self.floor)],
            self.floor_is,
        )


def print_lines(lines: Sequence[Line]) -> None:
    """Print lines as one table."""
    print_table(_HEAD, [line.cells() for line in lines], left=(0, 1, len(_HEAD) - 1))


def short(value: float | None) -> str:
    """Write a number with three digits that say something."""
    return figure(value, 0 if value is None else sum(abs(value) < bound for bound in (100, 10, 0.1)))


def figure(value: float | None, digits: int = 1) -> str:
    """Write a number with so many digits behind the point; nothing measured is a dash."""
    return "-" if value is None else f"{value:,.{digits}f}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> None:
    """Print rows below a head; some columns stand to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [
            text.ljust(width) if place in left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    print(flush=True)
