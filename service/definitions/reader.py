"""The one reader of upstream answers: submit, poll, callback or direct result into the same small structure.

It is compiled from a chain of dialects and knows no provider. Reading never raises: whatever upstream says,
even garbage, becomes a `Reading`. What a reading means for a run is decided in `lifecycle`.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from service.definitions.paths import (
    Lookup,
    Scope,
    as_text,
    compile_item_path,
    compile_path,
    compile_verdict_path,
    first_text,
)
from service.definitions.schema import ArtifactRule, ErrorCode, ErrorRule, Failure, Reads, UpstreamState

As = Literal["submit", "poll", "callback"]
_Form = Literal["json", "html", "text"]
NodeKind = Literal["task", "direct", "query"]

_RETRYABLE: frozenset[ErrorCode] = frozenset({"rate_limited", "upstream_busy", "server"})
_FINAL: frozenset[UpstreamState | None] = frozenset({"succeeded", "failed", "canceled"})
_MESSAGE_LENGTH = 1000
_JSON_TEXTS = 3
_HTTP_ERROR = re.compile("[45][0-9][0-9]")
_EVENT = re.compile(r"^data:\s*(\{.*)$", re.MULTILINE)
_CONTAINER = "\0"
_SERVER_FAULT = 500
_FIRST_NON_SUCCESS = 300


class Answer(Struct, frozen=True, kw_only=True):
    """What came back: the HTTP status (None for callbacks) and the body, decoded JSON or text."""

    status: int | None = None
    body: Any = None


class ReadArtifact(Struct, frozen=True, kw_only=True):
    """A result found in an answer."""

    kind: str
    url: str
    role: str = "output"
    upstream_id: str | None = None
    seconds: float | None = None


class ReadError(Struct, frozen=True, kw_only=True):
    """An error found in an answer.

    Attributes:
        code: Code of the contract.
        message: Upstream's words, or ours when it has none.
        retryable: The same request may be sent again later.
        upstream_code: Upstream's own code.
        submitted: `maybe` when a submission answered so may have been accepted all the same.
    """

    code: ErrorCode
    message: str
    retryable: bool
    upstream_code: str | None = None
    submitted: Literal["no", "maybe"] = "no"


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
        error: Why the request was refused or the task failed.
    """

    task_id: str | None = None
    state: UpstreamState | None = None
    raw_status: str | None = None
    known_status: bool = True
    progress: float | None = None
    artifacts: tuple[ReadArtifact, ...] = ()
    text: str | None = None
    data: dict[str, Any] | None = None
    error: ReadError | None = None


def decode_body(body: bytes) -> Any:
    """Decode a body: JSON where it is JSON whatever its content type says, else text."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body.decode("utf-8", "replace")


class AnswerReader:
    """Reads answers as a chain of dialects says, the node's own part first.

    Args:
        kind: Kind of the node.
        chain: Dialect parts in order of preference.
    """

    def __init__(self, kind: NodeKind, chain: Sequence[Reads]) -> None:
        self._kind = kind
        self._unwrap = next((part.unwrap for part in chain if part.unwrap), None)
        self._verdicts = [
            (compile_verdict_path(v.at), {_verdict_word(value) for value in v.accepted})
            for part in chain
            for v in part.verdict
        ]
        self._ids = _paths(path for part in chain for path in part.id)
        self._states = _paths(path for part in chain for path in part.state.at)
        self._overrules = _paths(path for part in chain for path in part.state.overruled_by)
        self._words = _words(chain)
        self._progress = _paths(path for part in chain for path in part.progress)
        self._artifacts = [_compile_artifacts(rule) for part in chain for rule in part.artifacts]
        self._texts = _paths(path for part in chain for path in part.text)
        self._data = {name: _paths(_listed(at)) for part in chain for name, at in part.data.items()}
        self._errors = ErrorReader(chain)

    def read(self, as_: As, answer: Answer) -> Reading:
        """Return what an answer says.

        Args:
            as_: What was asked: `submit`, `poll`, or nothing (`callback`).
            answer: What came back.
        """
        if not isinstance(answer.body, dict | list):
            return Reading() if as_ == "callback" else self._refused(as_, answer, Scope(None))
        scope = Scope(answer.body, self._inner(answer.body))
        state, raw_status = self._state(scope)
        if self._is_refused(answer, scope, state, raw_status):
            return self._refused(as_, answer, scope)
        if self._kind == "direct" and as_ == "submit":
            state = state or "succeeded"
        elif as_ == "submit" and self._kind == "task" and first_text(scope, self._ids) is None:
            return Reading(state="failed", error=_NO_TASK_ID)
        elif state is None and (raw_status is not None or as_ != "callback"):
            state = "queued" if as_ == "submit" and self._kind == "task" else "running"
        return self._accepted(scope, state, raw_status)

    def _inner(self, body: Any) -> Any:
        found = None
        unwrap = self._unwrap
        while unwrap and isinstance(body, dict):
            if any(key in body for key in unwrap.holds):
                found = body
            body = body.get(unwrap.through)
        return found

    def _state(self, scope: Scope) -> tuple[UpstreamState | None, str | None]:
        found = [value for lookup in self._states if isinstance(value := lookup(scope), str)]
        raw = next((text for text in found if text.strip()), found[0] if found else None)
        state = self._words.get(_folded(raw)) if raw is not None else None
        if state not in _FINAL:
            overruling = (as_text(lookup(scope)) for lookup in self._overrules)
            given_up = next((text for text in overruling if self._words.get(_folded(text)) == "failed"), None)
            if given_up is not None:
                return "failed", given_up
        return state, raw

    def _is_refused(self, answer: Answer, scope: Scope, state: UpstreamState | None, raw_status: str | None) -> bool:
        if answer.status is not None and answer.status >= _FIRST_NON_SUCCESS:
            return True
        # What tells the state of a task is no refusal of the request, whatever code stands beside it.
        if (raw_status and scope.inner is not None) or (state and first_text(scope, self._ids)):
            return False
        found = ((lookup(scope), accepted) for lookup, accepted in self._verdicts)
        return any(value is not UNSET and _verdict_word(value) not in accepted for value, accepted in found)

    def _refused(self, as_: As, answer: Answer, scope: Scope) -> Reading:
        starts = as_ == "submit" and self._kind != "query"
        error = self._errors.read(answer, scope, starts=starts)
        if starts:
            return Reading(state="failed", error=error)
        return Reading(task_id=first_text(scope, self._ids), error=error)

    def _accepted(self, scope: Scope, state: UpstreamState | None, raw_status: str | None) -> Reading:
        found = Reading(
            task_id=first_text(scope, self._ids),
            state=state,
            raw_status=raw_status,
            known_status=raw_status is None or _folded(raw_status) in self._words,
            progress=_fraction(next((v for p in self._progress if (v := p(scope)) not in (None, "")), None)),
            error=self._errors.failure(scope) if state == "failed" else None,
        )
        return self._with_results(found, scope) if state == "succeeded" else found

    def _with_results(self, reading: Reading, scope: Scope) -> Reading:
        return msgspec.structs.replace(
            reading,
            artifacts=tuple(_distinct(each for find in self._artifacts for each in find(scope))),
            text=first_text(scope, self._texts),
            data=self._read_data(scope),
        )

    def _read_data(self, scope: Scope) -> dict[str, Any] | None:
        found = {}
        for name, lookups in self._data.items():
            value = next((v for lookup in lookups if (v := lookup(scope)) is not None), None)
            if value is not None:
                found[name] = value
        return found or None


class ErrorReader:
    """Reads error answers: codes and words in the body first, the HTTP status only when these say nothing."""

    def __init__(self, chain: Sequence[Reads]) -> None:
        self._blocks = [
            (
                _paths(part.errors.code),
                _paths(part.errors.message),
                [_CompiledRule(r) for r in part.errors.rules],
            )
            for part in chain
        ]
        self._codes = [path for codes, _, _ in self._blocks for path in codes]
        self._messages = [path for _, messages, _ in self._blocks for path in messages]
        self._failures = [_compile_failure(part.failure) for part in chain]

    def read(self, answer: Answer, scope: Scope, *, starts: bool) -> ReadError:
        """Return what an error answer means.

        Args:
            answer: The answer.
            scope: Its body, to look paths up in.
            starts: It was the answer to a submission, and not to a question about a task.
        """
        form = _form(answer.body)
        codes, message = self._said(scope, "" if form == "html" else as_text(answer.body))
        rule = self._rule(codes, message, answer.status, form)
        return rule.error(message, codes, answer.status, starts=starts)

    def _said(self, scope: Scope, otherwise: str) -> tuple[list[str], str]:
        """Return codes and message, also from JSON or an event that stands as text in the message's place."""
        codes: list[str] = []
        for _ in range(_JSON_TEXTS):
            codes += [code for path in self._codes if (code := first_text(scope, [path]))]
            message = first_text(scope, self._messages) or otherwise
            inner = _object_in(message)
            if inner is None:
                break
            scope, otherwise = Scope(inner), message
        return codes, message

    def _rule(self, codes: list[str], message: str, status: int | None, form: _Form) -> "_CompiledRule":
        folded, words = {_folded(code) for code in codes}, message.casefold()
        in_body = next((int(code) for code in codes if _HTTP_ERROR.fullmatch(code)), None)
        passes: tuple[Callable[[_CompiledRule], bool], ...] = (
            lambda rule: rule.by_body(folded, words),
            lambda rule: rule.by_form(status, form),
            lambda rule: rule.by_status(status if status is None or status >= _FIRST_NON_SUCCESS else in_body),
            lambda rule: rule.by_status(status),
        )
        for fits in passes:
            found = next((rule for _, _, rules in self._blocks for rule in rules if fits(rule)), None)
            if found is not None:
                return found
        is_ours = status is not None and _FIRST_NON_SUCCESS <= status < _SERVER_FAULT
        return _UNREADABLE_REFUSAL if is_ours else _UNREADABLE

    def failure(self, scope: Scope) -> ReadError:
        """Return why a task failed."""
        message = next((text for lookups, _ in self._failures if (text := first_text(scope, lookups))), "")
        words = message.casefold()
        rules = [rule for _, block in self._failures for rule in block]
        found = next((rule for rule in rules if rule.by_body(set(), words)), _GENERATION_FAILED)
        return found.error(message, [], None, starts=True)


class _CompiledRule:
    """One error rule, ready to match."""

    def __init__(self, rule: ErrorRule) -> None:
        self._rule = rule
        self._codes = {_folded(code) for code in rule.codes}
        self._words = [word.casefold() for word in rule.words]
        self._whole = {_folded(text) for text in rule.whole}

    def by_body(self, codes: set[str], message: str) -> bool:
        said = message in self._whole or any(word in message for word in self._words)
        return said or not codes.isdisjoint(self._codes)

    def by_form(self, status: int | None, form: _Form) -> bool:
        fits = (self._rule.html and form == "html") or (self._rule.no_json and form != "json")
        return fits and (not self._rule.http or status in self._rule.http)

    def by_status(self, status: int | None) -> bool:
        return status in self._rule.http and not (self._rule.html or self._rule.no_json)

    def error(self, message: str, codes: list[str], status: int | None, *, starts: bool) -> ReadError:
        code = self._rule.code
        submitted = self._rule.submitted or ("maybe" if code == "server" else "no")
        return ReadError(
            code=code,
            message=(self._rule.say or message or _message(code, status))[:_MESSAGE_LENGTH],
            retryable=self._retryable(starts=starts),
            upstream_code=codes[0] if codes else None,
            submitted=submitted if starts else "no",
        )

    def _retryable(self, *, starts: bool) -> bool:
        if starts and self._rule.retry is not None:
            return self._rule.retry
        return self._rule.code in _RETRYABLE or (self._rule.not_yet and not starts)


_UNREADABLE = _CompiledRule(ErrorRule(code="server", retry=False, submitted="maybe"))
_UNREADABLE_REFUSAL = _CompiledRule(ErrorRule(code="invalid_request"))
_GENERATION_FAILED = _CompiledRule(ErrorRule(code="generation_failed"))
_NO_TASK_ID = ReadError(
    code="server",
    message="upstream answered without a task id",
    retryable=False,
    submitted="maybe",
)


def _message(code: ErrorCode, status: int | None) -> str:
    what = {
        "not_found": "upstream does not know this path or task (wrong path or base URL?)",
        "generation_failed": "the generation failed; upstream gave no reason",
        "moderation": "refused by upstream's content policy",
        "invalid_request": "upstream refused the request",
    }.get(code, "upstream could not be understood")
    return what if status is None else f"{what} (HTTP {status})"


def _paths(paths: Iterator[str] | Sequence[str]) -> list[Lookup]:
    return [compile_path(path) for path in paths]


def _listed(paths: str | list[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else paths


def _folded(value: Any) -> str:
    return as_text(value).casefold()


def _verdict_word(value: Any) -> str | None:
    """Return what stands for a verdict: a word, None for null, or a word that no definition accepts."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return _CONTAINER if value else ""
    return None if value is None else _folded(value)


def _object_in(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, or that its first server-sent event holds."""
    event = _EVENT.search(text)
    json = event[1] if event else text
    found = decode_body(json.encode("utf-8", "replace")) if json.startswith("{") else None
    return found if isinstance(found, dict) else None


def _form(body: Any) -> _Form:
    if not isinstance(body, str):
        return "json"
    return "html" if body.lstrip()[:1] == "<" else "text"


def _words(chain: Sequence[Reads]) -> Mapping[str, UpstreamState]:
    words: dict[str, UpstreamState] = {}
    for part in chain:
        for state, raws in part.state.words.items():
            for raw in raws:
                words.setdefault(_folded(raw), state)
    return words


def _fraction(value: Any) -> float | None:
    """Read progress written as 0.3, 30, "30" or "30%"."""
    text = as_text(value)
    number = _number(text.removesuffix("%"))
    if number is None:
        return None
    if text.endswith("%") or number > 1:
        number /= 100
    return min(max(number, 0.0), 1.0)


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _compile_artifacts(rule: ArtifactRule) -> Callable[[Scope], Iterator[ReadArtifact]]:
    each = compile_path(rule.each)
    urls = [compile_item_path(path) for path in _listed(rule.url)]
    ident = compile_item_path(rule.id) if rule.id else None
    length = rule.seconds or rule.milliseconds
    length_of = compile_item_path(length) if length else None
    unit = 1.0 if rule.seconds else 0.001

    def find(scope: Scope) -> Iterator[ReadArtifact]:
        for item in _ordered(each(scope), rule.order_by):
            amount = _number(length_of(item)) if length_of else None
            for url in (lookup(item) for lookup in urls):
                if isinstance(url, str) and url.strip():
                    yield ReadArtifact(
                        kind=rule.kind,
                        url=url.strip(),
                        role=rule.role,
                        upstream_id=(as_text(ident(item)) or None) if ident else None,
                        seconds=None if amount is None else amount * unit,
                    )

    return find


def _ordered(found: Any, key: str | None) -> list[Any]:
    items = found if isinstance(found, list) else [] if found is None else [found]
    if key and all(isinstance(item, dict) and _number(item.get(key)) is not None for item in items):
        return sorted(items, key=lambda item: _number(item[key]) or 0.0)
    return items


def _distinct(artifacts: Iterator[ReadArtifact]) -> Iterator[ReadArtifact]:
    seen: set[str] = set()
    for artifact in artifacts:
        if artifact.url not in seen:
            seen.add(artifact.url)
            yield artifact


def _compile_failure(failure: Failure) -> tuple[list[Lookup], list[_CompiledRule]]:
    return _paths(failure.message), [_CompiledRule(rule) for rule in failure.rules]
