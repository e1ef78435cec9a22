"""The parts of the document that several operations refer to: parameters, answers, links, events, security."""

from collections.abc import Mapping
from typing import Any

from service.api.live_answers import EVENT_STREAM, RUN_EVENT
from service.api.openapi.events import event_request
from service.api.openapi.schemas import answer_schemas, schema_ref
from service.api.parameters import (
    DELIVERIES,
    ENDPOINTS,
    EVENT_STREAM_OPTIONS,
    EVENTS,
    GROUPS,
    LIST,
    SIGNING_KEYS,
    START,
)
from service.api.problems import PROBLEM_MEDIA_TYPE
from service.api.scopes import ACCESS
from service.definitions.catalog import Catalog
from service.definitions.json_schema import field_schema
from service.definitions.schema import Field

_HOST = r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\.?"
_PORT = r"(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
# Narrower than the check: addresses in brackets are taken too, but no short pattern tells the valid ones.
WEBHOOK_URL = rf"^https?://{_HOST}(?::{_PORT})?(?:[/?#][!-~]*)?$"

_PROBLEMS = {
    400: ("BadRequest", "The request cannot be read."),
    401: ("Unauthorized", "No API key was sent, or one that is unknown or revoked."),
    403: (
        "Forbidden",
        "The API key is valid, but not for this; or the link is expired, or was not made by this Halley.",
    ),
    404: ("NotFound", "There is no such thing for this caller."),
    409: ("Conflict", "The present state of the run or of the service forbids it."),
    413: ("TooLarge", "The body is larger than the route takes."),
    415: ("UnsupportedMedia", "The body is in a format that is not understood."),
    416: ("NoSuchRange", "The range lies beyond the end."),
    422: (
        "InvalidInput",
        "Something is missing, unknown or out of its limits; `errors` has an entry per fault.",
    ),
    429: (
        "TooMany",
        "The API key has started all its runs of today, or too many wrong keys, links or callbacks came from there.",
    ),
    503: ("Unavailable", "The database cannot do its work; nothing was started, try again in a moment."),
}
LOCATION = {"description": "URL of the run, in the body `status_url`.", "schema": {"type": "string"}}
_RETRY_AFTER = {
    "description": "When to ask again, in seconds; in a run `poll_after_s`.",
    "schema": {"type": "integer", "minimum": 1},
}
_WHEN_AGAIN = {"description": "When to try again, in seconds.", "schema": {"type": "integer", "minimum": 1}}
REPLAYED = {
    "description": "The same request was sent before, with this key or within `dedupe`; this is the run of that time.",
    "schema": {"type": "string", "enum": ["true"]},
}
PROFILE = {
    "description": "How the receiver's answers are understood, where there is a `webhook_url`; `; guessed` behind it "
    "when nobody named it. The run's timeline says the same.",
    "schema": {"type": "string"},
    "example": "n8n-resume; guessed",
}
_EVENTS = {
    EVENT_STREAM: {
        "schema": {
            "type": "string",
            "description": f"First an event `{RUN_EVENT}` with the run as JSON, then upstream's own events as they "
            f"come, where it has any, and at the end `{RUN_EVENT}` again. Lines that begin with a colon mean nothing.",
        }
    }
}
_CHALLENGE = {"description": "How to authenticate.", "schema": {"type": "string"}}
_FOLLOW_UPS = ("show_run", "show_timeline", "cancel_run", "retry_run")


def ref(kind: str, name: str) -> dict[str, Any]:
    """Refer to a component of a kind, such as `parameters`."""
    return {"$ref": f"#/components/{kind}/{name}"}


def list_name(name: str) -> str:
    """Return the component of a parameter of the list of runs, which means other things than that of a start."""
    return f"list_{name}"


def event_list_name(name: str) -> str:
    """Return the component of a parameter of the list or stream of events."""
    return f"events_{name}"


def endpoint_list_name(name: str) -> str:
    """Return the component of a parameter of the list of endpoints."""
    return f"endpoints_{name}"


def delivery_list_name(name: str) -> str:
    """Return the component of a parameter of the list of deliveries."""
    return f"deliveries_{name}"


def group_list_name(name: str) -> str:
    """Return the component of a parameter of the list of groups."""
    return f"groups_{name}"


def problem_refs(*statuses: int) -> dict[str, Any]:
    """Refer to the error answers of these statuses."""
    return {str(status): ref("responses", _PROBLEMS[status][0]) for status in statuses}


def scope_note(route: str) -> str:
    """Say which scope a route needs, where not every key will do."""
    access = ACCESS[route]
    return f"Needs an API key of the scope `{access}`." if access in ("run", "admin") else ""


def json_content(schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Describe a JSON body."""
    return {"application/json": {"schema": schema, **more}}


def components(catalog: Catalog, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is referred to.

    Args:
        catalog: The nodes.
        inputs: The schemas of their inputs, by name.
    """
    return {
        "schemas": {**answer_schemas(), **inputs},
        "parameters": {**_in_path(catalog), **_parameters()},
        "responses": _answers(),
        "links": {name: {"operationId": name, "parameters": {"run": "$response.body#/id"}} for name in _FOLLOW_UPS},
        "callbacks": {"RunEvents": {"{$request.query.webhook_url}": {"post": event_request()}}},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
        },
    }


def _in_path(catalog: Catalog) -> dict[str, Any]:
    table = {
        "node_id": ("node", "Id of the node.", {"type": "string", "enum": list(catalog.nodes)}),
        "run_id": ("run", "Id of the run.", {"type": "string", "pattern": "^run_[0-9a-z]{26}$"}),
        "token": (
            "token",
            "Unguessable, one per run.",
            {"type": "string", "pattern": "^[A-Za-z0-9_-]{20,100}$"},
        ),
        "group_key": (
            "group",
            "Id or name of the group.",
            {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[A-Za-z0-9_ -]+$"},
        ),
        "endpoint_id": ("endpoint", "Id of the endpoint.", {"type": "string", "pattern": "^ep_[0-9a-z]{26}$"}),
        "delivery_id": ("delivery", "Id of the delivery.", {"type": "string", "pattern": "^dlv_[0-9a-z]{26}$"}),
        "event_id": ("event", "Id of the event.", {"type": "string", "pattern": "^evt_[0-9a-z]{26}$"}),
        "file_id": ("file", "Id of the upload.", {"type": "string", "pattern": "^file_[0-9a-z]{26}$"}),
        "artifact_id": (
            "artifact",
            "Id of the artifact, or of an upload.",
            {"type": "string", "pattern": "^(?:art_[0-9a-z]{26}[0-9]{2,3}|file_[0-9a-z]{26})$"},
        ),
    }
    return {
        name: {"name": slot, "in": "path", "required": True, "description": about, "schema": schema}
        for name, (slot, about, schema) in table.items()
    }


def _parameters() -> dict[str, Any]:
    return {
        **{list_name(name): _query(name, field) for name, field in LIST.items()},
        **{event_list_name(name): _query(name, field) for name, field in (EVENTS | EVENT_STREAM_OPTIONS).items()},
        **{endpoint_list_name(name): _query(name, field) for name, field in ENDPOINTS.items()},
        **{group_list_name(name): _query(name, field) for name, field in GROUPS.items()},
        **{delivery_list_name(name): _query(name, field) for name, field in DELIVERIES.items()},
        **{name: _query(name, field) for name, field in (START | SIGNING_KEYS).items()},
        "Last-Event-ID": {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "Begin after the event of this id, as `EventSource` does when it comes back; what is no "
            "id of an event is passed over.",
            "schema": {"type": "string"},
        },
        "Prefer": {
            "name": "Prefer",
            "in": "header",
            "description": "`wait=N` says the same as the parameter `wait` (RFC 7240).",
            "schema": {"type": "string"},
            "example": "wait=10",
        },
        "expires": _of_link("expires", "When the link dies, in epoch seconds.", "^[0-9]{1,12}$"),
        "signature": _of_link("signature", "Makes the link good without an API key.", "^[0-9a-f]{64}$"),
        "Range": {
            "name": "Range",
            "in": "header",
            "description": "One range of bytes, such as `bytes=0-1023`; anything else is answered with the whole.",
            "schema": {"type": "string"},
        },
    }


def _of_link(name: str, about: str, pattern: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "query", "description": f"Part of a signed link. {about}", "schema": schema}


def _query(name: str, field: Field) -> dict[str, Any]:
    schema = field_schema(field)
    parameter: dict[str, Any] = {"name": name, "in": "query", "description": schema.pop("description", "")}
    if name == "webhook_url":
        schema["pattern"] = WEBHOOK_URL
    if field.type == "object":
        return parameter | {"content": json_content(schema, example={"order": 42})}
    if field.type == "array":
        parameter |= {"style": "form", "explode": False}
    return parameter | {"allowEmptyValue": True, "schema": schema}  # an empty one counts as not given


def _answers() -> dict[str, Any]:
    run, preview = schema_ref("RunView"), schema_ref("Preview")
    return {
        "Ended": {
            "description": "The run ended within `wait`; or, with `mode=preview`, the request that would be sent. "
            "Asked with `Accept: text/event-stream`, the answer comes in events, whatever `wait` says.",
            "headers": {
                "Location": LOCATION,
                "Idempotency-Replayed": REPLAYED,
                "Halley-Webhook-Profile": PROFILE,
            },
            "content": {**json_content({"oneOf": [run, preview]}), **_EVENTS},
            "links": _links(),
        },
        "Started": {
            "description": "The run goes on: ask for it later, or wait for its events.",
            "headers": {
                "Location": LOCATION | {"required": True},
                "Retry-After": _RETRY_AFTER | {"required": True},
                "Idempotency-Replayed": REPLAYED,
                "Halley-Webhook-Profile": PROFILE,
            },
            "content": json_content(run),
            "links": _links(),
        },
        **{name: _problem(status, about) for status, (name, about) in _PROBLEMS.items()},
    }


def _links() -> dict[str, Any]:
    return {name: ref("links", name) for name in _FOLLOW_UPS}


def _problem(status: int, about: str) -> dict[str, Any]:
    headers = {
        401: {"WWW-Authenticate": _CHALLENGE},
        429: {"Retry-After": _WHEN_AGAIN},
        503: {"Retry-After": _RETRY_AFTER},
    }
    return {
        "description": about,
        **({"headers": headers[status]} if status in headers else {}),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": schema_ref("Problem")}},
    }
