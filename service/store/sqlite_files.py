"""The SQLite database as a file: backed up, brought back, checked, made smaller. What is in it is the store's concern.

All of this blocks. What changes the file expects that no Halley is at work on it; the caller sees to that.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from service.clock import isoformat
from service.errors import StoreError
from service.store.queries import STRAY, load_migrations, load_queries

_BUSY_TIMEOUT_S = 30.0


class Findings(Struct, frozen=True, kw_only=True):
    """What a look at a database found.

    Attributes:
        schema: Number of its last migration.
        faults: What SQLite says of its pages and indexes; empty when it is whole.
        stray: Rows whose counterpart is missing, by what they are.
    """

    schema: int
    faults: tuple[str, ...]
    stray: dict[str, int]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not any(self.stray.values())


def require_database(path: Path) -> None:
    """Raise `StoreError` when there is no database."""
    if not path.is_file():
        raise StoreError(f"there is no database {path}; is HALLEY_DATA_DIR right? `halley serve` makes one")


def back_up(database: Path, target: Path) -> int:
    """Write a database as it is at this moment to a new file, also while it is in use; returns the size in bytes.

    Raises:
        StoreError: The target exists, or the database cannot be read or is not whole.
        OSError: The target cannot be written.
    """
    require_database(database)
    try:
        _make_private(target)  # the name is taken first, so that nobody else's file is ever replaced
    except FileExistsError:
        raise StoreError(f"{target} exists already and is not overwritten; choose another name") from None
    try:
        return _copy(database, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def take_in(backup: Path, database: Path) -> Path:
    """Copy a backup beside a database, and return where it is; the copy is known to be whole.

    Raises:
        StoreError: The backup is missing, is not whole, is no database of Halley, or is one of a newer version.
        OSError: The copy cannot be written.
    """
    if not backup.is_file():
        raise StoreError(f"there is no file {backup}")
    copy = database.with_name(f"{database.name}.restoring")
    discard(copy)
    try:
        _copy(backup, copy)
        _require_known(copy, backup)
    except BaseException:
        discard(copy)
        raise
    return copy


def discard(database: Path) -> None:
    """Remove a database with the files that SQLite keeps beside it, as far as they are there."""
    for each in _with_side_files(database):
        each.unlink(missing_ok=True)


def put_in_place(copy: Path, database: Path, now: float) -> Path | None:
    """Make a copy the database; returns where the database that was there is kept, or None when there was none."""
    aside = database.with_name(f"{database.name}.before-restore-{isoformat(now).replace(':', '-')}")
    if database.exists():
        _fold(database)
    # A log without its database goes as well: SQLite would take it for the log of the new one.
    for before, after in zip(_with_side_files(database), _with_side_files(aside), strict=True):
        if before.exists():
            before.rename(after)
    copy.replace(database)
    _flush(database.parent)
    return aside if aside.exists() else None


def check(database: Path) -> Findings:
    """Look whether a database is whole and its rows belong together; changes nothing, also while it is in use."""
    require_database(database)
    sql = load_queries("sqlite")
    with _opened(database, "ro") as connection:
        connection.execute("BEGIN")
        faults = tuple(str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok")
        stray = {} if faults else {name: _number(connection, sql[f"check_{name}"]) for name in STRAY}
        return Findings(schema=_number(connection, "PRAGMA user_version"), faults=faults, stray=stray)


def vacuum(database: Path) -> tuple[int, int]:
    """Give the space of what was deleted back to the disk; returns the sizes before and after in bytes."""
    require_database(database)
    with _opened(database, "rw") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = database.stat().st_size
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, database.stat().st_size


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        with _connected(path, mode) as connection:
            yield connection
    except sqlite3.Error as exc:
        raise StoreError(f"the database {path} cannot be used: {exc}") from exc


def _connected(path: Path, mode: str) -> "contextlib.closing[sqlite3.Connection]":
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None))


def _number(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


def _copy(source: Path, target: Path) -> int:
    """Copy a database into a file that is whole once it has its name; returns the size in bytes."""
    part = target.with_name(f"{target.name}.part")
    discard(part)
    _make_private(part)
    try:
        with _connected(source, "ro") as reading, _connected(part, "rw") as writing:
            # In one step: a copy in several begins anew whenever another process writes.
            reading.backup(writing)
            # One file, readable where nothing can be written beside it; the store goes back to WAL by itself.
            writing.execute("PRAGMA journal_mode = DELETE")
            _require_whole(writing, source)
        _flush(part)
        part.replace(target)
    except sqlite3.Error as exc:
        discard(part)
        raise StoreError(f"{source} cannot be copied: {exc}") from exc
    except BaseException:
        discard(part)
        raise
    _flush(target.parent)
    return target.stat().st_size


def _require_whole(connection: sqlite3.Connection, source: Path) -> None:
    found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    if found != "ok":
        raise StoreError(f"{source} is damaged: {' '.join(found.split())}")


def _require_known(copy: Path, backup: Path) -> None:
    newest = load_migrations("sqlite")[-1].number
    with _opened(copy, "ro") as connection:
        schema = _number(connection, "PRAGMA user_version")
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not schema or not {"runs", "events", "deliveries"} <= tables:
        raise StoreError(f"{backup} is no database of Halley")
    if schema > newest:
        raise StoreError(f"{backup} has schema {schema}, newer than this version's {newest}; restore with that version")


def _fold(database: Path) -> None:
    """Bring what stands in the write-ahead log into the file; one that is damaged keeps its log beside it."""
    with contextlib.suppress(StoreError), _opened(database, "rw") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _with_side_files(database: Path) -> list[Path]:
    return [database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]


def _make_private(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
