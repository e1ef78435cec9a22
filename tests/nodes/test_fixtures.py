"""Every shipped node reads the recorded answers as their fixtures say."""

from typing import Any

import pytest

from service.definitions.catalog import CompiledNode, compile_catalog
from service.definitions.loader import load, shipped
from service.definitions.reader import Answer, Reading
from service.definitions.schema import Case

DEFINITIONS = load([shipped()], fixtures=True)
CATALOG = compile_catalog(DEFINITIONS)


def _pairs() -> list[Any]:
    return [
        pytest.param(node, place, id=f"{node.id}-{place.partition('/')[2]}")
        for place in DEFINITIONS.fixtures
        for node in _nodes(*place.removesuffix(".yaml").split("/"))
    ]


def _nodes(provider: str, file: str) -> list[CompiledNode]:
    family = [node for node in CATALOG.nodes.values() if node.provider.provider == provider]
    if file != "family":
        return [node for node in family if node.id == f"{provider}.{file}"]
    named = {
        f"{provider}.{name}" for case in DEFINITIONS.fixtures[f"{provider}/family.yaml"].value for name in case.nodes
    }
    return [node for node in family if node.node.kind == "task" or node.id in named]


@pytest.mark.parametrize(("node", "place"), _pairs())
def test_fixtures(node: CompiledNode, place: str) -> None:
    """Each answer is read as its fixture says, in every key that the fixture names."""
    cases = [
        case for case in DEFINITIONS.fixtures[place].value if not place.endswith("family.yaml") or is_for(case, node)
    ]

    found = {case.name: compared(read(node, case), case.reads) for case in cases}

    wrong = [(case.name, found[case.name], case.reads) for case in cases if found[case.name] != case.reads]
    assert not wrong


def is_for(case: Case, node: CompiledNode) -> bool:
    """Tell whether a case of a family's file is one for this node."""
    return node.id.partition(".")[2] in case.nodes if case.nodes else node.node.kind == "task"


def read(node: CompiledNode, case: Case) -> Reading:
    """Let a node read a fixture's answer; a callback has no HTTP status."""
    status = None if case.as_ == "callback" else case.status
    return node.reader.read(case.as_, Answer(status=status, body=case.body))


def compared(reading: Reading, expected: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a reading that a fixture compares, in the fixture's shape."""
    found: dict[str, Any] = {key: getattr(reading, key) for key in expected}
    if "artifacts" in found:
        results = [artifact for artifact in reading.artifacts if artifact.role == "output"]
        found["artifacts"] = [{"kind": each.kind, "url": each.url} for each in results]
    if reading.error is not None and isinstance(expected.get("error"), dict):
        found["error"] = {key: getattr(reading.error, key) for key in expected["error"]}
    if reading.data is not None and isinstance(expected.get("data"), dict):
        found["data"] = {key: reading.data.get(key) for key in expected["data"]}
    return found


def test_every_node_has_fixtures() -> None:
    """Every node is proved by recorded answers of its own."""
    proved = {place.removesuffix(".yaml").replace("/", ".") for place in DEFINITIONS.fixtures}

    calling = {name for name, node in CATALOG.nodes.items() if node.node.kind not in ("local", "flow")}
    missing = calling - proved - {name for name, node in CATALOG.nodes.items() if node.node.socket}

    assert not missing
