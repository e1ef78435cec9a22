"""Flows: runs that consist of other runs, started one after the other.

A step is an ordinary run with all that is promised of one. It is started under an idempotency key of its flow, so a
flow that is taken up again after a crash finds the step that it started.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import msgspec

from service.definitions.catalog import CompiledNode
from service.definitions.paths import Scope, as_text, compile_path
from service.definitions.schema import Pick, Step
from service.errors import InvalidInput
from service.ids import new_id, new_token
from service.lifecycle.run import Change, FlowState, Run
from service.lifecycle.transitions import flow_advanced, flow_ended, flow_failed, is_held, queued
from service.store.starts import Idempotency
from service.workers.desk import Desk


class FlowWaker:
    """Has a flow looked at as soon as one of its steps has ended or waits for input."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def notify(self, change: Change) -> None:
        """Take note of a committed change."""
        run = change.run
        if run.parent is not None and run.rests:
            self._desk.crew.start(self._wake(run.parent))

    async def _wake(self, parent: str) -> None:
        await self._desk.store.make_due(parent, self._desk.clock.now())
        self._desk.ring("poll")


class StepImpossible(Exception):
    """A step cannot be started with what the steps before it brought."""


class Conductor:
    """Takes flows to their next step."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def advance(self, run: Run, node: CompiledNode) -> None:
        """Look where a flow stands and do what comes next: wait, start a step, or end."""
        desk, flow = self._desk, run.flow or FlowState()
        children = {name: child for name, run_id in flow.steps if (child := await desk.store.run(run_id)) is not None}
        last = children.get(flow.steps[-1][0]) if flow.steps else None
        if last is not None and not last.is_final and not last.awaits_input:
            await self._apply(run, flow, last)
        elif last is not None and last.is_final and last.state != "succeeded":
            step = flow.steps[-1][0]
            await desk.store.change(run.id, lambda current: flow_failed(current, step, last, desk.clock.now()))
        else:
            await self._go_on(run, node, flow, children)

    async def _go_on(self, run: Run, node: CompiledNode, flow: FlowState, children: Mapping[str, Run]) -> None:
        desk = self._desk
        context = {"input": await desk.store.run_input(run.id), "steps": {n: _seen(c) for n, c in children.items()}}
        step, flow = _next_step(node.node.steps, flow, context)
        last = children.get(flow.steps[-1][0]) if flow.steps else None
        if step is None and last is not None:
            await desk.store.change(run.id, lambda current: flow_ended(current, flow, last, desk.clock.now()))
            return
        try:
            child = await self._start(run, step, context) if step is not None else None
        except (StepImpossible, InvalidInput) as exc:
            reason = "; ".join(f.message for f in exc.faults) if isinstance(exc, InvalidInput) else str(exc)
            name = step.step if step else ""
            await desk.store.change(run.id, lambda r: flow_failed(r, name, last, desk.clock.now(), reason=reason))
            return
        if step is not None and child is not None:
            grown = msgspec.structs.replace(flow, steps=(*flow.steps, (step.step, child.id)))
            await self._apply(run, grown, child)

    async def _apply(self, run: Run, flow: FlowState, child: Run) -> None:
        desk = self._desk
        node = desk.node(run)
        wait_s = node.pace.every_s if node else 60.0

        def decide(current: Run) -> Change | None:
            return flow_advanced(current, flow, child, desk.clock.now(), wait_s) if is_held(current, run) else None

        await desk.store.change(run.id, decide)

    async def _start(self, run: Run, step: Step, context: Mapping[str, Any]) -> Run:
        desk = self._desk
        node = desk.catalog.nodes[step.node]
        given = {name: _value(source, context, step) for name, source in step.inputs.items()}
        values = node.inputs.check({name: value for name, value in given.items() if value is not None})
        key = Idempotency(scope=f"flow:{run.id}", key=step.step, fingerprint="")
        return (await desk.store.start(queued(self._child(run, node, values)), values, key)).run

    def _child(self, parent: Run, node: CompiledNode, values: dict[str, Any]) -> Run:
        now = self._desk.clock.now()
        run_id, provider = new_id("run", now), node.provider.provider
        return Run(
            id=run_id,
            workspace=parent.workspace,
            node=node.id,
            lane=f"mock:{provider}" if parent.mode == "mock" else provider,
            state="queued",
            mode=parent.mode,
            input=values,
            status_url=parent.status_url.replace(parent.id, run_id),
            callback_token=new_token(),
            external_id=str(uuid4()),
            created_at=now,
            deadline_at=parent.deadline_at,
            due_at=now,
            upstream_path=node.plan.path(values),
            parent=parent.id,
            reference=parent.reference,
        )


def _seen(child: Run) -> dict[str, Any]:
    """Return what later steps may use of a step's run."""
    return {
        "task_id": child.upstream_task_id,
        "state": child.state,
        "awaits_input": child.awaits_input,
        "text": child.text,
        "data": child.data,
        "artifacts": [{"id": each.id, "kind": each.kind, "url": each.url} for each in child.artifacts],
    }


def _next_step(steps: list[Step], flow: FlowState, context: Mapping[str, Any]) -> tuple[Step | None, FlowState]:
    done = {name for name, _ in flow.steps} | set(flow.left_out)
    for step in steps:
        if step.step in done:
            continue
        if step.when is None or compile_path(step.when)(Scope(context)):
            return step, flow
        flow = msgspec.structs.replace(flow, left_out=(*flow.left_out, step.step))
    return None, flow


def _value(source: str | Pick, context: Mapping[str, Any], step: Step) -> Any:
    if isinstance(source, str):
        return compile_path(source)(Scope(context))
    wanted = as_text(compile_path(source.is_)(Scope(context))).casefold()
    found = compile_path(source.among)(Scope(context))
    entries = [each for each in found or [] if isinstance(each, dict)]
    for entry in entries:
        if wanted in {as_text(entry.get(key)).casefold() for key in source.by} - {""}:
            return entry.get(source.take)
    names = ", ".join(dict.fromkeys(filter(None, (as_text(e.get(k)) for e in entries for k in source.by))))
    raise StepImpossible(f"the step {step.step} found nothing called {wanted!r}; there is: {names or 'nothing'}")
