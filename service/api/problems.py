"""Errors as `application/problem+json` (RFC 9457). The only place that turns an error into an HTTP answer."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from msgspec import UNSET, Struct, UnsetType

from service.api.written import Written
from service.errors import AllowanceSpent, CallerError, Fault, StoreError

PROBLEM_MEDIA_TYPE = "application/problem+json"
_URN = "urn:halley:problem:"


class Problem(Struct, frozen=True, kw_only=True):
    """What went wrong with a request.

    Attributes:
        type: Stable URN of the kind of problem.
        title: The kind of problem, in words.
        status: HTTP status.
        detail: This problem, in words, and what to do.
        code: Stable machine word.
        retryable: The same request may succeed later.
        retry_after_s: When to try again, where that is known; also in the header `Retry-After`.
        errors: For wrong input: one entry per fault.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool = False
    retry_after_s: int | UnsetType = UNSET
    errors: tuple[Fault, ...] | UnsetType = UNSET


_CODES = {
    400: "invalid_request",
    401: "auth",
    403: "auth",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}


STORE_PROBLEM = Problem(
    type=_URN + "store",
    title="The database cannot do its work",
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    detail="Nothing was started. Try again in a moment.",
    code="server",
    retryable=True,
)


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Write a problem as an HTTP answer."""
    body = msgspec.json.encode(problem)
    return Written(body, status_code=problem.status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


def on_caller_error(_request: Request[Any, Any, State], exc: CallerError) -> Response[bytes]:
    """Answer an error that the caller can mend."""
    return problem_response(caller_problem(exc), _headers(exc))


def _headers(exc: CallerError) -> dict[str, str]:
    if isinstance(exc, AllowanceSpent):
        return {"Retry-After": str(exc.retry_after_s)}
    return {"WWW-Authenticate": "Bearer"} if exc.status == HTTPStatus.UNAUTHORIZED else {}


def caller_problem(exc: CallerError) -> Problem:
    """Describe an error that the caller can mend."""
    return Problem(
        type=_URN + exc.code,
        title=exc.title,
        status=exc.status,
        detail=exc.detail,
        code=exc.code,
        retryable=exc.retryable,
        retry_after_s=exc.retry_after_s if isinstance(exc, AllowanceSpent) else UNSET,
        errors=exc.faults or UNSET,
    )


def upstream_problem(detail: str, *, code: str, retryable: bool) -> Problem:
    """Describe what upstream refused where there is no run to tell it."""
    return Problem(
        type=_URN + code,
        title="Upstream did not take the request",
        status=HTTPStatus.BAD_GATEWAY,
        detail=detail,
        code=code,
        retryable=retryable,
    )


def on_http_error(_request: Request[Any, Any, State], exc: HTTPException) -> Response[bytes]:
    """Answer an error of the framework: unknown route, wrong method, body too large."""
    status = HTTPStatus(exc.status_code)
    code = _CODES.get(exc.status_code, "server" if exc.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else "request")
    problem = Problem(
        type=_URN + code, title=status.phrase, status=status, detail=exc.detail or status.phrase, code=code
    )
    return problem_response(problem, dict(exc.headers or {}))


def on_store_error(request: Request[Any, Any, State], exc: StoreError) -> Response[bytes]:
    """Answer when the database cannot do its work: nothing was taken in, so the caller may try again."""
    request.app.state.services.log.error("store.failed", error=str(exc))
    return problem_response(STORE_PROBLEM, {"Retry-After": "5"})


def on_bug(request: Request[Any, Any, State], exc: Exception) -> Response[bytes]:
    """Answer an error of our own: logged in full, told in general."""
    request.app.state.services.log.error(
        "request.broke", route=str(request.scope.get("path_template") or "unknown"), exc_info=exc
    )
    problem = Problem(
        type=_URN + "server",
        title="Halley made a mistake",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        detail="This is a fault of Halley, not of your request; the log has the details.",
        code="server",
    )
    return problem_response(problem)
