"""Sends queued runs upstream, once each: `submitting` is committed before the first byte leaves."""

from service.definitions.catalog import CompiledNode
from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import (
    Refused,
    SubmissionOutcome,
    Unknown,
    submission_begun,
    submission_ended,
    undefined,
)
from service.workers.lanes import LaneWorker


class Submitter(LaneWorker):
    """Submits queued runs."""

    name = "submit"
    state = "queued"
    is_query = False

    async def _claim(self, lane: str, limit: int) -> list[Run]:
        claimed = await self._desk.store.claim_submissions(lane, self._desk.clock.now(), limit, self._begun)
        return [run for run in claimed if run.state == "submitting"]

    def _begun(self, run: Run) -> Change | None:
        now = self._desk.clock.now()
        return submission_begun(run, now) if self._desk.node(run) else undefined(run, now)

    async def _work(self, run: Run) -> None:
        desk, node = self._desk, self._desk.catalog.nodes[run.node]
        outcome = await self._outcome(run, node)
        if isinstance(outcome, Refused) and outcome.retry_after_s:
            desk.budgets.of(run.lane).pause(outcome.retry_after_s)
        following, now = desk.following(run, node), desk.clock.now()
        await desk.store.change(run.id, lambda current: submission_ended(current, outcome, now, following))
        self._tell(run, outcome)

    async def _outcome(self, run: Run, node: CompiledNode) -> SubmissionOutcome:
        desk = self._desk
        try:
            return await desk.clients[run.mode].submit(
                node,
                await desk.store.run_input(run.id),
                callback_url=desk.callback_url(run, node),
                external_id=run.external_id,
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
