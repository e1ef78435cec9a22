"""When a `when` holds for an input: the one meaning of conditions, for warnings and conditional defaults.

`json_schema` writes the same meaning as JSON Schema for the rules that refuse.
"""

import fnmatch
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from service.definitions.schema import Condition, Field, Match


def holds(condition: Condition, fields: Mapping[str, Field], values: Mapping[str, Any]) -> bool:
    """Tell whether a condition holds for checked values; what is not given counts as its default."""
    return all(
        matches(match, values.get(name, implied(fields.get(name))), given=name in values)
        for name, match in condition.items()
    )


def implied(field: Field | None) -> Any:
    """Return what upstream uses when a field is not given, or UNSET."""
    if field is None:
        return UNSET
    return field.assumed if field.default is UNSET or field.default_when else field.default


def matches(match: object, value: Any, *, given: bool) -> bool:
    """Tell whether a value (`UNSET` when there is none) is as a condition says."""
    if not isinstance(match, Match):
        return _same(value, match)
    if match.given is not None and match.given != given:
        return False
    if value is UNSET:
        return _is_only_given(match)
    checks = (
        match.any_of is None or any(_same(value, each) for each in match.any_of),
        match.like is None or _is_like(value, match.like),
        match.unlike is None or not _is_like(value, match.unlike),
        match.longer_than is None or _length(value) > match.longer_than,
        match.shorter_than is None or _length(value) < match.shorter_than,
    )
    return all(checks)


def _same(value: Any, other: Any) -> bool:
    return value is not UNSET and value == other and isinstance(value, bool) == isinstance(other, bool)


def _is_only_given(match: Match) -> bool:
    others = (match.any_of, match.like, match.unlike, match.longer_than, match.shorter_than)
    return match.given is not None and all(word is None for word in others)


def _is_like(value: Any, globs: str) -> bool:
    return any(fnmatch.fnmatchcase(str(value), glob) for glob in globs.split("|"))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else len(str(value))
