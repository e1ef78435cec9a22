"""The catalogue as a page for people, `docs/nodes.md`: made from the definitions, never written by hand.

Each node has a line to copy, and the tests run every one of them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec

from service.api.input_rows import InputRow, input_rows
from service.definitions.catalog import Catalog, CompiledNode
from service.definitions.json_schema import sentence

_KINDS = {
    "task": "is accepted at once and followed until it ends",
    "direct": "waits, since the answer to the request is the result",
    "query": "asks once about a task that exists",
    "local": "is answered by Halley itself and costs nothing",
    "flow": "runs other nodes one after the other",
}
_INTRODUCTION = """\
<!-- Written by `halley export` from the definitions; what is changed here is lost. -->
# Nodes

All nodes that Halley brings, family by family. `POST /v1/nodes/{node}/runs` starts one; its body is the node's input,
as JSON or as a form. Say once where Halley is and who you are:

```sh
export HALLEY_URL=http://127.0.0.1:2061
export HALLEY_API_KEY=hly_…
```

Then each line below works as it stands. It starts a **live** run, which costs money. With `?mode=mock` the same line
plays the run against the simulated upstream, without a key of the aggregator and free of charge:

"""
_AFTER = """
The answer is the run. `202` means that it goes on: ask at its `status_url`, or give a `webhook_url` in the query and be
told of the end. `200` means that it has ended: results are in `artifacts`, `text` and `data`.

An input of the type *file* is given as a URL, Base64, a data URI, an upload of a form, `file_…` of an earlier upload or
`artifact://art_…` of an earlier run. Ids in the examples stand for those of your own runs. `halley nodes show NODE`
says the same on the command line, and `GET /v1/nodes/{node}` has the exact JSON Schema.
"""


def nodes_page(catalog: Catalog) -> bytes:
    """Return the page; the same catalogue gives the same bytes."""
    return "\n".join(_lines(catalog)).encode() + b"\n"


def heading_anchor(heading: str) -> str:
    """Return the name under which a heading can be linked to, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _lines(catalog: Catalog) -> Iterator[str]:
    nodes = list(catalog.nodes.values())
    families = [list(family) for _, family in groupby(nodes, key=lambda node: node.provider.provider)]
    yield _INTRODUCTION.rstrip("\n") + "\n"
    if nodes:
        first = next((node for node in nodes if node.node.kind == "task"), nodes[0])
        yield from _sample(first, "?mode=mock")
    yield _AFTER
    yield from _table(("family", "nodes", "about"), map(_family_cells, families))
    for family in families:
        yield from _family(family)


def _family_cells(family: Sequence[CompiledNode]) -> tuple[str, ...]:
    provider = family[0].provider
    return _link(provider.title, provider.title), str(len(family)), _prose(provider.about)


def _family(family: Sequence[CompiledNode]) -> Iterator[str]:
    provider = family[0].provider
    docs = f" [Upstream's own page]({provider.docs})" if provider.docs else ""
    yield f"\n## {provider.title}\n\n{_prose(provider.about)}{docs}\n"
    rows = ((_link(node.id, node.id), node.node.kind, node.node.result, _listed_title(node)) for node in family)
    yield from _table(("node", "kind", "result", "what it does"), rows)
    for node in family:
        yield from _node(node)


def _listed_title(node: CompiledNode) -> str:
    return _prose(node.node.title) + (" (withdrawn)" if node.node.withdrawn else "")


def _node(node: CompiledNode) -> Iterator[str]:
    definition = node.node
    docs = f" [Upstream's page]({definition.docs})" if definition.docs else ""
    yield f"\n### {node.id}\n\n**{_prose(definition.title)}.** {_prose(definition.about)}{docs}\n"
    if definition.withdrawn:
        yield f"**Withdrawn.** {_prose(definition.withdrawn)}\n"
    if definition.replaced_by:
        yield f"{_link(definition.replaced_by, definition.replaced_by)} takes its place.\n"
    yield from _inputs(node)
    yield from _sample(node)
    yield f"\n{_gives(node)}"


def _inputs(node: CompiledNode) -> Iterator[str]:
    rows = input_rows(node.fields)
    yield from _input_table(("input", "needed"), [row for row in rows if not row.advanced], _plain_cells)
    yield from _input_table(("more inputs",), [row for row in rows if row.advanced], _advanced_cells)
    if node.node.rules:
        yield from (f"- {_prose(sentence(rule))}" for rule in node.node.rules)
        yield ""


def _input_table(
    first: tuple[str, ...], rows: Sequence[InputRow], cells: Callable[[InputRow], tuple[str, ...]]
) -> Iterator[str]:
    if rows:
        yield from _table((*first, "type", "values", "about"), map(cells, rows))
        yield ""


def _plain_cells(row: InputRow) -> tuple[str, ...]:
    return f"`{row.name}`", row.needed, row.type, _prose(row.values), _prose(row.about)


def _advanced_cells(row: InputRow) -> tuple[str, ...]:
    name = f"`{row.name}`" + (" (needed)" if row.needed else "")
    return name, row.type, _prose(row.values), _prose(row.about)


def _sample(node: CompiledNode, query: str = "") -> Iterator[str]:
    body = msgspec.json.encode(node.example()).decode().replace("'", "'\\''")
    yield "```sh"
    yield f'curl "$HALLEY_URL/v1/nodes/{node.id}/runs{query}" -H "X-API-Key: $HALLEY_API_KEY" \\'
    yield f"  -H \"Content-Type: application/json\" -d '{body}'"
    yield "```"


def _gives(node: CompiledNode) -> str:
    parts = [f"Gives **{node.node.result}**; a {node.node.kind} node {_KINDS[node.node.kind]}."]
    if node.node.kind == "task":
        callback = "Upstream calls back" if node.plan.callback else "Upstream is polled"
        parts.append(f"{callback}; given up after {node.pace.deadline_s / 60:g} minutes.")
    parts += _beside(node)
    return " ".join(parts)


def _beside(node: CompiledNode) -> Iterator[str]:
    """Say what else the run may hold, as far as the definitions tell."""
    roles = _distinct(
        f"{rule.kind} (`{rule.role}`)" for part in node.chain for rule in part.artifacts if rule.role != "output"
    )
    if roles:
        yield f"Beside the results there may be {', '.join(roles)}."
    names = _data_names(node)
    if names:
        yield f"`data` may hold {', '.join(f'`{name}`' for name in names)}."
    offers = _distinct(offer.node for part in node.chain for offer in part.next)
    if offers:
        yield f"`data.next` may offer {', '.join(_link(name, name) for name in offers)}."


def _data_names(node: CompiledNode) -> list[str]:
    table = node.node.table
    local: list[str] = [*table.data, *table.otherwise, *(key for row in table.rows for key in row)] if table else []
    return _distinct([*local, *(name for part in node.chain for name in (*part.data, *part.details))])


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _link(text: str, heading: str) -> str:
    return f"[{text}](#{heading_anchor(heading)})"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _prose(text: Any) -> str:
    """Return a text for a paragraph or a cell: one line, nothing in it read as HTML or as the end of a cell."""
    parts = " ".join(str(text).split()).replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))
