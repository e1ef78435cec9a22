"""Paths into answers: plain dotted ones run as a walk, all others as JMESPath, both compiled once.

A path is looked up in a scope: the whole answer, and the object that `unwrap` found in it (`inner`).
"""

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import jmespath
import msgspec
from jmespath import functions
from jmespath.exceptions import JMESPathError
from msgspec import UNSET, Struct

_PLAIN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Scope(Struct, frozen=True):
    """What paths are looked up in."""

    answer: Any
    inner: Any = None


Lookup = Callable[[Scope], Any]


def decode_body(body: bytes) -> Any:
    """Decode a body: JSON where it is JSON whatever its content type says, else text."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body.decode("utf-8", "replace")


@functools.cache
def compile_path(path: str) -> Lookup:
    """Compile a path, once for all nodes that look there.

    Raises:
        ValueError: It is neither a dotted path nor JMESPath.
    """
    if path == "inner":
        return lambda scope: scope.inner
    if path.startswith("inner."):
        below = _compile(path.removeprefix("inner."))
        return lambda scope: below(scope.inner)
    anywhere = _compile(path)
    return lambda scope: anywhere(scope.answer)


def compile_verdict_path(path: str) -> Lookup:
    """Compile a path that tells a value that is null from one that is not there (`UNSET`)."""
    *above, last = path.split(".")
    holder = compile_path(".".join(above)) if above else lambda scope: scope.answer
    if not _PLAIN.fullmatch(path):
        raise ValueError("a verdict stands at a plain dotted path")

    def look(scope: Scope) -> Any:
        value = holder(scope)
        return value.get(last, UNSET) if isinstance(value, dict) else UNSET

    return look


def compile_item_path(path: str) -> Callable[[Any], Any]:
    """Compile a path that starts at one item of a list; `@` is the item itself."""
    return _compile(path)


@functools.cache
def _compile(path: str) -> Callable[[Any], Any]:
    if not _PLAIN.fullmatch(path):
        return _compile_jmespath(path)
    steps = tuple(path.split("."))

    def walk(value: Any) -> Any:
        for step in steps:
            if not isinstance(value, dict):
                return None
            value = value.get(step)
        return value

    return walk


class _Functions(functions.Functions):  # type: ignore[misc]
    """JMESPath's functions, and one more that no expression could do."""

    @functions.signature({"types": ["string", "null"]})  # type: ignore[untyped-decorator]
    def _func_last_line(self, text: str | None) -> str | None:
        lines = [line.strip() for line in (text or "").splitlines()]
        return next((line for line in reversed(lines) if line), None)


_OPTIONS = jmespath.Options(custom_functions=_Functions())


def _compile_jmespath(path: str) -> Callable[[Any], Any]:
    try:
        expression = jmespath.compile(path)
    except JMESPathError as exc:
        raise ValueError(str(exc).partition("\n")[0]) from exc

    def search(value: Any) -> Any:
        try:
            return expression.search(value, options=_OPTIONS)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError):
            return None  # the expression met another type than it takes: the value is not there

    return search


def first_text(scope: Scope, lookups: list[Lookup]) -> str | None:
    """Return the first non-empty text (or number as text) that a path leads to."""
    for lookup in lookups:
        if text := as_text(lookup(scope)):
            return text
    return None


def as_text(value: Any) -> str:
    """Write a text without its margins, or a number, as text; anything else is an empty text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return ""


def finite_number(value: Any) -> float | None:
    """Return a number, or a text that is one, as a float; anything else is None."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
