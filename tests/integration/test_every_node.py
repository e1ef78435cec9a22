"""Every node, started through the service with its own example, against an upstream that knows no definition."""

from pathlib import Path
from typing import Any

import pytest

from service.definitions.catalog import load_catalog
from tests.fakes.house import house, quick_simulator

ALL = load_catalog().nodes
NODES = {name: node for name, node in ALL.items() if node.node.kind != "query"}
# A fresh editing session has nothing selected, and upstream says so; the next test selects first.
NEEDS_A_SELECTION = {"kling.multi_elements_delete_selection", "kling.multi_elements_preview_selection"}


@pytest.mark.parametrize("name", sorted(NODES.keys() - NEEDS_A_SELECTION))
async def test_a_nodes_example_runs_to_its_result(tmp_path: Path, name: str) -> None:
    """The request is one that upstream's reference knows, whole; the result has the kind that the node promises."""
    node = NODES[name].node
    async with quick_simulator(strict_sessions=False) as sim, house(tmp_path, sim) as halley:
        started = await halley.start(name, NODES[name].example())
        assert started.status_code in (200, 202), started.text
        run = await halley.end(started.json()["id"])

        (creation,) = [request for request in sim.requests if request.method == "POST"]
        assert run["state"] == "succeeded", run["error"]
        assert creation.unknown_keys == ()
        assert not creation.model_name_missing
        if node.result != "data":
            assert run["artifacts"][0]["kind"] == node.result


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
