"""Texts that stand for numbers and booleans, and numbers that stand for texts, in the JSON Schema of an input.

No-code tools send `"0.5"` where 0.5 is meant, and Halley takes it. The document says so exactly: a text is allowed
where, and only where, it would be accepted. The schema that inputs are checked against needs none of this, since
texts are turned into numbers before the check.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any

_MOST_DIGITS = 15
_FRACTION = r"(?:\.[0-9]+)?"
_ZEROS = r"(?:\.0+)?"


def with_texts(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a node's input with the text forms of its fields allowed; members keep their types."""
    widened = dict(schema)
    widened["properties"] = {name: each | _text_form(each) for name, each in schema["properties"].items()}
    if "allOf" in schema:
        widened["allOf"] = _rule_with_texts(schema["allOf"])
    return widened


def _text_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if kind == "boolean":
        return {"type": ["boolean", "string"], "pattern": "^(?:true|false)$"}
    if kind in ("integer", "number"):
        return {"type": [kind, "string"], "pattern": number_pattern(schema, is_integer=kind == "integer")}
    if kind == "string" and (numbers := _numbers_among(schema.get("enum", ()))):
        return {"type": ["string", "number"], "enum": [*schema["enum"], *numbers]}
    return {}


def _numbers_among(values: Sequence[object]) -> list[int]:
    return [int(value) for value in values if isinstance(value, str) and value.isdecimal() and str(int(value)) == value]


def _rule_with_texts(rule: Any) -> Any:
    """Widen what a rule compares with, wherever it stands in the rule."""
    if isinstance(rule, list):
        return [_rule_with_texts(each) for each in rule]
    if not isinstance(rule, dict):
        return rule
    if "const" in rule:
        return _same(rule["const"])
    if "enum" in rule:
        return {"enum": [*rule["enum"], *_numbers_among(rule["enum"])]}
    return {word: _rule_with_texts(value) if word != "required" else value for word, value in rule.items()}


def _same(value: Any) -> dict[str, Any]:
    """Return the schema of everything that is taken for a value."""
    if isinstance(value, bool):
        return {"enum": [value, str(value).lower()]}
    if isinstance(value, int | float):
        text = f"{Decimal(str(value)).normalize():f}".replace(".", r"\.")
        zeros = r"0*" if "." in text else _ZEROS
        return {"anyOf": [{"const": value}, {"type": "string", "pattern": f"^{text}{zeros}$"}]}
    numbers = _numbers_among([value])
    return {"enum": [value, *numbers]} if numbers else {"const": value}


def number_pattern(limits: Mapping[str, Any], *, is_integer: bool) -> str:
    """Return the regular expression of the plain decimal texts within `minimum` and `maximum`.

    Args:
        limits: Holds `minimum`, `maximum`, both or none.
        is_integer: Whether fractions are out.
    """
    least, most = (None if limits.get(word) is None else Decimal(str(limits[word])) for word in ("minimum", "maximum"))
    parts = []
    if most is None or most >= 0:
        parts += _between(max(least or Decimal(0), Decimal(0)), most, is_integer=is_integer)
    if least is None or least < 0:
        top = None if least is None else -least
        below = _between(max(-(most or Decimal(0)), Decimal(0)), top, is_integer=is_integer)
        parts.append(f"-{_any_of(below)}")
    return f"^{_any_of(parts)}$"


def _between(least: Decimal, most: Decimal | None, *, is_integer: bool) -> list[str]:
    """Return the alternatives for texts of numbers from `least` (0 or more) to `most`."""
    if most is None:
        whole = [*_integers(int(least.to_integral_value(ROUND_FLOOR)), 10**_MOST_DIGITS - 1)]
        return whole if is_integer else [_any_of(whole) + _FRACTION]
    first, last = int(least.to_integral_value(ROUND_FLOOR)), int(most.to_integral_value(ROUND_FLOOR))
    if is_integer:
        return [*_integers(first + (least != first), last)]
    return [*_decimals(least, most, first, last)]


def _decimals(least: Decimal, most: Decimal, first: int, last: int) -> Iterator[str]:
    full = first
    if least != first:
        full = first + 1
        yield f"{first}{_at_least(least - first)}"
    if last > full:
        yield _any_of([*_integers(full, last - 1)]) + _FRACTION
    if last >= full:
        yield f"{last}{_at_most(most - last)}"


def _any_of(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _at_least(fraction: Decimal) -> str:
    digits = _fraction_digits(fraction)
    more = [f"{digits[:place]}{_digit(int(digit) + 1, 9)}[0-9]*" for place, digit in enumerate(digits) if digit != "9"]
    return rf"\.(?:{'|'.join([*more, f'{digits}[0-9]*'])})"


def _at_most(fraction: Decimal) -> str:
    if not fraction:
        return _ZEROS
    digits = _fraction_digits(fraction)
    less = [f"{digits[:place]}{_digit(0, int(digit) - 1)}[0-9]*" for place, digit in enumerate(digits) if digit != "0"]
    ends = [digits[: place + 1] for place in range(len(digits) - 1)]
    return rf"(?:\.(?:{'|'.join([*less, *ends, f'{digits}0*'])}))?"


def _fraction_digits(fraction: Decimal) -> str:
    return f"{fraction.normalize():f}".partition(".")[2]


def _integers(first: int, last: int) -> Iterator[str]:
    """Yield alternatives that together match the decimal integers from `first` to `last`."""
    if first == 0:
        yield "0"
        first = 1
    while first <= last:
        block = 1
        while first % (block * 10) == 0 and first + block * 10 - 1 <= last:
            block *= 10
        lead, digit = divmod(first // block, 10)
        blocks = min(10 - digit, (last - first + 1) // block)
        yield f"{lead or ''}{_digit(digit, digit + blocks - 1)}{_any_digits(block)}"
        first += blocks * block


def _digit(low: int, high: int) -> str:
    return str(low) if low == high else f"[{low}-{high}]"


def _any_digits(block: int) -> str:
    count = len(str(block)) - 1
    return {0: "", 1: "[0-9]"}.get(count, f"[0-9]{{{count}}}")
