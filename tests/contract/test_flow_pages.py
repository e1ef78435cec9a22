"""The pages and workflows for no-code tools: what they tell people to type is there, and nothing secret is in them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.api.endpoint_fields import FIELDS
from service.api.parameters import ENDPOINTS, EVENTS, START
from service.api.scopes import ACCESS
from service.lifecycle.run import END_EVENTS
from tests.fakes.house import shipped_catalog

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [DOCS / "n8n" / "README.md", DOCS / "make.md", DOCS / "zapier.md"]
WORKFLOWS = sorted((DOCS / "n8n").glob("*.json"))
N8N_NODES: dict[str, Any] = json.loads(Path(__file__).with_name("n8n_nodes.json").read_text(encoding="utf-8"))
LARGEST_PICTURE_BYTES = 150_000
# Hints and the like, which a request may carry besides the parameters of its start.
OTHER_HEADERS = {"Halley-Event", "Halley-Run"}
SECRETS = re.compile(r"hly_\w|sk-\w|whsec_\w|eyJ\w|/(?:home|root|work)/|localhost|127\.0\.0\.1|instanceId")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
workflows = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)


def read(file: Path) -> dict[str, Any]:
    """Return a workflow."""
    return dict(json.loads(file.read_text(encoding="utf-8")))


@pages
def test_every_route_that_a_page_names_is_one(page: Path) -> None:
    """Method and path stand in the table of routes; what a tool or a person puts in stands for a parameter."""
    named = re.findall(
        r"\b(GET|POST|PATCH|DELETE) (/v1/(?:\{\{[^}]*\}\}|[^\s`'\"?])+)", page.read_text(encoding="utf-8")
    )
    routes = [re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route)) for route in ACCESS]
    unknown = [f"{how} {where}" for how, where in named if not any(re.fullmatch(r, f"{how} {where}") for r in routes)]

    assert named
    assert unknown == []


@pages
def test_every_header_and_query_that_a_page_names_is_one(page: Path) -> None:
    """`Halley-…` are the parameters of a start as headers; queries are those of the request that they stand in."""
    text = page.read_text(encoding="utf-8")
    starting = {f"Halley-{name.replace('_', '-').title()}" for name in START}
    headers = set(re.findall(r"\bHalley-[A-Z][A-Za-z-]+", text))
    queries = {
        name for query in re.findall(r"/(?:runs|events)\?([\w=&.,]+)", text) for name in re.findall(r"(\w+)=", query)
    }

    assert headers - starting - OTHER_HEADERS == set()
    assert queries - {*START, *EVENTS, *ENDPOINTS} == set()


@pages
def test_every_subscription_of_a_page_is_one_that_is_taken(page: Path) -> None:
    """Each JSON object with types of events has fields of an endpoint and types that exist."""
    text = page.read_text(encoding="utf-8")
    bodies = [
        json.loads(found) for found in re.findall(r"\{[^{}]*\"types\": \[[^{}]*\}", re.sub(r"\{\{|\}\}", "", text))
    ]
    items = FIELDS["types"].items
    assert items is not None

    assert bodies or page.parent.name == "n8n"
    assert {name for body in bodies for name in body} <= FIELDS.keys()
    assert {kind for body in bodies for kind in body["types"]} <= set(items.enum or ())


@pages
def test_what_a_page_links_to_is_there(page: Path) -> None:
    """Files and pictures exist; a picture loads quickly."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    files = [page.parent / link for link in links if "://" not in link]

    assert [str(file) for file in files if not file.is_file()] == []
    assert [file.name for file in files if file.suffix == ".png" and file.stat().st_size > LARGEST_PICTURE_BYTES] == []


def test_both_workflows_are_looked_at() -> None:
    """The page of n8n offers every workflow that lies beside it."""
    assert len(WORKFLOWS) == 2
    assert all(f"({file.name})" in PAGES[0].read_text(encoding="utf-8") for file in WORKFLOWS)


@workflows
def test_workflows_name_nodes_and_parameters_that_n8n_has(file: Path) -> None:
    """Types, versions, parameters and the values of choices are those of a real n8n."""
    wrong = [
        f"{node['name']}: {name}={value}"
        for node in read(file)["nodes"]
        for name, value in {**node["parameters"], "typeVersion": node["typeVersion"]}.items()
        if not _exists(node["type"], name, value)
    ]

    assert wrong == []


def _exists(kind: str, name: str, value: Any) -> bool:
    known = N8N_NODES[kind]
    if name == "typeVersion":
        return value in known["versions"]
    choices = known["parameters"].get(name)
    return name in known["parameters"] and (choices is None or str(value) in choices)


@workflows
def test_workflows_hang_together(file: Path) -> None:
    """Every wire and every expression leads to a step that is there, ids are unique, and it comes switched off."""
    workflow = read(file)
    names = [node["name"] for node in workflow["nodes"]]
    ends = [wire["node"] for each in workflow["connections"].values() for way in each["main"] for wire in way]
    asked = re.findall(r"\$\('([^']+)'\)", file.read_text(encoding="utf-8"))

    assert {*ends, *asked, *workflow["connections"]} <= set(names)
    assert len(set(names)) == len({node["id"] for node in workflow["nodes"]}) == len(names)
    assert (workflow["active"], workflow["pinData"], len(workflow["id"])) == (False, {}, 16)


@workflows
def test_workflows_hold_no_secret_and_say_where_halley_is_once(file: Path) -> None:
    """Credentials are found by their name, nothing is of one machine, and one step holds the address."""
    text = file.read_text(encoding="utf-8")
    used = [each for node in read(file)["nodes"] for each in node.get("credentials", {}).values()]

    assert used == [{"id": None, "name": "Halley API key"}]
    assert SECRETS.search(text) is None
    assert re.findall(r"https?://[^\"]+", text) == ["https://halley.example.com"]
    # A path that everybody knows would let everybody send events.
    assert '"path"' not in text


def test_the_start_in_the_workflow_is_one_that_halley_takes() -> None:
    """Its node has the inputs, its headers and query are parameters, and a Wait node is told of ends alone."""
    nodes = {node["name"]: node["parameters"] for node in read(DOCS / "n8n" / "generate-video.json")["nodes"]}
    start, wait = nodes["Start the video"], nodes["Wait for the end"]
    headers = {each["name"]: each["value"] for each in start["headerParameters"]["parameters"]}
    node_id = re.findall(r"/v1/nodes/([\w.]+)/runs$", start["url"])[0]
    inputs = {each["name"] for each in start["bodyParameters"]["parameters"]}

    assert inputs <= shipped_catalog().nodes[node_id].inputs.fields.keys()
    assert headers["Halley-Webhook-Url"] == "={{ $execution.resumeUrl }}"
    assert set(headers["Halley-Webhook-Events"].split(",")) == set(END_EVENTS) - {"run.submit_unknown", "run.recovered"}
    assert {each["name"] for each in start["queryParameters"]["parameters"]} <= START.keys()
    assert (wait["resume"], wait["httpMethod"], wait["responseMode"]) == ("webhook", "POST", "onReceived")
