"""The document as a whole: what stands at its top, and the order of everything below."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from service.api.openapi.components import components
from service.api.openapi.events import webhooks
from service.api.openapi.nodes import input_name, input_schema, node_operation, node_path
from service.api.openapi.routes import operation, routes
from service.definitions.catalog import Catalog

_ABOUT = """\
Halley turns AI generations into workflow steps: every node starts a generation, follows it and tells of its end.

A start answers 202 with the run, or 200 when the run ended within `wait`. What stands in a header stands in the body
too. Numbers and booleans of an input may be sent as text. Errors are `application/problem+json` (RFC 9457). Every
answer carries `X-Request-Id`.

An API key sees its workspace alone. Its scope says what it may do there: `read` sees, `run` starts, cancels and uploads
as well, `admin` may do everything. A key may be for some nodes only, and for so many runs a day.
"""
_TAGS = {
    "nodes": "The catalogue.",
    "runs": "Executions of nodes, and what an operator can do with them.",
    "groups": "Many runs of which one event tells.",
    "events": "What happened to runs, for whoever has no URL to be told at.",
    "endpoints": "Subscriptions: who is told of which events.",
    "deliveries": "What is on its way to whom, what became of each attempt, and sending it again.",
    "files": "Uploads, and the bytes of what Halley keeps.",
    "callbacks": "Where providers report.",
    "operations": "Liveness, readiness, metrics, this document.",
}


def build_document(catalog: Catalog) -> bytes:
    """Return the API document of a catalogue as JSON; always the same bytes for the same nodes."""
    nodes = catalog.nodes.values()
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Halley", "version": installed_version(), "description": _ABOUT},
        "servers": [{"url": "http://127.0.0.1:2061"}],
        "security": [{"apiKey": []}, {"bearer": []}],
        "tags": _tags(catalog),
        "paths": _paths(catalog),
        "webhooks": webhooks(),
        "components": components(catalog, {input_name(node): input_schema(node) for node in nodes}),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def installed_version() -> str:
    """Return the version of Halley, as documents tell it."""
    try:
        return version("halley")
    except PackageNotFoundError:
        return "uninstalled"


def _tags(catalog: Catalog) -> list[dict[str, str]]:
    providers = [
        {"name": name, "description": f"{provider.title}. {provider.about.strip()}"}
        for name, provider in catalog.providers().items()
    ]
    return [*providers, *({"name": name, "description": about} for name, about in _TAGS.items())]


def _paths(catalog: Catalog) -> dict[str, Any]:
    paths: dict[str, Any] = {node_path(node): {"post": node_operation(node)} for node in catalog.nodes.values()}
    for route in routes():
        method, _, path = route.at.partition(" ")
        paths.setdefault(path, {})[method.lower()] = operation(route)
    return paths
