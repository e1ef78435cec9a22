"""The document as a whole."""

from typing import Any

import msgspec

from service.api.asyncapi.channels import channels, operations, servers
from service.api.asyncapi.messages import messages, schemas, traits
from service.api.event_types import sample_run
from service.api.openapi.document import installed_version
from service.definitions.catalog import Catalog

_ABOUT = """\
What happens to runs is told by events: to webhooks, in a stream, and by message brokers. An event is written in one
transaction with the change that it tells of, sent at least once, and the same everywhere. `sequence` counts the events
of one run: one with a lower number than you have seen is an older one that was delayed.

How runs are started stands in the OpenAPI document, `/openapi.json`.
"""


def build_asyncapi(catalog: Catalog) -> bytes:
    """Return the AsyncAPI document as JSON; always the same bytes for the same nodes, one of which is the example."""
    document = {
        "asyncapi": "3.0.0",
        "info": {"title": "Halley", "version": installed_version(), "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": channels(),
        "operations": operations(),
        "components": {
            "messages": messages(sample_run(catalog)),
            "messageTraits": traits(),
            "schemas": schemas(),
            "securitySchemes": _security(),
        },
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _security() -> dict[str, Any]:
    return {
        "apiKey": {"type": "httpApiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
        "bearer": {"type": "http", "scheme": "bearer", "description": "The same key."},
        "standardWebhooks": {
            "type": "httpApiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "Signatures by Standard Webhooks: `v1` under a shared secret, `v1a` under a key of "
            "`/.well-known/jwks.json`.",
        },
    }
