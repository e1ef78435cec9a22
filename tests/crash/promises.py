"""What Halley promises, checked from outside: by its API, what upstream received and what the receiver was told."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import standardwebhooks
from msgspec import Struct

from tests.crash.load import EXPIRING, GroupStart, Start
from tests.crash.trial import Trial
from tests.crash.world import Told, World

_FINAL = ("succeeded", "failed", "canceled", "timed_out")
_STEP_NODES = ("midjourney.imagine", "midjourney.action")
_CLOCK_SLACK_S = 0.25
_AT_ONCE = 8
_ALSO_LAST = {"timed_out": "run.recovered", "running": "run.progressed"}
_SIGNED_FOR_S = 300

Run = dict[str, Any]


class Verdict(Struct, kw_only=True):
    """What was found.

    Attributes:
        broken: Every promise that was not kept, in words; empty when all were.
        states: Runs by state.
        unknown_before: Runs that went through `submit_unknown`.
        unknown_now: Those that still are.
        submissions: What upstream received.
        events: Different events that the receiver was told.
        repeated_deliveries: Deliveries of an event that had come before.
    """

    broken: list[str]
    states: dict[str, int]
    unknown_before: int
    unknown_now: int
    submissions: int
    events: int
    repeated_deliveries: int


class Court:
    """Hears the evidence of a trial.

    Args:
        trial: Its present server must be up.
        world: What upstream and the receiver saw.
        client: Calls the server.
        starts: What callers tried.
        groups: The groups that they tried.
    """

    def __init__(
        self,
        trial: Trial,
        world: World,
        client: httpx.AsyncClient,
        starts: list[Start],
        groups: Sequence[GroupStart] = (),
    ) -> None:
        self._trial = trial
        self._world = world
        self._client = client
        self._starts = {start.marker: start for start in starts}
        self._groups = groups

    async def verdict(self, patience_s: float) -> Verdict:
        """Wait until everything rests, then judge."""
        until = time.monotonic() + patience_s
        runs, groups = await self._rested(until), [await self._gathered(each, until) for each in self._groups]
        timelines = await self._timelines(runs)
        told = self._world.ear.told
        broken = [
            *self._accepted(runs),
            *self._ends(runs),
            *(fault for run in runs for fault in self._story(run, timelines[run["id"]])),
            *(f"upstream received twice: {each}" for each in self._world.upstream.repeated()),
            *_events(told),
            *(fault for run in runs for fault in self._deliveries(run)),
            *(fault for faults in groups for fault in faults),
            *await self._commands(),
        ]
        return Verdict(
            broken=broken,
            states=dict(Counter(run["state"] for run in runs)),
            unknown_before=sum("submit_unknown" in dict.fromkeys(_states(lines)) for lines in timelines.values()),
            unknown_now=sum(run["state"] == "submit_unknown" for run in runs),
            submissions=len(self._world.upstream.submissions),
            events=len({each.webhook_id for each in told}),
            repeated_deliveries=len(told) - len({each.webhook_id for each in told}),
        )

    # -- waiting

    async def _rested(self, until: float) -> list[Run]:
        runs = await self._runs()
        while time.monotonic() < until and (self._restless(runs) or any(map(self._untold, runs))):
            await self._world.ear.news(0.5)
            runs = await self._runs()
        return runs

    async def _runs(self) -> list[Run]:
        runs: list[Run] = []
        url: str | None = "/v1/runs?limit=200"
        while url is not None:
            page = (await self._client.get(url)).json()
            runs += [run for run in page["data"] if run["reference"] in self._starts]
            url = page["next"]
        return runs

    def _restless(self, runs: list[Run]) -> list[Run]:
        stuck = {run["reference"] for run in runs if run["node"] in _STEP_NODES and run["state"] == "submit_unknown"}
        return [
            run
            for run in runs
            if run["state"] not in _FINAL
            and not (run["state"] == "submit_unknown" and not self._can_be_found(run))
            and not (self._is_flow(run) and run["reference"] in stuck)
        ]

    def _can_be_found(self, run: Run) -> bool:
        """Tell whether upstream has the task and can be asked for it by our id."""
        return self._starts[run["reference"]].kind.is_found and self._world.upstream.has_task(run["reference"])

    def _is_flow(self, run: Run) -> bool:
        return run["state"] == "running" and run["node"].endswith("quick_pipeline")

    def _untold(self, run: Run) -> str:
        """Say what the receiver has not been told of a run."""
        if run["node"] in _STEP_NODES:
            return ""
        told = self._world.ear.by_run().get(run["id"], {})
        gaps = sorted(set(range(1, max(told, default=1) + 1)) - told.keys())
        last = told[max(told)].type if told else "nothing"
        is_known = last in (f"run.{run['state']}", _ALSO_LAST.get(run["state"]))
        return f"the receiver was told {last} last, without {gaps}" if gaps or not is_known else ""

    async def _gathered(self, start: GroupStart, until: float) -> list[str]:
        """Wait until a group has completed and been told, and none of its runs is open; returns what is wrong then."""
        faults = await self._group_faults(start)
        while faults and time.monotonic() < until:
            await self._world.ear.news(0.2)
            faults = await self._group_faults(start)
        return faults

    async def _group_faults(self, start: GroupStart) -> list[str]:
        group = (await self._client.get(f"/v1/groups/{start.group_id}")).json()
        told = [each for each in self._world.ear.told if each.run_id == start.group_id]
        if any(self._is_stuck(run) for run in group.get("runs", ())):  # it waits for somebody who decides
            ids = {each.webhook_id for each in told}
            return [f"{start.marker} was told as {ids}"] if len(ids) > 1 else []
        states = Counter(run["state"] for run in group.get("runs", ()))
        wanted = Counter(succeeded=2, canceled=1) if start.is_race else Counter(succeeded=2)
        is_good = states == wanted or (start.is_race and states["succeeded"] >= 1 and states.total() == wanted.total())
        faults = {
            f"is {group.get('state')}": group.get("state") == "completed",
            f"has runs that are {dict(states)}": is_good and set(states) <= set(_FINAL),
            f"was told as {[each.type for each in told]}": {each.type for each in told} == {"group.completed"},
            f"was told {len(told)} times": len({each.webhook_id for each in told}) == 1,
        }
        return [f"{start.marker} ({start.group_id}) {fault}" for fault, is_kept in faults.items() if not is_kept]

    def _is_stuck(self, run: Run) -> bool:
        """Tell whether a run's submission never came to be a task, which nobody can know."""
        marker = run["input"]["prompt"].split()[0]
        return run["state"] == "submit_unknown" and not self._world.upstream.has_task(marker)

    # -- judging

    def _accepted(self, runs: list[Run]) -> list[str]:
        known = {run["id"] for run in runs}
        lost = [s for s in self._starts.values() if s.run_id and s.run_id not in known]
        own = Counter(run["reference"] for run in runs if run["node"] not in _STEP_NODES)
        return [
            *(f"{start.run_id} was accepted and is lost" for start in lost),
            *(f"one start of {marker} led to {n} runs" for marker, n in own.items() if n > 1),
            *(f"{s.marker} was never accepted" for s in self._starts.values() if s.has_key and not s.run_id),
        ]

    def _ends(self, runs: list[Run]) -> list[str]:
        restless = {run["id"] for run in self._restless(runs)}
        return [
            f"{run['id']} ({run['node']}, {run['reference']}) is {run['state']}: {run['error']}"
            for run in runs
            if run["id"] in restless or run["state"] in ("failed", "canceled") or self._is_early(run)
        ]

    def _is_early(self, run: Run) -> bool:
        return run["state"] == "timed_out" and self._starts[run["reference"]].kind is not EXPIRING

    def _story(self, run: Run, lines: list[dict[str, Any]]) -> list[str]:
        states = _states(lines)
        ends = [state for state in states if state in _FINAL]
        faults = []
        if len(set(ends)) > 1 or (ends and (states[-1] != ends[0] or run["state"] != ends[0])):
            faults.append(f"{run['id']} left its end: {states}")
        begun_at = 0.0
        for line in (each for each in lines if each["kind"] == "state"):
            at = datetime.fromisoformat(line["at"]).timestamp()
            if line["detail"].get("state") == "submitting":
                begun_at = at
            elif line["detail"].get("state") == "submit_unknown" and not self._was_killed(begun_at, at):
                faults.append(f"{run['id']} is of unknown outcome although nothing was killed: {line}")
        return faults

    def _was_killed(self, begun_at: float, settled_at: float) -> bool:
        return any(begun_at - _CLOCK_SLACK_S <= kill <= settled_at + _CLOCK_SLACK_S for kill in self._trial.kills)

    def _deliveries(self, run: Run) -> list[str]:
        untold = self._untold(run)
        return [f"{run['id']} is {run['state']}, and {untold}"] if untold else []

    async def _timelines(self, runs: list[Run]) -> dict[str, list[dict[str, Any]]]:
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(run: Run) -> list[dict[str, Any]]:
            async with places:
                return list((await self._client.get(f"/v1/runs/{run['id']}/timeline")).json()["data"])

        lines = await asyncio.gather(*(one(run) for run in runs))
        return dict(zip((run["id"] for run in runs), lines, strict=True))

    async def _commands(self) -> list[str]:
        code, said = await self._trial.command("db", "check")
        faults = [f"`halley db check` says: {said}"] if code else []
        code, secret = await self._trial.command("keys", "signing-secret")
        if code:
            return [*faults, f"`halley keys signing-secret` says: {secret}"]
        signer = standardwebhooks.Webhook(secret.split()[-1])
        return faults + [
            f"{each.webhook_id} is signed wrongly" for each in self._world.ear.told if not _is_signed(each, signer)
        ]


def _states(lines: list[dict[str, Any]]) -> list[str]:
    return [line["detail"]["state"] for line in lines if line["kind"] == "state" and "state" in line["detail"]]


def _events(told: list[Told]) -> list[str]:
    """Say where an id stands for more than one event, or an event has more than one id."""
    by_id: dict[str, set[tuple[str, str, int, bytes]]] = {}
    by_place: dict[tuple[str, int], set[str]] = {}
    for each in told:
        by_id.setdefault(each.webhook_id, set()).add((each.run_id, each.type, each.sequence, each.body))
        by_place.setdefault((each.run_id, each.sequence), set()).add(each.webhook_id)
    return [
        *(f"webhook-id {ident} stands for {len(events)} events" for ident, events in by_id.items() if len(events) > 1),
        *(f"event {n} of {run} has the ids {ids}" for (run, n), ids in by_place.items() if len(ids) > 1),
        *(f"webhook-id {each.webhook_id} is not the event's id" for each in told if each.webhook_id != each.event_id),
    ]


def _is_signed(each: Told, signer: standardwebhooks.Webhook) -> bool:
    moment = datetime.fromtimestamp(int(each.headers["webhook-timestamp"]), UTC)
    is_recent = abs(each.received_at - moment.timestamp()) < _SIGNED_FOR_S
    signatures = each.headers["webhook-signature"].split()
    return is_recent and signer.sign(each.webhook_id, moment, each.body.decode()) in signatures
