"""Answers of nodes that call nothing: a row of a table, looked up in the input."""

from collections.abc import Mapping
from typing import Any

from service.definitions.reader import Reading
from service.definitions.schema import Table


def looked_up(table: Table, inputs: Mapping[str, Any]) -> Reading:
    """Return the answer of a local node."""
    wanted = next(iter(inputs.values()), None)
    found = _row(table, wanted) if table.by and wanted is not None else {}
    return Reading(state="succeeded", data={**table.data, **found}, has_result=True)


def _row(table: Table, wanted: Any) -> dict[str, Any]:
    key = str(wanted).strip().casefold()
    for row in table.rows:
        if any(str(row.get(column, "")).casefold() == key for column in table.by):
            return row
    return {name: wanted if value == "@" else value for name, value in table.otherwise.items()}
