"""Submitting and asking: a node's request out, a reading or an outcome back. Knows nodes, not runs' states."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from service.clock import Clock
from service.definitions.catalog import CompiledNode
from service.definitions.reader import Answer, As, ReadError, Reading, decode_body
from service.definitions.request import OutgoingRequest
from service.errors import NotSent, Unconfirmed
from service.lifecycle.transitions import Accepted, Refused, SubmissionOutcome, Unknown
from service.retry_after import parse_retry_after
from service.upstream.transport import Transport, WireAnswer

_SUBMIT_TIMEOUT_S = 60.0
_DIRECT_TIMEOUT_S = 300.0
_QUERY_TIMEOUT_S = 20.0


class Asked(Struct, frozen=True, kw_only=True):
    """What a query brought: a reading, and how long upstream wants to be left alone."""

    reading: Reading
    retry_after_s: float | None = None


class UpstreamClient:
    """Starts operations and asks about tasks.

    Args:
        transport: The wire.
        clock: For `Retry-After` dates.
    """

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    async def submit(
        self, node: CompiledNode, inputs: Mapping[str, Any], *, callback_url: str | None, external_id: str
    ) -> SubmissionOutcome:
        """Send a run's submission once, and tell what is known of its outcome."""
        request = node.plan.build(inputs, callback_url=callback_url, external_id=external_id)
        timeout_s = _SUBMIT_TIMEOUT_S if node.node.kind == "task" else _DIRECT_TIMEOUT_S
        try:
            answer = await self._send(node, request, timeout_s)
        except NotSent as exc:
            error = ReadError(code="server", message=str(exc), retryable=True)
            return Refused(error=error)
        except Unconfirmed as exc:
            if node.node.kind == "query":  # asking twice starts and costs nothing
                return Refused(error=ReadError(code="server", message=str(exc), retryable=True))
            return Unknown(reason=str(exc), path=request.path)
        return self._outcome(node, request, answer)

    def _outcome(self, node: CompiledNode, request: OutgoingRequest, answer: WireAnswer) -> SubmissionOutcome:
        is_query = node.node.kind == "query"
        reading = _as_data(_read(node, "poll", answer)) if is_query else _read(node, "submit", answer)
        error = reading.error
        if error is None or reading.task_id is not None:
            return Accepted(reading=reading, path=request.path)
        if error.submitted == "maybe":
            reason = f"upstream answered HTTP {answer.status}: {error.message}"
            return Unknown(reason=reason, path=request.path, status=answer.status)
        return Refused(error=error, status=answer.status, retry_after_s=self._retry_after_s(answer))

    async def ask(self, node: CompiledNode, submit_path: str, task_id: str) -> Asked | None:
        """Ask about a task once; None when upstream offers no way to."""
        return await self._ask(node, node.plan.query(submit_path, task_id))

    async def ask_by_external_id(self, node: CompiledNode, submit_path: str, external_id: str) -> Asked | None:
        """Look for a task by our own id once; None when upstream offers no way to."""
        return await self._ask(node, node.plan.query_by_external_id(submit_path, external_id))

    async def _ask(self, node: CompiledNode, request: OutgoingRequest | None) -> Asked | None:
        if request is None:
            return None
        try:
            answer = await self._send(node, request, _QUERY_TIMEOUT_S)
        except (NotSent, Unconfirmed) as exc:
            return Asked(reading=Reading(error=ReadError(code="server", message=str(exc), retryable=True)))
        return Asked(reading=_read(node, "poll", answer), retry_after_s=self._retry_after_s(answer))

    async def _send(self, node: CompiledNode, request: OutgoingRequest, timeout_s: float) -> WireAnswer:
        bearer = node.provider.auth == "bearer"
        return await self._transport.send(request, timeout_s=timeout_s, bearer=bearer)

    def _retry_after_s(self, answer: WireAnswer) -> float | None:
        return parse_retry_after(answer.headers.get("retry-after"), self._clock.now())


def _read(node: CompiledNode, as_: As, answer: WireAnswer) -> Reading:
    return node.reader.read(as_, Answer(status=answer.status, body=decode_body(answer.body)))


def _as_data(reading: Reading) -> Reading:
    """Turn what was read about a task into the result of the run that asked for it."""
    error = reading.error
    if reading.state is None and error is not None:
        # While a task is followed, "not found" may mean "not yet"; who asks once wants to know now.
        retryable = error.retryable and error.code != "not_found"
        return Reading(error=msgspec.structs.replace(error, retryable=retryable))
    told = {
        "task_id": reading.task_id,
        "state": reading.state,
        "progress": reading.progress,
        "artifacts": [msgspec.to_builtins(artifact) for artifact in reading.artifacts],
        "text": reading.text,
        "data": reading.data,
        "error": msgspec.to_builtins(reading.error),
    }
    return Reading(
        task_id=reading.task_id, state="succeeded", artifacts=reading.artifacts, text=reading.text, data=told
    )
