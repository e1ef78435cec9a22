"""The shipped definitions together: every row of the reference, without a fault, short, and quick to load."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.definitions.catalog import CompiledNode
from service.definitions.lint import lint
from service.definitions.loader import load, shipped
from service.errors import InvalidInput
from tests.fakes.house import shipped_catalog
from tests.nodes.rows import BEYOND, ROWS

CATALOG = shipped_catalog()
NODES = list(CATALOG.nodes.values())
MOST_LINES = {"provider.yaml": 60, "": 40}
LARGE_PROVIDERS = {"kling"}  # fifteen kinds of video with nested controls; a simple provider is held to 60 lines
FOLDER = Path(str(shipped()))


def test_every_row_of_the_reference_is_a_node() -> None:
    """The catalogue is the rows of the reference's tables, and what is offered beyond them, under exactly these ids."""
    assert set(CATALOG.nodes) == ROWS.keys() | BEYOND.keys()


@pytest.mark.parametrize("name", sorted(ROWS.keys() | BEYOND.keys()))
def test_an_operation_is_sent_where_the_reference_says(name: str) -> None:
    """Method and path of a node's example are those of its row; what calls nothing has none."""
    node = CATALOG.get(name)
    if node.node.submit is None:
        sent = ""
    else:
        request = node.plan.build(node.inputs.check(node.example()))
        sent = f"{'WSS' if node.node.socket else request.method} {request.path}"

    assert re.fullmatch(_pattern((ROWS | BEYOND)[name]), sent), sent


def _pattern(row: str) -> str:
    return re.sub(r"\\\{[a-z0-9_]+\\\}", r"[^?]+", re.escape(row)) + r"(?:\?.*)?"


def test_lint_finds_nothing() -> None:
    """Definitions and fixtures are without a fault."""
    assert [str(fault) for fault in lint(load([shipped()], fixtures=True))] == []


def test_definitions_are_short() -> None:
    """An operation takes at most forty lines, a provider sixty."""
    lengths = {
        f"{path.parent.name}/{path.name}": len(path.read_text(encoding="utf-8").splitlines())
        for path in FOLDER.glob("*/*.yaml")
        if path.parent.name != "dialects" and (path.name != "provider.yaml" or path.parent.name not in LARGE_PROVIDERS)
    }

    assert {name: n for name, n in lengths.items() if n > MOST_LINES.get(name.partition("/")[2], MOST_LINES[""])} == {}


def test_the_definitions_are_ready_in_a_second() -> None:
    """Loading and checking all of them takes less than a second of processor time."""
    began = time.process_time()
    definitions = load([shipped()])
    faults = lint(definitions)
    spent_s = time.process_time() - began

    assert faults == []
    assert spent_s < 2.0  # twice the aim: this machine's load is not ours


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.id)
def test_an_example_goes_out_with_what_is_ours(node: CompiledNode) -> None:
    """The documented example passes the node's own check; address and id of ours are sent where they are taken."""
    checked = node.inputs.check(node.example())

    request = node.plan.build(checked, callback_url="https://example.com/c", external_id="our-id")

    sent = dict(_leaves(request.body or dict(request.form or ())))
    callback, own_id = node.plan.callback_field, node.plan.external_id_field
    assert (sent.get(callback or "") == "https://example.com/c") is (callback is not None)
    assert (sent.get(own_id or "") == "our-id") is (own_id is not None)
    assert "Authorization" not in request.headers
    assert node.plan.path(checked) == request.path


def _leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        if isinstance(part, dict):
            yield from _leaves(part, f"{path}{key}.")
        else:
            yield f"{path}{key}", part


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.id)
def test_inputs_are_closed_to_unknown_fields(node: CompiledNode) -> None:
    """A misspelt field is refused before anything is spent, and told by its name."""
    with pytest.raises(InvalidInput) as caught:
        node.inputs.check({**node.example(), "nonsense": 1})

    assert {fault.pointer for fault in caught.value.faults} == {"/nonsense"}


def test_withdrawn_rows_stay_and_say_so() -> None:
    """What upstream took away is still there, with the reason."""
    families = {node.provider.provider for node in NODES if node.node.withdrawn}

    assert {"ideogram", "luma", "pika", "udio"} <= families
