"""Named SQL: each engine's statements stand in `.sql` files, loaded by name; migrations beside them, by number."""

import importlib.resources
import re
from typing import NamedTuple

# What `check` looks for: a statement `check_<name>` counts the rows.
STRAY = (
    "runs_without_input",
    "inputs_without_run",
    "events_without_run",
    "deliveries_without_event",
    "keys_without_run",
)
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")
_VALUE = re.compile(r"(?<!:):([a-z]\w*)")


class Migration(NamedTuple):
    """A step of the schema."""

    number: int
    script: str


class Numbered(NamedTuple):
    """A statement whose values are numbered `$1`, `$2` …, and their names in that order."""

    sql: str
    names: tuple[str, ...]


def load_queries(engine: str) -> dict[str, str]:
    """Return an engine's statements by name."""
    text = (importlib.resources.files("service.store") / "sql" / engine / "store.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: sql.strip().rstrip(";") for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


def numbered(sql: str) -> Numbered:
    """Number the values of a statement that names them `:name`."""
    sql = _COMMENT.sub("", sql)
    names = tuple(dict.fromkeys(_VALUE.findall(sql)))
    return Numbered(_VALUE.sub(lambda found: f"${names.index(found[1]) + 1}", sql), names)


def load_migrations(engine: str) -> list[Migration]:
    """Return an engine's migrations, in order."""
    folder = importlib.resources.files("service.store") / "migrations" / engine
    files = sorted((e for e in folder.iterdir() if e.name.endswith(".sql")), key=lambda e: e.name)
    return [Migration(int(entry.name.split("_")[0]), entry.read_text(encoding="utf-8")) for entry in files]
