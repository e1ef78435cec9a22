"""A running Halley for the tests of its promises."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Halley in a process of its own, which must not have tried to leave loopback."""
    folder = tmp_path_factory.mktemp("halley")
    command = [sys.executable, "-m", "tests.contract.served", str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=_ROOT, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603 - our own
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "Halley did not start"
        yield url
        refused, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(refused) == []
