"""The same work by a real n8n that submits, waits and polls, and by Halley, one after the other in one run.

`python -m bench peer --n8n FOLDER [--runs 300] [--per-s 4]`, where FOLDER has n8n installed. The workflow is what users
build who have only HTTP nodes: a webhook takes an order, one step submits it, one waits for ten seconds, one asks, and
back to waiting until the task is over. Durations are log-normal with a median of 20 s and a sigma of 0.4, in the same
order for all. First orders come at a rate, then n8n takes as many as it can; Halley does so before it and after it.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from msgspec import Struct

from bench.parts.floors import bare_client
from bench.parts.latencies import at_once, paced
from bench.parts.meters import family_cpu_s, family_memory_mb
from bench.parts.table import figure, print_table
from bench.parts.world import World, world
from bench.runs import WAYS, whole_runs
from tests.n8n.instance import N8n, Workflow, until
from tests.n8n.workflows import chain, hook, wait

_MEDIAN_S, _SIGMA = 20.0, 0.4
_WAIT_S = 10
_AT_ONCE = 64
_SAMPLE_S = 0.5
_REST_S = 1.0
_WARM_RUNS = 10
_PATIENCE_S = 300.0
_NAME = "peer"
_STEADY = {"called back": "bench.called", "polled": "bench.paced"}
_COLUMNS = ("who", "runs/s", "ms cpu/run", "most memory MB", "looks a run", "lag s, mean", "lag s, p95")


class Cost(Struct, frozen=True, kw_only=True):
    """What so many runs cost, from the first order until all ends are known.

    Attributes:
        runs_per_s: Of the whole stretch, the last run's duration included.
        cpu_ms: Processor time a run, of the process with all its children.
        memory_mb: The most that these had.
        looks: How often upstream was asked about a run.
        lags_s: How late the last look was.
    """

    runs_per_s: float
    cpu_ms: float
    memory_mb: float
    looks: float
    lags_s: tuple[float, ...]

    def row(self, who: str) -> tuple[str, ...]:
        """Write it as a row."""
        late = sorted(self.lags_s)
        return (
            who,
            figure(self.runs_per_s),
            figure(self.cpu_ms, 2),
            figure(self.memory_mb, 0),
            figure(self.looks, 2),
            figure(statistics.mean(late), 2),
            figure(late[int(0.95 * (len(late) - 1))], 2),
        )


def poll_loop(upstream: str) -> Workflow:
    """Return the workflow that users build: submit, wait, ask, and wait again until it is over."""
    steps = {
        "Order": hook(_NAME),
        "Submit": _request("POST", f"{upstream}/bench/jobs", "={{ { text: $json.body.text } }}"),
        "Wait": wait(amount=_WAIT_S),
        "Ask": _request("GET", f"={upstream}/bench/jobs/{{{{ $('Submit').item.json.job.id }}}}"),
        "Over?": _is_equal("={{ $json.job.phase }}", "done"),
    }
    workflow = chain(_NAME, steps)
    workflow["connections"]["Over?"] = {"main": [[], [{"node": "Wait", "type": "main", "index": 0}]]}
    return workflow


def _request(method: str, url: str, body: str | None = None) -> dict[str, Any]:
    sent = {} if body is None else {"sendBody": True, "specifyBody": "json", "jsonBody": body}
    parameters = {"method": method, "url": url, "options": {}, **sent}
    return {"type": "n8n-nodes-base.httpRequest", "typeVersion": 4.2, "parameters": parameters}


def _is_equal(left: str, right: str) -> dict[str, Any]:
    operator = {"type": "string", "operation": "equals"}
    options = {"caseSensitive": True, "leftValue": "", "typeValidation": "strict", "version": 2}
    conditions = [{"id": "equal", "leftValue": left, "rightValue": right, "operator": operator}]
    judged = {"combinator": "and", "conditions": conditions, "options": options}
    return {"type": "n8n-nodes-base.if", "typeVersion": 2.2, "parameters": {"conditions": judged, "options": {}}}


class Work(Struct, frozen=True, kw_only=True):
    """Who works, and how it is given an order.

    Attributes:
        pid: The process that is measured, with its children.
        order: Gives an order of a number.
        around: The upstream that the tasks are sent to.
    """

    pid: int
    order: Callable[[int], Awaitable[object]]
    around: World

    async def cost(self, numbers: range, per_s: float | None = None) -> Cost:
        """Give orders, at a rate or as fast as they are taken, and measure until all their ends are known."""
        before = len(await self.around.asked())
        async with _memory(self.pid) as samples_mb:
            began_at, cpu_s = time.perf_counter(), family_cpu_s(self.pid)
            await (at_once(_AT_ONCE, numbers, self.order) if per_s is None else paced(per_s, numbers, self.order))

            async def are_over() -> bool:
                return len(await self._lags_s()) >= before + len(numbers)

            await until(are_over, "all ends are known", _PATIENCE_S)
            took_s = time.perf_counter() - began_at
            await asyncio.sleep(_REST_S)  # what is done after the last look belongs to it
            cpu_s = family_cpu_s(self.pid) - cpu_s
        asked = await self.around.asked()
        lags_s = {name: lag_s for name, lag_s in (await self._lags_s()).items() if int(name[1:]) >= before}
        return Cost(
            runs_per_s=len(numbers) / took_s,
            cpu_ms=1000 * cpu_s / len(numbers),
            memory_mb=max(samples_mb),
            looks=statistics.mean(len(asked[name]) for name in lags_s),
            lags_s=tuple(lags_s.values()),
        )

    async def _lags_s(self) -> dict[str, float]:
        """Return how late each end was seen that has been."""
        ends, asked = await self.around.ends(), await self.around.asked()
        return {name: asked[name][-1] - at for name, at in ends.items() if asked[name] and asked[name][-1] >= at}


@contextlib.asynccontextmanager
async def _memory(pid: int) -> AsyncIterator[list[float]]:
    samples = [family_memory_mb(pid)]

    async def sample() -> None:
        while True:
            await asyncio.sleep(_SAMPLE_S)
            samples.append(family_memory_mb(pid))

    async with asyncio.TaskGroup() as group:
        sampling = group.create_task(sample())
        yield samples
        sampling.cancel()


async def _of_n8n(installed: Path, runs: int, per_s: float) -> tuple[str, Cost, Cost]:
    """Return what n8n is, and what its runs cost at a rate and as fast as it takes them."""
    with tempfile.TemporaryDirectory(prefix="halley-bench-") as folder:
        n8n = N8n(installed, Path(folder))
        async with world(_MEDIAN_S, sigma=_SIGMA) as around, bare_client() as client:
            try:
                await n8n.started()
                await n8n.set_up("no key is asked for")
                await n8n.add(poll_loop(around.upstream))
                url = await n8n.publish(_NAME)

                async def order(number: int) -> None:
                    async with client.post(url, json={"text": f"A comet {number}"}) as answer:
                        answer.raise_for_status()

                work = Work(pid=n8n.pid, order=order, around=around)
                await work.cost(range(_WARM_RUNS), per_s)
                paced_cost = await work.cost(range(runs), per_s)
                return await n8n.version(), paced_cost, await work.cost(range(2 * runs))
            finally:
                await n8n.close()


async def _of_halley(node: str, runs: int, per_s: float) -> Cost:
    async with world(_MEDIAN_S, sigma=_SIGMA) as around, around.open():
        work = Work(pid=around.halley.pid, order=lambda number: around.start(node, number), around=around)
        await work.cost(range(_WARM_RUNS), per_s)
        return await work.cost(range(_WARM_RUNS, _WARM_RUNS + runs), per_s)


async def _compared(installed: Path, runs: int, per_s: float) -> None:
    before = [await whole_runs(way) for way in WAYS]
    version, steady, busy = await _of_n8n(installed, runs, per_s)
    after = [await whole_runs(way) for way in WAYS]
    print(f"{runs} runs, {per_s:g} a second, durations log-normal, {_MEDIAN_S:g} s, sigma {_SIGMA:g}")
    rows = [steady.row(f"n8n {version}")]
    rows += [(await _of_halley(node, runs, per_s)).row(f"Halley, {how}") for how, node in _STEADY.items()]
    print_table(_COLUMNS, rows)
    print("as many as each can; Halley before n8n and after it")
    rows = [(f"n8n {version}", figure(busy.runs_per_s), figure(busy.cpu_ms, 2), "1")]
    for way, one, other in zip(WAYS, before, after, strict=True):
        cpu_ms = statistics.mean((one.cpu_ms, other.cpu_ms))
        both = f"{one.cpu_ms:.2f}, {other.cpu_ms:.2f}"
        runs_per_s = statistics.mean((one.runs_per_s, other.runs_per_s))
        rows.append((f"Halley, {way.name}", figure(runs_per_s, 0), both, figure(busy.cpu_ms / cpu_ms, 0)))
    print_table(("who", "runs/s", "ms cpu/run", "times less"), rows)


def main() -> None:
    """Measure both and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m bench peer")
    parser.add_argument("--n8n", type=Path, required=True, metavar="FOLDER", help="where n8n is installed")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--per-s", type=float, default=4.0)
    given, _ = parser.parse_known_args(sys.argv[1:])
    uvloop.run(_compared(given.n8n, given.runs, given.per_s))
