"""Rules about inputs: one field, its limits and its values, and the conditions and rules that name inputs."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs
from msgspec import UNSET

from service.definitions.compiler import resolved
from service.definitions.json_schema import field_schema
from service.definitions.loader import DefinitionFault, Document
from service.definitions.media import FORMATS
from service.definitions.schema import Condition, Field, Match, Rule

_Path = tuple[str | int, ...]
_KINDS = ("exactly_one", "at_least_one", "at_most_one", "require", "forbid", "exactly_one_nonzero")
_MEDIA_WORDS = ("media", "send", "max_size", "formats", "min_side", "max_ratio")
_PAIRS = (("minimum", "maximum"), ("min_length", "max_length"), ("min_items", "max_items"))
_QUOTE = "quote it: YAML reads yes, no, on and off as true and false"


def fields_faults(
    document: Document, path: _Path, fields: Mapping[str, Field | None], shared: Mapping[str, Field]
) -> Iterator[DefinitionFault]:
    """Find what is wrong with the inputs of a node, the fields of a provider or the members of an object.

    Args:
        document: Where they stand.
        path: Place of `fields` in it.
        fields: As they are written.
        shared: The provider's fields.
    """
    filled = {name: resolved(name, field, shared) for name, field in fields.items()}
    for name, field in fields.items():
        yield from _field_faults(document, (*path, name), field, filled[name], shared)
        if field is not None and field.default_when is not None:
            place = (*path, name, "default_when")
            yield from condition_faults(document, place, field.default_when, filled)


def _field_faults(
    document: Document, path: _Path, written: Field | None, field: Field, shared: Mapping[str, Field]
) -> Iterator[DefinitionFault]:
    if written is not None and written.like is not None and written.like not in shared:
        hint = _near(written.like, shared)
        yield document.fault((*path, "like"), "unknown_field", f"there is no field {written.like!r}", hint)
        return
    if field.type is None:
        hint = "the provider has no field of this name to take it from"
        yield document.fault(path, "no_type", f"{path[-1]} has no type", hint)
        return
    faults = [*_shape_faults(document, path, field)]
    if written is not None:
        faults += _word_faults(document, path, written)
        faults += _inner_faults(document, path, written, field, shared)
    yield from faults
    if not faults and written is not None:
        yield from _value_faults(document, path, field)


def _shape_faults(document: Document, path: _Path, field: Field) -> Iterator[DefinitionFault]:
    if field.type == "media" and field.media is None:
        yield document.fault(path, "no_media", "a media input must say which media it takes")
    if field.type == "array" and field.items is None:
        yield document.fault(path, "no_items", "an array must say what its items are")
    if field.type != "media":
        for word in _MEDIA_WORDS:
            if getattr(field, word) is not None:
                yield document.fault((*path, word), "media_word", f"{word} is for media inputs only")
    if field.default_when is not None and field.default is UNSET:
        yield document.fault((*path, "default_when"), "no_default", "default_when needs a default")
    if field.required and field.default is not UNSET:
        yield document.fault(path, "required_default", "what is required has no use for a default")
    for least, most in _PAIRS:
        low, high = getattr(field, least), getattr(field, most)
        if low is not None and high is not None and low > high:
            yield document.fault(path, "limits", f"{least} is more than {most}")


def _word_faults(document: Document, path: _Path, written: Field) -> Iterator[DefinitionFault]:
    for word in ("enum", "suggest", "formats", "send"):
        values = getattr(written, word)
        if values == []:
            yield document.fault((*path, word), "empty", f"{word} has no values")
        elif values and len({str(value) for value in values}) < len(values):
            yield document.fault((*path, word), "repeated", f"{word} has a value twice")
    for index, name in enumerate(written.formats or []):
        if name not in FORMATS:
            known = f"known: {', '.join(FORMATS)}"
            yield document.fault((*path, "formats", index), "unknown_format", f"unknown format {name!r}", known)
    if written.pattern is not None:
        yield from _pattern_faults(document, (*path, "pattern"), written.pattern)


def _pattern_faults(document: Document, path: _Path, pattern: str) -> Iterator[DefinitionFault]:
    try:
        re.compile(pattern)
        jsonschema_rs.validator_for({"pattern": pattern}).is_valid("")
    except (re.error, ValueError, jsonschema_rs.ValidationError) as exc:
        yield document.fault(path, "pattern", f"no regular expression: {str(exc).splitlines()[0]}")


def _inner_faults(
    document: Document, path: _Path, written: Field, field: Field, shared: Mapping[str, Field]
) -> Iterator[DefinitionFault]:
    if written.items is not None and field.items is not None:
        yield from _field_faults(document, (*path, "items"), written.items, field.items, shared)
    if written.fields is not None:
        yield from fields_faults(document, (*path, "fields"), written.fields, shared)
    if written.rules is not None:
        members = {name: member for name, member in (field.fields or {}).items() if member}
        yield from rules_faults(document, (*path, "rules"), written.rules, members)


def _value_faults(document: Document, path: _Path, field: Field) -> Iterator[DefinitionFault]:
    schema: dict[str, Any] | None = None
    for word in ("default", "assumed", "example"):
        value = getattr(field, word)
        if value is UNSET:
            continue
        if isinstance(value, bool) and field.type == "string":
            yield document.fault((*path, word), "boolean", f"{word} is {value}, not a text", _QUOTE)
            continue
        schema = schema or field_schema(field)
        for error in jsonschema_rs.validator_for(schema).iter_errors(value):
            yield document.fault((*path, word), "value", f"{word} does not fit: {error.message[:200]}")


def rules_faults(
    document: Document, path: _Path, rules: Sequence[Rule], fields: Mapping[str, Field]
) -> Iterator[DefinitionFault]:
    """Find rules of no kind or of two, and names in them that are no inputs."""
    for index, rule in enumerate(rules):
        place = (*path, index)
        kinds = [kind for kind in _KINDS if getattr(rule, kind)]
        if len(kinds) != 1:
            message = f"a rule has exactly one of {', '.join(_KINDS)}"
            yield document.fault(place, "rule", message)
        if rule.when and not (rule.require or rule.forbid):
            yield document.fault((*place, "when"), "rule", "when goes with require or forbid")
        for kind in kinds:
            yield from _names_known(document, (*place, kind), _names(getattr(rule, kind)), fields)
        yield from condition_faults(document, (*place, "when"), rule.when or {}, fields)


def _names(entries: Sequence[str | list[str]]) -> list[str]:
    return [name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]


def _names_known(
    document: Document, path: _Path, names: Sequence[str], fields: Mapping[str, Field]
) -> Iterator[DefinitionFault]:
    for name in names:
        if name not in fields:
            yield document.fault(path, "unknown_input", f"{name!r} is no input here", _near(name, fields))


def condition_faults(
    document: Document, path: _Path, condition: Condition, fields: Mapping[str, Field]
) -> Iterator[DefinitionFault]:
    """Find names in a `when` that are no inputs, and values that such an input never has."""
    yield from _names_known(document, path, list(condition), fields)
    for name, match in condition.items():
        values = (match.any_of or []) if isinstance(match, Match) else [match]
        for value in values:
            if name in fields and (hint := _never(value, fields[name])):
                yield document.fault((*path, name), "never", f"{name} is never {value!r}", hint)


def _never(value: str | float | bool, field: Field) -> str:  # noqa: FBT001 - a value, not a switch
    if isinstance(value, bool) != (field.type == "boolean"):
        return _QUOTE if isinstance(value, bool) and field.type == "string" else f"its type is {field.type}"
    if field.enum and value not in field.enum:
        return f"known: {', '.join(map(str, field.enum))}"
    return ""


def _near(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
