"""The one reader of upstream answers: submit, poll, callback or direct result into the same small structure.

It is compiled from a chain of dialects and knows no provider. Reading never raises: whatever upstream says,
even garbage, becomes a `Reading`. What a reading means for a run is decided in `lifecycle`; what an error means is
read in `error_reader`, where results stand in `results`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from service.definitions.error_reader import FIRST_NON_SUCCESS, ErrorReader, ReadError, is_html
from service.definitions.paths import (
    Lookup,
    Scope,
    as_text,
    compile_path,
    compile_verdict_path,
    finite_number,
    first_text,
)
from service.definitions.results import ReadArtifact, ResultReader
from service.definitions.schema import Collect, Reads, UpstreamState
from service.definitions.stream import StreamPlan, is_stream

As = Literal["submit", "poll", "callback"]
NodeKind = Literal["task", "direct", "query", "local", "flow"]

_FINAL: frozenset[UpstreamState | None] = frozenset({"succeeded", "failed", "canceled"})
_CONTAINER = "\0"
_NO_TASK_ID = ReadError(
    code="server", message="upstream answered without a task id", retryable=False, submitted="maybe"
)
_CUT_STREAM = ReadError(
    code="server",
    message="the stream of the answer broke off before its end",
    retryable=True,
)


class RawBody(Struct, frozen=True, kw_only=True):
    """An answer that is the result itself, kept already.

    Attributes:
        size_bytes: Its size.
        mime: Its media type.
    """

    size_bytes: int
    mime: str | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What came back: the HTTP status (None for callbacks) and the body: decoded JSON, text, or bytes kept already."""

    status: int | None = None
    body: Any = None


class Reading(Struct, frozen=True, kw_only=True):
    """What Halley reads in an answer.

    Attributes:
        task_id: Upstream's id of the task.
        state: The task's state; None when the answer says nothing about it.
        raw_status: Upstream's own word for the state.
        known_status: False when that word is in no dialect of the node.
        progress: 0 to 1.
        artifacts: Results in the order of the definition; extras have a role other than `output`.
        text: Text result.
        data: Structured result.
        details: Facts about the answer, and what may be called next; users see them in `data` too.
        error: Why the request was refused or the task failed.
        has_result: There is an artifact, a text or data; facts about the answer alone are none.
        awaits_input: Nothing goes on until the user calls another node.
        may_be_early: The failure may only mean that the task is not visible yet.
        slots: What the request that collects the result needs.
        refused: The request itself was not accepted, so nothing came of it.
    """

    task_id: str | None = None
    state: UpstreamState | None = None
    raw_status: str | None = None
    known_status: bool = True
    progress: float | None = None
    artifacts: tuple[ReadArtifact, ...] = ()
    text: str | None = None
    data: dict[str, Any] | None = None
    details: dict[str, Any] = {}
    error: ReadError | None = None
    has_result: bool = False
    awaits_input: bool = False
    may_be_early: bool = False
    slots: dict[str, str] = {}
    refused: bool = False

    @property
    def is_end(self) -> bool:
        """Whether the task has ended for good: what was seen once stays so, whoever saw it and when."""
        if self.state == "succeeded":
            return self.has_result
        return self.state in ("failed", "canceled") and not self.may_be_early


def raw_artifact(kind: str, kept: RawBody) -> ReadArtifact:
    """Return an answer's own bytes as a result; what they are tells more than what they were promised to be."""
    told = (kept.mime or "").partition("/")[0]
    kind = told if told in ("video", "image", "audio") else kind
    return ReadArtifact(kind=kind, url=None, mime=kept.mime, size_bytes=kept.size_bytes or None)


def seen_data(reading: Reading) -> dict[str, Any] | None:
    """Return what users see as `data`: the structured result with the facts beside it."""
    return {**(reading.data or {}), **reading.details} or None


class AnswerReader:
    """Reads answers as a chain of dialects says, the node's own part first.

    Args:
        kind: Kind of the node.
        chain: Dialect parts in order of preference.
        repeat: An answer without a result is not ready yet.
        collect: What brings a result that the answer does not hold.
        may_be_empty: A direct answer without a result is a success all the same.
    """

    def __init__(
        self,
        kind: NodeKind,
        chain: Sequence[Reads],
        *,
        repeat: bool = False,
        collect: Collect | None = None,
        may_be_empty: bool = False,
    ) -> None:
        self._kind: NodeKind = "task" if kind == "flow" else kind
        self._may_be_empty = may_be_empty
        self._repeat = repeat
        self._unwrap = next((part.unwrap for part in chain if part.unwrap), None)
        self._verdicts = [
            (compile_verdict_path(v.at), {_verdict_word(value) for value in v.accepted})
            for part in chain
            for v in part.verdict
        ]
        self._ids = _paths(path for part in chain for path in part.id)
        self._states = _paths(path for part in chain for path in part.state.at)
        self._overrules = _paths(path for part in chain for path in part.state.overruled_by)
        self._overruling = {state for part in chain if part.state.overruled_by for state in part.state.overrules}
        self._awaits = {_folded(word) for part in chain for word in part.state.awaits}
        self._words = _words(chain)
        self._progress = _paths(path for part in chain for path in part.progress)
        self._slots = {name: _paths(paths) for name, paths in collect.slots.items()} if collect else {}
        self._results = ResultReader(chain)
        self._errors = ErrorReader(chain)
        self.raw = next((part.raw for part in chain if part.raw), None)
        self._empty_fails = next((part.empty_fails for part in chain if part.empty_fails), None)
        stream = next((part.stream for part in chain if part.stream), None)
        self.stream = StreamPlan(stream) if stream else None

    def read(self, as_: As, answer: Answer) -> Reading:
        """Return what an answer says.

        Args:
            as_: What was asked: `submit`, `poll`, or nothing (`callback`).
            answer: What came back.
        """
        if isinstance(answer.body, str) and self.stream is not None and is_stream(answer.body):
            streamed = self.stream.assembled(answer.body)
            if not streamed.whole:
                return Reading(state="failed", error=_CUT_STREAM)
            reading = self.read(as_, Answer(status=answer.status, body=streamed.body))
            # What began was accepted, and perhaps billed: its failure is no reason to send it again.
            return msgspec.structs.replace(reading, refused=False) if streamed.begun else reading
        if self._is_raw(answer):
            return self._raw_result(answer.body)
        if not isinstance(answer.body, dict | list):
            return Reading() if as_ == "callback" else self._refused(as_, answer, Scope(None))
        return self._read_json(as_, answer)

    def _is_raw(self, answer: Answer) -> bool:
        if self.raw is None or (answer.status or 0) >= FIRST_NON_SUCCESS or isinstance(answer.body, dict | list):
            return False
        return isinstance(answer.body, RawBody) or (bool(as_text(answer.body)) and not is_html(str(answer.body)))

    def _raw_result(self, body: Any) -> Reading:
        if self.raw == "text":
            return Reading(state="succeeded", text=body if isinstance(body, str) else as_text(body), has_result=True)
        kept = body if isinstance(body, RawBody) else RawBody(size_bytes=0)
        artifact = raw_artifact(self.raw or "file", kept)
        return Reading(state="succeeded", artifacts=(artifact,), has_result=True)

    def _read_json(self, as_: As, answer: Answer) -> Reading:
        scope = Scope(answer.body, self._inner(answer.body))
        state, raw_status = self._state(scope)
        if self._is_refused(answer, scope, state, raw_status):
            return self._refused(as_, answer, scope)
        reading = self._told(scope, state, raw_status)
        is_said = state is not None or (raw_status is not None and self._kind != "direct")
        if not is_said and as_ != "callback":
            reading = self._unsaid(as_, reading, scope)
        elif state is None and as_ == "submit" and self._kind == "task":
            reading = msgspec.structs.replace(reading, state="queued")
        return self._without_id(as_, reading)

    def _unsaid(self, as_: As, reading: Reading, scope: Scope) -> Reading:
        """Settle the state of an accepted answer that does not say it."""
        done = self._told(scope, "succeeded", reading.raw_status)
        if done.has_result or (self._kind == "direct" and not self._repeat):
            return done
        is_new = as_ == "submit" and self._kind == "task" and (reading.task_id is not None or not self._repeat)
        return msgspec.structs.replace(reading, state="queued" if is_new else "running")

    def _without_id(self, as_: As, reading: Reading) -> Reading:
        is_lost = as_ == "submit" and self._kind == "task" and not self._repeat and reading.task_id is None
        if is_lost and not reading.has_result and not (reading.state == "failed" and reading.error):
            return Reading(state="failed", error=_NO_TASK_ID, refused=True)
        return reading

    def _inner(self, body: Any) -> Any:
        found = None
        unwrap = self._unwrap
        while unwrap and isinstance(body, dict):
            if any(key in body for key in unwrap.holds):
                found = body
            body = body.get(unwrap.through)
        return found

    def _state(self, scope: Scope) -> tuple[UpstreamState | None, str | None]:
        values = (lookup(scope) for lookup in self._states)
        found = [text for value in values if (text := self._status_text(value)) is not None]
        raw = next((text for text in found if text.strip()), found[0] if found else None)
        state = self._words.get(_folded(raw)) if raw is not None else None
        if state not in _FINAL:
            overruling = (self._status_text(lookup(scope)) for lookup in self._overrules)
            for text in overruling:
                told = self._words.get(_folded(text))
                if told in self._overruling:
                    return told, text
        return state, raw

    def _status_text(self, value: Any) -> str | None:
        """Return a status as text; a number or boolean is one only where it is a word of the dialects."""
        if isinstance(value, str):
            return value
        text = str(value).lower() if isinstance(value, bool) else as_text(value)
        return text if text and text in self._words else None

    def _is_refused(self, answer: Answer, scope: Scope, state: UpstreamState | None, raw_status: str | None) -> bool:
        if answer.status is not None and answer.status >= FIRST_NON_SUCCESS:
            return True
        # What tells the state of a task is no refusal of the request, whatever code stands beside it.
        if (raw_status and scope.inner is not None) or (state and first_text(scope, self._ids)):
            return False
        found = ((lookup(scope), accepted) for lookup, accepted in self._verdicts)
        return any(value is not UNSET and _verdict_word(value) not in accepted for value, accepted in found)

    def _refused(self, as_: As, answer: Answer, scope: Scope) -> Reading:
        starts = as_ == "submit" and self._kind != "query"
        error, rule = self._errors.read(answer.status, answer.body, scope, starts=starts)
        if starts and not self._repeat:
            return Reading(state="failed", error=error, refused=True)
        task_id = first_text(scope, self._ids) if as_ != "submit" or self._kind == "query" else None
        if rule.task_is == "failed":
            return Reading(task_id=task_id, state="failed", error=error, may_be_early=rule.not_yet)
        if rule.task_is is not None:
            return Reading(task_id=task_id, state=rule.task_is)
        return Reading(task_id=task_id, state="failed" if starts else None, error=error, refused=starts)

    def _told(self, scope: Scope, state: UpstreamState | None, raw_status: str | None) -> Reading:
        awaits = raw_status is not None and _folded(raw_status) in self._awaits
        told = Reading(
            task_id=first_text(scope, self._ids),
            state="running" if state is None and raw_status is not None else state,
            raw_status=raw_status,
            known_status=raw_status is None or awaits or _folded(raw_status) in self._words,
            progress=_fraction(next((v for p in self._progress if (v := p(scope)) not in (None, "")), None)),
            awaits_input=awaits,
        )
        if state == "succeeded":
            return self._with_results(told, scope)
        if state == "failed":
            return self._with_remains(told, scope)
        if state == "canceled":
            return msgspec.structs.replace(told, error=self._errors.cancellation(scope))
        offers = self._results.offers(scope, told.task_id, awaited=True) if awaits else {}
        return msgspec.structs.replace(told, details=offers)

    def _with_results(self, reading: Reading, scope: Scope) -> Reading:
        results, artifacts, text = self._results, self._results.artifacts(scope), self._results.text(scope)
        data = results.data(scope)
        beside = {**results.details(scope), **results.offers(scope, reading.task_id, awaited=False)}
        has_result = bool(artifacts or text or data)
        found = msgspec.structs.replace(
            reading,
            artifacts=artifacts,
            text=text,
            data=data or None,
            details=beside,
            has_result=has_result,
            slots={name: value for name, at in self._slots.items() if (value := first_text(scope, at))},
        )
        if has_result or self._repeat:
            return found
        if self._empty_fails is not None:
            error = ReadError(code="no_output", message=self._empty_fails, retryable=False)
            return msgspec.structs.replace(found, state="failed", error=error)
        if self._kind != "direct" or self._may_be_empty:
            return found
        return msgspec.structs.replace(found, state="failed", error=self._errors.no_output(scope))

    def _with_remains(self, reading: Reading, scope: Scope) -> Reading:
        """Add why a task failed, and what it hands out all the same."""
        remains = self._results.artifacts(scope, failed=True)
        error, rule = self._errors.failure(scope)
        return msgspec.structs.replace(reading, error=error, artifacts=remains, may_be_early=rule.not_yet)


def _paths(paths: Iterator[str] | Sequence[str]) -> list[Lookup]:
    return [compile_path(path) for path in dict.fromkeys(paths)]


def _folded(value: Any) -> str:
    return as_text(value).casefold()


def _verdict_word(value: Any) -> str | None:
    """Return what stands for a verdict: a word, None for null, or a word that no definition accepts."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return _CONTAINER if value else ""
    return None if value is None else _folded(value)


def _words(chain: Sequence[Reads]) -> Mapping[str, UpstreamState]:
    words: dict[str, UpstreamState] = {}
    for part in chain:
        for state, raws in part.state.words.items():
            for raw in raws:
                words.setdefault(_folded(raw), state)
        for raw in part.state.awaits:
            words.setdefault(_folded(raw), "running")
    return words


def _fraction(value: Any) -> float | None:
    """Read progress written as 0.3, 30, "30" or "30%"."""
    text = as_text(value)
    number = finite_number(text.removesuffix("%"))
    if number is None:
        return None
    if text.endswith("%") or number > 1:
        number /= 100
    return min(max(number, 0.0), 1.0)
