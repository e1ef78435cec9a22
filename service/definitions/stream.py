"""Server-sent events put together into the answer that upstream would have given at once.

`Assembler` takes a stream as it comes; `assembled` takes one that stands as a text. What events mean is said in the
definition (`stream`); nothing here knows a provider.
"""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from service.definitions.paths import Lookup, Scope, compile_item_path, compile_path
from service.definitions.schema import Stream, StreamStep

_DONE = "[DONE]"
_LINE_ENDS = ("\r\n", "\r")


class Event(Struct, frozen=True, kw_only=True):
    """One server-sent event: its name, if it has one, and its data, decoded where it is JSON."""

    name: str
    data: Any


class StreamedAnswer(Struct, frozen=True, kw_only=True):
    """An answer that came in events.

    Attributes:
        body: The whole answer, or the error event that took its place.
        whole: The stream came to its end.
        begun: A part of the answer had come, so an error in its place tells of what had been accepted.
    """

    body: Any
    whole: bool
    begun: bool = False


class EventParser:
    """Cuts a stream of text into events, whatever the pieces it comes in."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> Iterator[Event]:
        """Yield the events that a piece of text completes."""
        held = self._rest + text
        # A carriage return at the end may be half of a line end.
        half = "\r" if held.endswith("\r") else ""
        held = held.removesuffix(half)
        for end in _LINE_ENDS:
            held = held.replace(end, "\n")
        *blocks, rest = held.split("\n\n")
        self._rest = rest + half
        for block in blocks:
            yield from _event(block)

    def end(self) -> Iterator[Event]:
        """Yield what stands after the last blank line."""
        block, self._rest = self._rest.replace("\r", "\n"), ""
        yield from _event(block)


def _event(block: str) -> Iterator[Event]:
    lines = [line.partition(":")[::2] for line in block.strip("\n").split("\n")]
    data = "\n".join(value.removeprefix(" ") for field, value in lines if field == "data")
    name = next((value.strip() for field, value in lines if field == "event"), "")
    if not data:
        return
    try:
        yield Event(name=name, data=msgspec.json.decode(data))
    except (msgspec.DecodeError, RecursionError):
        yield Event(name=name, data=data)


class _CompiledStep:
    """One step, ready to be taken."""

    def __init__(self, step: StreamStep) -> None:
        self._types = set(step.types)
        self._take = compile_item_path(step.take)
        self._into = step.into.split(".") if step.into else []
        self._omit = set(step.omit)

    def fits(self, kind: str) -> bool:
        return not self._types or kind in self._types

    def taken(self, event: dict[str, Any]) -> Any:
        """Return what an event adds, as an answer that holds nothing else."""
        value = self._take(event)
        if isinstance(value, dict) and self._omit:
            value = {key: each for key, each in value.items() if key not in self._omit}
        for step in reversed(self._into):
            place = event.get("index") if step == "{index}" else step
            value = [{**value, "index": place}] if step == "{index}" and isinstance(value, dict) else {place: value}
        return value


class StreamPlan:
    """How the streams of one node are put together."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.steps = [_CompiledStep(step) for step in stream.steps]
        self.done: list[Lookup] = [compile_path(path) for path in stream.done]

    def assembled(self, text: str) -> StreamedAnswer:
        """Put a stream together that stands as a text."""
        assembler, parser = Assembler(self), EventParser()
        for event in (*parser.feed(text), *parser.end()):
            assembler.add(event)
        return assembler.answer()


class Assembler:
    """One answer in the making."""

    def __init__(self, plan: StreamPlan) -> None:
        self._plan = plan
        self._answer: Any = None
        self._error: Any = None
        self._ended = False

    def add(self, event: Event) -> None:
        """Add what an event says."""
        if event.data == _DONE:
            self._ended = True
        elif isinstance(event.data, dict):
            self._add(event.name, event.data)

    def _add(self, name: str, data: dict[str, Any]) -> None:
        kind = str(data.get("type") or name)
        if data.get("error") or kind == "error" or name == "error":
            self._error = self._error or data
            return
        for step in self._plan.steps:
            if step.fits(kind):
                self._answer = self._merged(self._answer, self._renamed(step.taken(data)))

    def answer(self) -> StreamedAnswer:
        """Return the answer as far as it came."""
        if self._error is not None:
            return StreamedAnswer(body=self._error, whole=True, begun=self._answer is not None)
        body = self._parsed(self._answer)
        done = self._plan.done
        ended = self._ended or not done or any(look(Scope(body)) not in (None, "", False) for look in done)
        return StreamedAnswer(body=body, whole=ended and body is not None)

    def _renamed(self, value: Any) -> Any:
        names = self._plan.stream.rename
        if isinstance(value, list):
            return [self._renamed(item) for item in value]
        if isinstance(value, dict):
            return {names.get(key, key): self._renamed(item) for key, item in value.items()}
        return value

    def _merged(self, old: Any, new: Any, key: str = "") -> Any:
        if new is None:
            return old
        if isinstance(old, dict) and isinstance(new, dict):
            return {**old, **{name: self._merged(old.get(name), value, name) for name, value in new.items()}}
        if isinstance(new, dict):
            return {name: self._merged(None, value, name) for name, value in new.items()}
        if isinstance(new, list):
            return self._merged_list(old if isinstance(old, list) else [], new, key)
        if isinstance(old, str) and isinstance(new, str) and key in self._plan.stream.joined:
            return old + new
        return new

    def _merged_list(self, old: list[Any], new: list[Any], key: str) -> list[Any]:
        if key in self._plan.stream.extended:
            return [*old, *(self._merged(None, item) for item in new)]
        if not new or not all(isinstance(item, dict) and "index" in item for item in new):
            return [self._merged(None, item) for item in new] or old
        places = {item.get("index"): item for item in old if isinstance(item, dict)}
        for item in new:
            places[item["index"]] = self._merged(places.get(item["index"]), item)
        return [places[index] for index in sorted(places, key=_order)]

    def _parsed(self, value: Any) -> Any:
        names = self._plan.stream.parsed
        if not names:
            return value
        if isinstance(value, list):
            return [self._parsed(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: self._parsed(item) for key, item in value.items() if key not in names}
        for key, name in names.items():
            if isinstance(text := value.get(key), str):
                found[name] = _decoded(text)
        return found


def _order(index: Any) -> float:
    return index if isinstance(index, int | float) else math.inf


def _decoded(text: str) -> Any:
    if not text:
        return {}
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def is_stream(body: str) -> bool:
    """Tell whether a text is a stream of server-sent events."""
    start = body.lstrip("\ufeff\r\n ")
    return start.startswith(("data:", "event:", ": ", ":\n", "id:", "retry:"))
