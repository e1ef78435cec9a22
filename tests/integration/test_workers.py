"""`halley serve --workers 2` as real processes on PostgreSQL: to its callers one Halley, whichever of them dies."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from service.app import Team
from service.cli import main
from service.ids import new_id
from service.simulator import Simulator
from service.workers.siblings import Siblings, inboxes
from tests.fakes.house import TUNING, House, house, quick_simulator
from tests.fakes.postgres import PostgresServer
from tests.fakes.replicas import SECRET_KEY, Replica, replica

NODE = "kling.text_to_video"
LAST_LINE = "Webhook signing secret"
LIMIT_S = 20.0
SUCCEEDED = re.compile(r'halley_run_events_total\{mode="mock",node="kling.text_to_video",type="run.succeeded"\} (\S+)')


def children(pid: int) -> set[int]:
    """Return the living children of a process."""
    found = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    return {each for each in found if _parent(each) == pid}


def living(pids: Iterable[int]) -> set[int]:
    """Return those of the processes that live; an ended one may stand there until somebody has taken note of it."""
    return {pid for pid in pids if _parent(pid) is not None}


def _parent(pid: int) -> int | None:
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else int(parent)


async def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.02)


def lines(log: Path) -> list[dict[str, Any]]:
    """Return the structured log lines."""
    return [msgspec.json.decode(line) for line in log.read_text().splitlines() if line.startswith("{")]


async def start(one: Replica, prompts: Iterable[str], **query: Any) -> list[str]:
    """Start runs, each over a connection of its own, so that the workers share them; returns their ids."""
    runs = []
    for prompt in prompts:
        async with httpx.AsyncClient(base_url=one.url, headers=one.client.headers) as client:
            answer = await client.post(f"/v1/nodes/{NODE}/runs", json={"prompt": prompt}, params=query)
        assert answer.status_code == 202, answer.text
        runs.append(answer.json()["id"])
    return runs


async def states(one: Replica, run_ids: Iterable[str]) -> set[str]:
    """Return the states of runs at their end."""
    return {run["state"] for run in await asyncio.gather(*(one.end(run_id) for run_id in run_ids))}


async def count_succeeded(one: Replica) -> float:
    """Return how many runs have succeeded, as whichever worker is asked says."""
    async with httpx.AsyncClient(base_url=one.url) as client:
        found = SUCCEEDED.search((await client.get("/metrics")).text)
    return float(found[1]) if found else 0.0


async def test_two_workers_are_one_halley(tmp_path: Path, postgres: PostgresServer) -> None:
    """They greet once, play one upstream, count together; one that is killed is replaced and nothing of it is lost."""
    settings = {"HALLEY_WORKERS": "2", "HALLEY_API_KEY": "", "COMETAPI_KEY": "", "HALLEY_PUBLIC_URL": ""}
    async with replica(tmp_path, "http://127.0.0.1:9", await postgres.database(), **settings) as one:
        await until(lambda: LAST_LINE in one.log.read_text())
        (one.client.headers["X-API-Key"],) = re.findall("hly_[^\n]+", one.log.read_text())
        runs = await start(one, [f"comet {n} [[duration:0.2]]" for n in range(10)], mode="mock")
        ended = await states(one, runs)
        counted = {await count_succeeded(one) for _ in range(8)}

        family = children(one.pid)
        under_way = await start(one, [f"later {n} [[duration:1]]" for n in range(4)], mode="mock")
        for run_id in under_way:
            await _has_begun(one, run_id)
        os.kill(min(family), signal.SIGKILL)
        under_way += await start(one, [f"then {n} [[duration:0.2]]" for n in range(4)], mode="mock")
        ended |= await states(one, under_way)
        await until(lambda: len(children(one.pid)) == len(family))
        counted_later = await count_succeeded(one)
        one.send(signal.SIGTERM)
        code = await one.ended()

    text = one.log.read_text()
    assert ended == {"succeeded"}
    assert (counted, counted_later) == ({10.0}, 18.0)
    assert {line["worker"] for line in lines(one.log) if line["event"] == "request.answered"} == {1, 2}
    assert [line["code"] for line in lines(one.log) if line["event"] == "process.ended"] == [-signal.SIGKILL]
    assert [text.count(words) for words in ("Halley listens on", "hly_", "Workers: 2", "and stops.")] == [1] * 4
    assert (len(family), code) == (3, 0)
    assert not living(family)


async def _has_begun(one: Replica, run_id: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            if (await one.client.get(f"/v1/runs/{run_id}")).json()["state"] not in ("queued", "submitting"):
                return
            await asyncio.sleep(0.02)


async def test_no_worker_outlives_the_first_process(tmp_path: Path, postgres: PostgresServer) -> None:
    """When the first process is killed the others go by themselves, and the address is free."""
    async with replica(tmp_path, "http://127.0.0.1:9", await postgres.database(), HALLEY_WORKERS="2") as one:
        await until(lambda: LAST_LINE in one.log.read_text())
        family = children(one.pid)
        one.send(signal.SIGKILL)
        await one.ended()
        await until(lambda: not living(family))
        with pytest.raises(httpx.ConnectError):
            await one.client.get("/healthz")

    assert len(family) == 3


def test_a_database_that_refuses_is_told_once(tmp_path: Path, postgres: PostgresServer) -> None:
    """All end with one line and the exit code 1; nothing is tried again and again."""
    url = postgres.admin_url.replace("secret-canary", "wrong")
    environ = {**os.environ, "HALLEY_DATABASE_URL": url, "HALLEY_DATA_DIR": str(tmp_path), "HALLEY_PORT": "0"}
    words = [sys.executable, "-m", "service", "serve", "--workers", "2"]

    ended = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)  # noqa: S603

    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch("Error: HALLEY_DATABASE_URL: [^\n]+\n", ended.stderr)


def test_sqlite_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """The line says what carries several workers."""
    environ = {"HALLEY_DATA_DIR": str(tmp_path / "data"), "HALLEY_DATABASE_URL": ""}

    result = CliRunner().invoke(main, ("serve", "--workers", "2"), env=environ)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: HALLEY_WORKERS, --workers: a SQLite file carries one process, not 2; ")
    assert "HALLEY_DATABASE_URL=postgresql://" in result.stderr
    assert not (tmp_path / "data").exists()


@contextlib.asynccontextmanager
async def beside_each_other(folder: Path, sim: Simulator, url: str) -> Any:
    """Run two workers in this process which look for each other's ends once a minute, so only hints wake anybody."""
    places = inboxes(2)
    environ = {"HALLEY_DATABASE_URL": url, "HALLEY_SECRET_KEY": SECRET_KEY}
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for own, other in (places, places[::-1]):
            team = Team(owner=new_id("own", 0), before=None, siblings=Siblings(own, [other]), counted=None)
            tuning = msgspec.structs.replace(TUNING, team=team, watch_s=60.0)
            made.append(await stack.enter_async_context(house(folder, sim, environ=environ, tuning=tuning)))
        yield made
    for end in (end for place in places for end in (place.read, place.write)):
        os.close(end)


async def test_who_waits_at_one_worker_hears_what_the_other_saw(tmp_path: Path, postgres: PostgresServer) -> None:
    """The end of a run, of a group, and the events of a workspace reach callers of either worker by a hint."""
    async with quick_simulator() as sim, beside_each_other(tmp_path, sim, await postgres.database()) as (one, other):
        asked = {"runs": [{"node": NODE, "input": {"prompt": "x"}}]}
        group = (await one.client.post("/v1/groups", json=asked)).json()
        idents = (group["id"], group["runs"][0]["id"])
        heard = [_woken(each, ident) for each in (one, other) for ident in idents]
        heard += [_told(each) for each in (one, other)]
        await asyncio.wait_for(asyncio.gather(*heard), LIMIT_S)
        states = {(await each.end(idents[1]))["state"] for each in (one, other)}

    assert states == {"succeeded"}


async def _woken(halley: House, ident: str) -> None:
    woken = asyncio.Event()
    with halley.app.state.services.switchboard.waking(ident, woken.set):
        await woken.wait()


async def _told(halley: House) -> None:
    told = asyncio.Event()
    with halley.app.state.services.switchboard.hearing("default", told.set):
        await told.wait()
