"""The JSON Schemas for editors say of every word what it means, and fit the shipped files."""

import json
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from service.definitions.format_schema import attribute_docs, format_schemas, structs, words
from service.definitions.loader import Definitions, load, shipped


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    """Every shipped definition."""
    return load([shipped()])


def test_the_same_bytes_every_time() -> None:
    """The schemas are committed, so making them again changes nothing."""
    assert format_schemas() == format_schemas()
    assert all(text.endswith(b"}\n") for text in format_schemas().values())


def test_every_word_is_explained() -> None:
    """No word of the format is without its meaning."""
    silent = [f"{struct.__name__}.{word}" for struct in structs() for word, text in words(struct).items() if not text]

    assert silent == []


def test_nothing_is_explained_that_is_no_word() -> None:
    """A word that was renamed or taken out leaves no explanation behind."""
    for struct in structs():
        assert attribute_docs(struct).keys() <= {field.name for field in msgspec.structs.fields(struct)}


def test_descriptions_reach_the_editor() -> None:
    """What a docstring says of a word stands beside it in the schema."""
    node = json.loads(format_schemas()["node.json"])

    assert node["$ref"] == "#/$defs/Node"
    assert node["$defs"]["Node"]["properties"]["submit"]["description"] == "The request that starts it."
    assert node["$defs"]["ErrorRule"]["properties"]["is"]["description"].startswith("The contract's code")
    assert node["$defs"]["Field"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("file", "shelf"),
    [("node.json", "nodes"), ("provider.json", "providers"), ("dialect.json", "dialects")],
)
def test_shipped_files_fit(definitions: Definitions, file: str, shelf: str) -> None:
    """An editor finds no fault where Halley finds none."""
    validator = jsonschema_rs.validator_for(json.loads(format_schemas()[file]))
    loaded: dict[str, Any] = getattr(definitions, shelf)

    wrong = {name: [e.message for e in validator.iter_errors(each.document.data)] for name, each in loaded.items()}

    assert {name: errors for name, errors in wrong.items() if errors} == {}


def test_editors_find_the_schema(definitions: Definitions) -> None:
    """The first line of each shipped file names its schema."""
    folder = shipped()
    kinds = {"node": definitions.nodes, "provider": definitions.providers, "dialect": definitions.dialects}

    for kind, shelf in kinds.items():
        for loaded in shelf.values():  # type: ignore[attr-defined]
            path = loaded.document.file.removeprefix("nodes/")
            first = folder.joinpath(path).read_text(encoding="utf-8").splitlines()[0]
            assert first == f"# yaml-language-server: $schema=../../openapi/schemas/{kind}.json"
