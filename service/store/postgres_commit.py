"""The statement that commits a batch on PostgreSQL, put together of the parts that have something to write."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from service.store.queries import Numbered, numbered
from service.store.rows import (
    CallbackRow,
    DeliveryRow,
    EndpointRow,
    EntryRow,
    EventRow,
    FanRow,
    FinishRow,
    GroupRow,
    Insert,
    NewsRow,
    Row,
    Update,
    Writes,
)


class _Part(NamedTuple):
    """A part of the statement, `commit_<letter>`.

    Attributes:
        rows: Name of its rows in `Writes`.
        columns: Their columns, each a list named `<letter>_<column>`.
        done: What tells the ids of those that were written, where others depend on it.
    """

    rows: str
    columns: tuple[str, ...]
    done: str | None = None


# Those that others depend on come first.
_PARTS: dict[str, _Part] = {
    "u": _Part("updates", Update._fields, "updated"),
    "i": _Part("inserts", Insert._fields, "inserted"),
    "n": _Part("new_groups", GroupRow._fields, "grouped"),
    "g": _Part("groups", GroupRow._fields, "regrouped"),
    "p": _Part("endpoints", EndpointRow._fields, "resubscribed"),
    "e": _Part("events", EventRow._fields),
    "d": _Part("deliveries", DeliveryRow._fields),
    "x": _Part("fans", FanRow._fields),
    "f": _Part("finishes", FinishRow._fields),
    "t": _Part("entries", EntryRow._fields),
    "c": _Part("callbacks", CallbackRow._fields),
    "w": _Part("news", NewsRow._fields),
}
_ALL = "".join(_PARTS)
# Few shapes, each prepared once: outcomes of deliveries; changes that nobody is told of, after a callback too;
# those that are told; starts; what many runs do at once; and anything.
_SHAPES = ("ft", "ut", "utc", "utexd", "itexd", "utexdfcw", "uitexdfcw", _ALL)


class Commits:
    """The statements that commit, by what they write.

    Args:
        sql: The engine's statements by name.
    """

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._of_shape = {shape: _composed(sql, shape) for shape in _SHAPES}

    def statement(self, writes: Writes) -> tuple[Numbered, list[list[Any]]]:
        """Return the smallest statement that writes all rows, and its values."""
        full = {letter for letter, part in _PARTS.items() if _rows(writes, part)}
        shape = next(shape for shape in _SHAPES if full.issubset(shape))
        values = columns(writes, shape)
        found = self._of_shape[shape]
        return found, [values[name] for name in found.names]


def columns(writes: Writes, shape: str = _ALL) -> dict[str, list[Any]]:
    """Return rows as one list for each column, named as in the statements."""
    found: dict[str, list[Any]] = {}
    for letter in shape:
        part = _PARTS[letter]
        rows = _rows(writes, part)
        turned = zip(*rows, strict=True) if rows else ((),) * len(part.columns)
        found |= {f"{letter}_{name}": list(column) for name, column in zip(part.columns, turned, strict=True)}
    # What is told of a run that does not change itself is kept in any case.
    told = {row.run_id for row in writes.callbacks} | {row.run_id for row in writes.entries}
    found["always"] = sorted(told - writes.changed_ids())
    return found


def _rows(writes: Writes, part: _Part) -> Sequence[Row]:
    rows: Sequence[Row] = getattr(writes, part.rows)
    return rows


def _composed(sql: Mapping[str, str], shape: str) -> Numbered:
    first = [letter for letter in shape if _PARTS[letter].done is not None]
    done = [f"SELECT id FROM {_PARTS[letter].done}" for letter in first]  # noqa: S608 - our own words, here and below
    done.append("SELECT unnest(:always::text[]) AS id")
    ctes = [sql[f"commit_{letter}"] for letter in first]
    ctes.append(f"done AS ({' UNION ALL '.join(done)})")
    ctes += [sql[f"commit_{letter}"] for letter in shape if letter not in first]
    # Besides what was written: the events that endpoints want.
    told = " UNION ALL SELECT event_id FROM fanned" if "x" in shape else ""
    return numbered(f"WITH {', '.join(ctes)} SELECT id FROM done{told}")  # noqa: S608
