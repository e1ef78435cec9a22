"""What workers learn from ends, over a store in memory."""

import msgspec

from service.definitions.catalog import CompiledNode
from service.lifecycle.durations import Sketch, Span
from service.lifecycle.run import Change, Run
from service.store.sketches import KeptSketch
from service.workers.experience import Experience, kinds_of
from tests.fakes.house import shipped_catalog
from tests.unit.lifecycle.test_transitions import a_run

NODE = "kling.text_to_video"


class Memory:
    """The verbs that are needed of a store; the first writes may be refused."""

    def __init__(self, refusals: int = 0) -> None:
        self.rows: dict[str, KeptSketch] = {}
        self.refusals = refusals

    async def sketches(self, kinds: list[str]) -> dict[str, KeptSketch]:
        """Return rows."""
        return {kind: self.rows[kind] for kind in kinds if kind in self.rows}

    async def keep_sketch(self, kind: str, sketch: Sketch, version: int, now: float) -> bool:
        """Write a row, as of a moment."""
        assert now == Clock().now()
        self.refusals -= 1
        if self.refusals < 0:
            self.rows[kind] = KeptSketch(sketch, version + 1)
        return self.refusals < 0


class Clock:
    """A clock that stands still."""

    def now(self) -> float:
        """Return the time."""
        return 1000.0


def an_experience(store: Memory) -> tuple[Experience, list[str]]:
    """Return what learns, and a list that tells how often it was rung."""
    rings: list[str] = []
    experience = Experience(store, shipped_catalog(), Clock(), lambda: rings.append("ring"))  # type: ignore[arg-type]
    return experience, rings


def node() -> CompiledNode:
    """Return the node that tests run."""
    return shipped_catalog().nodes[NODE]


def end(run: Run, seconds: float) -> Change:
    """Return the end of a run that was seen to take so long."""
    return Change(run=run, took=Span(seconds * 0.95, seconds))


async def test_what_has_ended_tells_when_to_look() -> None:
    """Six ends make a plan for tasks like these; one of another model has that of its node."""
    experience, _ = an_experience(Memory())
    run = a_run("running", node=NODE, input={"prompt": "x", "mode": "pro"})
    other = a_run("running", node=NODE, input={"prompt": "x", "mode": "std", "duration": "10"})
    for _ in range(6):
        experience.notify(end(run, 40.0))
    experience.notify(Change(run=run))
    assert experience.plan(run, node()) is None

    await experience.run_once()

    for each in (run, other):
        plan = experience.plan(each, node())
        assert plan is not None
        assert 37 < plan.wait_s(0.0) < 41


async def test_what_others_learned_is_read_when_it_is_asked_for() -> None:
    """The first question rings the sweep, which reads what stands in the store; nothing is written."""
    store = Memory()
    teacher, _ = an_experience(store)
    run = a_run("running", node=NODE)
    for _ in range(8):
        teacher.notify(end(run, 40.0))
    await teacher.run_once()
    written = dict(store.rows)

    reader, rings = an_experience(store)
    assert reader.plan(run, node()) is None
    assert reader.plan(run, node()) is None
    kinds = kinds_of(run, node())
    await reader.run_once()

    assert len(rings) == len(kinds)
    assert reader.plan(run, node()) == teacher.plan(run, node()) is not None
    assert store.rows == written


async def test_what_was_refused_is_told_next_time() -> None:
    """Where another process wrote meanwhile, nothing is lost: the runs are added to its row."""
    store = Memory(refusals=2)
    experience, _ = an_experience(store)
    experience.notify(end(a_run("running", node=NODE), 40.0))

    await experience.run_once()
    assert store.rows == {}
    await experience.close()

    assert {kept.sketch.runs for kept in store.rows.values()} == {1}


def test_kinds_are_told_apart_by_what_the_definition_names() -> None:
    """Inputs that are named count, as do their usual values; mock runs stand apart, odd values count for nothing."""
    plain = kinds_of(a_run("running", node=NODE, input={"prompt": "x"}), node())
    pro = kinds_of(a_run("running", node=NODE, input={"prompt": "y", "mode": "pro"}), node())
    odd = kinds_of(a_run("running", node=NODE, input={"mode": "p\0"}), node())
    mock = kinds_of(a_run("running", node=NODE, mode="mock", input={"prompt": "x"}), node())
    paceless = msgspec.structs.replace(node(), pace=msgspec.structs.replace(node().pace, by=()))

    assert plain[-1] == pro[-1] == f"live {NODE}"
    assert plain[0] != pro[0]
    assert "mode=pro" in pro[0]
    assert "\0" not in "".join(odd)
    assert mock[-1] == f"mock {NODE}"
    assert kinds_of(a_run("running", node=NODE), paceless) == (f"live {NODE}",)
