"""The nodes in the document: each has its own path, operation and input schema."""

from typing import Any

from service.api.openapi.components import json_content, problem_refs, ref, scope_note
from service.api.openapi.schemas import schema_ref
from service.api.openapi.texts import with_texts
from service.api.parameters import START
from service.definitions.catalog import CompiledNode
from service.errors import InvalidInput

_START = "POST /v1/nodes/{node}/runs"
_BODY = (
    "The node's input. The same fields may be sent as `application/x-www-form-urlencoded` or "
    "`multipart/form-data`: numbers, lists and objects as text, files as uploads."
)
_OPTIONS = (
    "How to run it stands in the query. Each of these parameters may be sent as a header instead, such as "
    "`Halley-Webhook-Url`, where it needs no encoding.\n\n"
    # Told in words: no schema can say that a key is good for one request only, and generators would repeat it.
    "The header `Idempotency-Key` (1 to 255 visible ASCII characters, bare or in quotes) makes a repeated start the "
    "same start for 7 days; the same key with another request is refused with 422. Tools that cannot set a header say "
    "`dedupe=300`: then the same node with the same input and `mode` is the same start for so many seconds, whatever "
    "else the request says. Where both are given, the key alone counts."
)


def node_path(node: CompiledNode) -> str:
    """Return the path that starts a node."""
    return f"/v1/nodes/{node.id}/runs"


def operation_id(node: CompiledNode) -> str:
    """Return the name of a node's operation."""
    return node.id.replace(".", "_")


def input_name(node: CompiledNode) -> str:
    """Return the name of the schema of a node's input."""
    return "".join(word.title() for word in operation_id(node).split("_")) + "Input"


def input_schema(node: CompiledNode) -> dict[str, Any]:
    """Return the schema of a node's JSON input."""
    return {"title": f"{node.provider.title}: {node.node.title}", **with_texts(node.inputs.schema)}


def node_operation(node: CompiledNode) -> dict[str, Any]:
    """Describe the operation that starts a node."""
    return {
        "operationId": operation_id(node),
        "tags": [node.provider.provider],
        "summary": f"{node.provider.title}: {node.node.title}",
        "description": _description(node),
        "parameters": [ref("parameters", name) for name in (*START, "Prefer")],
        "requestBody": {
            "description": _BODY,
            "required": not _may_be_empty(node),
            "content": json_content(schema_ref(input_name(node)), example=node.example()),
        },
        "responses": {
            "200": ref("responses", "Ended"),
            "202": ref("responses", "Started"),
            **problem_refs(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
        },
        "callbacks": {"events": ref("callbacks", "RunEvents")},
        **({"deprecated": True} if node.node.withdrawn else {}),
        **({"externalDocs": {"url": node.node.docs}} if node.node.docs else {}),
    }


def _description(node: CompiledNode) -> str:
    newer = f"`{node.node.replaced_by}` takes its place." if node.node.replaced_by else ""
    waits = "" if node.node.kind == "task" else "Waits for the result unless `wait` says otherwise."
    parts = (
        node.node.about.strip(),
        node.node.withdrawn and f"Withdrawn: {node.node.withdrawn}",
        newer,
        waits,
    )
    return "\n\n".join(part for part in (*parts, _OPTIONS, scope_note(_START)) if part)


def _may_be_empty(node: CompiledNode) -> bool:
    try:
        node.inputs.check({})
    except InvalidInput:
        return False
    return True
