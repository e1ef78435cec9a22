"""Nodes as users see them, over HTTP and on the command line."""

from typing import Any

import msgspec
from msgspec import Struct

from service.definitions.catalog import CompiledNode
from service.lifecycle.durations import Sketch
from service.lifecycle.plan import ENOUGH_RUNS


class NodeSummary(Struct, frozen=True, kw_only=True):
    """A node in the catalogue's list."""

    id: str
    title: str
    about: str
    provider: str
    kind: str
    category: str
    result: str
    withdrawn: str | None
    replaced_by: str | None


class Typical(Struct, frozen=True, kw_only=True):
    """How long tasks of a node take, in seconds: half of them, and nine of ten, have ended by then."""

    median: float
    p90: float


class NodeDetail(NodeSummary, frozen=True, kw_only=True):
    """A node with all that is needed to call it.

    Attributes:
        typical_s: How long its live tasks have taken lately; null while too few have ended.
    """

    docs: str | None
    input_schema: dict[str, Any]
    example: dict[str, Any]
    curl: str
    typical_s: Typical | None


class NodeList(Struct, frozen=True, kw_only=True):
    """The catalogue."""

    data: list[NodeSummary]


def summary(node: CompiledNode) -> NodeSummary:
    """Return a node as the list shows it."""
    definition = node.node
    return NodeSummary(
        id=node.id,
        title=definition.title,
        about=definition.about.strip(),
        provider=node.provider.provider,
        kind=definition.kind,
        category=definition.category or definition.result,
        result=definition.result,
        withdrawn=definition.withdrawn,
        replaced_by=definition.replaced_by,
    )


def typical(sketch: Sketch) -> Typical | None:
    """Return what users see of durations, once enough of them are known."""
    if sketch.runs < ENOUGH_RUNS:
        return None
    return Typical(median=round(sketch.quantile_s(0.5), 1), p90=round(sketch.quantile_s(0.9), 1))


def detail(node: CompiledNode, base: str, typical_s: Typical | None = None) -> NodeDetail:
    """Return a node as its own page shows it."""
    example = node.example()
    body = msgspec.json.encode(example).decode().replace("'", "'\\''")
    curl = (
        f"curl -X POST '{base}/v1/nodes/{node.id}/runs' -H \"X-API-Key: $HALLEY_API_KEY\""
        f" -H 'Content-Type: application/json' -d '{body}'"
    )
    return NodeDetail(
        **msgspec.structs.asdict(summary(node)),
        docs=node.node.docs or node.provider.docs,
        input_schema=node.inputs.schema,
        example=example,
        curl=curl,
        typical_s=typical_s,
    )
