"""Submitting and asking: a node's request out, a reading or an outcome back. Knows nodes, not runs' states."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from service.artifacts.materials import Materials
from service.artifacts.results import kept_results
from service.artifacts.vault import Vault
from service.clock import Clock
from service.definitions.catalog import CompiledNode
from service.definitions.error_reader import ReadError
from service.definitions.paths import decode_body
from service.definitions.reader import Answer, As, RawBody, Reading, raw_artifact, seen_data
from service.definitions.request import OutgoingRequest
from service.definitions.schema import Stream, seconds
from service.errors import CallerError, MediaUnavailable, NotSent, SocketRefused, StoreError, Unconfirmed
from service.lifecycle.artifacts import artifact_id
from service.lifecycle.run import Run
from service.lifecycle.transitions import Accepted, Refused, SubmissionOutcome, Unknown
from service.retry_after import parse_retry_after
from service.upstream.batch import entries
from service.upstream.local import looked_up
from service.upstream.transport import Keep, Transport, WireAnswer, WireSocket, WireStream
from service.upstream.turn import hold_turn, turn_inputs

_KEEP_AGAIN_S = 0.5
_SUBMIT_TIMEOUT_S = 60.0
_DIRECT_TIMEOUT_S = 300.0
_QUERY_TIMEOUT_S = 60.0
_CONTENT_TIMEOUT_S = 600.0
_LARGEST_ARTIFACT_BYTES = 2 * 1024 * 1024 * 1024
_SUCCESS = range(200, 300)
_NOT_THERE = ("not_found", "invalid_request")


class Asked(Struct, frozen=True, kw_only=True):
    """What a query brought: a reading, and how long upstream wants to be left alone."""

    reading: Reading
    retry_after_s: float | None = None


Inputs = Callable[[], Awaitable[Mapping[str, Any]]]


class Listener(Protocol):
    """Somebody who wants to hear the events of an answer as they come."""

    def hear(self, piece: bytes) -> None:
        """Take a piece of the stream."""


class UpstreamClient:
    """Starts operations and asks about tasks.

    Args:
        transport: The wire.
        clock: For `Retry-After` dates.
        materials: Brings media into the form that upstream takes.
        vault: Keeps results that have no URL.
    """

    def __init__(self, transport: Transport, clock: Clock, materials: Materials, vault: Vault) -> None:
        self._transport = transport
        self._clock = clock
        self._materials = materials
        self._vault = vault

    async def submit(
        self,
        node: CompiledNode,
        run: Run,
        inputs: Mapping[str, Any],
        *,
        callback_url: str | None,
        listener: Listener | None = None,
    ) -> SubmissionOutcome:
        """Send a run's submission once, and tell what is known of its outcome.

        Args:
            node: The run's node.
            run: The run.
            inputs: Its whole input.
            callback_url: Where upstream may report.
            listener: Hears the events of the answer, where upstream can answer in events.
        """
        if node.node.table is not None:
            return Accepted(reading=looked_up(node.node.table, inputs), path="")
        if node.node.kind == "flow":
            return Accepted(reading=Reading(state="running"), path="")
        async with AsyncExitStack() as stack:
            try:
                ready = await stack.enter_async_context(self._materials.ready(node, inputs, run.workspace))
                socket = node.node.socket
                said = turn_inputs(node, ready, socket.rate) if socket else {}
            except StoreError as exc:
                return Refused(error=ReadError(code="server", message=str(exc), retryable=True))
            except (CallerError, MediaUnavailable) as exc:  # only here is it sure that nothing was sent
                retryable = isinstance(exc, MediaUnavailable) and exc.retryable
                return Refused(error=ReadError(code="invalid_request", message=_told(exc), retryable=retryable))
            stream = _wanted_stream(node, listener)
            request = node.plan.build(ready, callback_url=callback_url, external_id=run.external_id, stream=stream)
            return await self._submit(node, run, request, said=said, listener=listener if stream else None)

    async def _submit(
        self,
        node: CompiledNode,
        run: Run,
        request: OutgoingRequest,
        *,
        said: Mapping[str, Any],
        listener: Listener | None,
    ) -> SubmissionOutcome:
        try:
            if node.node.socket is not None:
                answer = await hold_turn(self._transport, request, node.node.socket, said)
            elif listener is not None or _always_streams(node):
                answer = await self._streamed(node, request, listener)
            else:
                answer = await self._send(node, run, request, _submit_timeout_s(node))
        except SocketRefused as exc:
            return self._refused(node, exc)
        except NotSent as exc:
            return Refused(error=ReadError(code="server", message=str(exc), retryable=True))
        except Unconfirmed as exc:
            if node.is_free:  # asking twice starts and costs nothing
                return Refused(error=ReadError(code="server", message=str(exc), retryable=True))
            return Unknown(reason=str(exc), path=request.path)
        return await self._outcome(node, run, request, answer)

    def _refused(self, node: CompiledNode, exc: SocketRefused) -> Refused:
        retry_after_s = parse_retry_after(exc.headers.get("retry-after"), self._clock.wall())
        return Refused(error=handshake_error(node, exc), status=exc.status, retry_after_s=retry_after_s)

    def socket(
        self, node: CompiledNode, inputs: Mapping[str, Any], *, largest_message_bytes: int
    ) -> AbstractAsyncContextManager[WireSocket]:
        """Open a node's WebSocket for somebody who holds the conversation; closed at the end of the block.

        Raises:
            NotSent: It was not opened; nothing was started. `SocketRefused` when upstream said so.
        """
        return self._transport.socket(node.plan.build(inputs), largest_message_bytes=largest_message_bytes)

    async def _outcome(
        self, node: CompiledNode, run: Run, request: OutgoingRequest, answer: WireAnswer
    ) -> SubmissionOutcome:
        is_query = node.node.kind == "query"
        reading = _as_data(_read(node, "poll", answer)) if is_query else _read(node, "submit", answer)
        error = reading.error
        if error is None or not reading.refused:
            followed = reading if _can_follow(node, reading) else _not_followed(reading)
            return Accepted(reading=await self._kept(run, followed), path=request.path)
        if error.submitted == "maybe" and not node.is_free:
            reason = f"upstream answered HTTP {answer.status}: {error.message}"
            return Unknown(reason=reason, path=request.path, status=answer.status)
        return Refused(error=error, status=answer.status, retry_after_s=self._retry_after_s(answer))

    async def ask(
        self, node: CompiledNode, run: Run, inputs: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> Asked | None:
        """Ask about a run's task once; None when upstream offers no way to.

        Args:
            node: The run's node.
            run: The run.
            inputs: Brings the run's whole input, which is needed where the submission itself is repeated.
        """
        if run.upstream_task_id is None:
            return await self._ask(node, run, node.plan.build(await inputs())) if node.node.repeat else None
        asked = await self._ask(node, run, node.plan.query(run.upstream_path or "", run.upstream_task_id))
        return asked and await self._collected(node, run, asked)

    async def ask_many(self, node: CompiledNode, runs: Sequence[Run]) -> dict[str, Asked]:
        """Ask about the tasks of many runs at once; returns what was said of each run, by its id."""
        ids = {run.id: run.upstream_task_id or "" for run in runs}
        request, many = node.plan.query_many(list(dict.fromkeys(ids.values()))), node.plan.many
        if request is None or many is None:
            return {}
        try:
            answer = await self._send(node, runs[0], request, _QUERY_TIMEOUT_S)
        except (NotSent, Unconfirmed) as exc:
            return dict.fromkeys(ids, _unanswered(str(exc)))
        body, after_s = decode_body(answer.body), self._retry_after_s(answer)
        if answer.status not in _SUCCESS or not isinstance(body, dict | list):
            return dict.fromkeys(ids, Asked(reading=_questioned(_read(node, "poll", answer)), retry_after_s=after_s))
        found = entries(many, body, list(ids.values()))
        return {run.id: await self._entry(node, run, found.get(ids[run.id])) for run in runs}

    async def _entry(self, node: CompiledNode, run: Run, entry: Any) -> Asked:
        if entry is None:
            error = ReadError(code="not_found", message="upstream's list does not name the task (yet)", retryable=True)
            return Asked(reading=Reading(error=error))
        reading = node.reader.read("poll", Answer(status=200, body=entry))
        return await self._collected(node, run, Asked(reading=await self._kept(run, reading)))

    async def ask_by_external_id(self, node: CompiledNode, run: Run) -> Asked | None:
        """Look for a run's task by our own id once; None when upstream offers no way to."""
        return await self._ask(node, run, node.plan.query_by_external_id(run.upstream_path or "", run.external_id))

    async def _ask(self, node: CompiledNode, run: Run, request: OutgoingRequest | None) -> Asked | None:
        if request is None:
            return None
        try:
            answer = await self._send(node, run, request, _QUERY_TIMEOUT_S)
        except (NotSent, Unconfirmed) as exc:
            return _unanswered(str(exc))
        reading = await self._kept(run, _read(node, "poll", answer))
        return Asked(reading=reading, retry_after_s=self._retry_after_s(answer))

    async def _collected(self, node: CompiledNode, run: Run, asked: Asked) -> Asked:
        """Bring the result of a task that succeeded without one, where one more request does."""
        reading = asked.reading
        if reading.state != "succeeded" or reading.has_result or node.plan.collect is None:
            return asked
        request = node.plan.collecting(run.upstream_task_id or reading.task_id or "", reading.slots)
        if request is None:
            return asked
        try:
            brought = await self._brought(node, run, request)
        except (NotSent, Unconfirmed) as exc:
            return _unanswered(str(exc))
        if not brought.has_result and brought.error is not None and brought.error.code in _NOT_THERE:
            return asked  # a success without a result, of which the run's rules know what to make
        if not brought.has_result:
            error = brought.error or ReadError(code="no_output", message="no result was brought", retryable=True)
            return Asked(reading=Reading(error=error), retry_after_s=asked.retry_after_s)
        found = {"artifacts": brought.artifacts, "text": reading.text or brought.text, "has_result": True}
        return Asked(reading=msgspec.structs.replace(reading, **found))

    async def _brought(self, node: CompiledNode, run: Run, request: OutgoingRequest) -> Reading:
        raw = node.plan.collect.raw if node.plan.collect else None
        keep = self._keeper(run, 0) if raw else None
        answer = await self._transport.send(request, timeout_s=_CONTENT_TIMEOUT_S, keep=keep)
        if answer.kept is None or raw is None:
            return await self._kept(run, _read(node, "poll", answer))
        return Reading(state="succeeded", artifacts=(raw_artifact(raw, answer.kept),), has_result=True)

    async def _send(self, node: CompiledNode, run: Run, request: OutgoingRequest, timeout_s: float) -> WireAnswer:
        keep = self._keeper(run, 0) if node.reader.raw not in (None, "text") else None
        return await self._transport.send(request, timeout_s=timeout_s, keep=keep)

    async def _streamed(self, node: CompiledNode, request: OutgoingRequest, listener: Listener | None) -> WireAnswer:
        """Send a submission whose answer comes in events; whoever listens hears them at once."""
        timeout_s = _submit_timeout_s(node)
        async with self._transport.streaming(request, timeout_s=timeout_s) as wire:
            pieces = [piece async for piece in _heard(wire, listener)]
        return WireAnswer(status=wire.status, headers=wire.headers, body=b"".join(pieces))

    def _keeper(self, run: Run, place: int) -> Keep:
        async def keep(chunks: AsyncIterator[bytes]) -> RawBody:
            kept = await self._vault.keep(artifact_id(run.id, place), chunks, limit_bytes=_LARGEST_ARTIFACT_BYTES)
            return RawBody(size_bytes=kept.size_bytes, mime=kept.mime)

        return keep

    async def _kept(self, run: Run, reading: Reading) -> Reading:
        """Keep the results that came as bytes inside the answer."""
        if all(artifact.content is None for artifact in reading.artifacts):
            return reading
        while True:
            try:
                artifacts = await kept_results(reading.artifacts, run.id, self._vault)
            except StoreError:
                await asyncio.sleep(_KEEP_AGAIN_S)  # they are paid for and nowhere else: room on the disk is waited for
            else:
                return msgspec.structs.replace(reading, artifacts=artifacts)

    def _retry_after_s(self, answer: WireAnswer) -> float | None:
        return parse_retry_after(answer.headers.get("retry-after"), self._clock.wall())


async def _heard(wire: WireStream, listener: Listener | None) -> AsyncIterator[bytes]:
    async for piece in wire.pieces:
        if listener is not None and wire.status in _SUCCESS:
            listener.hear(piece)
        yield piece


def handshake_error(node: CompiledNode, exc: SocketRefused) -> ReadError:
    """Return what the refusal of a handshake means; nothing was started, whatever it says."""
    error = node.reader.read("submit", Answer(status=exc.status, body=str(exc))).error
    return error or ReadError(code="server", message=str(exc), retryable=True)


def _wanted_stream(node: CompiledNode, listener: Listener | None) -> Stream | None:
    """Return how the answer is asked for in events, when somebody listens or a silence would be cut on the way."""
    plan = node.reader.stream
    return plan.stream if plan is not None and (listener is not None or plan.stream.always) else None


def _always_streams(node: CompiledNode) -> bool:
    return node.reader.stream is not None and node.reader.stream.stream.always


def _submit_timeout_s(node: CompiledNode) -> float:
    if node.node.timeout is not None:
        return seconds(node.node.timeout)
    return _SUBMIT_TIMEOUT_S if node.node.kind == "task" else _DIRECT_TIMEOUT_S


def _can_follow(node: CompiledNode, reading: Reading) -> bool:
    is_open = reading.state in ("queued", "running")
    return not is_open or node.node.repeat or (node.plan.can_ask and reading.task_id is not None)


def _not_followed(reading: Reading) -> Reading:
    message = f"upstream made the job {reading.task_id}, and there is no way to ask for its result; look it up there"
    error = ReadError(code="no_output", message=message, retryable=False)
    return msgspec.structs.replace(reading, state="failed", error=error)


def _unanswered(reason: str) -> Asked:
    return Asked(reading=Reading(error=ReadError(code="server", message=reason, retryable=True)))


def _questioned(reading: Reading) -> Reading:
    """Keep of an error about many tasks only the trouble: it tells the state of none."""
    error = reading.error or ReadError(code="server", message="upstream gave no list of tasks", retryable=True)
    return Reading(error=error)


def _told(exc: CallerError | MediaUnavailable) -> str:
    faults = exc.faults if isinstance(exc, CallerError) else ()
    return "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults) or str(exc)


def _read(node: CompiledNode, as_: As, answer: WireAnswer) -> Reading:
    body = answer.kept if answer.kept is not None else decode_body(answer.body)
    return node.reader.read(as_, Answer(status=answer.status, body=body))


def _as_data(reading: Reading) -> Reading:
    """Turn what was read about a task into the result of the run that asked for it."""
    error = reading.error
    if reading.state is None and error is not None:
        # While a task is followed, "not found" may mean "not yet"; who asks once wants to know now.
        retryable = error.retryable and error.code != "not_found"
        return Reading(error=msgspec.structs.replace(error, retryable=retryable), refused=True)
    told = {
        "task_id": reading.task_id,
        "state": reading.state,
        "progress": reading.progress,
        "artifacts": [{"kind": each.kind, "role": each.role, "url": each.url} for each in reading.artifacts],
        "text": reading.text,
        "data": seen_data(reading),
        "error": msgspec.to_builtins(reading.error),
    }
    return Reading(
        task_id=reading.task_id,
        state="succeeded",
        artifacts=reading.artifacts,
        text=reading.text,
        data=told,
        has_result=True,
    )
