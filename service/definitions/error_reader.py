"""What an error answer means: codes and words in the body first, the HTTP status only when these say nothing."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from service.definitions.paths import Lookup, Scope, as_text, compile_path, decode_body, first_text
from service.definitions.schema import ErrorCode, ErrorRule, Failure, Reads

_Form = Literal["json", "html", "text"]

_RETRYABLE: frozenset[ErrorCode] = frozenset({"rate_limited", "upstream_busy", "server"})
_MESSAGE_LENGTH = 1000
_JSON_TEXTS = 3
_HTTP_ERROR = re.compile("[45][0-9][0-9]")
_EVENT = re.compile(r"^data:\s*(\{.*)$", re.MULTILINE)
_SERVER_FAULT = 500
FIRST_NON_SUCCESS = 300


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
        self._cancellations = [compile_path(path) for part in chain for path in part.failure.canceled]

    def read(self, status: int | None, body: Any, scope: Scope, *, starts: bool) -> tuple[ReadError, ErrorRule]:
        """Return what an error answer means, and the rule that says so.

        Args:
            status: Its HTTP status; None for callbacks.
            body: Its body.
            scope: Its body, to look paths up in.
            starts: It was the answer to a submission, and not to a question about a task.
        """
        form = _form(body)
        codes, message = self._said(scope, "" if form == "html" else as_text(body))
        rule = self._rule(codes, message, status, form)
        error = rule.error(message, codes, status, starts=starts)
        if starts and _is_cut_success(status, body):
            error = msgspec.structs.replace(error, submitted="maybe")
        return error, rule.rule

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
            lambda rule: rule.by_status(status if status is None or status >= FIRST_NON_SUCCESS else in_body),
            lambda rule: rule.by_status(status),
        )
        for fits in passes:
            found = next((rule for _, _, rules in self._blocks for rule in rules if fits(rule)), None)
            if found is not None:
                return found
        is_ours = status is not None and FIRST_NON_SUCCESS <= status < _SERVER_FAULT
        return _UNREADABLE_REFUSAL if is_ours else _UNREADABLE

    def failure(self, scope: Scope) -> tuple[ReadError, ErrorRule]:
        """Return why a task failed, and the rule that says so."""
        return self._failure(scope, _GENERATION_FAILED)

    def no_output(self, scope: Scope) -> ReadError:
        """Return why an accepted answer holds no result."""
        return self._failure(scope, _NO_OUTPUT)[0]

    def cancellation(self, scope: Scope) -> ReadError | None:
        """Return why a task was canceled, where upstream says so."""
        message = first_text(scope, self._cancellations)
        return ReadError(code="canceled", message=message, retryable=False) if message else None

    def _failure(self, scope: Scope, otherwise: "_CompiledRule") -> tuple[ReadError, ErrorRule]:
        codes = [code for lookups, _, _ in self._failures for path in lookups if (code := first_text(scope, [path]))]
        message = next((text for _, lookups, _ in self._failures if (text := first_text(scope, lookups))), "")
        folded, words = {_folded(code) for code in codes}, message.casefold()
        rules = [rule for _, _, block in self._failures for rule in block]
        found = next((rule for rule in rules if rule.by_body(folded, words)), otherwise)
        return found.error(message, codes, None, starts=True), found.rule


class _CompiledRule:
    """One error rule, ready to match."""

    def __init__(self, rule: ErrorRule) -> None:
        self.rule = rule
        self._codes = {_folded(code) for code in rule.codes}
        self._words = [word.casefold() for word in rule.words]
        self._whole = {_folded(text) for text in rule.whole}

    def by_body(self, codes: set[str], message: str) -> bool:
        said = message in self._whole or any(word in message for word in self._words)
        return said or not codes.isdisjoint(self._codes)

    def by_form(self, status: int | None, form: _Form) -> bool:
        fits = (self.rule.html and form == "html") or (self.rule.no_json and form != "json")
        return fits and (not self.rule.http or status in self.rule.http)

    def by_status(self, status: int | None) -> bool:
        return status in self.rule.http and not (self.rule.html or self.rule.no_json)

    def error(self, message: str, codes: list[str], status: int | None, *, starts: bool) -> ReadError:
        code = self.rule.code
        submitted = self.rule.submitted or ("maybe" if code == "server" else "no")
        return ReadError(
            code=code,
            message=(self.rule.say or message or _message(code, status))[:_MESSAGE_LENGTH],
            retryable=self._retryable(starts=starts),
            upstream_code=codes[0] if codes else None,
            submitted=submitted if starts else "no",
        )

    def _retryable(self, *, starts: bool) -> bool:
        if starts and self.rule.retry is not None:
            return self.rule.retry
        return self.rule.code in _RETRYABLE or (self.rule.not_yet and not starts)


_UNREADABLE = _CompiledRule(ErrorRule(code="server", retry=False, submitted="maybe"))
_UNREADABLE_REFUSAL = _CompiledRule(ErrorRule(code="invalid_request"))
_GENERATION_FAILED = _CompiledRule(ErrorRule(code="generation_failed"))
_NO_OUTPUT = _CompiledRule(ErrorRule(code="no_output"))


def _message(code: ErrorCode, status: int | None) -> str:
    what = {
        "not_found": "upstream does not know this path or task (wrong path or base URL?)",
        "generation_failed": "the generation failed; upstream gave no reason",
        "no_output": "upstream's answer holds no result",
        "moderation": "refused by upstream's content policy",
        "invalid_request": "upstream refused the request",
    }.get(code, "upstream could not be understood")
    return what if status is None else f"{what} (HTTP {status})"


def _paths(paths: Iterator[str] | Sequence[str]) -> list[Lookup]:
    return [compile_path(path) for path in paths]


def _folded(value: Any) -> str:
    return as_text(value).casefold()


def _object_in(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, or that its first server-sent event holds."""
    event = _EVENT.search(text)
    json = event[1] if event else text
    found = decode_body(json.encode("utf-8", "replace")) if json.startswith("{") else None
    return found if isinstance(found, dict) else None


def _is_cut_success(status: int | None, body: Any) -> bool:
    """Tell whether a success arrived without its words, so that what it accepted is paid for and not known."""
    is_cut = isinstance(body, str) and body.lstrip()[:1] in ("", "{", "[")
    return is_cut and status is not None and status < FIRST_NON_SUCCESS


def _form(body: Any) -> _Form:
    if not isinstance(body, str):
        return "json"
    return "html" if is_html(body) else "text"


def is_html(body: str) -> bool:
    """Tell whether a text is a web page."""
    return body.lstrip()[:1] == "<"


def _compile_failure(failure: Failure) -> tuple[list[Lookup], list[Lookup], list[_CompiledRule]]:
    return _paths(failure.code), _paths(failure.message), [_CompiledRule(rule) for rule in failure.rules]
