"""Facts in any order, over real stores: whatever comes, early, late, twice or after a crash, the promises hold.

The machine plays all workers at once and keeps a model of its own: what each rule decided (`told`), which submissions
are on their way, which deliveries have ended. After each step the database must say the same. What single facts do
stands in the unit tests of the rules; what the store does with rows in `test_store`.
"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, get_args

import asyncpg
import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service.clock import Clock
from service.definitions.catalog import CompiledPace
from service.definitions.error_reader import ReadError
from service.definitions.reader import Reading
from service.definitions.results import ReadArtifact
from service.lifecycle import transitions as rules
from service.lifecycle.recovery import looked_late
from service.lifecycle.run import END_EVENTS, Change, Entry, EventType, FlowState, Run, Webhook
from service.lifecycle.states import RunState, may_follow
from service.lifecycle.transitions import Accepted, Following, Refused, Unknown
from service.settings import Secret
from service.store.base import Decide
from service.store.opening import store_of
from service.store.outbox import Delivery, DeliveryResult
from service.store.sql_store import SqlStore
from service.store.sqlite import SqliteEngine
from service.store.starts import Idempotency
from tests.fakes.postgres import PostgresServer
from tests.unit.lifecycle.test_transitions import a_run

T = TypeVar("T")

PACE = CompiledPace(first_s=15, every_s=10, growth=2, at_most_s=60, deadline_s=3600, with_callback=4)
FOLLOWING = Following(pace=PACE, expects_callback=False, needs_result=True, jitter=0.5)
BUSY = ReadError(code="rate_limited", message="slow down", retryable=True)
NO_QUOTA = ReadError(code="quota", message="no credit", retryable=False)
NOT_FOUND = ReadError(code="not_found", message="no such task", retryable=False)
VIDEO = ReadArtifact(kind="video", url="https://x/v.mp4")
PARKED = Reading(task_id="t", state="running", awaits_input=True, data={"next": {"p.go_on": {}}})
DAY_S = 86400.0
LANES = ("p", "q")
DELIVERY_MOVES = ("claim", "claim_again", "delivered", "pending", "failed")

READINGS = (
    Reading(task_id="t", state="running", progress=0.5),
    Reading(task_id="t", state="queued"),
    Reading(state="running", progress=0.2),
    Reading(state="running", raw_status="odd", known_status=False),
    Reading(),
    PARKED,
    Reading(task_id="t", state="succeeded", artifacts=(VIDEO,), has_result=True),
    Reading(state="succeeded", text="la la", has_result=True),
    Reading(task_id="t", state="succeeded"),
    Reading(task_id="t", state="failed", artifacts=(VIDEO,), has_result=True),
    Reading(state="failed", error=NO_QUOTA),
    Reading(state="failed", error=NOT_FOUND, may_be_early=True),
    Reading(state="canceled", task_id="t2"),
)
REFUSED = (
    Refused(error=BUSY, status=429),
    Refused(error=BUSY, status=429, retry_after_s=30.0),
    Refused(error=BUSY, status=429, retry_after_s=5000.0),
    Refused(error=NO_QUOTA, status=403),
)
LOST = Unknown(reason="reset", path="/p")
OUTCOMES = (*(Accepted(reading=reading, path="/p") for reading in READINGS), *REFUSED, *REFUSED, LOST, LOST, LOST)
flows = st.sampled_from((None, FlowState()))
FOLLOWINGS = (
    FOLLOWING,
    Following(pace=PACE, expects_callback=True, needs_result=False, jitter=0.0),
    Following(pace=PACE, expects_callback=True, needs_result=True, jitter=1.0),
)
webhooks = (
    st.just(Webhook(url="https://x/all", events=get_args(EventType)))
    | st.none()
    | st.builds(
        Webhook,
        url=st.just("https://x/hook?a=%20"),
        profile=st.sampled_from(("standard", "n8n-resume")),
        method=st.sampled_from(("POST", "GET")),
        events=st.sampled_from(
            (get_args(EventType), END_EVENTS, ("run.progressed",), ("run.queued", "run.recovered"), ())
        ),
    )
)


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happens to one run; `kind` says which of the other fields count.

    Attributes:
        kind: One of `RULES`, `wake`, or `expected`.
        after_s: Time that passes before it.
        reading: What upstream says.
        outcome: What became of a submission.
        following: How the task is followed.
        retry_after_s: What upstream asks for when a question has no answer.
    """

    kind: str
    after_s: float = 0.0
    reading: Reading = Reading()
    outcome: rules.SubmissionOutcome = LOST
    following: Following = FOLLOWING
    retry_after_s: float | None = None


RULES: dict[str, Callable[[Run, Fact, float], Change | None]] = {
    "begin": lambda run, _, now: rules.submission_begun(run, now),
    "submitted": lambda run, fact, now: rules.submission_ended(
        run, fact.outcome, now, fact.following, attempt=run.attempts
    ),
    "look": lambda run, fact, now: rules.observed(run, fact.reading, now, fact.following),
    "no_answer": lambda run, fact, now: rules.unanswered(run, BUSY, now, fact.following, fact.retry_after_s),
    "callback": lambda run, fact, now: rules.hinted(run, fact.reading, now, min_interval_s=1.0),
    "reconcile": lambda run, fact, now: rules.reconciled(run, fact.reading, now) or rules.unreconcilable(run, now),
    "late_look": lambda run, fact, now: looked_late(run, fact.reading, now, PACE),
    "expire": lambda run, _, now: rules.expired(run, now),
    "adopt": lambda run, _, now: rules.adopted(run, "t3", now),
    "abandon": lambda run, _, now: rules.abandoned(run, now),
    "cancel": lambda run, _, now: rules.canceled(run, now),
    "interrupt": lambda run, _, now: rules.interrupted(run, now),
}
# What a run waits for in its state; facts drawn blindly would mostly come when they change nothing.
EXPECTED: dict[RunState, str] = {
    "queued": "begin",
    "submitting": "submitted",
    "running": "look",
    "submit_unknown": "reconcile",
    "timed_out": "late_look",
    "succeeded": "callback",
    "failed": "callback",
    "canceled": "callback",
}
facts = st.builds(
    Fact,
    kind=st.sampled_from(("expected",) * 9 + ("wake", "wake", *sorted(RULES))),
    after_s=st.sampled_from((0.0, 0.0, 0.0, 0.0, 0.5, 3.0, 20.0, 61.0, 3601.0, 80_000.0)),
    reading=st.sampled_from((*READINGS, PARKED, PARKED)),
    outcome=st.sampled_from(OUTCOMES),
    following=st.sampled_from(FOLLOWINGS),
    retry_after_s=st.sampled_from((None, 30.0)),
)
facts |= st.sampled_from([Fact(kind=kind, after_s=3601.0 * (kind == "expire")) for kind in sorted(RULES)])
BEGUN = Fact(kind="begin")
ACCEPTED = Fact(kind="submitted", outcome=Accepted(reading=READINGS[0], path="/p"))
PARKS = Fact(kind="submitted", outcome=Accepted(reading=PARKED, path="/p"))
OVERDUE = Fact(kind="expire", after_s=3601.0)
# How far a run has come already when the machine begins to play with it.
STAGES: dict[str, tuple[Fact, ...]] = {
    "queued": (),
    "submitting": (BEGUN, BEGUN),
    "overdue": (BEGUN, OVERDUE),
    "refused": (BEGUN, Fact(kind="submitted", outcome=REFUSED[0])),
    "submit_unknown": (BEGUN, Fact(kind="submitted")),
    "running": (BEGUN, ACCEPTED),
    "parked": (BEGUN, PARKS),
    "woken": (BEGUN, PARKS, Fact(kind="wake")),
    "timed_out": (BEGUN, ACCEPTED, OVERDUE),
    "watched": (BEGUN, ACCEPTED, OVERDUE, Fact(kind="late_look", reading=READINGS[1], after_s=80_000.0)),
}


class TurnedClock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        """Return the time."""
        return self.time


class Disk(Protocol):
    """What outlives a process."""

    async def open(self) -> SqlStore:
        """Return an open, empty store."""

    async def lose(self, store: SqlStore) -> SqlStore:
        """End a process amid its work; returns the store of the next one."""

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Look at what is kept."""

    async def close(self) -> None:
        """Leave nothing behind."""


class LiteDisk:
    """A SQLite file; a process that is lost leaves the files as they are at that moment."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._folder = tempfile.TemporaryDirectory()
        self._lives = 0

    @property
    def _file(self) -> Path:
        return Path(self._folder.name) / f"{self._lives}.db"

    async def open(self) -> SqlStore:
        """Return an open store on what is there."""
        store = SqlStore(SqliteEngine(self._file, synchronous="OFF"), self._clock)
        await store.open()
        self._reader = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)
        return store

    async def lose(self, store: SqlStore) -> SqlStore:
        """Copy the files as they are, and go on with the copy."""
        before = self._file
        self._lives += 1
        for suffix in ("", "-wal"):
            if Path(f"{before}{suffix}").exists():
                shutil.copy(f"{before}{suffix}", f"{self._file}{suffix}")
        self._reader.close()
        await store.close()
        return await self.open()

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Look at what is kept."""
        return self._reader.execute(query).fetchall()

    async def close(self) -> None:
        """Leave nothing behind."""
        self._reader.close()
        self._folder.cleanup()


class PostgresDisk:
    """A PostgreSQL database; a process that is lost leaves its sessions, and nobody hears of it for a while."""

    def __init__(self, clock: Clock, url: Secret) -> None:
        self._clock = clock
        self._url = url

    async def open(self) -> SqlStore:
        """Return an open store on an emptied database."""
        store = store_of(self._url, self._clock)
        await store.open()
        self._onlooker: Any = await asyncpg.connect(self._url.reveal())
        tables = "runs, run_inputs, events, deliveries, timeline, callbacks, idempotency_keys, replicas"
        await self._onlooker.execute(f"TRUNCATE {tables}")
        return store

    async def lose(self, store: SqlStore) -> SqlStore:
        """Go on with another process, once the lost one is taken for dead."""
        await store.close()
        await self._onlooker.execute("DELETE FROM replicas")
        after = store_of(self._url, self._clock)
        await after.open()
        return after

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Look at what is kept."""
        return [tuple(row) for row in await self._onlooker.fetch(query)]

    async def close(self) -> None:
        """Leave nothing behind."""
        await self._onlooker.close()


class Life(RuleBasedStateMachine):
    """All that can happen to a few runs."""

    runs = Bundle("runs")
    make_disk: ClassVar[Callable[[Clock], Disk]] = staticmethod(LiteDisk)

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = TurnedClock()
        self.told: dict[str, list[Change]] = defaultdict(list)
        self.heard: dict[str, list[Change]] = defaultdict(list)
        self.steps: list[tuple[Run, Change]] = []
        self.claimed: list[Delivery] = []
        self.ended_deliveries: dict[str, str] = {}
        self.attempts_told: Counter[str] = Counter()
        self.disk = self.make_disk(self.clock)
        self._move_in(self._do(self.disk.open()))

    # -- the house around the runs

    def _move_in(self, store: SqlStore) -> None:
        self.store = store
        self.store.listen(lambda change: self.heard[change.run.id].append(change))

    def teardown(self) -> None:
        """Leave nothing behind."""
        self._do(self.store.close())
        self._do(self.disk.close())
        self._do(self.loop.shutdown_default_executor())
        self.loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def _noting(self, decide: Decide) -> Decide:
        def noted(run: Run) -> Change | None:
            last = self.told[run.id][-1].run
            assert msgspec.structs.replace(run, due_at=last.due_at) == last, "it is the run as the last change left it"
            change = decide(run)
            if change is not None:
                self.steps.append((run, change))
                self.told[run.id].append(change)
            return change

        return noted

    def _happen(self, run_id: str, fact: Fact) -> None:
        self.clock.time += fact.after_s
        now = self.clock.now()
        kind = EXPECTED[self.told[run_id][-1].run.state] if fact.kind == "expected" else fact.kind
        decide = self._noting(lambda run: RULES[kind](run, fact, now))
        if kind == "wake":
            self._wake(run_id, now)
        elif kind == "callback":
            self._do(self.store.record_callback(run_id, b"{}", now, decide))
        else:
            self._do(self.store.change(run_id, decide))

    def _wake(self, run_id: str, now: float) -> None:
        lane = self.told[run_id][-1].run.lane
        self._do(self.store.make_due(run_id, now))
        self._do(self.store.wake(lane, "t", now))
        for ident, due_at in self._rows(f"SELECT id, due_at FROM runs WHERE state = 'running' AND lane = '{lane}'"):  # noqa: S608
            assert due_at is not None or self.told[ident][-1].run.upstream_task_id != "t"
            assert ident != run_id or due_at is None or due_at <= now

    def _happen_all(self, run_id: str, happened: Iterable[Fact]) -> None:
        for fact in happened:
            self._happen(run_id, fact)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._do(self.disk.rows(query))

    # -- starts

    @initialize(
        target=runs,
        stage=st.sampled_from(sorted(STAGES)),
        webhook=webhooks,
        flow=flows,
        happened=st.lists(facts, min_size=8, max_size=24),
    )
    def begin(self, stage: str, webhook: Webhook | None, flow: FlowState | None, happened: list[Fact]) -> str:
        """Have one run from the beginning, which has lived already."""
        run_id = self._start(stage, webhook, lane="p", deadline_s=3600.0, flow=flow)
        self._happen_all(run_id, happened)
        return run_id

    @precondition(lambda self: len(self.told) < 5)
    @rule(
        target=runs,
        stage=st.sampled_from(sorted(STAGES)),
        webhook=webhooks,
        lane=st.sampled_from(LANES),
        deadline_s=st.sampled_from((60.0, 3600.0, 1e6)),
        flow=flows,
    )
    def start(self, stage: str, webhook: Webhook | None, lane: str, deadline_s: float, flow: FlowState | None) -> str:
        """Start a run and bring it to a stage."""
        return self._start(stage, webhook, lane=lane, deadline_s=deadline_s, flow=flow)

    def _start(
        self, stage: str, webhook: Webhook | None, *, lane: str, deadline_s: float, flow: FlowState | None
    ) -> str:
        now, number = self.clock.now(), len(self.told)
        times = {"created_at": now, "due_at": now, "deadline_at": now + deadline_s}
        run = a_run(
            id=f"run_{number:026d}", callback_token=f"t{number}", lane=lane, webhook=webhook, flow=flow, **times
        )
        change = rules.queued(run)
        self.told[run.id].append(change)
        started = self._do(self.store.start(change, {"n": number}, _key(run.id)))
        assert started.run == change.run
        self._happen_all(run.id, STAGES[stage])
        return run.id

    @precondition(lambda self: self.clock.time < 7 * DAY_S)
    @rule(run_id=runs, is_same=st.booleans())
    def start_again(self, run_id: str, is_same: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        """Send a start again under its key, while that is kept: nothing new begins."""
        other = rules.queued(a_run(id="run_other", callback_token="other"))
        again = self._do(self.store.start(other, {}, _key(run_id, "f" if is_same else "g")))

        assert (again.run.id, again.replayed, again.key_reused) == (run_id, is_same, not is_same)

    # -- what happens to one run

    @rule(run_id=runs, happened=st.lists(facts, min_size=4, max_size=16))
    def happen(self, run_id: str, happened: list[Fact]) -> None:
        """Let facts come, expected or not."""
        self._happen_all(run_id, happened)

    @rule(run_id=runs, child_id=runs, move=st.sampled_from(("advance", "end", "fail", "refuse")))
    def take_flow_on(self, run_id: str, child_id: str, move: str) -> None:
        """Let a step of a flow begin, end well, end badly, or be impossible."""
        now, child = self.clock.now(), self.told[child_id][-1].run

        def decide(run: Run) -> Change | None:
            if run.flow is None:
                return None
            flow = FlowState(steps=(*run.flow.steps, (f"s{len(run.flow.steps)}", child.id)))
            moves: dict[str, Change | None] = {
                "advance": rules.flow_advanced(run, flow, child, now, 10.0),
                "end": rules.flow_ended(run, flow, child, now),
                "fail": rules.flow_failed(run, "s", child, now),
                "refuse": rules.flow_failed(run, "s", None, now, reason="found nothing"),
            }
            return moves[move]

        self._do(self.store.change(run_id, self._noting(decide)))

    # -- what workers do to many

    @rule(lane=st.sampled_from(LANES), limit=st.integers(1, 3), is_gone=st.sampled_from((False, False, True)))
    def claim_submissions(self, lane: str, limit: int, is_gone: bool) -> None:  # noqa: FBT001 - as above
        """Begin what is due; now and then its node has left the catalogue."""
        now, begin = self.clock.now(), rules.undefined if is_gone else rules.submission_begun
        waiting = {run_id for run_id, changes in self.told.items() if changes[-1].run.state == "queued"}
        decide = self._noting(lambda run: begin(run, now))
        begun = self._do(self.store.claim_submissions(lane, now, limit, decide))

        assert len({run.id for run in begun}) == len(begun) <= limit
        assert waiting.issuperset(run.id for run in begun)
        assert {run.state for run in begun} <= {"failed" if is_gone else "submitting"}

    @rule(
        state=st.sampled_from(("running", "submit_unknown", "timed_out")),
        lane=st.sampled_from(LANES),
        limit=st.integers(1, 3),
    )
    def claim(self, state: Any, lane: str, limit: int) -> None:
        """Lease what is due; whoever comes at once after that does not get it too."""
        now = self.clock.now()
        first = self._do(self.store.claim(state, lane, now, limit, lease_s=60.0))
        second = self._do(self.store.claim(state, lane, now, 10, lease_s=60.0))

        assert all((run.state, run.lane) == (state, lane) for run in first + second)
        assert len({run.id for run in first + second}) == len(first) + len(second)

    # -- time, and the end of a process

    @rule(seconds=st.sampled_from((0.5, 3.0, 61.0, 3000.0, 50_000.0)))
    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.time += seconds

    @rule(after_s=st.sampled_from((0.0, 61.0, 3601.0)), limit=st.integers(1, 3))
    def expire(self, after_s: float, limit: int) -> None:
        """End what is past its deadline."""
        self.clock.time += after_s
        now = self.clock.now()
        late = {c[-1].run.id for c in self.told.values() if _is_late(c[-1].run, now)}
        count = self._do(self.store.expire(now, limit, self._noting(lambda run: rules.expired(run, now))))

        assert count == min(len(late), limit)
        assert count == sum(self.told[run_id][-1].run.state == "timed_out" for run_id in late)

    @rule()
    def crash(self) -> None:
        """Lose the process amid its work: the next one has what was on the disk at that moment, and nothing else."""
        self._claim_deliveries()
        self._do(self.store.claim("running", "p", self.clock.now(), 3, lease_s=60.0))
        self._move_in(self._do(self.disk.lose(self.store)))
        now = self.clock.now()
        abandoned = {c[-1].run.id for c in self.told.values() if c[-1].run.state == "submitting"}
        self._do(self.store.enroll())
        settle = self._noting(lambda run: rules.interrupted(run, now))
        settled = self._do(self.store.take_over(now, settle, was_nobody_there=True))

        assert settled == len(abandoned)
        assert {self.told[run_id][-1].run.state for run_id in abandoned} <= {"submit_unknown"}
        assert self._rows("SELECT id FROM runs WHERE state = 'running' AND due_at IS NULL") == []
        assert self._rows("SELECT id FROM runs WHERE leased_by IS NOT NULL") == []
        assert self._rows("SELECT id FROM deliveries WHERE leased_by IS NOT NULL") == []
        self.claimed.clear()

    # -- deliveries

    @rule(moves=st.lists(st.sampled_from(DELIVERY_MOVES), min_size=2, max_size=8), place=st.integers(0, 20))
    def deliver(self, moves: list[Any], place: int) -> None:
        """Claim deliveries and write what became of attempts, maybe after their lease."""
        for move in moves:
            if move == "claim":
                self._claim_deliveries()
            elif move == "claim_again":
                self._claim_deliveries()
                self.clock.time += 61.0
                self._claim_deliveries()
            elif self.claimed:
                self._finish_delivery(self.claimed.pop(place % len(self.claimed)), move)

    def _claim_deliveries(self) -> None:
        """None comes twice within its lease, none after its end, and each carries its own event."""
        now = self.clock.now()
        claimed = self._do(self.store.claim_deliveries(now, {"": 3}, 60.0))
        rest = self._do(self.store.claim_deliveries(now, {"": 100}, 60.0))

        idents = [delivery.id for delivery in claimed + rest]
        assert len(set(idents)) == len(idents)
        assert not self.ended_deliveries.keys() & set(idents)
        for each in claimed:
            body = msgspec.json.decode(each.body)
            assert (body["id"], body["type"], body["data"]["id"]) == (each.event_id, each.event_type, each.run_id)
        self.claimed += claimed + rest

    def _finish_delivery(self, delivery: Delivery, state: Any) -> None:
        now = self.clock.now()
        due_at = now + 5.0 if state == "pending" else None
        entry = Entry(at=now, kind="delivery", detail={})
        # An attempt whose lease went to another changes nothing any more, unless it delivered.
        ((due,),) = self._rows(f"SELECT due_at FROM deliveries WHERE id = '{delivery.id}'")  # noqa: S608 - our own
        is_told = state == "delivered" or due == delivery.leased_until
        result = DeliveryResult(state=state, attempts=delivery.attempts + 1, due_at=due_at, entry=entry)
        self._do(self.store.finish_delivery(delivery, result))
        self.attempts_told[delivery.run_id] += 1
        if state != "pending" and is_told:
            self.ended_deliveries.setdefault(delivery.id, state)

    # -- what holds after each step

    @invariant()
    def every_change_keeps_the_rules(self) -> None:
        """Ends are final, only drawn transitions happen, attempts and numbers grow by what happened."""
        steps, self.steps = self.steps, []
        for before, change in steps:
            _check_step(before, change)

    @invariant()
    def what_was_decided_is_stored(self) -> None:
        """The runs are those of the last changes, no more and no less."""
        stored = {row[0]: msgspec.json.decode(row[1], type=Run) for row in self._rows("SELECT id, doc FROM runs")}

        assert stored == {run_id: changes[-1].run for run_id, changes in self.told.items()}

    @invariant()
    def whoever_listens_hears_every_change(self) -> None:
        """What is written is announced, once and in order; it wakes those who wait for a run to end."""
        assert self.heard == self.told

    @invariant()
    def every_event_has_its_change(self) -> None:
        """Events are those of the changes, in their order, numbered from one without a gap."""
        found = defaultdict(list)
        for run_id, sequence, event_type, body in self._rows(
            "SELECT run_id, sequence, type, body FROM events ORDER BY run_id, sequence"
        ):
            told = msgspec.json.decode(body)
            assert (told["sequence"], told["type"], told["data"]["id"]) == (sequence, event_type, run_id)
            found[run_id].append((sequence, event_type))

        for run_id, changes in self.told.items():
            types = [event for change in changes for event in change.events]
            assert found[run_id] == list(enumerate(types, 1))
            assert changes[-1].run.sequence == len(types)
            assert types.count("run.recovered") <= 1
            assert sum(event in END_EVENTS[:4] for event in types) == changes[-1].run.is_final

    @invariant()
    def deliveries_are_those_that_were_wanted(self) -> None:
        """An event has a delivery exactly when its type was wanted; one that ended stays so, all others are due."""
        joined = "SELECT e.run_id, e.type, d.id, d.url, d.profile, d.method, d.state, d.due_at FROM events e"
        rows = self._rows(f"{joined} LEFT JOIN deliveries d ON d.event_id = e.id")
        for run_id, event_type, ident, url, profile, method, state, due_at in rows:
            webhook = self.told[run_id][-1].run.webhook
            assert (ident is not None) == (webhook is not None and event_type in webhook.events)
            if ident is not None:
                assert webhook is not None
                assert (url, profile, method) == (webhook.url, webhook.profile, webhook.method)
                assert state == self.ended_deliveries.get(ident, "pending")
                assert (due_at is not None) == (state == "pending")
        assert self._rows("SELECT count(*) FROM deliveries") == [(sum(row[2] is not None for row in rows),)]

    @invariant()
    def nothing_open_is_forgotten_and_nothing_ended_goes_on(self) -> None:
        """What has work to be done is due; what has ended is not, unless a late result is waited for."""
        for run_id, state, due_at, deadline_at in self._rows("SELECT id, state, due_at, deadline_at FROM runs"):
            run = self.told[run_id][-1].run
            assert state == run.state
            assert (deadline_at is None) == run.is_final
            _check_due(run, due_at, [event for change in self.told[run_id] for event in change.events])

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        """A submission begins once for each attempt, and never again after one of unknown outcome."""
        for changes in self.told.values():
            states = [change.run.state for change in changes]
            begun = sum(
                after == "submitting" != before for before, after in zip(["", *states[:-1]], states, strict=True)
            )
            assert begun == changes[-1].run.attempts
            if "submit_unknown" in states:
                assert not {"queued", "submitting"}.intersection(states[states.index("submit_unknown") :])

    @invariant()
    def the_timeline_tells_all(self) -> None:
        """Each entry of each change stands in the timeline, and each attempt of a delivery."""
        lines = dict(self._rows("SELECT run_id, count(*) FROM timeline GROUP BY run_id"))
        entries = {
            run_id: sum(len(change.entries) for change in changes) + self.attempts_told[run_id]
            for run_id, changes in self.told.items()
        }

        assert lines == entries


def _key(run_id: str, fingerprint: str = "f") -> Idempotency:
    return Idempotency(scope="k", key=run_id, fingerprint=fingerprint)


def _is_late(run: Run, now: float) -> bool:
    return not run.is_final and run.state != "submitting" and run.deadline_at <= now


def _check_step(before: Run, change: Change) -> None:
    after = change.run
    assert (after.id, after.created_at, after.deadline_at) == (before.id, before.created_at, before.deadline_at)
    assert after.sequence == before.sequence + len(change.events)
    assert after.attempts == before.attempts + ((before.state, after.state) == ("queued", "submitting"))
    assert after.looks >= before.looks
    assert (after.finished_at is not None) == after.is_final
    _check_due(after, after.due_at, change.events)
    if before.is_final:
        _check_after_end(before, change)
    elif after.state != before.state:
        assert may_follow(before.state, after.state)
    if after.is_final and not before.is_final:
        assert change.events == (f"run.{after.state}",)
        assert (after.error is None) == (after.state == "succeeded")


def _check_after_end(before: Run, change: Change) -> None:
    after = change.run
    assert (after.state, after.finished_at, after.error) == (before.state, before.finished_at, before.error)
    assert before.state == "timed_out"
    assert change.events in ((), ("run.recovered",))
    if not change.events:
        assert (after.artifacts, after.text, after.data) == (before.artifacts, before.text, before.data)
    if after.looks > before.looks and after.due_at is not None:
        assert after.due_at <= (after.finished_at or 0.0) + DAY_S


def _check_due(run: Run, due_at: float | None, events: Sequence[EventType]) -> None:
    if run.is_final:
        assert (due_at is None) == (run.due_at is None)
        if due_at is not None:
            assert run.state == "timed_out"
            assert run.upstream_task_id is not None
            assert "run.recovered" not in events
    elif run.state == "submitting":
        assert due_at is None
    elif run.state == "queued" or (run.state == "running" and not run.awaits_input):
        assert due_at is not None


def test_facts_in_any_order_keep_the_promises() -> None:
    """Whatever happens to runs, in whatever order: nothing is lost, told twice, sent twice or moved after its end."""
    run_state_machine_as_test(
        Life,
        settings=settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True, database=None),
    )


def test_facts_in_any_order_keep_the_promises_on_postgresql(postgres: PostgresServer) -> None:
    """The same promises hold where every decision is a read and a compare-and-set."""
    url = Secret(asyncio.run(postgres.database()))

    class Shared(Life):
        make_disk = staticmethod(lambda clock: PostgresDisk(clock, url))

    run_state_machine_as_test(
        Shared,
        settings=settings(max_examples=15, stateful_step_count=25, deadline=None, derandomize=True, database=None),
    )
