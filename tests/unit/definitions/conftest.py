"""Small definition folders, written for one test each."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.definitions.catalog import CompiledNode, compile_catalog
from service.definitions.loader import load

PROVIDER = """\
provider: acme
title: Acme
about: A provider for tests.
answers: [acme]
query: GET {path}/{task_id}
callback: {field: notify}
fields:
  prompt: {type: string, max_length: 100, example: a comet}
"""
DIALECT = """\
dialect: acme
about: A dialect for tests.
id: [id]
state: {at: [status], words: {running: [busy], succeeded: [done], failed: [broken]}}
artifacts: [{kind: image, each: files}]
errors: {code: [code], message: [message]}
"""
NODE = """\
node: acme.draw
title: Draw
about: Draws.
submit: POST /draw
result: image
inputs:
  prompt: {required: true}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Write a family named acme; a text replaces one of its files, one that starts with + is added to it."""

    def written(files: dict[str, str]) -> Path:
        family = {"acme/provider.yaml": PROVIDER, "acme/draw.yaml": NODE, "dialects/acme.yaml": DIALECT}
        for name, text in {**family, **files}.items():
            whole = family.get(name, "") + text[1:] if text.startswith("+") else text
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(whole, encoding="utf-8")
        return tmp_path

    return written


@pytest.fixture
def build(write: Callable[[dict[str, str]], Path]) -> Callable[..., CompiledNode]:
    """Compile the node acme.draw from the text from its inputs on, and additions to its provider."""

    def built(rest: str, *, provider: str = "", dialect: str = "", submit: str = "POST /draw") -> CompiledNode:
        head = NODE.partition("inputs:")[0].replace("POST /draw", submit)
        files = {"acme/draw.yaml": head + rest, "acme/provider.yaml": "+" + provider}
        if dialect:
            files["dialects/acme.yaml"] = dialect
        return compile_catalog(load([write(files)])).get("acme.draw")

    return built
