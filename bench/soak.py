"""Half an hour of steady, mixed work for one real `halley serve`: does its memory stay flat?

`python -m bench soak [--minutes 30] [--per-s 40]`. Runs that are called back, polled, direct, broken; webhooks that are
taken and that never are; endpoints and listeners that come and go; groups, lists, repeats of the same request. Each
minute a line; at the end how memory grew over the last two thirds, and a verdict.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import uvloop
from msgspec import Struct

from bench.parts.table import figure
from bench.parts.world import AUTH, World, world

_JOB_S = 3.0
_SAMPLE_S = 5.0
_MINUTE_S = 60.0
_LISTENERS = 4
_CONNECTIONS = 100  # more would be kept open after each jam, and counted as memory
_LISTEN_S = (5.0, 20.0)
_ENDPOINTS = 5  # that come and go, beside the one that stays
_FLAT_MB = 2.0  # in ten minutes
_TELLING_MIN = 15.0  # before that, connections and caches still come to be
_COLUMNS = ("min", "runs", "RSS MB", "fds", "threads", "DB MB", "refused")


class Sample(Struct, frozen=True, kw_only=True):
    """What Halley had at a moment."""

    at_s: float
    memory_mb: float
    open_files: int
    threads: int
    database_mb: float


class Load:
    """The mixed load.

    Args:
        client: With the API key.
        around: Halley, whom it falls on, and those around it.
        chance: What is chosen at random.
    """

    def __init__(self, client: aiohttp.ClientSession, around: World, chance: random.Random) -> None:
        self._client = client
        self._around = around
        self._chance = chance
        self._endpoints: list[str] = []
        self.started = 0
        self.refused = Counter[str]()

    async def run(self, number: int) -> None:
        """Start a run of one kind or another, and look at it as callers do."""
        node, text, headers = self._kind(number)
        path = f"/v1/nodes/{node}/runs"
        for _ in range(2 if "Idempotency-Key" in headers else 1):
            told = await self._asked("POST", path, json={"text": text}, headers=headers)
        self.started += 1
        if run_id := told.get("id"):
            await asyncio.sleep(self._chance.uniform(0.5, 4))
            await self._asked("GET", f"/v1/runs/{run_id}", params={"wait": "5"} if number % 20 == 0 else None)

    def _kind(self, number: int) -> tuple[str, str, dict[str, str]]:
        text, taken = f"A comet {number}", f"{self._around.receivers.url}/ok{number % 50}"
        kind = number % 10
        if kind < 4:
            return "bench.called", text, {"Halley-Webhook-Url": taken, "Halley-Reference": f"order-{number}"}
        if kind < 6:
            return "bench.polled", text, {"Halley-Webhook-Url": taken}
        if kind == 6:
            return "bench.direct", text, {}
        if kind == 7:
            return "bench.called", text, {"Idempotency-Key": f"key-{number}"}
        if kind == 8:
            return "bench.called", "broken", {"Halley-Webhook-Url": taken}
        is_failing = number % 100 == 9
        return "bench.polled", text, {"Halley-Webhook-Url": f"{self._around.upstream}/failing"} if is_failing else {}

    async def group(self, _: int) -> None:
        """Start a group of three."""
        runs = [{"node": "bench.called", "input": {"text": f"Scene {n}"}} for n in range(3)]
        await self._asked(
            "POST", "/v1/groups", json={"runs": runs, "webhook_url": f"{self._around.receivers.url}/okgroup"}
        )
        self.started += len(runs)

    async def subscribe(self, number: int) -> None:
        """Make an endpoint, and delete the oldest."""
        body = {
            "url": f"{self._around.receivers.url}/ok-endpoint{number}",
            "types": ["run.succeeded"],
            "nodes": ["bench.direct"],
        }
        told = await self._asked("POST", "/v1/endpoints", json=body)
        self._endpoints.append(told.get("id", ""))
        if len(self._endpoints) > _ENDPOINTS:
            await self._asked("DELETE", f"/v1/endpoints/{self._endpoints.pop(0)}")

    async def look(self, _: int) -> None:
        """List what people and machines list."""
        for path in ("/v1/runs?state=running", "/v1/runs?reference=order-40", "/v1/events?limit=20", "/v1/deliveries"):
            await self._asked("GET", path)
        for path in ("/metrics", "/readyz"):
            await self._asked("GET", path, is_json=False)

    async def listen(self) -> None:
        """Listen to the stream of events, again and again, each time for a while."""
        while True:
            with contextlib.suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(self._chance.uniform(*_LISTEN_S)):
                    async with self._client.get(f"{self._around.url}/v1/events/stream") as answer:
                        async for _ in answer.content.iter_any():
                            pass

    async def _asked(self, method: str, path: str, *, is_json: bool = True, **words: Any) -> dict[str, Any]:
        try:
            async with self._client.request(method, self._around.url + path, **words) as answer:
                if answer.status >= 400:
                    self.refused[str(answer.status)] += 1
                    return {}
                body = await (answer.json() if is_json and answer.status != 204 else answer.read())
        except (aiohttp.ClientError, TimeoutError) as exc:
            self.refused[type(exc).__name__] += 1
            return {}
        return body if isinstance(body, dict) else {}


async def _steadily(per_s: float, until: float, work: Callable[[int], Awaitable[None]]) -> None:
    """Begin work at a steady rate; what is under way at the end is waited for."""
    began_at, under_way = time.monotonic(), set[asyncio.Task[None]]()
    for number in itertools.count():
        at = began_at + number / per_s
        if at >= until:
            break
        await asyncio.sleep(max(at - time.monotonic(), 0))
        task = asyncio.ensure_future(work(number))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if under_way:
        await asyncio.wait(under_way, timeout=_MINUTE_S)


def sample(around: World, at_s: float) -> Sample:
    """Return what Halley has now."""
    return Sample(
        at_s=at_s,
        memory_mb=around.halley.memory_mb(),
        open_files=around.halley.open_files(),
        threads=around.halley.threads(),
        database_mb=sum(path.stat().st_size for path in around.folder.glob("halley.db*")) / 1e6,
    )


async def _watch(around: World, load: Load, until: float) -> list[Sample]:
    """Take samples, and print one a minute."""
    began_at, samples, printed = time.monotonic(), list[Sample](), -1
    while (now := time.monotonic()) < until:
        samples.append(sample(around, now - began_at))
        if (minute := int((now - began_at) / _MINUTE_S)) > printed:
            printed = minute
            _print(minute, samples[-1], load)
        await asyncio.sleep(_SAMPLE_S)
    _print(printed + 1, samples[-1], load)
    return samples


def _print(minute: int, now: Sample, load: Load) -> None:
    cells = (
        str(minute),
        f"{load.started:,}",
        figure(now.memory_mb),
        str(now.open_files),
        str(now.threads),
        figure(now.database_mb),
        str(load.refused.total()),
    )
    print("  ".join(cell.rjust(max(len(head), 8)) for cell, head in zip(cells, _COLUMNS, strict=True)), flush=True)


def growth_mb(samples: Sequence[Sample]) -> float:
    """Return how much memory grows in ten minutes, over the last two thirds."""
    late = samples[len(samples) // 3 :]
    slope = statistics.linear_regression([each.at_s for each in late], [each.memory_mb for each in late]).slope
    return 600 * slope


async def soak(minutes: float, per_s: float) -> list[Sample]:
    """Soak one Halley on a new SQLite file."""
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=_MINUTE_S)
    async with (
        world(_JOB_S) as around,
        around.open(),
        aiohttp.ClientSession(headers=AUTH, connector=connector, timeout=timeout) as client,
    ):
        load = Load(client, around, random.Random(1))
        until = time.monotonic() + minutes * _MINUTE_S
        listeners = [asyncio.create_task(load.listen()) for _ in range(_LISTENERS)]
        works = ((per_s, load.run), (0.5, load.group), (0.2, load.subscribe), (1.0, load.look))
        (samples, *_) = await asyncio.gather(
            _watch(around, load, until), *(_steadily(rate, until, work) for rate, work in works)
        )
        for each in listeners:
            each.cancel()
        await asyncio.wait(listeners)
        print(f"refused: {dict(load.refused)}", flush=True)
        return samples


def main() -> None:
    """Print what Halley has each minute, and a verdict."""
    parser = argparse.ArgumentParser(prog="python -m bench soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--per-s", type=float, default=40.0)
    given, _ = parser.parse_known_args(sys.argv[1:])
    print("  ".join(head.rjust(8) for head in _COLUMNS), flush=True)
    samples = uvloop.run(soak(given.minutes, given.per_s))
    grown = growth_mb(samples)
    verdict = "is flat" if grown <= _FLAT_MB else "grows"
    verdict = "has had too little time" if given.minutes < _TELLING_MIN else verdict
    print(f"Memory {verdict}: {grown:+.1f} MB in 10 minutes over the last two thirds (flat: {_FLAT_MB} at most).")
    print(flush=True)
