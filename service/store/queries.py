"""Named SQL: each engine's statements stand in `.sql` files, loaded by name."""

import importlib.resources
import re

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(engine: str) -> dict[str, str]:
    """Return an engine's statements by name."""
    text = (importlib.resources.files("service.store") / "sql" / engine / "store.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: sql.strip().rstrip(";") for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


def load_migrations(engine: str) -> list[tuple[int, str]]:
    """Return an engine's migrations as (number, script), in order."""
    folder = importlib.resources.files("service.store") / "migrations" / engine
    files = sorted((e for e in folder.iterdir() if e.name.endswith(".sql")), key=lambda e: e.name)
    return [(int(entry.name.split("_")[0]), entry.read_text(encoding="utf-8")) for entry in files]
