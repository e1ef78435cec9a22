"""First drafts of operations: they lint, and their fixtures pass, whatever they are drafted for."""

from collections.abc import Mapping
from pathlib import Path

from service.definitions.catalog import compile_catalog
from service.definitions.lint import lint
from service.definitions.loader import load, shipped
from service.definitions.proof import differences, proofs
from service.definitions.scaffold import Draft, drafted

PROVIDERS = {name: loaded.value for name, loaded in load([shipped()]).providers.items()}
RESULTS = ("video", "image", "audio", "model3d", "file", "text", "data")


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder."""
    for place, text in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")


def assert_sound(folder: Path, *nodes: str) -> None:
    """Assert that definitions have no fault of their own, and that the nodes' fixtures pass."""
    found = load([shipped(), folder], fixtures=True)
    catalog = compile_catalog(found)
    proved = [(proof.node.id, case.name) for proof in proofs(found, catalog) for _, case in proof.cases]
    wrong = {
        (proof.node.id, case.name): told
        for proof in proofs(found, catalog)
        for _, case in proof.cases
        if proof.node.id in nodes and (told := differences(proof.node, case))
    }

    assert [str(fault) for fault in lint(found) if fault.file.startswith(str(folder))] == []
    assert wrong == {}
    assert set(nodes) <= {node for node, _ in proved}


def test_a_draft_of_a_new_provider_is_sound(tmp_path: Path) -> None:
    """Tasks and direct operations of every kind of result have no faults and read their own fixtures."""
    drafts = [
        Draft(node=f"{provider}.make_{result}", result=result, is_direct=provider == "zenith")
        for result in RESULTS
        for provider in ("acme", "zenith")
    ]

    for draft in drafts:
        write(tmp_path, drafted(draft, None))

    assert_sound(tmp_path, *(draft.node for draft in drafts))


def test_a_draft_for_a_provider_that_is_there_is_sound(tmp_path: Path) -> None:
    """It takes every provider as it is, and its own words come before the provider's dialects."""
    drafts = [
        Draft(node=f"{provider}.drafted_{result}_{way}", result=result, is_direct=way == "direct")
        for provider in PROVIDERS
        for result in ("image", "text")
        for way in ("task", "direct")
    ]

    for draft in drafts:
        write(tmp_path, drafted(draft, PROVIDERS[draft.provider]))

    assert list(tmp_path.glob("*/provider.yaml")) == []
    assert_sound(tmp_path, *(draft.node for draft in drafts))


def test_slots_of_the_path_become_inputs(tmp_path: Path) -> None:
    """Each is needed; one that may hold slashes is closed by a pattern."""
    draft = Draft(node="acme.make", result="image", submit="POST /v1/{+model}/of/{user_id}")

    write(tmp_path, drafted(draft, None))

    assert_sound(tmp_path, "acme.make")
    fields = compile_catalog(load([shipped(), tmp_path])).get("acme.make").fields
    assert (fields["model"].required, fields["user_id"].required) == (True, True)


def test_a_query_goes_where_it_is_missing(tmp_path: Path) -> None:
    """A new provider says it for all; to one that is there, the operation adds its own."""
    asked = "GET /v1/jobs/{task_id}"
    provider = drafted(Draft(node="acme.make", result="image", query=asked), None)["acme/provider.yaml"]
    name = min(PROVIDERS)
    operation = drafted(Draft(node=f"{name}.make", result="image", query=asked), PROVIDERS[name])[f"{name}/make.yaml"]

    assert f"\nquery: {asked} " in provider
    assert f"\nquery: {asked} " in operation
