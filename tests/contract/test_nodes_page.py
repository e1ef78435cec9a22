"""The page of all nodes: every line to copy works, every link leads somewhere, every node and input is there."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from service.api.nodes_page import heading_anchor, nodes_page
from service.definitions.catalog import CompiledNode, load_catalog
from tests.contract.served import NoNames
from tests.fakes.house import API_KEY, TUNING, House, house, quick_simulator
from tests.fakes.lines import curl_lines, parsed, send

CATALOG = load_catalog()
PAGE = nodes_page(CATALOG).decode()
LINES = curl_lines(PAGE)
AT_ONCE = 12
EVERY = 30  # so many lines apart are those that go through curl itself


@pytest.fixture
async def halley(tmp_path: Path) -> AsyncIterator[House]:
    """A Halley that knows no host name, so that nothing can be looked up or fetched outside."""
    tuning = msgspec.structs.replace(TUNING, resolver=NoNames())
    async with quick_simulator(strict_sessions=False) as sim, house(tmp_path, sim, tuning=tuning) as running:
        yield running


def node_of(line: str) -> str:
    """Return the id of the node that a line starts."""
    return re.findall(r"/v1/nodes/([a-z0-9_.]+)/runs", line)[0]


# A fresh editing session has nothing selected, and upstream says so.
NEEDS_A_SELECTION = {"kling.multi_elements_delete_selection", "kling.multi_elements_preview_selection"}


def right_ends(node: CompiledNode) -> set[str]:
    """Return the errors that an example may rightly end in: it names what an earlier run made, and here none has."""
    names_earlier = any(name in ("id", "ids") or name.endswith(("_id", "_ids")) for name in node.example())
    if node.id in NEEDS_A_SELECTION:
        return {"generation_failed"}
    if not names_earlier:
        return set()
    only_asks = node.node.kind == "query" or str(node.node.submit).startswith("GET ")
    return {"not_found", "invalid_request"} if only_asks else {"not_found"}


async def trouble(halley: House, line: str) -> str | None:
    """Run a line in `mode=mock`; returns what went wrong."""
    variables = {"HALLEY_URL": halley.url, "HALLEY_API_KEY": API_KEY}
    async with httpx.AsyncClient(timeout=40) as stranger:
        answer = await send(stranger, parsed(line, variables), mode="mock")
    if answer.status_code not in (200, 202):
        return f"{answer.status_code} {answer.text}"
    run = await halley.end(answer.json()["id"])
    return outcome(node_of(line), run)


def outcome(node: str, run: dict[str, Any]) -> str | None:
    """Return what is wrong with how a run ended."""
    if run["state"] == "succeeded":
        return None
    if run["state"] == "failed" and run["error"]["code"] in right_ends(CATALOG.nodes[node]):
        return None
    return f"{run['state']}: {run['error']}"


async def test_every_line_to_copy_works(halley: House) -> None:
    """Each line of the page, sent as it stands in `mode=mock`, starts a run that ends as it should."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def tried(line: str) -> tuple[str, str | None]:
        async with gate:
            return node_of(line), await trouble(halley, line)

    told = await asyncio.gather(*map(tried, LINES))

    assert "\n".join(f"{node}: {why}" for node, why in told if why is not None) == ""


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
async def test_curl_itself_takes_the_lines(halley: House) -> None:
    """A shell and curl make of some lines what the other test makes of all."""
    environ = {"PATH": os.environ["PATH"], "NO_PROXY": "*", "HALLEY_URL": halley.url, "HALLEY_API_KEY": API_KEY}
    for line in LINES[::EVERY]:
        asked = line if "?mode=mock" in line else line.replace("/runs", "/runs?mode=mock", 1)
        process = await asyncio.create_subprocess_shell(
            asked.replace("curl ", "curl -sS ", 1), stdout=asyncio.subprocess.PIPE, env=environ
        )
        told, _ = await process.communicate()
        run = await halley.end(json.loads(told)["id"])

        assert process.returncode == 0
        assert outcome(node_of(line), run) is None


def test_every_node_has_its_line_and_its_inputs() -> None:
    """A node has a heading, a row, exactly one line to copy besides the first one, and each input by name."""
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))

    assert sections.keys() == CATALOG.nodes.keys()
    assert [node_of(line) for line in LINES[1:]] == list(CATALOG.nodes)
    for name, node in CATALOG.nodes.items():
        assert f"| [{name}](#{heading_anchor(name)}) |" in PAGE
        assert [each for each in node.fields if f"| `{each}`" not in sections[name]] == []
        assert ("**Withdrawn.**" in sections[name]) == (node.node.withdrawn is not None)


def test_every_link_within_the_page_leads_somewhere() -> None:
    """No link is broken, and no two headings have one name."""
    headings = [heading_anchor(text) for text in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)]
    links = re.findall(r"\]\(#([^)]*)\)", PAGE)

    assert set(links) - set(headings) == set()
    assert len(headings) == len(set(headings))


def test_every_table_is_whole() -> None:
    """Each row has as many cells as its table has columns, whatever stands in its texts."""
    tables = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
    widths = [{len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()} for table in tables]

    assert tables
    assert [width for width in widths if len(width) != 1] == []
