"""The operations of endpoints and of the delivery log."""

from collections.abc import Mapping
from typing import Any

import msgspec

from service.api.deliveries import REPLAY
from service.api.endpoint_fields import FIELDS, HEADER_NAME, HEADER_VALUE, MOST_HEADERS, NULLABLE, RULES
from service.api.endpoints import ENABLE, RECOVER, ROTATE
from service.api.openapi.components import WEBHOOK_URL, delivery_list_name, endpoint_list_name, json_content
from service.api.openapi.route import Route
from service.api.openapi.schemas import schema_ref
from service.api.parameters import DELIVERIES, ENDPOINTS
from service.definitions.json_schema import object_schema
from service.definitions.schema import Field

_ERRORS = (400, 401, 404, 503)
_BODY_ERRORS = (*_ERRORS, 413, 415, 422)
_LOCATION = {
    "Location": {"description": "URL of the endpoint.", "required": True, "schema": {"type": "string"}},
}
_OF_ENDPOINTS = ("show_endpoint", "update_endpoint", "send_test_event", "show_secrets", "delete_endpoint")


def subscription_routes() -> tuple[Route, ...]:
    """Return the rows of the table."""
    return (*_endpoints(), *_moves(), *_deliveries())


def _endpoints() -> tuple[Route, ...]:
    one = ("endpoint_id",)
    return (
        Route(
            at="POST /v1/endpoints",
            id="create_endpoint",
            tag="endpoints",
            summary="Subscribe to events",
            about="The same events at the same URL again are the endpoint that is there, enabled and with the words of "
            "this request.",
            gives=None,
            body=_create_body(),
            answers={"201": _made("The endpoint is made."), "200": _made("It was there already.")},
            errors=(400, 401, 409, 413, 415, 422, 503),
        ),
        Route(
            at="GET /v1/endpoints",
            id="list_endpoints",
            tag="endpoints",
            summary="List endpoints, newest first, or find those of a URL",
            gives=schema_ref("EndpointList"),
            takes=tuple(map(endpoint_list_name, ENDPOINTS)),
            errors=(401, 409, 422, 503),
        ),
        Route(
            at="GET /v1/endpoints/{endpoint}",
            id="show_endpoint",
            tag="endpoints",
            summary="Show an endpoint",
            gives=schema_ref("EndpointView"),
            takes=one,
            errors=(*_ERRORS, 409),
        ),
        Route(
            at="PATCH /v1/endpoints/{endpoint}",
            id="update_endpoint",
            tag="endpoints",
            summary="Change an endpoint: what is given changes, null takes back",
            gives=schema_ref("EndpointView"),
            takes=one,
            body=_update_body(),
            errors=(*_BODY_ERRORS, 409),
        ),
        Route(
            at="DELETE /v1/endpoints/{endpoint}",
            id="delete_endpoint",
            tag="endpoints",
            summary="Remove an endpoint; one that is not there is no error",
            gives=None,
            takes=one,
            answers={"204": {"description": "It is gone."}},
            errors=_ERRORS,
        ),
    )


def _moves() -> tuple[Route, ...]:
    table: tuple[tuple[str, str, str, str, dict[str, Any] | None, str], ...] = (
        ("enable", "enable_endpoint", "Send an endpoint events again", "EndpointView", _body(ENABLE), ""),
        ("disable", "disable_endpoint", "Send an endpoint no more events", "EndpointView", None, ""),
        (
            "test",
            "send_test_event",
            "Send an endpoint an example of what it subscribes to",
            "TestResult",
            None,
            "Once and at once, whatever its state; the answer tells what became of it. Nothing of it is kept.",
        ),
        (
            "rotate-secret",
            "rotate_secret",
            "Sign an endpoint's events with a new secret",
            "EndpointMade",
            _body(ROTATE),
            "And with the old ones as well for a while, so that no receiver meets a signature that it does not know.",
        ),
        (
            "recover",
            "recover_endpoint",
            "Send an endpoint all that it has missed since a moment",
            "Recovered",
            _body(RECOVER, {"since": RECOVER["since"].example}),
            "What was given up, and what came while it was disabled or not there; within its own rate, oldest first.",
        ),
    )
    rows = tuple(
        Route(
            at=f"POST /v1/endpoints/{{endpoint}}/{verb}",
            id=name,
            tag="endpoints",
            summary=summary,
            about=about,
            gives=schema_ref(answer),
            takes=("endpoint_id",),
            body=body,
            errors=(*(_ERRORS if body is None else _BODY_ERRORS), 409),
        )
        for verb, name, summary, answer, body, about in table
    )
    secrets = Route(
        at="GET /v1/endpoints/{endpoint}/secrets",
        id="show_secrets",
        tag="endpoints",
        summary="Show what an endpoint's events are signed with",
        gives=schema_ref("Secrets"),
        takes=("endpoint_id",),
        errors=(*_ERRORS, 409),
    )
    return (*rows, secrets)


def _deliveries() -> tuple[Route, ...]:
    return (
        Route(
            at="GET /v1/deliveries",
            id="list_deliveries",
            tag="deliveries",
            summary="List deliveries, newest first",
            gives=schema_ref("DeliveryList"),
            takes=tuple(map(delivery_list_name, DELIVERIES)),
            errors=(401, 422, 503),
        ),
        Route(
            at="GET /v1/deliveries/{delivery}",
            id="show_delivery",
            tag="deliveries",
            summary="Show a delivery with all its attempts",
            gives=schema_ref("DeliveryDetail"),
            takes=("delivery_id",),
            errors=_ERRORS,
        ),
        Route(
            at="POST /v1/deliveries/{delivery}/retry",
            id="retry_delivery",
            tag="deliveries",
            summary="Try a delivery again now, whatever became of it before",
            gives=schema_ref("DeliveryDetail"),
            takes=("delivery_id",),
            errors=(*_ERRORS, 409),
        ),
        Route(
            at="POST /v1/events/{event}/replay",
            id="replay_event",
            tag="deliveries",
            summary="Send an event again, to all that it went to or to one endpoint",
            about="Its id stays the same, so a receiver that tells repetitions by it tells this one too.",
            gives=schema_ref("Recovered"),
            takes=("event_id",),
            body=_body(REPLAY),
            errors=_BODY_ERRORS,
        ),
    )


def _create_body() -> dict[str, Any]:
    example = {"url": FIELDS["url"].example, "types": FIELDS["types"].example}
    schema = _published(FIELDS)
    # Power Automate and Logic Apps put the address of their trigger where this mark is.
    schema["properties"]["url"]["x-ms-notification-url"] = True
    return {"required": True, "content": json_content(schema, example=example)}


def _update_body() -> dict[str, Any]:
    fields = {name: msgspec.structs.replace(each, required=False) for name, each in FIELDS.items() if name != "secret"}
    schema = _published(fields)
    for name in NULLABLE:
        schema["properties"][name] = {"anyOf": [schema["properties"][name], {"type": "null"}]}
    return {"required": False, "content": json_content(schema, example={"rate_per_s": 5})}


def _published(fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the schema of an endpoint's fields, with what the check says in words of its own."""
    schema = dict(object_schema(fields, RULES))
    properties = schema["properties"]
    properties["url"] = properties["url"] | {"pattern": WEBHOOK_URL}
    properties["expiration_date"] = properties["expiration_date"] | {"format": "date-time"}
    properties["headers"] = properties["headers"] | {
        "maxProperties": MOST_HEADERS,
        "propertyNames": {"pattern": f"^{HEADER_NAME}$"},
        "additionalProperties": {"type": "string", "pattern": f"^{HEADER_VALUE}$"},
    }
    return schema


def _body(fields: Mapping[str, Field], example: Mapping[str, Any] | None = None) -> dict[str, Any]:
    schema = object_schema(fields, ())
    if "since" in fields:
        schema["properties"]["since"] |= {"format": "date-time"}
    return {
        "required": any(field.required for field in fields.values()),
        "content": json_content(schema, **({"example": example} if example else {})),
    }


def _made(about: str) -> dict[str, Any]:
    return {
        "description": about,
        "headers": _LOCATION,
        "content": json_content(schema_ref("EndpointMade")),
        "links": {
            name: {"operationId": name, "parameters": {"endpoint": "$response.body#/id"}} for name in _OF_ENDPOINTS
        },
    }
