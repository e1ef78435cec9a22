"""Sends queued runs upstream, once each: `submitting` is committed before the first byte leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from service.definitions.catalog import CompiledNode
from service.definitions.error_reader import ReadError
from service.errors import StoreError
from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import (
    Accepted,
    Refused,
    SubmissionOutcome,
    Unknown,
    submission_begun,
    submission_ended,
    undefined,
)
from service.workers.lanes import LaneWorker

_CROWDED = ("rate_limited", "upstream_busy")
_KEEP_AGAIN_S = 0.5
_CROWDED_PAUSE_S = 1.0  # others of the lane would meet the same refusal


class Submitter(LaneWorker):
    """Submits queued runs."""

    name = "submit"
    state = "queued"
    is_query = False

    async def _claim(self, lane: str, limit: int) -> list[Run]:
        desk = self._desk
        most = desk.budgets.of(lane).open_tasks
        if most is not None:
            limit = min(limit, max(most - await desk.store.count_running(lane), 0))
        if not limit:
            return []
        claimed = await desk.store.claim_submissions(lane, desk.clock.now(), limit, self._begun)
        return [run for run in claimed if run.state == "submitting"]

    def _begun(self, run: Run) -> Change | None:
        now = self._desk.clock.now()
        return submission_begun(run, now) if self._desk.node(run) else undefined(run, now)

    async def _work(self, runs: list[Run]) -> None:
        (run,) = runs
        desk, node = self._desk, self._desk.catalog.nodes[run.node]
        inputs: dict[str, Any] = {}
        try:
            inputs = await desk.store.run_input(run.id)
        except StoreError as exc:
            outcome: SubmissionOutcome = Refused(error=ReadError(code="server", message=str(exc), retryable=True))
        else:
            outcome = await self._outcome(run, node, inputs)
        if isinstance(outcome, Refused) and outcome.error.code in _CROWDED:
            desk.budgets.of(run.lane).pause(outcome.retry_after_s or _CROWDED_PAUSE_S)
        following, now = desk.following(run, node), desk.clock.now()
        await self._insist(
            run,
            lambda: desk.store.change(
                run.id, lambda current: submission_ended(current, outcome, now, following, attempt=run.attempts)
            ),
        )
        if isinstance(outcome, Accepted) and node.node.continues:
            task_id = str(inputs.get(node.node.continues, ""))
            await self._insist(run, lambda: desk.store.wake(run.lane, task_id, now))
            desk.ring("poll")
        self._tell(run, outcome)

    async def _insist(self, run: Run, write: Callable[[], Awaitable[object]]) -> None:
        """Write what became of a submission, however long the database is away or full: nobody else knows it."""
        while True:
            try:
                await write()
            except StoreError as exc:
                self._desk.log.warning("submission.not_kept", run=run.id, error=str(exc), again_in_s=_KEEP_AGAIN_S)
                await asyncio.sleep(_KEEP_AGAIN_S)
            else:
                return

    async def _outcome(self, run: Run, node: CompiledNode, inputs: dict[str, Any]) -> SubmissionOutcome:
        desk, listener = self._desk, self._desk.live.of(run.id)
        try:
            return await desk.clients[run.mode].submit(
                node, run, inputs, callback_url=desk.callback_url(run, node), listener=listener
            )
        except Exception as exc:
            # Whatever went wrong here, bytes may have left: the one thing never to do is to send again.
            desk.log.exception("submission.broke", run=run.id)
            return Unknown(reason=f"the submission broke: {type(exc).__name__}", path=run.upstream_path or "")

    def _tell(self, run: Run, outcome: SubmissionOutcome) -> None:
        facts = {"run": run.id, "node": run.node, "attempt": run.attempts, "mode": run.mode}
        if isinstance(outcome, Refused):
            error = outcome.error
            self._desk.log.info("submission.refused", **facts, code=error.code, retryable=error.retryable)
        elif isinstance(outcome, Unknown):
            self._desk.log.warning("submission.unknown", **facts, reason=outcome.reason)
        else:
            self._desk.log.info("submission.accepted", **facts, task=outcome.reading.task_id)
