"""A table of figures as plain text."""

from collections.abc import Sequence


def figure(value: float | None, digits: int = 1) -> str:
    """Write a number with so many digits behind the point; nothing measured is a dash."""
    return "-" if value is None else f"{value:,.{digits}f}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a head; the first column stands to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    print(flush=True)
