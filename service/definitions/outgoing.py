"""Values as upstream wants them: converted, media in the right form, each put in its place.

Which values go out, and in which request, is decided in `request`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from service.definitions import media
from service.definitions.schema import Field


class FilePart(Struct, frozen=True, kw_only=True):
    """A file in a form: on disk or in memory.

    Attributes:
        filename: Its name; upstream tells the format from its end.
        mime: Its media type.
    """

    filename: str
    mime: str
    path: Path | None = None
    data: bytes | None = None


def sent(value: Any, field: Field) -> Any:
    """Return a value as upstream wants it: converted, renamed within, media in the right form."""
    if field.type == "media":
        return value if isinstance(value, FilePart) else media.outgoing(value, field)
    if field.items and isinstance(value, list):
        items = [sent(item, field.items) for item in value]
        return json_text(items) if field.convert == "json" else items
    if field.fields and isinstance(value, dict):
        inner: dict[str, Any] = {}
        for name, member in field.fields.items():
            if member and (v := value.get(name, member.default)) is not UNSET:
                put(inner, name, member, sent(v, member))
        return inner
    if field.values and str(value) in field.values:
        value = field.values[str(value)]
    return _CONVERSIONS[field.convert](value) if field.convert else value


def stands_for_nothing(value: Any, field: Field) -> bool:
    """Tell whether a value is one that is not sent at all."""
    return field.values is not None and field.values.get(str(value), value) is None


def _number(value: Any) -> int | float:
    number = float(value)
    return int(number) if number.is_integer() else number


def json_text(value: Any) -> str:
    """Write a value as JSON text."""
    return msgspec.json.encode(value).decode()


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"string": str, "number": _number, "json": json_text}


def media_type(given: Any, field: Field) -> str:
    """Return the media type of a media value."""
    return given.mime if isinstance(given, FilePart) else media.mime_of(str(given), field)


def put(target: dict[str, Any], name: str, field: Field, value: Any) -> None:
    """Put a value where its field says, or under its own name."""
    for path in [field.to] if isinstance(field.to, str) else field.to or [name]:
        set_at(target, path, value)


def set_at(target: Any, path: str, value: Any) -> None:
    """Set a value at a dotted path; numbers are places in lists, `+` appends, a list element by element."""
    *above, last = path.split(".")
    value = copied(value)  # what stands below it may come from another input
    for step, following in zip(above, path.split(".")[1:], strict=True):
        target = _inside(target, step, list if following == "+" or following.isdecimal() else dict)
    if last == "+":
        target.extend(value if isinstance(value, list) else [value])
    elif isinstance(target, list):
        _inside(target, last, dict)
        target[int(last)] = value
    else:
        target[last] = value


def _inside(target: Any, step: str, empty: Callable[[], Any]) -> Any:
    if isinstance(target, dict):
        return target.setdefault(step, empty())
    while len(target) <= int(step):
        target.append(empty())
    return target[int(step)]


def copied(constants: Any) -> Any:
    """Copy objects and lists, down to the bottom."""
    if isinstance(constants, dict):
        return {name: copied(value) for name, value in constants.items()}
    return [copied(value) for value in constants] if isinstance(constants, list) else constants
