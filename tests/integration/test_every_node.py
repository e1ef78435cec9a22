"""Every node, started through the service with its own example, against an upstream that knows no definition."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from service.definitions.schema import Node
from tests.fakes.house import house, quick_simulator, shipped_catalog

ALL = shipped_catalog().nodes
NODES = {name: node for name, node in ALL.items() if node.node.kind != "query"}
# A fresh editing session has nothing selected, and upstream says so; the next test selects first.
NEEDS_A_SELECTION = {"kling.multi_elements_delete_selection", "kling.multi_elements_preview_selection"}


@pytest.mark.parametrize(("mode", "envelope"), [("mock", "wrapped"), ("live", "flat")])
async def test_every_nodes_example_runs_to_its_result(tmp_path: Path, mode: str, envelope: str) -> None:
    """Started all at once, each ends with what its node promises, by requests that upstream's reference knows whole."""
    wanted = sorted(NODES.keys() - NEEDS_A_SELECTION)
    async with quick_simulator(strict_sessions=False, envelope=envelope) as sim, house(tmp_path, sim) as halley:

        async def faults_of(name: str) -> str:
            started = await halley.start(name, NODES[name].example(), mode=mode, wait=0)
            if started.status_code not in (200, 202):
                return started.text
            return missing(await halley.end(started.json()["id"], timeout_s=60), NODES[name].node)

        faults = dict(zip(wanted, await asyncio.gather(*map(faults_of, wanted)), strict=True))
        strange = {each.operation: each.unknown_keys for each in sim.requests if each.unknown_keys}
        nameless = {each.operation for each in sim.requests if each.model_name_missing}

    assert {name: fault for name, fault in faults.items() if fault} == {}
    assert strange == {}
    assert nameless == set()


def missing(run: dict[str, Any], node: Node) -> str:
    """Say what an ended run lacks of what its node promises; empty when it has all."""
    if run["state"] != "succeeded":
        return str(run["error"])
    if node.result in ("text", "data"):
        return "" if run[node.result] or node.result == "data" else f"no {node.result}"
    kinds = [artifact["kind"] for artifact in run["artifacts"]]
    return "" if node.result in kinds else f"no {node.result} among {kinds}"


async def test_an_editing_session_from_its_opening_to_its_task(tmp_path: Path) -> None:
    """Open, select, preview, deselect and clear work on one session; what cannot be recognised is told as a failure."""
    async with quick_simulator() as sim, house(tmp_path, sim) as halley:

        async def step(operation: str, **values: object) -> dict[str, Any]:
            started = await halley.start(f"kling.multi_elements_{operation}", values)
            return await halley.end(started.json()["id"])

        made = await halley.end((await halley.start("kling.text_to_video", {"prompt": "x"})).json()["id"])
        opened = await step("init", video_id=made["artifacts"][0]["upstream_id"])
        session = {"session_id": opened["data"]["session_id"]}
        nothing = await step("preview_selection", **session)
        point = {**session, "frame_index": 1, "points": [{"x": 0.5, "y": 0.5}]}
        selected, preview = await step("add_selection", **point), await step("preview_selection", **session)
        edited = await step("create_task", **session, edit_mode="removal", prompt="Take <<<video_1>>> away")
        deselected, cleared = await step("delete_selection", **point), await step("clear_selection", **session)

    states = [run["state"] for run in (opened, selected, preview, edited, deselected, cleared)]
    assert states == ["succeeded"] * 6
    assert (nothing["state"], nothing["error"]["code"]) == ("failed", "generation_failed")
    assert "recognised" in nothing["error"]["message"]
    assert [artifact["kind"] for artifact in preview["artifacts"]] == ["video", "image", "file"]
    assert "png_mask" not in str(selected["data"])
