"""The shipped workflows, with what a user changes in them."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

from tests.n8n.instance import Workflow

FOLDER = Path(__file__).parents[2] / "docs" / "n8n"


def shipped(name: str) -> Workflow:
    """Return a workflow of the documentation."""
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def node(workflow: Workflow, name: str) -> dict[str, Any]:
    """Return a node by its name."""
    found: dict[str, Any] = next(each for each in workflow["nodes"] if each["name"] == name)
    return found


def settled(workflow: Workflow, **values: str) -> Workflow:
    """Return a workflow with values in its step *Settings*."""
    changed = copy.deepcopy(workflow)
    for field in node(changed, "Settings")["parameters"]["assignments"]["assignments"]:
        field["value"] = values.get(field["name"], field["value"])
    return changed


def in_production(workflow: Workflow, name: str) -> Workflow:
    """Return a copy that a webhook starts with its prompt, in place of a click; the path is the name."""
    changed = settled(workflow, mode="live", prompt="={{ $json.body.prompt }}")
    changed |= {"id": name, "name": name}
    trigger = next(each for each in changed["nodes"] if each["type"] == "n8n-nodes-base.manualTrigger")
    trigger |= hook(name)
    return changed


def hook(path: str, **options: Any) -> dict[str, Any]:
    """Return a step that begins a workflow when something is posted to its path."""
    parameters = {"httpMethod": "POST", "path": path, "responseMode": "onReceived", "options": options}
    return {"type": "n8n-nodes-base.webhook", "typeVersion": 2, "webhookId": path, "parameters": parameters}


def wait(**parameters: Any) -> dict[str, Any]:
    """Return a *Wait* step."""
    return {"type": "n8n-nodes-base.wait", "typeVersion": 1.1, "parameters": {**parameters, "options": {}}}


def chain(name: str, steps: dict[str, dict[str, Any]]) -> Workflow:
    """Return a workflow that goes from step to step."""
    names = list(steps)
    nodes = [
        {"webhookId": f"{name}-{n}", **step, "id": f"{name}-{n}", "name": words, "position": [200 * n, 0]}
        for n, (words, step) in enumerate(steps.items())
    ]
    wires = {one: {"main": [[{"node": other, "type": "main", "index": 0}]]} for one, other in itertools.pairwise(names)}
    return {"id": name, "name": name, "nodes": nodes, "connections": wires, "settings": {}, "active": False}


def with_wait(workflow: Workflow, **parameters: Any) -> Workflow:
    """Return a copy with one more Wait node, just before the one that takes the event."""
    changed = copy.deepcopy(workflow)
    last = node(changed, "Wait for the end")
    first = {**copy.deepcopy(last), "id": f"{last['id'][:-2]}99", "name": "Before", "webhookId": "before"}
    first["parameters"] = {**parameters, "options": {}}
    changed["nodes"].append(first)
    changed["connections"]["Before"] = changed["connections"]["Start the video"]
    changed["connections"]["Start the video"] = {"main": [[{"node": "Before", "type": "main", "index": 0}]]}
    return changed
