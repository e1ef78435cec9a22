"""What was looked at, and whether it was as it should be."""

from collections.abc import Sequence

from msgspec import Struct


class Row(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    scene: str
    what: str
    expected: str
    seen: str

    @property
    def is_good(self) -> bool:
        """Whether it is as it should be."""
        return self.expected == self.seen


def row(scene: str, what: str, expected: object, seen: object) -> Row:
    """Make a row of any values."""
    return Row(scene=scene, what=what, expected=str(expected), seen=str(seen))


def table(rows: Sequence[Row]) -> str:
    """Return rows as a table; what was expected stands there where something else was seen."""
    lines = [("ok" if each.is_good else "NOT", each.scene, each.what, _seen(each)) for each in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _seen(one: Row) -> str:
    return one.seen if one.is_good else f"{one.seen}, expected: {one.expected}"
