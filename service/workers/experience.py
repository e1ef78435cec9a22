"""What is learned from runs that end, and the plans that come of it: when to look at tasks like these.

What ends is noted in memory and written together every few seconds, so no run waits for it; a process that dies loses a
few seconds of learning. Plans are made in the same passes and known by heart, since one is asked for at every look. Of
what nobody has asked for lately nothing is kept here: it stands in the store.
"""

import asyncio
import contextlib
from collections.abc import Callable

from msgspec import UNSET, Struct

from service.clock import Clock
from service.definitions.catalog import Catalog, CompiledNode
from service.errors import StoreError
from service.lifecycle.durations import Sketch, Span
from service.lifecycle.plan import LookPlan, look_plan
from service.lifecycle.run import Change, Mode, Run
from service.store.base import Store

_SPANS = 64  # more of one kind in one pass teach nothing new
_KINDS = 2000  # known by heart
_FRESH_S = 60.0  # what other processes have learned is heard of by then
_NEWS_SHARE = 1 / 32  # a plan is made anew when so much has been added to what it was made from
_LONGEST_WORD = 40
_CLOSE_S = 1.0


class _Known(Struct, frozen=True, kw_only=True):
    plan: LookPlan | None
    runs: int
    read_at: float


class Experience:
    """Learns how long tasks take.

    Args:
        store: Where it is kept.
        catalog: The nodes.
        clock: The time.
        ring: Has `run_once` called soon.
    """

    def __init__(self, store: Store, catalog: Catalog, clock: Clock, ring: Callable[[], None]) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._ring = ring
        self._spans: dict[str, list[Span]] = {}
        self._wanted: set[str] = set()
        self._known: dict[str, _Known] = {}

    def notify(self, change: Change) -> None:
        """Take note of a committed change: of an end that tells how long the task took."""
        node = self._catalog.nodes.get(change.run.node)
        if change.took is None or node is None:
            return
        for kind in kinds_of(change.run, node):
            spans = self._spans.setdefault(kind, [])
            if len(spans) < _SPANS:
                spans.append(change.took)

    def plan(self, run: Run, node: CompiledNode) -> LookPlan | None:
        """Return when to look at a run's task; None while too little is known of such tasks, or is not read yet."""
        now = self._clock.now()
        for kind in kinds_of(run, node):
            known = self._known.get(kind)
            if (known is None or now - known.read_at > _FRESH_S) and kind not in self._wanted:
                self._wanted.add(kind)
                self._ring()
            if known is not None and known.plan is not None:
                return known.plan
        return None

    async def run_once(self) -> bool:
        """Write what was learned, and make the plans that are asked for."""
        spans, self._spans = self._spans, {}
        wanted, self._wanted = self._wanted, set()
        now = self._clock.now()
        kept = await self._store.sketches([*spans.keys() | wanted])
        for kind in spans.keys() | wanted:
            sketch, version = kept.get(kind, (Sketch(), 0))
            sketch = sketch.learned(*spans.get(kind, ()))
            if kind in spans and not await self._store.keep_sketch(kind, sketch, version, now):
                # Another process was quicker: its runs were no worse, and ours are told next time.
                self._spans[kind] = (spans[kind] + self._spans.get(kind, []))[:_SPANS]
                continue
            self._remember(kind, sketch, now)
        return False

    async def close(self) -> None:
        """Write what was learned last, unless the database is away: a few seconds of learning may be lost."""
        if self._spans:
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self.run_once()

    def _remember(self, kind: str, sketch: Sketch, now: float) -> None:
        node = self._catalog.nodes.get(node_of(kind))
        if node is None:
            return
        known = self._known.pop(kind, None)
        if known is None or abs(sketch.runs - known.runs) >= sketch.weight * _NEWS_SHARE:
            known = _Known(plan=look_plan(sketch, node.pace), runs=sketch.runs, read_at=now)
        self._known[kind] = _Known(plan=known.plan, runs=known.runs, read_at=now)
        if len(self._known) > _KINDS:
            del self._known[next(iter(self._known))]


def kinds_of(run: Run, node: CompiledNode) -> tuple[str, ...]:
    """Return the kinds of tasks that a run's task belongs to, the narrowest first; the last one is the node.

    A kind is a node with the inputs that its `pace` tells tasks apart by. Mock runs are kinds of their own.
    """
    whole = kind_of_node(node.id, run.mode)
    words = [f"{name}={word}" for name in node.pace.by if (word := _word(run, node, name)) is not None]
    return (f"{whole} {' '.join(words)}", whole) if words else (whole,)


def _word(run: Run, node: CompiledNode, name: str) -> str | None:
    field = node.fields[name]
    usual = field.default if field.default is not UNSET else field.assumed
    value = run.input.get(name, usual)
    word = str(value)[:_LONGEST_WORD] if isinstance(value, str | int | float) else ""
    return word if word and word.isprintable() else None


def kind_of_node(node_id: str, mode: Mode) -> str:
    """Return the kind that all tasks of a node belong to."""
    return f"{mode} {node_id}"


def node_of(kind: str) -> str:
    """Return the id of the node that a kind is one of."""
    return kind.split(" ", 2)[1]
