"""The commands that take care of a database, on PostgreSQL."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from tests.fakes.ports import free_port
from tests.fakes.postgres import PostgresServer


@pytest.fixture
def environ(tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings with an empty database of their own."""
    for name in os.environ:
        if name.startswith(("HALLEY_", "COMET")):
            monkeypatch.delenv(name)
    return {"HALLEY_DATA_DIR": str(tmp_path), "HALLEY_DATABASE_URL": asyncio.run(postgres.database())}


def halley(environ: dict[str, str], *words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, words, env=environ, prog_name="halley")


def test_a_database_is_set_up_checked_and_pruned(environ: dict[str, str]) -> None:
    """`upgrade` makes the schema, `check` finds it in order, `prune` has nothing to do, `check` of all knows it."""
    made = halley(environ, "db", "upgrade")
    checked = halley(environ, "db", "check", "--json")
    pruned = halley(environ, "db", "prune", "--older-than", "30d", "--json")
    everything = halley(environ, "check", "--json")

    assert re.fullmatch(r"the PostgreSQL database: schema \d+, it was 0\.\n", made.output)
    assert json.loads(checked.stdout)["is_good"] is True
    assert set(json.loads(pruned.stdout)["gone"].values()) == {0}
    assert {"name": "database", "is_good": True} in [
        {"name": each["name"], "is_good": each["is_good"]} for each in json.loads(everything.stdout)
    ]


def test_keys_are_kept_there(environ: dict[str, str]) -> None:
    """A key is made, listed and revoked; the signing secret is that of all who share the database."""
    made = json.loads(halley(environ, "keys", "create", "n8n", "--scope", "run", "--json").stdout)
    other = {**environ, "HALLEY_DATA_DIR": environ["HALLEY_DATA_DIR"] + "/other"}
    shared = halley(other, "keys", "signing-secret", "n8n").stdout.strip()
    rotated = halley(other, "keys", "rotate-secret")
    after = [halley(each, "keys", "signing-secret", "n8n", "--all").stdout.split() for each in (environ, other)]
    revoked = halley(environ, "keys", "revoke", "n8n")
    (listed,) = json.loads(halley(environ, "keys", "list", "--json").stdout)

    assert shared == made["signing_secret"]
    assert (rotated.exit_code, revoked.exit_code) == (0, 0)
    assert after[0] == after[1]
    assert after[0][1] == shared
    assert (listed["name"], listed["scope"]) == ("n8n", "run")
    assert listed["revoked_at"] is not None


@pytest.mark.parametrize(("words", "told"), [(("backup", "x.db"), "pg_dump"), (("vacuum",), "autovacuum")])
def test_what_postgresql_does_itself_is_said(environ: dict[str, str], words: tuple[str, ...], told: str) -> None:
    """Commands for SQLite files name what does the same with PostgreSQL, and fail."""
    result = halley(environ, "db", *words)

    assert result.exit_code == 1
    assert told in result.stderr


def test_a_restored_database_sends_nothing_again(environ: dict[str, str]) -> None:
    """After a backup was brought back, what waited to be sent may have been sent; here nothing waited."""
    result = halley(environ, "db", "settle-restored")

    assert result.output == "the PostgreSQL database may be served.\n"


def test_a_database_that_is_not_there_is_one_clear_line(environ: dict[str, str]) -> None:
    """The setting is named and the password is not."""
    gone = {**environ, "HALLEY_DATABASE_URL": f"postgresql://halley:secret-canary@127.0.0.1:{free_port()}/x"}

    result = halley(gone, "db", "upgrade")

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "HALLEY_DATABASE_URL" in result.stderr
    assert "secret-canary" not in result.stderr
