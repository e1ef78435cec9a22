"""The API document: it is valid, says all there is, and the committed file is what the code says."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.openapi import build_document
from service.api.openapi.texts import number_pattern
from service.api.parameters import START
from service.api.problems import PROBLEM_MEDIA_TYPE
from service.app import create_app
from service.definitions.catalog import CompiledNode, load_catalog
from service.exports import generated_files, stale, write
from service.lifecycle.run import EventType
from service.log import silent_log
from service.settings import load_settings
from tests.fakes.house import API_KEY

ROOT = Path(__file__).parents[2]
CATALOG = load_catalog()
NODES = list(CATALOG.nodes.values())
CONTENT = build_document(CATALOG)
DOCUMENT = json.loads(CONTENT)


def start_of(node: CompiledNode) -> dict[str, Any]:
    """Return the operation that starts a node."""
    return dict(DOCUMENT["paths"][f"/v1/nodes/{node.id}/runs"]["post"])


def resolved(thing: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference refers to."""
    found: Any = DOCUMENT
    for step in thing["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def input_schema(node: CompiledNode) -> dict[str, Any]:
    """Return the published schema of a node's JSON input."""
    return resolved(start_of(node)["requestBody"]["content"]["application/json"]["schema"])


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of every operation."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def values(thing: Any, key: str) -> Iterator[Any]:
    """Yield what stands under a key, anywhere in a JSON value."""
    if isinstance(thing, dict):
        for name, value in thing.items():
            if name == key and isinstance(value, str):
                yield value
            yield from values(value, key)
    elif isinstance(thing, list):
        for each in thing:
            yield from values(each, key)


def test_the_document_is_valid_openapi() -> None:
    """It keeps to the OpenAPI 3.1 schema, and each of its schemas to JSON Schema 2020-12."""
    schemathesis.openapi.from_dict(DOCUMENT).validate()

    for schema in DOCUMENT["components"]["schemas"].values():
        assert jsonschema_rs.meta.is_valid({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_reference_leads_somewhere_and_everything_is_referred_to() -> None:
    """No reference is dead, and no component is left over."""
    referred = set(values(DOCUMENT, "$ref"))
    components = {
        f"#/components/{kind}/{name}"
        for kind, parts in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for name in parts
    }

    assert referred == components


def test_operations_have_names_of_their_own() -> None:
    """Generated clients name their functions by them."""
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in names)


def test_the_document_and_the_routes_are_the_same(tmp_path: Path) -> None:
    """Every route stands in the document and every operation has its route; the nodes share one."""
    app = create_app(load_settings({"HALLEY_DATA_DIR": str(tmp_path)}), silent_log(), catalog=CATALOG)
    routes = {
        (method, re.sub(r":\w+}", "}", route.path_format))
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method != "OPTIONS"
    }
    nodes = {f"/v1/nodes/{node.id}/runs" for node in NODES}

    told = {(method, "/v1/nodes/{node}/runs" if path in nodes else path) for method, path, _ in operations()}

    assert told == routes
    assert nodes <= DOCUMENT["paths"].keys()


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.id)
def test_every_node_is_told_in_full(node: CompiledNode) -> None:
    """Its operation has title, description, example, every start parameter, and every limit of its fields."""
    operation, schema = start_of(node), input_schema(node)
    told = {resolved(each)["name"] for each in operation["parameters"]}

    assert node.node.title in operation["summary"]
    assert node.node.about.strip() in operation["description"]
    assert told == {*START, "Prefer"}
    assert "`Idempotency-Key`" in operation["description"]
    assert schema["properties"].keys() == node.fields.keys()
    for name, each in node.inputs.schema["properties"].items():
        published = schema["properties"][name]
        limits = each.keys() - {"type", "enum"}
        assert {word: published[word] for word in limits} == {word: each[word] for word in limits}


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.id)
def test_every_example_is_accepted(node: CompiledNode) -> None:
    """The example fits the published schema, and Halley takes it as it is."""
    example = start_of(node)["requestBody"]["content"]["application/json"]["example"]

    assert jsonschema_rs.is_valid(input_schema(node), example)
    assert node.inputs.check(example, is_json=True) is not None


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.id)
def test_every_node_tells_of_its_events(node: CompiledNode) -> None:
    """The callback of a start is the event, posted to the `webhook_url` of the request."""
    callback = resolved(start_of(node)["callbacks"]["events"])["{$request.query.webhook_url}"]["post"]

    assert callback["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/EventView")


def test_every_event_type_is_a_webhook() -> None:
    """Each has its entry, with the signature's headers and a body of just that type."""
    webhooks = DOCUMENT["webhooks"]

    assert webhooks.keys() == set(get_args(EventType))
    for name, each in webhooks.items():
        request = each["post"]
        headers = {header["name"] for header in request["parameters"]}
        assert headers == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        assert name in values(request["requestBody"], "const")


def test_every_error_is_a_problem() -> None:
    """All answers of 400 and above are problems; only readiness has its own 503."""
    for _, path, operation in operations():
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                content = (resolved(answer) if "$ref" in answer else answer)["content"]
                assert content == {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_only_what_must_be_open_needs_no_key() -> None:
    """Operations and callbacks take no API key; everything else does, and says 401."""
    public = {path for _, path, operation in operations() if operation.get("security") == []}

    operations_paths = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json"}
    assert public == {*operations_paths, "/.well-known/jwks.json", "/v1/callbacks/{token}"}
    assert all("401" in operation["responses"] for _, path, operation in operations() if path not in public)


def test_the_same_nodes_give_the_same_bytes() -> None:
    """The document depends on nothing but the definitions and the code."""
    assert build_document(load_catalog()) == CONTENT


def test_the_committed_files_are_what_the_code_says() -> None:
    """`halley export` has been run since the last change of definitions, API or format."""
    assert stale(ROOT) == []


def test_a_changed_or_missing_file_is_stale(tmp_path: Path) -> None:
    """After writing nothing is stale; a touched file and a deleted one are."""
    write(tmp_path)
    fresh = stale(tmp_path)
    (tmp_path / "openapi/openapi.json").write_text("{}")
    (tmp_path / "openapi/schemas/node.json").unlink()

    assert fresh == []
    assert stale(tmp_path) == ["openapi/openapi.json", "openapi/schemas/node.json"]
    assert generated_files()["openapi/openapi.json"] == CONTENT


def test_the_document_is_served(base_url: str) -> None:
    """A running Halley hands out the very document."""
    answer = httpx.get(f"{base_url}/openapi.json")

    assert answer.content == CONTENT


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('{"prompt": "a comet", "cfg_scale": "0.5", "duration": 5, "multi_shot": "false"}', "application/json", 200),
        ("prompt=a+comet&cfg_scale=0.5&duration=5&multi_shot=false", "application/x-www-form-urlencoded", 200),
        ('{"prompt": "a comet", "cfg_scale": "1.5"}', "application/json", 422),
        ('{"prompt": "a comet", "cfg_scale": "much"}', "application/json", 422),
        ('{"prompt": "a comet", "watermark_info": "{\\"enabled\\": true}"}', "application/json", 422),
        ('watermark_info={"enabled":true}&prompt=a+comet', "application/x-www-form-urlencoded", 200),
    ],
)
def test_texts_stand_for_numbers_as_far_as_the_document_says(base_url: str, body: str, kind: str, status: int) -> None:
    """JSON takes texts for numbers, booleans and choices, forms for lists and objects too."""
    url = f"{base_url}/v1/nodes/kling.text_to_video/runs"

    answer = httpx.post(
        url, params={"mode": "preview"}, content=body, headers={"X-API-Key": API_KEY, "Content-Type": kind}
    )

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"minimum": 0},
        {"maximum": -2},
        {"minimum": 0, "maximum": 1},
        {"minimum": 0.8, "maximum": 2},
        {"minimum": -10, "maximum": 10},
        {"minimum": 0.25, "maximum": 99.75},
        {"minimum": 3, "maximum": 15},
        {"minimum": 0, "maximum": 2147483647},
    ],
    ids=str,
)
@pytest.mark.parametrize("is_integer", [True, False])
@settings(deadline=None, database=None)
@given(text=st.from_regex(r"-?(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,3})?", fullmatch=True))
def test_the_pattern_of_a_number_allows_what_its_limits_allow(
    *, limits: dict[str, float], is_integer: bool, text: str
) -> None:
    """A plain decimal text fits the pattern just when its number keeps the limits; a signed zero aside."""
    number = Decimal(text)
    within = Decimal(str(limits.get("minimum", "-1e99"))) <= number <= Decimal(str(limits.get("maximum", "1e99")))

    fits = re.search(number_pattern(limits, is_integer=is_integer), text) is not None

    if number or not text.startswith("-"):
        assert fits == (within and not (is_integer and "." in text))
