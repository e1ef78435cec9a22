"""Schemas of what Halley answers, from the Structs that it writes."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.inspect import StructType, multi_type_info

from service.api.deliveries import DeliveryDetail, DeliveryList
from service.api.endpoints import EndpointList, EndpointMade, Recovered, Secrets, TestResult
from service.api.event_types import EVENT_TYPES
from service.api.events import EventList
from service.api.files import FileView
from service.api.groups import GroupList, GroupMade
from service.api.health import Health
from service.api.node_routes import Preview
from service.api.node_views import NodeDetail, NodeList
from service.api.problems import Problem
from service.api.runs import RunDetail, RunList, Timeline
from service.api.signing_keys import PublicKeySet
from service.definitions.format_schema import attribute_docs
from service.lifecycle.view import RunView

_ROOTS: tuple[type[Struct], ...] = (
    RunView,
    RunDetail,
    *dict.fromkeys(told.body for told in EVENT_TYPES.values()),
    Problem,
    NodeList,
    NodeDetail,
    Preview,
    RunList,
    EventList,
    GroupMade,
    GroupList,
    Timeline,
    EndpointMade,
    EndpointList,
    Secrets,
    TestResult,
    Recovered,
    DeliveryList,
    DeliveryDetail,
    FileView,
    Health,
    PublicKeySet,
)
_REF = "#/components/schemas/{name}"


def schema_ref(name: str) -> dict[str, Any]:
    """Refer to a schema."""
    return {"$ref": _REF.format(name=name)}


def answer_schemas() -> dict[str, Any]:
    """Return the schema of every Struct that stands in an answer or an event, by its name."""
    return schemas_of(_ROOTS)


def schemas_of(roots: Sequence[type[Struct]]) -> dict[str, Any]:
    """Return the schema of these Structs and of all that stand in them, by their names."""
    _, schemas = msgspec.json.schema_components(roots, ref_template=_REF)
    structs = {struct.__name__: struct for struct in _structs(multi_type_info(roots))}
    return {name: _described(schemas[name], structs[name]) for name in sorted(schemas)}


def _structs(infos: Iterable[Any]) -> list[type[Struct]]:
    found: list[type[Struct]] = []
    for info in infos:
        if isinstance(info, StructType):
            found += [info.cls, *_structs(field.type for field in info.fields)]
        found += _structs(getattr(info, "types", ()))
        found += _structs([info.item_type] if hasattr(info, "item_type") else ())
    return found


def _described(schema: dict[str, Any], struct: type[Struct]) -> dict[str, Any]:
    """Take descriptions from the docstring, and require every attribute that is always written."""
    docs = attribute_docs(struct)
    fields = msgspec.structs.fields(struct)
    return {
        "title": struct.__name__,
        "description": inspect.cleandoc(struct.__doc__ or "").partition("\n\n")[0],
        "type": "object",
        "properties": {
            field.encode_name: _property(field.name, schema["properties"][field.encode_name], docs) for field in fields
        },
        "required": [field.encode_name for field in fields if field.default is not msgspec.UNSET],
    }


def _property(name: str, schema: dict[str, Any], docs: dict[str, str]) -> dict[str, Any]:
    words = {word: value for word, value in schema.items() if word != "default"}
    if name.endswith("_at") or name in ("at", "timestamp"):
        words = _dated(words)
    return words | ({"description": docs[name]} if docs.get(name) else {})


def _dated(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        return {"anyOf": [_dated(each) for each in schema["anyOf"]]}
    return schema | ({"format": "date-time"} if schema.get("type") == "string" else {})
