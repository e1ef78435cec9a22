"""All operations that are not a node's own: a table, and how a row becomes an operation."""

from collections.abc import Mapping
from typing import Any

from service.api.live_answers import EVENT_STREAM
from service.api.openapi.components import (
    event_list_name,
    json_content,
    list_name,
    problem_refs,
    ref,
    scope_note,
)
from service.api.openapi.group_routes import group_routes
from service.api.openapi.route import Route
from service.api.openapi.schemas import schema_ref
from service.api.openapi.subscription_routes import subscription_routes
from service.api.parameters import EVENT_STREAM_OPTIONS, EVENTS, LIST, SIGNING_KEYS
from service.api.runs import ADOPT
from service.api.scopes import ACCESS, Access
from service.definitions.json_schema import object_schema

_OF_FILES = ("show_file", "delete_file")


_ANY_BODY = {"content": json_content({})}
_ADOPT_BODY = {
    "required": True,
    "content": json_content(object_schema(ADOPT, ()), example={"task_id": ADOPT["task_id"].example}),
}
_RECEIVED = {"type": "object", "properties": {"received": {"const": True}}, "required": ["received"]}
_BINARY = {"type": "string", "format": "binary"}
_FILE_BODY = {
    "required": True,
    "description": "The file, alone or as the part `file` of a form; 512 MB at most.",
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": _BINARY | {"minLength": 1}}, "required": ["file"]}
        },
        "application/octet-stream": {"schema": _BINARY | {"minLength": 1}},
    },
}
_UPLOADED = {
    "description": "Taken in.",
    "headers": {
        "Location": {
            "description": "URL of what is known of the upload.",
            "required": True,
            "schema": {"type": "string"},
        }
    },
    "content": json_content(schema_ref("FileView")),
    "links": {name: {"operationId": name, "parameters": {"file": "$response.body#/id"}} for name in _OF_FILES},
}
# Without a schema: to some the body is a text, to others each of its events is an object.
_STREAMED = {
    "description": "Events until somebody goes away: `id` is the event's, `event` its type, `data` the `EventView` as "
    "JSON. An `id` alone says where to go on. Lines that begin with a colon mean nothing.",
    "content": {EVENT_STREAM: {}},
}
_BYTES = {"content": {"*/*": {"schema": _BINARY}}}
_SENT: dict[str, dict[str, Any]] = {
    "200": {"description": "The bytes.", **_BYTES},
    "206": {"description": "The part of them that `Range` asks for.", **_BYTES},
    "302": {"description": "Upstream keeps them, at `Location`; only told to who has an API key."},
    "304": {"description": "They are what `If-None-Match` names."},
}
_MOVE_ERRORS = (400, 401, 404, 409, 503)
_KEY_ERRORS: dict[Access, tuple[int, ...]] = {
    "public": (),
    "link": (403, 429),
    "read": (429,),
    "run": (403, 429),
    "admin": (403, 429),
}


def routes() -> tuple[Route, ...]:
    """Return the table."""
    return (
        *_nodes(),
        *_runs(),
        *_moves(),
        *group_routes(),
        *_events(),
        *subscription_routes(),
        *_files(),
        *_artifacts(),
        *_others(),
    )


def _nodes() -> tuple[Route, ...]:
    return (
        Route(
            at="GET /v1/nodes",
            id="list_nodes",
            tag="nodes",
            summary="List all nodes",
            gives=schema_ref("NodeList"),
            errors=(401, 503),
        ),
        Route(
            at="GET /v1/nodes/{node}",
            id="show_node",
            tag="nodes",
            summary="Show one node: its input as JSON Schema, an example, a curl line",
            gives=schema_ref("NodeDetail"),
            takes=("node_id",),
            errors=(400, 401, 404, 503),
        ),
    )


def _runs() -> tuple[Route, ...]:
    return (
        Route(
            at="GET /v1/runs",
            id="list_runs",
            tag="runs",
            summary="List runs, newest first",
            gives=schema_ref("RunList"),
            takes=tuple(map(list_name, LIST)),
            errors=(401, 422, 503),
        ),
        Route(
            at="GET /v1/runs/{run}",
            id="show_run",
            tag="runs",
            summary="Show a run, and what became of its events",
            about="With `wait` the answer is held back until the run ends, for 25 s at most.",
            gives=schema_ref("RunDetail"),
            takes=("run_id", "wait", "Prefer"),
            errors=(400, 401, 404, 422, 503),
        ),
        Route(
            at="GET /v1/runs/{run}/timeline",
            id="show_timeline",
            tag="runs",
            summary="Show every transition, poll, callback and delivery attempt of a run, with its reason",
            gives=schema_ref("Timeline"),
            takes=("run_id",),
            errors=(400, 401, 404, 503),
        ),
    )


def _moves() -> tuple[Route, ...]:
    run, takes = schema_ref("RunView"), ("run_id",)
    return (
        Route(
            at="POST /v1/runs/{run}/cancel",
            id="cancel_run",
            tag="runs",
            summary="End a run that is no longer wanted",
            about="What upstream has begun goes on there and may be billed.",
            gives=run,
            takes=takes,
            errors=_MOVE_ERRORS,
        ),
        Route(
            at="POST /v1/runs/{run}/adopt",
            id="adopt_run",
            tag="runs",
            summary="Tell which upstream task a run of unknown outcome led to",
            about="Halley follows the task from there.",
            gives=run,
            takes=takes,
            body=_ADOPT_BODY,
            errors=(*_MOVE_ERRORS, 413, 415, 422),
        ),
        Route(
            at="POST /v1/runs/{run}/abandon",
            id="abandon_run",
            tag="runs",
            summary="Give up a run of unknown outcome",
            about="What upstream may have begun goes on there and may be billed.",
            gives=run,
            takes=takes,
            errors=_MOVE_ERRORS,
        ),
        Route(
            at="POST /v1/runs/{run}/retry",
            id="retry_run",
            tag="runs",
            summary="Start a new run with the input of one that has ended",
            about="Paid for like any other; its `retry_of` names the old one. Takes an `Idempotency-Key` as well.",
            gives=None,
            takes=takes,
            errors=(*_MOVE_ERRORS, 422),
        ),
    )


def _events() -> tuple[Route, ...]:
    return (
        Route(
            at="GET /v1/events",
            id="list_events",
            tag="events",
            summary="List events, newest first",
            about="For polling: take the first page and tell repetitions by `id`, or keep the newest `id` and ask for "
            "what came `after` it. Pages neither skip nor repeat an event, whatever happens meanwhile. Events are kept "
            "as long as their run.",
            gives=schema_ref("EventList"),
            takes=tuple(map(event_list_name, EVENTS)),
            errors=(401, 422, 503),
        ),
        Route(
            at="GET /v1/events/stream",
            id="stream_events",
            tag="events",
            summary="Tell of events as they come, in server-sent events",
            about="Begins now, or after `Last-Event-ID`. Ends when Halley stops, and after an hour; come back with "
            "`Last-Event-ID`, and nothing is missed.",
            gives=None,
            takes=(*map(event_list_name, EVENT_STREAM_OPTIONS), "Last-Event-ID"),
            answers={"200": _STREAMED},
            errors=(401, 422, 503),
        ),
        Route(
            at="GET /.well-known/jwks.json",
            id="show_signing_keys",
            tag="events",
            summary="Show the public keys that events are signed under",
            about="Each verifies the `v1a` signatures of its workspace. The current one stands first; those before it "
            "are listed as long as events are signed under them too.",
            gives=schema_ref("PublicKeySet"),
            takes=tuple(SIGNING_KEYS),
            errors=(422,),
        ),
    )


def _files() -> tuple[Route, ...]:
    return (
        Route(
            at="POST /v1/files",
            id="upload_file",
            tag="files",
            summary="Upload a file",
            about="Inputs take its id wherever they take a file. It is kept for 7 days.",
            gives=None,
            body=_FILE_BODY,
            answers={"201": _UPLOADED},
            errors=(400, 401, 413, 422, 503),
        ),
        Route(
            at="GET /v1/files/{file}",
            id="show_file",
            tag="files",
            summary="Show what is known of an upload",
            gives=schema_ref("FileView"),
            takes=("file_id",),
            errors=(400, 401, 404, 503),
        ),
        Route(
            at="DELETE /v1/files/{file}",
            id="delete_file",
            tag="files",
            summary="Delete an upload",
            gives=None,
            takes=("file_id",),
            answers={"204": {"description": "It is gone."}},
            errors=(400, 401, 404, 503),
        ),
    )


def _artifacts() -> tuple[Route, ...]:
    takes = ("artifact_id", "expires", "signature", "Range")
    return tuple(
        Route(
            at=f"{method} /v1/artifacts/{{artifact}}",
            id=name,
            tag="files",
            summary=summary,
            about="By a signed link, as runs and uploads show them, or by an API key.",
            gives=None,
            takes=takes,
            answers=answers,
            errors=errors,
        )
        for method, name, summary, answers, errors in (
            ("GET", "send_artifact", "Give the bytes of an artifact or upload", _SENT, (400, 401, 404, 416, 503)),
            (
                "HEAD",
                "describe_artifact",
                "Give only the headers of these bytes",
                {status: {"description": each["description"]} for status, each in _SENT.items() if status != "206"},
                (400, 401, 404, 503),
            ),
        )
    )


def _others() -> tuple[Route, ...]:
    health = schema_ref("Health")
    table = (
        ("healthz", "Tell that the process is alive", health, ()),
        ("readyz", "Tell whether new work is taken, and what is missing", health, ()),
        ("metrics", "Give counters in the Prometheus text format", {"type": "string"}, (503,)),
        ("openapi.json", "Give this document", {"type": "object"}, ()),
        (
            "asyncapi.json",
            "Give the AsyncAPI document: events, where they go, what they look like",
            {"type": "object"},
            (),
        ),
    )
    callback = Route(
        at="POST /v1/callbacks/{token}",
        id="receive_callback",
        tag="callbacks",
        summary="Take a provider's report about a run",
        about="Any body is taken, and none is believed: a report only brings the next look at upstream forward.",
        gives=_RECEIVED,
        takes=("token",),
        body=_ANY_BODY,
        errors=(400, 404, 413, 429, 503),
    )
    return (
        callback,
        *(
            Route(
                at=f"GET /{path}",
                id=path.partition(".")[0],
                tag="operations",
                summary=summary,
                gives=schema,
                errors=errors,
            )
            for path, summary, schema, errors in table
        ),
    )


def operation(route: Route) -> dict[str, Any]:
    """Describe a row of the table."""
    access = ACCESS[route.at]
    about = " ".join(part for part in (route.about, scope_note(route.at)) if part)
    errors = {*route.errors, *_KEY_ERRORS[access]}
    return {
        "operationId": route.id,
        "tags": [route.tag],
        "summary": route.summary,
        **({"description": about} if about else {}),
        **({"parameters": [ref("parameters", name) for name in route.takes]} if route.takes else {}),
        **({"requestBody": route.body} if route.body else {}),
        "responses": {**_good(route), **problem_refs(*sorted(errors))},
        **({"security": []} if access == "public" else {}),
    }


def _good(route: Route) -> Mapping[str, Any]:
    if route.answers is not None:
        return route.answers
    if route.gives is None:
        return {"202": ref("responses", "Started")}
    media_type = "text/plain" if route.id == "metrics" else "application/json"
    content = {media_type: {"schema": route.gives}}
    answers = {"200": {"description": "Done.", "content": content}}
    if route.id == "readyz":
        answers["503"] = {"description": "No new work is taken.", "content": content}
    return answers
