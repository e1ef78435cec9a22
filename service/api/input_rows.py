"""The inputs of a node as rows of a table for people; machines have the JSON Schema instead."""

from collections.abc import Iterator, Mapping

from msgspec import UNSET, Struct

from service.definitions.schema import Field

_MOST_VALUES = 12


class InputRow(Struct, frozen=True, kw_only=True):
    """One input.

    Attributes:
        name: As it stands in the body.
        type: What it is.
        needed: `yes`, or nothing.
        values: What it may be, and what it is when it is not given.
        about: What it is for.
        advanced: Seldom needed.
    """

    name: str
    type: str
    needed: str
    values: str
    about: str
    advanced: bool


def input_rows(fields: Mapping[str, Field]) -> list[InputRow]:
    """Return a row for each input."""
    return [
        InputRow(
            name=name,
            type=_type(field),
            needed="yes" if field.required else "",
            values="; ".join(_values(field)),
            about=_about(field),
            advanced=bool(field.advanced),
        )
        for name, field in fields.items()
    ]


def _type(field: Field) -> str:
    if field.type == "media":
        return "file" if field.media == "file" else f"{field.media} file"
    if field.type == "array":
        plural = "s" if field.items and field.items.type == "media" else ""
        return f"list of {_type(field.items)}{plural}" if field.items else "list"
    if field.type == "object" and field.fields:
        return f"object ({', '.join(field.fields)})"
    return field.type or "any"


def _values(field: Field) -> Iterator[str]:
    items = field.items
    for source in (field, items) if items else (field,):
        if source.enum:
            yield _listed(source.enum)
        elif source.suggest:
            yield f"such as {_listed(source.suggest)}"
    yield from _limits(field)
    if field.default is not UNSET:
        yield f"default {_told(field.default)}"
    elif field.assumed is not UNSET:
        yield f"{_told(field.assumed)} unless given"


def _limits(field: Field) -> Iterator[str]:
    unit = f" {field.unit}" if field.unit else ""
    for least, most, what in (
        (field.minimum, field.maximum, unit),
        (field.min_length, field.max_length, " characters"),
        (field.min_items, field.max_items, " elements"),
    ):
        if least is not None and most is not None:
            yield f"{least} to {most}{what}"
        elif most is not None:
            yield f"at most {most}{what}"
        elif least is not None and (what == unit or least > 1):
            yield f"{least}{what} or more"


def _listed(values: list[str] | list[str | int | float]) -> str:
    more = f" … ({len(values)} in all)" if len(values) > _MOST_VALUES else ""
    return ", ".join(_told(value) for value in values[:_MOST_VALUES]) + more


def _told(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else '""'


def _about(field: Field) -> str:
    parts = [_sentence(field.about or field.title or "")]
    if field.unit and field.minimum is None and field.maximum is None:
        parts.append(f"In {field.unit}.")
    if field.formats:
        parts.append(f"Formats: {', '.join(field.formats)}.")
    if field.max_size:
        parts.append(f"At most {field.max_size}.")
    return " ".join(part for part in parts if part)


def _sentence(text: str) -> str:
    words = " ".join(text.split())
    return words if not words or words.endswith((".", "!", "?")) else f"{words}."
