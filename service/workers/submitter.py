"""Sends queued runs upstream, once each: `submitting` is committed before the first byte leaves."""

from service.definitions.catalog import CompiledNode
from service.definitions.reader import ReadError
from service.lifecycle.run import Change, Run
from service.lifecycle.transitions import Refused, SubmissionOutcome, Unknown, submission_begun, submission_ended
from service.workers.desk import Desk


class Submitter:
    """One pass: claim due queued runs within each provider's budget and submit them.

    Args:
        desk: The workers' shared tools.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._starved = False

    async def run_once(self) -> bool:
        """Claim what is due and start submitting it."""
        desk, more = self._desk, False
        self._starved = False
        for lane in await desk.store.due_lanes("queued", desk.clock.now()):
            budget = desk.budgets.of(lane)
            free = budget.free()
            if not free:
                self._starved = True
                continue
            now = desk.clock.now()
            runs = await desk.store.claim_submissions(lane, now, free, self._begun)
            for run in runs:
                budget.begin()
                desk.crew.start(self._submit(run))
            more = more or len(runs) == free
        return more

    def _begun(self, run: Run) -> Change | None:
        return submission_begun(run, self._desk.clock.now())

    async def _submit(self, run: Run) -> None:
        desk = self._desk
        node = desk.node(run)
        try:
            outcome = await self._outcome(run, node)
        finally:
            desk.budgets.of(run.lane).end()
            if self._starved:
                desk.ring("submit")
        if isinstance(outcome, Refused) and outcome.retry_after_s:
            desk.budgets.of(run.lane).pause(outcome.retry_after_s)
        if node is not None:
            following = desk.following(run, node)
            now = desk.clock.now()
            await desk.store.change(run.id, lambda current: submission_ended(current, outcome, now, following))
        self._tell(run, outcome)

    async def _outcome(self, run: Run, node: CompiledNode | None) -> SubmissionOutcome:
        desk = self._desk
        if node is None:
            error = ReadError(code="not_found", message=f"the node {run.node} is gone", retryable=False)
            return Refused(error=error)
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
