"""What n8n's nodes are called and take, read from an installed n8n and kept for the tests that run without one.

`tests/contract/n8n_nodes.json` holds it: versions, parameters and, where only some values may be chosen, those.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.n8n.instance import Workflow

KEPT = Path(__file__).parents[1] / "contract" / "n8n_nodes.json"
_PREFIX = "n8n-nodes-base."

Vocabulary = dict[str, dict[str, Any]]


def kept() -> Vocabulary:
    """Return what is kept."""
    return dict(json.loads(KEPT.read_text(encoding="utf-8")))


def vocabulary_of(installed: Path, workflows: Iterable[Workflow]) -> Vocabulary:
    """Return what an installed n8n says of the nodes of some workflows."""
    file = installed / "node_modules" / "n8n-nodes-base" / "dist" / "types" / "nodes.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    wanted = {node["type"] for workflow in workflows for node in workflow["nodes"]}
    return {name: _node([each for each in described if _PREFIX + each["name"] == name]) for name in sorted(wanted)}


def _node(descriptions: list[dict[str, Any]]) -> dict[str, Any]:
    versions = {version for each in descriptions for version in _versions(each["version"])}
    parameters: dict[str, set[str] | None] = {}
    for each in (field for description in descriptions for field in description["properties"]):
        values = {str(option["value"]) for option in each.get("options", ())} if each["type"] == "options" else None
        before = parameters.get(each["name"], set())
        parameters[each["name"]] = None if values is None or before is None else before | values
    return {
        "versions": sorted(versions),
        "parameters": {name: sorted(values) if values else None for name, values in sorted(parameters.items())},
    }


def _versions(version: float | list[float]) -> list[float]:
    return version if isinstance(version, list) else [version]
