"""What every worker that talks to upstream needs at hand, and how it follows a run's task."""

import random
from collections.abc import Callable, Mapping

from msgspec import Struct

from service.clock import Clock
from service.definitions.catalog import Catalog, CompiledNode
from service.lifecycle.run import Mode, Run
from service.lifecycle.transitions import Following
from service.log import Log
from service.store.base import Store
from service.upstream.client import UpstreamClient
from service.workers.budget import Budgets
from service.workers.experience import Experience
from service.workers.interest import ProgressInterest
from service.workers.live import LiveAnswers
from service.workers.sweep import Crew


class Batch(Struct, frozen=True, kw_only=True):
    """How tasks of one provider are asked about together.

    Attributes:
        ahead_s: Tasks that would be due within this time are taken along.
        at_most: Tasks in one question.
        nodes: The nodes whose tasks can be asked about so.
    """

    ahead_s: float
    at_most: int
    nodes: tuple[str, ...]


class Desk(Struct, frozen=True, kw_only=True):
    """The workers' shared tools.

    Attributes:
        store: Where runs are.
        catalog: The nodes.
        clients: Upstream by mode.
        callback_bases: Where upstream may call back, by mode; None where it cannot reach us.
        budgets: What the runs of a provider share.
        batches: How the tasks of a provider are asked about together, by its name.
        crew: Tasks under way.
        clock: The time.
        chance: Source of jitter.
        live: Who hears answers while they come.
        experience: How long tasks take.
        interest: Who wants to hear of every step of a progress.
        ring: Rings a sweep by name.
        log: Structured log.
    """

    store: Store
    catalog: Catalog
    clients: Mapping[Mode, UpstreamClient]
    callback_bases: Mapping[Mode, str | None]
    budgets: Budgets
    batches: Mapping[str, Batch]
    crew: Crew
    clock: Clock
    chance: random.Random
    live: LiveAnswers
    experience: Experience
    interest: ProgressInterest
    ring: Callable[[str], None]
    log: Log

    def node(self, run: Run) -> CompiledNode | None:
        """Return the node of a run, unless its definition has left."""
        return self.catalog.nodes.get(run.node)

    def callback_url(self, run: Run, node: CompiledNode) -> str | None:
        """Return where upstream may report about a run, or None when it is not asked to."""
        base = self.callback_bases.get(run.mode)
        if base is None or node.plan.callback_field is None:
            return None
        return f"{base}/v1/callbacks/{run.callback_token}"

    def following(self, run: Run, node: CompiledNode) -> Following:
        """Return how a run's task is followed."""
        return Following(
            pace=node.pace,
            plan=self.experience.plan(run, node),
            expects_callback=self.callback_url(run, node) is not None,
            needs_result=node.node.kind == "task",
            jitter=self.chance.random(),
            tells_progress=self.interest.includes(run.workspace),
        )
