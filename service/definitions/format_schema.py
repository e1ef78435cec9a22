"""The JSON Schemas of the definition format, for editors, made from the Structs in `schema`.

The first paragraph of a Struct's docstring describes it, its `Attributes:` section describes its words.
"""

import inspect
import re
from typing import Any

import msgspec
from msgspec import Struct

from service.definitions.schema import Case, Dialect, Node, Provider

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_FILES: dict[str, Any] = {
    "node.json": Node,
    "provider.json": Provider,
    "dialect.json": Dialect,
    "fixtures.json": list[Case],
}
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def format_schemas() -> dict[str, bytes]:
    """Return the JSON Schema of each kind of definition file, by file name; always the same bytes."""
    return {name: _pretty(_schema(name, kind)) for name, kind in _FILES.items()}


def attribute_docs(struct: type[Struct]) -> dict[str, str]:
    """Return what the docstrings of a Struct and of those it extends say about its attributes."""
    found: dict[str, str] = {}
    for each in reversed(struct.__mro__):
        section = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2]
        found |= {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(section)}
    return found


def words(struct: type[Struct]) -> dict[str, str]:
    """Return the words of a Struct as they stand in a file, with what they mean."""
    docs = attribute_docs(struct)
    return {field.encode_name: docs.get(field.name, "") for field in msgspec.structs.fields(struct)}


def structs() -> list[type[Struct]]:
    """Return every Struct that the format is made of, in the order of their names."""
    waiting: list[type[Struct]] = [Case, Dialect, Node, Provider]
    found: dict[str, type[Struct]] = {}
    while waiting:
        struct = waiting.pop()
        if struct.__name__ not in found:
            found[struct.__name__] = struct
            waiting += _structs_in(msgspec.inspect.type_info(struct))
    return [found[name] for name in sorted(found)]


def _structs_in(info: Any) -> list[type[Struct]]:
    if isinstance(info, msgspec.inspect.StructType):
        return [s for field in info.fields for s in _structs_below(field.type)]
    return []


def _structs_below(info: Any) -> list[type[Struct]]:
    if isinstance(info, msgspec.inspect.StructType):
        return [info.cls]
    parts = [*getattr(info, "types", ())]
    parts += [part for name in ("type", "item_type", "value_type") if (part := getattr(info, name, None)) is not None]
    return [struct for part in parts for struct in _structs_below(part)]


def _schema(name: str, kind: Any) -> dict[str, Any]:
    (root,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    by_name = {struct.__name__: struct for struct in structs()}
    definitions = {key: _described(components[key], by_name[key]) for key in sorted(components)}
    return {"$schema": _DRAFT, "$id": name, **root, "$defs": definitions}


def _described(schema: dict[str, Any], struct: type[Struct]) -> dict[str, Any]:
    about = inspect.cleandoc(struct.__doc__ or "").partition("\n\n")[0]
    meanings = words(struct)
    properties = {
        word: {**each, "description": meanings[word]} if meanings[word] else each
        for word, each in schema["properties"].items()
    }
    return {**schema, "description": " ".join(about.split()), "properties": properties}


def _pretty(schema: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
