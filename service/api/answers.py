"""Answers that several routes give: JSON bodies, and a run with what no-code tools need beside it."""

from typing import Any

import msgspec
from litestar import Response

from service.api.deps import Services
from service.api.written import Written
from service.lifecycle.run import Run
from service.lifecycle.view import poll_after_s, view

_encode = msgspec.json.Encoder().encode
_RECHECK_S = 1.0  # a hint may be lost, and nobody shall wait on a process that stops


def json_response(value: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Write a Struct as a JSON answer."""
    return Written(_encode(value), status_code=status_code, media_type="application/json", headers=headers)


async def run_response(
    run: Run,
    services: Services,
    wait_s: float,
    headers: dict[str, str] | None = None,
    *,
    is_start: bool = False,
) -> Response[bytes]:
    """Answer with a run, after waiting for its end where that is wanted.

    Args:
        run: The run as it is now.
        services: The services.
        wait_s: Longest wait.
        headers: More headers.
        is_start: 202 tells that a started run goes on; reading a run is 200 in any state.
    """
    run = await waited(run, services, wait_s)
    now = services.clock.now()
    status_code = 202 if is_start and not run.is_final else 200
    more = {"Location": run.status_url} if is_start else {}
    shown = view(run, now, services.links.for_answer)
    return json_response(shown, status_code, {**more, **retry_after(run, services), **(headers or {})})


def retry_after(run: Run, services: Services) -> dict[str, str]:
    """Return the header that says when it is worth while to ask for a run again."""
    return {} if run.is_final else {"Retry-After": str(poll_after_s(run, services.clock.now()))}


async def waited(run: Run, services: Services, wait_s: float) -> Run:
    """Return a run once it rests, or as it is after the time."""
    until = services.clock.now() + wait_s
    while not run.rests and (left_s := until - services.clock.now()) > 0:
        if not services.is_ready():
            break  # a connection cut at the stop would look like a start that failed
        await services.switchboard.wait(run.id, min(left_s, _RECHECK_S))
        run = await services.store.run(run.id) or run
    return run
