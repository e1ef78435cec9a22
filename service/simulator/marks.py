"""The marks that a prompt can carry, `[[busy:2]]`, and how each changes the scenario of its request.

`MARKS` is the one documented table: help texts and pages are made from it. Reading a mark happens here,
playing it elsewhere.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import msgspec

from service.simulator.scenario import CallbackMode, CallbackShape, Envelope, Scenario, SimulatorOptions

MAX_TEXT_CHARS = 4096
ALWAYS = 1_000_000_000
_MARK = re.compile(r"\[\[([^\[\]]*)\]\]")

Changes = Callable[[str], dict[str, Any]]


class MarkError(ValueError):
    """A mark is unknown or its argument cannot be read."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One mark: its name, its argument and what it makes the simulator play.

    Attributes:
        name: The word before the colon.
        argument: What stands after the colon, named for a reader; empty when the mark takes none.
        default: The argument when none is given; None when one must be given.
        meaning: What is played, for a reader.
        changes: From the argument to the changed fields of the scenario.
    """

    name: str
    argument: str = ""
    default: str | None = None
    meaning: str
    changes: Changes

    @property
    def usage(self) -> str:
        """How the mark is written: `[[busy:N]]`."""
        return f"[[{self.name}:{self.argument}]]" if self.argument else f"[[{self.name}]]"


def _sets(**changes: Any) -> Changes:
    return lambda _argument: changes


def _reads(field: str, read: Callable[[str], Any], **also: Any) -> Changes:
    return lambda argument: {field: read(argument), **also}


def _count(argument: str) -> int:
    if argument == "always":
        return ALWAYS
    if not argument.isdecimal():
        raise ValueError("a whole number is wanted")
    return int(argument)


def _status(argument: str) -> int:
    if not re.fullmatch(r"[45]\d\d", argument):
        raise ValueError("an HTTP status from 400 to 599 is wanted")
    return int(argument)


def _seconds(argument: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", argument):
        raise ValueError("a number of seconds is wanted")
    return float(argument)


def _choice(*choices: str) -> Callable[[str], str]:
    def read(argument: str) -> str:
        if argument not in choices:
            raise ValueError(f"one of {', '.join(choices)} is wanted")
        return argument

    return read


_MODES = get_args(CallbackMode)
_SHAPES = get_args(CallbackShape)
_ENVELOPES = get_args(Envelope)


def _callback(argument: str) -> dict[str, Any]:
    said = _choice(*_MODES, *_SHAPES)(argument)
    return {"callback" if said in _MODES else "callback_shape": said}


MARKS: tuple[Mark, ...] = (
    Mark(
        name="fail",
        argument="TEXT",
        default="",
        meaning="The task is accepted and fails, with this reason or the usual one.",
        changes=_reads("failure_text", str, outcome="fail"),
    ),
    Mark(
        name="moderation",
        meaning="The task is accepted and fails by the provider's risk control.",
        changes=_sets(outcome="moderation"),
    ),
    Mark(
        name="gave_up",
        meaning="A wrapped answer says FAILURE outside while the task inside is still processing.",
        changes=_sets(outcome="gave_up"),
    ),
    Mark(
        name="late_success",
        argument="FACTOR",
        default="10",
        meaning="The task succeeds, but takes this many times its usual duration.",
        changes=_reads("duration_factor", _seconds),
    ),
    Mark(
        name="duration",
        argument="SECONDS",
        meaning="The task takes this long, whatever the speed.",
        changes=_reads("duration_s", _seconds),
    ),
    Mark(
        name="refuse",
        argument="CODE",
        default="1201",
        meaning="The submission is refused with this service code and its HTTP status.",
        changes=_reads("refusal", _count, refusal_shape="plain"),
    ),
    Mark(
        name="refuse200",
        argument="CODE",
        default="1201",
        meaning="The submission is refused with this service code inside HTTP 200.",
        changes=_reads("refusal", _count, refusal_shape="http200"),
    ),
    Mark(
        name="nested_refusal",
        meaning="The submission is refused, the code two levels down.",
        changes=_sets(refusal=1201, refusal_shape="nested"),
    ),
    Mark(
        name="rate_limited",
        meaning="Every submission is refused as too fast (1302, HTTP 429).",
        changes=_sets(refusal=1302, refusal_shape="plain"),
    ),
    Mark(
        name="busy",
        argument="N",
        default="1",
        meaning="The first N submissions find no free slot (1303, HTTP 429), the next is accepted.",
        changes=_reads("busy", _count),
    ),
    Mark(
        name="quota",
        meaning="The aggregator refuses for want of quota (HTTP 403).",
        changes=_sets(fault="quota"),
    ),
    Mark(
        name="not_mounted",
        meaning='The aggregator has no such route: {"code": null, "message": "404"}.',
        changes=_sets(fault="not_mounted"),
    ),
    Mark(
        name="http",
        argument="STATUS",
        default="503",
        meaning="A proxy answers with this status; nothing was created.",
        changes=_reads("fault_status", _status, fault="http"),
    ),
    Mark(
        name="http_after",
        argument="STATUS",
        default="504",
        meaning="The task is created, then a proxy answers with this status.",
        changes=_reads("fault_status", _status, fault="http_after"),
    ),
    Mark(
        name="html",
        meaning="An HTML page comes with HTTP 200; nothing was created.",
        changes=_sets(fault="html"),
    ),
    Mark(
        name="redirect",
        meaning="HTTP 301 to another path of the simulator; nothing was created.",
        changes=_sets(fault="redirect"),
    ),
    Mark(
        name="hang",
        meaning="The task is created, the answer never comes.",
        changes=_sets(fault="hang"),
    ),
    Mark(
        name="hang_before",
        meaning="The answer never comes, and nothing was created.",
        changes=_sets(fault="hang_before"),
    ),
    Mark(
        name="reset_before",
        meaning="The connection is reset after the request was read; nothing was created.",
        changes=_sets(fault="reset_before"),
    ),
    Mark(
        name="reset_after",
        meaning="The task is created, then the connection is reset.",
        changes=_sets(fault="reset_after"),
    ),
    Mark(
        name="close_after",
        meaning="The task is created, then the connection is closed without a byte.",
        changes=_sets(fault="close_after"),
    ),
    Mark(
        name="garbage",
        meaning="The task is created, then something comes that is not HTTP.",
        changes=_sets(fault="garbage"),
    ),
    Mark(
        name="truncated",
        meaning="The task is created, the answer breaks off in the middle of its body.",
        changes=_sets(fault="truncated"),
    ),
    Mark(
        name="slow",
        argument="SECONDS",
        default="3",
        meaning="The task is created, the answer comes this much later.",
        changes=_reads("slow_s", _seconds),
    ),
    Mark(
        name="unrecognized",
        argument="STATUS",
        default="1",
        meaning="A recognition call finds nothing: non-zero data.status, or no faces.",
        changes=_reads("unrecognized", _count),
    ),
    Mark(
        name="not_found",
        argument="N",
        default="1",
        meaning="The first N queries say that there is no such task.",
        changes=_reads("not_found", _count),
    ),
    Mark(
        name="poll_error",
        argument="N",
        default="1",
        meaning="The first N queries answer HTTP 500 and 429 (Retry-After: 1) by turns.",
        changes=_reads("poll_error", _count),
    ),
    Mark(
        name="poll_hang",
        argument="N",
        default="1",
        meaning="The first N queries are never answered.",
        changes=_reads("poll_hang", _count),
    ),
    Mark(
        name="unknown_status",
        argument="N",
        default="1",
        meaning="The first N queries answer an undocumented status word.",
        changes=_reads("unknown_status", _count),
    ),
    Mark(
        name="empty",
        argument="N",
        default="always",
        meaning="The first N queries after the end tell of success without results; callbacks do as well.",
        changes=_reads("empty", _count),
    ),
    Mark(
        name="stale_links",
        argument="N",
        default="1",
        meaning="The first N queries after the end give links that answer 403, later ones fresh links.",
        changes=_reads("stale_links", _count),
    ),
    Mark(
        name="callback",
        argument="|".join((*_MODES, *_SHAPES)),
        meaning=(
            "changes: one per change; last: only the end; twice: the end again; reordered: the end first; "
            "early: the end comes before the submit answer; lying: the end comes before queries know of it; "
            "never: none. Shapes: bare, wrapped under data, or the new one of 2026."
        ),
        changes=_callback,
    ),
    Mark(
        name="envelope",
        argument="|".join(_ENVELOPES),
        meaning="How submit and query answers are wrapped.",
        changes=_reads("envelope", _choice(*_ENVELOPES)),
    ),
)

_BY_NAME = {mark.name: mark for mark in MARKS}


def _changes_of(written: str) -> dict[str, Any]:
    name, colon, argument = (part.strip() for part in written.partition(":"))
    mark = _BY_NAME.get(name)
    if mark is None:
        raise MarkError(f"unknown mark [[{written}]]; known: {' '.join(known.usage for known in MARKS)}")
    if colon and not mark.argument:
        raise MarkError(f"[[{name}]] takes no argument")
    if not colon and mark.argument and mark.default is None:
        raise MarkError(f"{mark.usage} needs its argument")
    try:
        return mark.changes(argument if colon else mark.default or "")
    except ValueError as error:
        raise MarkError(f"[[{written}]]: {error}") from error


def texts_of(body: Any) -> Iterator[str]:
    """Yield every string in a decoded body that is short enough to be text."""
    if isinstance(body, str):
        if len(body) <= MAX_TEXT_CHARS:
            yield body
    elif isinstance(body, dict):
        for value in body.values():
            yield from texts_of(value)
    elif isinstance(body, list):
        for value in body:
            yield from texts_of(value)


def base_scenario(options: SimulatorOptions) -> Scenario:
    """Make the scenario of a request without marks.

    Raises:
        MarkError: One of the options' own marks is wrong.
    """
    plain = Scenario(envelope=options.envelope, callback=options.callbacks, callback_shape=options.callback_shape)
    return _with_marks(plain, options.marks)


def scenario_of(base: Scenario, texts: Iterable[str]) -> Scenario:
    """Apply the marks found in some texts to a scenario; later marks win.

    Raises:
        MarkError: A mark is unknown or its argument cannot be read.
    """
    return _with_marks(base, [written for text in texts for written in _MARK.findall(text)])


def _with_marks(scenario: Scenario, written: Iterable[str]) -> Scenario:
    changes: dict[str, Any] = {}
    for mark in written:
        changes |= _changes_of(mark)
    return msgspec.structs.replace(scenario, **changes) if changes else scenario
