"""Fields and rules as JSON Schema: what is published, and what inputs are checked against."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from service.definitions.conditions import implied, matches
from service.definitions.media import media_schema
from service.definitions.schema import Condition, Field, Match, Rule

_LIMITS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "min_items": "minItems",
    "max_items": "maxItems",
    "enum": "enum",
    "title": "title",
}


def object_schema(fields: Mapping[str, Field], rules: Sequence[Rule]) -> dict[str, Any]:
    """Return the JSON Schema of an object with these members and rules across them."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: field_schema(field) for name, field in fields.items()},
        "additionalProperties": False,
    }
    if required := [name for name, field in fields.items() if field.required]:
        schema["required"] = required
    if rules:
        schema["allOf"] = [rule_schema(rule, fields) for rule in rules]
    return schema


def field_schema(field: Field) -> dict[str, Any]:
    """Return the JSON Schema of one input."""
    schema: dict[str, Any] = {}
    if field.type == "media":
        schema |= media_schema(field)
    elif field.type == "object" and field.fields:
        schema |= object_schema(_members(field), field.rules or [])
    elif field.type != "any":
        schema["type"] = field.type
    if field.items:
        schema["items"] = field_schema(field.items)
    schema |= {word: getattr(field, name) for name, word in _LIMITS.items() if getattr(field, name) is not None}
    if field.type == "string" and field.required and field.min_length is None and not field.enum:
        schema["minLength"] = 1
    if about := description(field):
        schema["description"] = about
    if (default := implied(field)) is not UNSET:
        schema["default"] = default
    if field.example is not UNSET:
        schema["examples"] = [field.example]
    return schema


def description(field: Field) -> str:
    """Say in words what the schema's own words do not: meaning, unit, known values, formats."""
    parts = [field.about or ""]
    if field.unit:
        parts.append(f"Unit: {field.unit}.")
    if field.default_when:
        parts.append(f"Default{_when(field.default_when)}: {field.default}.")
    if field.suggest:
        parts.append(f"Known values: {', '.join(field.suggest)}.")
    if field.type == "media":
        parts.append(_media_words(field))
    return " ".join(part for part in parts if part)


def _media_words(field: Field) -> str:
    formats = f" Formats: {', '.join(field.formats)}." if field.formats else ""
    size = f" At most {field.max_size}." if field.max_size else ""
    return f"A URL, Base64, a data URI, an uploaded file, or the id of an upload or artifact.{formats}{size}"


def _members(field: Field) -> dict[str, Field]:
    return {name: member for name, member in (field.fields or {}).items() if member}


def rule_schema(rule: Rule, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the JSON Schema of a rule; its `description` is the sentence for who breaks it."""
    check = _rule_check(rule)
    if rule.when:
        check = {"if": condition_schema(rule.when, fields), "then": check}
    return {"description": sentence(rule), **check}


def _rule_check(rule: Rule) -> dict[str, Any]:
    if rule.exactly_one:
        return {"oneOf": [{"required": [name]} for name in rule.exactly_one]}
    if rule.at_least_one:
        return {"anyOf": [{"required": [name]} for name in rule.at_least_one]}
    if rule.at_most_one:
        groups = [_any_given([g] if isinstance(g, str) else g) for g in rule.at_most_one]
        pairs = [(a, b) for i, a in enumerate(groups) for b in groups[i + 1 :]]
        return {"allOf": [{"not": {"allOf": [a, b]}} for a, b in pairs]}
    if rule.require:
        return {"required": rule.require}
    if rule.forbid:
        return {"not": _any_given(rule.forbid)}
    return {"oneOf": [_only_nonzero(name, rule.exactly_one_nonzero or []) for name in rule.exactly_one_nonzero or []]}


def _any_given(names: list[str]) -> dict[str, Any]:
    given = [{"required": [name]} for name in names]
    return given[0] if len(given) == 1 else {"anyOf": given}


def _only_nonzero(name: str, names: list[str]) -> dict[str, Any]:
    zero = {other: {"const": 0} for other in names if other != name}
    return {"required": [name], "properties": {name: {"not": {"const": 0}}, **zero}}


def condition_schema(condition: Condition, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the JSON Schema of inputs for which a condition holds."""
    required, properties, absent = [], {}, []
    for name, match in condition.items():
        if isinstance(match, Match) and match.given is False:
            absent.append({"not": {"required": [name]}})
            continue
        if not _holds_by_default(match, fields.get(name)):
            required.append(name)
        if check := _match_schema(match):
            properties[name] = check
    schema: dict[str, Any] = {}
    if required:
        schema["required"] = required
    if properties:
        schema["properties"] = properties
    if absent:
        schema["allOf"] = absent
    return schema


def _match_schema(match: object) -> dict[str, Any]:
    if not isinstance(match, Match):
        return {"const": match}
    schema: dict[str, Any] = {}
    if match.any_of is not None:
        schema["enum"] = match.any_of
    if match.like:
        schema["pattern"] = glob_pattern(match.like)
    if match.unlike:
        schema["not"] = {"pattern": glob_pattern(match.unlike)}
    if match.longer_than is not None:
        schema |= {"minLength": match.longer_than + 1, "minItems": match.longer_than + 1}
    if match.shorter_than is not None:
        schema |= {"maxLength": match.shorter_than - 1, "maxItems": match.shorter_than - 1}
    return schema


def glob_pattern(globs: str) -> str:
    """Return the regular expression of `a*|b`: `*` stands for anything, `|` between alternatives."""
    return "^(?:" + globs.replace(".", r"\.").replace("*", ".*") + ")$"


def _holds_by_default(match: object, field: Field | None) -> bool:
    return matches(match, implied(field), given=False)


def sentence(rule: Rule) -> str:
    """Say a rule in words."""
    if rule.because:
        return rule.because
    if rule.exactly_one:
        return f"Give exactly one of {_listed(rule.exactly_one)}."
    if rule.at_least_one:
        return f"Give at least one of {_listed(rule.at_least_one)}."
    if rule.at_most_one:
        groups = [g if isinstance(g, str) else "/".join(g) for g in rule.at_most_one]
        return f"Give at most one of {_listed(groups)}."
    if rule.exactly_one_nonzero:
        return f"Exactly one of {_listed(rule.exactly_one_nonzero)} must be other than zero."
    what = "required" if rule.require else "not allowed"
    return f"{_listed(rule.require or rule.forbid or [])}: {what}{_when(rule.when)}."


def _when(condition: Condition | None) -> str:
    parts = []
    for name, match in (condition or {}).items():
        if not isinstance(match, Match):
            parts.append(f"{name} is {str(match).lower() if isinstance(match, bool) else match}")
        elif match.given is not None:
            parts.append(f"{name} is {'' if match.given else 'not '}given")
        else:
            parts.append(f"{name} is {_match_words(match)}")
    return " when " + " and ".join(parts) if parts else ""


def _match_words(match: Match) -> str:
    words = {
        "": match.any_of and _listed(match.any_of),
        "like ": match.like,
        "other than ": match.unlike,
        "longer than ": match.longer_than,
        "shorter than ": match.shorter_than,
    }
    return " and ".join(f"{how}{what}" for how, what in words.items() if what is not None)


def _listed(names: Sequence[object]) -> str:
    words = [str(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
