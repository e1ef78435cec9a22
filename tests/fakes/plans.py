"""How a database finds the rows of a statement: its plan, and the work that carrying it out once takes.

A plan is objected to when it reads a whole table, walks a whole index, or sorts what is not bounded. The work is
counted too, since a plan may look well and still pass by all rows: steps of SQLite's machine, pages that PostgreSQL
touches. Everything is rolled back.
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.store.queries import Numbered, numbered
from service.store.sqlite import _bound

Values = Mapping[str, Any] | Sequence[Any]
_SMALL = re.compile(r"CONSTANT ROW|VIRTUAL TABLE|SCAN (replicas|api_keys|group_news|news)\b")
_STEPS = 100  # of SQLite's machine, between two looks at its counter
_PLANNED_EACH_TIME = 5
_MANY = 1000  # rows of a sort that PostgreSQL expects
_FEW = frozenset({"api_keys", "endpoints", "files", "group_news", "key_usage", "replicas", "sketches"})


class SqliteProbe:
    """Looks at statements on a SQLite file; without statistics, its plans do not depend on what is in it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    async def objections(self, sql: str, values: Values) -> list[str]:
        """Return what is wrong with a statement's plan."""
        tables = {name for (name,) in self.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        aliases = {alias for _, alias in re.findall(r"(\w+) AS (\w+)", sql)}
        rows = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", self._given(values)).fetchall()
        found = []
        for detail in (str(row[3]) for row in rows):
            what = detail.removeprefix("SCAN ").split(" ")[0]
            is_scan = detail.startswith("SCAN ") and (what in tables or what in aliases) and not _SMALL.search(detail)
            if is_scan or detail.startswith("USE TEMP B-TREE"):
                found.append(detail)
        return found

    async def work(self, sql: str, values: Values) -> int:
        """Return the steps that carrying a statement out takes, in hundreds."""
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        self.connection.execute("SAVEPOINT looked_at")
        self.connection.set_progress_handler(count, _STEPS)
        try:
            self.connection.execute(sql, self._given(values)).fetchall()
        finally:
            self.connection.set_progress_handler(None, 0)
            self.connection.execute("ROLLBACK TO looked_at")
            self.connection.execute("RELEASE looked_at")
        return steps

    async def is_prepared_again(self, sql: str, values: Values) -> bool:
        """Tell whether SQLite prepares a statement anew although it has done so: its plan depends on what is bound."""
        asked = 0

        def asked_for(*_: object) -> int:
            nonlocal asked
            asked += 1
            return sqlite3.SQLITE_OK

        self.connection.set_authorizer(asked_for)  # asked while a statement is prepared
        try:
            await self.work(sql, values)
            self.connection.execute("SAVEPOINT looked_at")
            asked = 0
            self.connection.execute(sql, self._given(values)).fetchall()
            is_prepared_again = asked > 0
            self.connection.execute("ROLLBACK TO looked_at")
            self.connection.execute("RELEASE looked_at")
        finally:
            self.connection.set_authorizer(None)
        return is_prepared_again

    def fills_a_table(self, sql: str, values: Values) -> bool:
        """Tell whether a statement, with all indexes and constraints it meets, makes a temporary table."""
        steps = self.connection.execute(f"EXPLAIN {sql}", self._given(values)).fetchall()
        return any(step[1] == "OpenEphemeral" for step in steps)

    @staticmethod
    def _given(values: Values) -> Any:
        return _bound(values) if isinstance(values, Mapping) else values


class PostgresProbe:
    """Looks at statements on a PostgreSQL database, as a connection meets them: when they are new to it, and later.

    After five times a statement is planned for any values, if that seems to cost no more than planning it each time.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def objections(self, sql: str | Numbered, values: Values) -> list[str]:
        """Return what is wrong with a statement's plans."""
        plans = await self._plans(sql, values, "")
        return list(
            dict.fromkeys(told for plan in plans for node, above in _nodes(plan) if (told := _wrong(node, above)))
        )

    async def work(self, sql: str | Numbered, values: Values) -> int:
        """Return the pages that carrying a statement out touches, with the worst of its plans."""
        plans = await self._plans(sql, values, "ANALYZE, BUFFERS, TIMING OFF,")
        return max(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)

    async def _plans(self, sql: str | Numbered, values: Values, how: str) -> list[dict[str, Any]]:
        """Return the plan of the first time and that of a later one."""
        statement = sql if isinstance(sql, Numbered) else numbered(sql)
        assert isinstance(values, Mapping)
        given = ", ".join(_literal(values[name]) for name in statement.names)
        told = []
        await self.connection.execute(f"PREPARE looked_at AS {statement.sql}")
        try:
            for number in range(_PLANNED_EACH_TIME + 2):
                words = how if number in (0, _PLANNED_EACH_TIME + 1) else ""
                told.append(await self._explained(f"EXPLAIN ({words} FORMAT JSON) EXECUTE looked_at", given))
        finally:
            await self.connection.execute("DEALLOCATE looked_at")
        return [told[0], told[-1]]

    async def _explained(self, explain: str, given: str) -> dict[str, Any]:
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            told = await self.connection.fetchval(f"{explain}({given})" if given else explain)
        finally:
            await transaction.rollback()
        plan: dict[str, Any] = json.loads(told)[0]["Plan"]
        return plan


def _nodes(plan: dict[str, Any], above: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    yield plan, above
    for part in plan.get("Plans", ()):
        yield from _nodes(part, plan["Node Type"])


def _wrong(node: dict[str, Any], above: str) -> str | None:
    kind, table = node["Node Type"], node.get("Relation Name")
    is_first = above == "Limit" and "Filter" not in node
    if kind == "Seq Scan" and table not in _FEW:
        return f"Seq Scan of {table}"
    if "Index" in kind and "Scan" in kind and "Index Cond" not in node and table not in _FEW and not is_first:
        return f"{kind} of all {node['Index Name']}"
    if kind == "Sort" and node["Plan Rows"] > _MANY:
        return f"Sort of {node['Plan Rows']} rows"
    return None


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    if isinstance(value, list):
        return _literal(f"{{{','.join(map(_element, value))}}}")
    return "'" + str(value).replace("'", "''") + "'"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    text = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
