"""The operations of groups."""

from typing import Any

from service.api.group_starts import GROUP, ITEM, MOST_AT_ONCE, RULES
from service.api.openapi.components import (
    LOCATION,
    PROFILE,
    REPLAYED,
    WEBHOOK_URL,
    group_list_name,
    json_content,
)
from service.api.openapi.route import Route
from service.api.openapi.schemas import schema_ref
from service.api.openapi.texts import with_texts
from service.api.parameters import GROUPS
from service.definitions.json_schema import object_schema

_ERRORS = (400, 401, 404, 503)
_OF_GROUPS = ("show_group", "close_group", "cancel_group")
_EXAMPLE = {
    "runs": [{"node": ITEM["node"].example, "input": ITEM["input"].example, "reference": "order-42"}],
    "webhook_url": "https://hooks.example.com/album",
    "mode": "mock",
}
_ABOUT = (
    f"Either with `runs`, {MOST_AT_ONCE} at most, which are started together: `results` tells what became of each, and "
    "one that is wrong keeps no other from starting unless `atomic` says so. When none can be started, the answer is "
    "422 with every fault. Or without: then runs come by themselves, started with `group=` and the group's name or id. "
    "Runs of that name that are there already belong to it. A name that is taken is answered with 200 and the group "
    "that has it.\n\n"
    "`mode`, `reference`, `metadata`, `deadline` and those that begin with `webhook_` may also stand in the query, or "
    "in a header such as `Halley-Webhook-Url`. The header `Idempotency-Key` makes a repeated request the same group."
)


def group_routes() -> tuple[Route, ...]:
    """Return the rows of the table."""
    return (
        Route(
            at="POST /v1/groups",
            id="create_group",
            tag="groups",
            summary="Start many runs of which one event tells, or make a group for runs that come by themselves",
            about=_ABOUT,
            gives=None,
            body={"required": True, "content": json_content(_schema(), example=_EXAMPLE)},
            answers={"202": _made("The group is made."), "200": _made("It was there already.")},
            errors=(400, 401, 409, 413, 415, 422, 503),
        ),
        Route(
            at="GET /v1/groups",
            id="list_groups",
            tag="groups",
            summary="List groups, newest first",
            gives=schema_ref("GroupList"),
            takes=tuple(map(group_list_name, GROUPS)),
            errors=(401, 422, 503),
        ),
        Route(
            at="GET /v1/groups/{group}",
            id="show_group",
            tag="groups",
            summary="Show a group with all its runs",
            about="With `wait` the answer is held back until the group completes, for 25 s at most.",
            gives=schema_ref("GroupView"),
            takes=("group_key", "wait", "Prefer"),
            errors=(*_ERRORS, 422),
        ),
        Route(
            at="POST /v1/groups/{group}/close",
            id="close_group",
            tag="groups",
            summary="Let no more runs come to a group",
            about="It completes when those that it has have come far enough.",
            gives=schema_ref("GroupView"),
            takes=("group_key",),
            errors=_ERRORS,
        ),
        Route(
            at="POST /v1/groups/{group}/cancel",
            id="cancel_group",
            tag="groups",
            summary="Cancel the runs of a group that are still open, and let no more come",
            about="What upstream has begun goes on there and may be billed. A run that is just being sent is canceled "
            "once that is done.",
            gives=schema_ref("GroupView"),
            takes=("group_key",),
            errors=_ERRORS,
        ),
    )


def _schema() -> dict[str, Any]:
    """Return the schema of a request, with what the check says in words of its own."""
    schema = with_texts(object_schema(GROUP, RULES))
    properties = schema["properties"]
    properties["runs"] = properties["runs"] | {"items": with_texts(object_schema(ITEM, ()))}
    properties["webhook_url"] = properties["webhook_url"] | {"pattern": WEBHOOK_URL}
    properties["complete_on"] = properties["complete_on"] | {
        "type": ["string", "integer"],
        "minimum": 1,
        "maximum": 9999,
    }
    return schema


def _made(about: str) -> dict[str, Any]:
    return {
        "description": about,
        "headers": {
            "Location": LOCATION | {"description": "URL of the group.", "required": True},
            "Idempotency-Replayed": REPLAYED,
            "Halley-Webhook-Profile": PROFILE,
        },
        "content": json_content(schema_ref("GroupMade")),
        "links": {name: {"operationId": name, "parameters": {"group": "$response.body#/id"}} for name in _OF_GROUPS},
    }
