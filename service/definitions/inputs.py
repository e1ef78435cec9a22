"""From what a user sent to a checked input: native spellings, text for numbers, every fault at once.

The rules themselves are JSON Schema (see `json_schema`); this room applies them and words their violations.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import jsonschema_rs
import msgspec

from service.definitions import media
from service.definitions.json_schema import object_schema
from service.definitions.paths import as_text
from service.definitions.schema import Field, Rule
from service.errors import Fault, InvalidInput

_NUMBERS = (int, float)


class InputCheck:
    """The compiled check of one node's inputs.

    Args:
        fields: The node's inputs, with the provider's words filled in.
        rules: Requirements across them.
        reserved: Names that Halley sets itself, each with what to use instead.
    """

    def __init__(self, fields: Mapping[str, Field], rules: Sequence[Rule], reserved: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        self._rules = rules
        self._reserved = dict(reserved)
        self._native = native_names(fields)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the inputs."""
        return object_schema(self.fields, self._rules)

    @cached_property
    def _validator(self) -> Any:
        # Made when a node is first used: few of them are, and each weighs 40 kB.
        return jsonschema_rs.validator_for(self.schema)

    def check(self, raw: Mapping[str, Any], *, is_json: bool = False) -> dict[str, Any]:
        """Return the input in the types of the definition.

        Args:
            raw: What was sent.
            is_json: It was sent with types, so text stands for less than in a form.

        Raises:
            InvalidInput: With one fault for everything that is wrong.
        """
        understood = coerced_json if is_json else coerced
        values = {
            name: understood(value, self.fields[name]) if name in self.fields else value
            for name, value in self._flat(raw).items()
        }
        faults = self._schema_faults(values)
        if not faults:
            faults = [*self._media_faults(values)]
        if faults:
            raise InvalidInput(tuple(_unique(faults)))
        return values

    def _schema_faults(self, values: dict[str, Any]) -> list[Fault]:
        try:
            return [fault for error in self._validator.iter_errors(values) for fault in self._worded(error)]
        except ValueError:  # the validator gives up on values nested deeper than any field is
            return [Fault(pointer="", code="type", message="the input is nested too deeply")]

    def _flat(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Accept upstream's own names and nesting (`{"input": {"mode": …}}` or `input.mode`)."""
        flat: dict[str, Any] = {}
        for key, value in raw.items():
            inner = {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {}
            if key not in self.fields and inner and inner.keys() <= self._native.keys():
                flat |= renamed(inner, {**raw, **flat}, self._native)
            else:
                flat |= renamed({key: value}, {**raw, **flat}, self._native)
        return flat

    def _media_faults(self, values: dict[str, Any]) -> Iterator[Fault]:
        for name, value in values.items():
            for pointer, text, field in media_values(value, self.fields[name], f"/{name}"):
                yield from media.media_faults(text, field, pointer)

    def _worded(self, error: jsonschema_rs.ValidationError) -> list[Fault]:
        kind, value = error.kind.name, getattr(error.kind, "value", None)
        pointer = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in error.instance_path)
        rule = self._rule_sentence(error.schema_path)
        if kind == "required":
            message = rule or f"{value} is required"
            return [Fault(pointer=f"{pointer}/{value}", code="required", message=message)]
        if rule is not None:
            return [Fault(pointer=pointer, code="rule", message=rule)]
        if kind == "additionalProperties":
            return [self._unknown(f"{pointer}/{name}", name) for name in value or ()]
        message = self._message(kind, value, error)
        return [Fault(pointer=pointer, code=_CODES.get(kind, "value"), message=message)]

    def _rule_sentence(self, schema_path: Sequence[str | int]) -> str | None:
        schema: Any = self.schema
        found = None
        for before, step in zip((None, *schema_path), schema_path, strict=False):
            schema = schema[step] if not isinstance(schema, str | int) else schema
            if before == "allOf" and isinstance(schema, dict) and "description" in schema:
                found = str(schema["description"])
        return found

    def _unknown(self, pointer: str, name: str) -> Fault:
        near = difflib.get_close_matches(name, self.fields, 1)
        known = f"did you mean {near[0]}?" if near else f"known fields: {', '.join(self.fields)}"
        hint = self._reserved.get(name) or known
        return Fault(pointer=pointer, code="unknown_field", message=f"{name} is not a field of this node; {hint}")

    def _message(self, kind: str, value: Any, error: jsonschema_rs.ValidationError) -> str:
        field = self.fields.get(str(error.instance_path[0])) if error.instance_path else None
        if field is not None and field.type == "media" and kind in ("anyOf", "pattern", "maxLength"):
            return _media_message(field)
        words = {
            "type": f"must be of type {_alternatives(value)}",
            "enum": f"must be one of {_alternatives(value)}",
            "minimum": f"must be at least {value}",
            "maximum": f"must be at most {value}",
            "minLength": f"must have at least {value} characters",
            "maxLength": f"must have at most {value} characters",
            "minItems": f"must have at least {value} items",
            "maxItems": f"must have at most {value} items",
            "pattern": f"must match {value}",  # what was sent may hold a secret, so it is not repeated
        }
        return words.get(kind, str(error.message)[:300])


_CODES = {
    "type": "type",
    "enum": "enum",
    "const": "enum",
    "minimum": "minimum",
    "maximum": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_items",
    "maxItems": "max_items",
    "pattern": "format",
    "anyOf": "format",
}


def _alternatives(values: Any) -> str:
    return ", ".join(map(str, values)) if isinstance(values, list) else str(values)


def _media_message(field: Field) -> str:
    formats = " or ".join(field.formats or ["any"])
    limit = f", at most {field.max_size}" if field.max_size else ""
    return (
        "must be a URL that starts with http:// or https://, "
        f"Base64 (raw or a data URI) of a {formats} file{limit}, or the id of an upload or artifact"
    )


def native_names(fields: Mapping[str, Field | None]) -> dict[str, str]:
    """Return upstream's own names of the fields that have another name here."""
    paths = [(name, [f.to] if isinstance(f.to, str) else f.to or []) for name, f in fields.items() if f]
    return {path: name for name, to in paths for path in to if path not in fields}


def renamed(values: Mapping[str, Any], given: Mapping[str, Any], native: Mapping[str, str]) -> dict[str, Any]:
    """Give values their names here; one that was given differently under that name is left, to be refused."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = native.get(key, key)
        if name == key or name not in given:
            found[name] = value
        elif given[name] != value:
            found[key] = value
    return found


def _unique(faults: list[Fault]) -> list[Fault]:
    return list(dict.fromkeys(faults))


def media_values(value: Any, field: Field, pointer: str) -> Iterator[tuple[str, str, Field]]:
    """Yield every media text in a value, with its pointer and its field."""
    if field.type == "media" and isinstance(value, str):
        yield pointer, value, field
    elif isinstance(value, list) and field.items:
        for index, item in enumerate(value):
            yield from media_values(item, field.items, f"{pointer}/{index}")
    elif isinstance(value, dict):
        for name, member in (field.fields or {}).items():
            if member and name in value:
                yield from media_values(value[name], member, f"{pointer}/{name}")


def replaced_media(values: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Return an input with the values at these pointers replaced."""
    return {name: _replaced(value, f"/{name}", made) for name, value in values.items()} if made else dict(values)


def _replaced(value: Any, pointer: str, made: Mapping[str, Any]) -> Any:
    if pointer in made:
        return made[pointer]
    if isinstance(value, list):
        return [_replaced(item, f"{pointer}/{index}", made) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _replaced(member, f"{pointer}/{name}", made) for name, member in value.items()}
    return value


def coerced(value: Any, field: Field) -> Any:
    """Bring text to the field's type where it plainly stands for it; anything else is left for the check.

    Forms and no-code tools send `"3"`, `"true"` and `"[…]"`; a lone value stands for a list of one, or for an
    object with a single required member.
    """
    if field.type == "media":
        return media.normalized(value) if isinstance(value, str) else value
    if field.type == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)  # JSON Schema calls 1.0 an integer; upstream does not
    if field.type == "string" and isinstance(value, int | float) and as_text(value) in (field.enum or ()):
        return as_text(value)
    if isinstance(value, str) and field.type in _PARSED:
        value = _parsed(value, field.type)
    if field.type == "array" and field.items:
        items = [value] if isinstance(value, str | dict) else value if isinstance(value, list) else None
        return value if items is None else [coerced(item, field.items) for item in items]
    if field.type == "object" and field.fields:
        return _coerced_object(value, field.fields)
    return value


_PLAIN_TEXTS = {
    "integer": re.compile("-?(?:0|[1-9][0-9]*)"),
    "number": re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"),
    "boolean": re.compile("true|false"),
}


def coerced_json(value: Any, field: Field) -> Any:
    """Bring a value of a JSON body to the field's type, as far as the published schema says so.

    A plain text may stand for the field's number or boolean. Lists and objects are what they are, since no
    schema could tell which texts stand for them.
    """
    if field.type in ("array", "object"):
        return _plain_json(value, field)
    plain = _PLAIN_TEXTS.get(field.type or "")
    if plain is not None and isinstance(value, str) and not plain.fullmatch(value):
        return value
    return coerced(value, field)


def _plain_json(value: Any, field: Field) -> Any:
    if field.type == "media" or isinstance(value, float):
        return coerced(value, field)
    if isinstance(value, list) and field.items:
        return [_plain_json(item, field.items) for item in value]
    if isinstance(value, dict) and field.fields:
        own = renamed(value, value, native_names(field.fields))
        return {name: _plain_json(v, m) if (m := field.fields.get(name)) else v for name, v in own.items()}
    return value


_PARSED: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": _NUMBERS,
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def _parsed(text: str, kind: str) -> Any:
    try:
        value = msgspec.json.decode(text.strip().lower() if kind == "boolean" else text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    is_number_for_bool = isinstance(value, bool) and kind != "boolean"
    return value if isinstance(value, _PARSED[kind]) and not is_number_for_bool else text


def _coerced_object(value: Any, fields: Mapping[str, Field | None]) -> Any:
    if isinstance(value, str):
        required = [name for name, member in fields.items() if member and member.required]
        value = {required[0]: value} if len(required) == 1 else value
    if not isinstance(value, dict):
        return value
    own = renamed(value, value, native_names(fields))
    return {name: coerced(v, member) if (member := fields.get(name)) else v for name, v in own.items()}
