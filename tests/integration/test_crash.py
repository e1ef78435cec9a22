"""Halley killed at every named step between two writes; the long form, at random, is `make crash`."""

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.load import FILMED, KINDS, Callers, client_of
from tests.crash.promises import Court
from tests.crash.steps import ELSEWHERE, PROVOKED, STORE_STEPS, WRITING, Fuse, InterruptedStore
from tests.crash.trial import Trial, died_at
from tests.crash.world import UPSTREAM_STEPS, world
from tests.fakes.house import DATABASES

_REACH_S = 20.0
_REST_S = 40.0

# What callers bring about by themselves, in an order in which each death leaves something to the next life.
SUBMITTING = ("start", "claim_submissions", "take_over", "enroll", "beat")
FOLLOWING = ("change", "record_callback", "claim", "make_due", "expire")
TELLING = ("claim_deliveries", "finish_delivery")
GATHERING = ("start_group", "change_group", "forget_news")


def steps_of(*verbs: str) -> list[str]:
    """Return the steps of verbs, as far as the store has them."""
    return [step for verb in verbs for step in STORE_STEPS if step.partition(".")[0] == verb]


GROUPS = {
    "submitting": steps_of(*SUBMITTING),
    "following": steps_of(*FOLLOWING),
    "telling": [*steps_of(*TELLING), *UPSTREAM_STEPS],
}


def test_every_verb_that_writes_is_tried_or_said_to_need_none() -> None:
    """A verb that is new to the store's protocol has to be put on one of the lists."""
    assert set(WRITING) <= {*SUBMITTING, *FOLLOWING, *TELLING, *GATHERING, *PROVOKED, *ELSEWHERE}


@pytest.mark.parametrize("group", GROUPS)
async def test_every_promise_holds_when_the_process_dies_at_each_step(tmp_path: Path, group: str) -> None:
    """Nothing is lost, submitted twice or told wrongly, whatever was under way when each process died."""
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url, **await DATABASES.environ(tmp_path))
        async with client_of(trial.url) as client:
            callers = Callers(client, around.ear.url, random.Random(group), group)
            async with callers.calling(3, pause_s=0.25):
                for step in GROUPS[group]:
                    is_store = step not in UPSTREAM_STEPS
                    is_reached = await died_at(trial, around, step, 1, is_store=is_store, patience_s=_REACH_S)
                    assert is_reached, f"{step} was never reached"
                await trial.started()
            await callers.start_all()
            verdict = await Court(trial, around, client, callers.starts, callers.groups).verdict(_REST_S)
        await trial.killed()

    assert verdict.broken == []
    assert verdict.states["succeeded"] >= len(KINDS) - 1


@pytest.mark.parametrize("seed", [1])
async def test_every_promise_holds_when_the_process_dies_at_any_moment(tmp_path: Path, seed: int) -> None:
    """The same, at moments that nobody chose."""
    chance = random.Random(seed)
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url, **await DATABASES.environ(tmp_path))
        async with client_of(trial.url) as client:
            callers = Callers(client, around.ear.url, chance, str(seed))
            async with callers.calling(3, pause_s=0.2):
                for _ in range(6):
                    trial.start()
                    await trial.ended(chance.uniform(0.1, 1.0))
                await trial.started()
            await callers.start_all()
            verdict = await Court(trial, around, client, callers.starts, callers.groups).verdict(_REST_S)
        await trial.killed()

    assert verdict.broken == []
    assert verdict.states["succeeded"] >= len(KINDS) - 1


async def test_a_group_completes_once_when_the_process_dies_at_each_step(tmp_path: Path) -> None:
    """Between the last end and the event, and before the rest is canceled: one event, and nothing is left open."""
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url, **await DATABASES.environ(tmp_path))
        async with client_of(trial.url) as client:
            callers = Callers(client, around.ear.url, random.Random(1), "gathering")
            async with callers.calling(2, pause_s=0.3, groups=1.0):
                for step in steps_of(*GATHERING):
                    is_reached = await died_at(trial, around, step, 1, is_store=True, patience_s=_REACH_S)
                    assert is_reached, f"{step} was never reached"
                await trial.started()
            verdict = await Court(trial, around, client, callers.starts, callers.groups).verdict(_REST_S)
        await trial.killed()

    assert verdict.broken == []
    assert len(callers.groups) > 3


async def test_a_task_whose_window_was_confirmed_goes_on_after_a_death(tmp_path: Path) -> None:
    """A run that waits for its user ends, though the process died before it had it looked at again."""
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url, HALLEY_PUBLIC_URL="", **await DATABASES.environ(tmp_path))
        async with client_of(trial.url) as client:
            for step in steps_of("wake"):
                await trial.started(f"{step}:1")
                parked = await _parked(client)
                given = parked["data"]["next"][0]
                await client.post(
                    f"/v1/nodes/{given['node']}/runs",
                    json={**given["input"], "prompt": "x --zoom 2"},
                    params={"wait": 0},
                )
                assert await trial.ended(_REACH_S), f"{step} was never reached"
                await trial.started()
                assert (await _until(client, parked["id"], "finished_at"))["state"] == "succeeded"
                await trial.killed()


async def _parked(client: httpx.AsyncClient) -> dict[str, Any]:
    """Bring a run to where its task waits for the user."""
    run = (await client.post("/v1/nodes/midjourney.imagine/runs", json={"prompt": "x"}, params={"wait": 10})).json()
    given = next(each for each in run["data"]["next"] if each["title"] == "U1")
    run = (await client.post(f"/v1/nodes/{given['node']}/runs", json=given["input"], params={"wait": 10})).json()
    given = next(each for each in run["data"]["next"] if "CustomZoom" in each["input"]["custom_id"])
    run = (await client.post(f"/v1/nodes/{given['node']}/runs", json=given["input"], params={"wait": 0})).json()
    return await _until(client, run["id"], "awaits_input")


async def _until(client: httpx.AsyncClient, run_id: str, word: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            run = (await client.get(f"/v1/runs/{run_id}", params={"wait": 0.05})).json()
            if run[word]:
                return dict(run)


async def test_an_upload_that_was_answered_is_there_after_a_death(tmp_path: Path) -> None:
    """A file is known or unknown, never half; one that was answered stays, and one that is being deleted can be."""
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url, **await DATABASES.environ(tmp_path))
        async with client_of(trial.url) as client:
            await trial.started("add_file.after:2")
            kept = (await client.post("/v1/files", files={"file": ("a.png", _PNG)})).json()["id"]
            with pytest.raises(httpx.TransportError):
                await client.post("/v1/files", files={"file": ("b.png", _PNG)})
            assert await trial.ended(_REACH_S)
            for step in steps_of("add_file", "delete_file"):
                await trial.started(f"{step}:1")
                method, path = ("POST", "/v1/files") if step.startswith("add") else ("DELETE", f"/v1/files/{kept}")
                files = {"file": ("c.png", _PNG)} if method == "POST" else None
                with pytest.raises(httpx.TransportError):
                    await client.request(method, path, files=files)
                assert await trial.ended(_REACH_S), f"{step} was never reached"
            await trial.started()
            answer = await client.get(f"/v1/files/{kept}")
        code, said = await trial.command("db", "check")
        await trial.killed()

    assert answer.status_code == 404
    assert code == 0, said


_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645"
    "400000000049454e44ae426082"
)


async def test_a_death_in_the_middle_of_a_graceful_stop_leaves_a_good_database(tmp_path: Path) -> None:
    """A process that dies while it takes its leave hands over like any other."""
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url, **await DATABASES.environ(tmp_path))
        async with client_of(trial.url) as client:
            callers = Callers(client, around.ear.url, random.Random(1), "leave")
            for step in steps_of("leave"):
                server = await trial.started(f"{step}:1")
                await callers.start(FILMED)
                server.send(signal.SIGTERM)
                assert await trial.ended(_REACH_S), f"{step} was never reached"
            await trial.started()
            verdict = await Court(trial, around, client, callers.starts, callers.groups).verdict(_REST_S)
        await trial.killed()

    assert verdict.broken == []


async def test_a_step_is_where_it_says() -> None:
    """`before` is before the verb, `within` inside what it decides, `after` when it returned; no more is touched."""
    passed: list[str] = []

    class Recorder(Fuse):
        def passes(self, step: str) -> None:
            passed.append(step)

    class Kept:
        async def change(self, run_id: str, decide: Any) -> Any:
            passed.append("begin")
            decided = decide(run_id)
            passed.append("commit")
            return decided

        async def run(self, run_id: str) -> str:
            return run_id

    store: Any = InterruptedStore(Kept(), Recorder("", lambda: None))  # type: ignore[arg-type]

    assert (await store.change("a", lambda each: f"{each}!"), await store.run("b")) == ("a!", "b")
    assert passed == ["change.before", "begin", "change.within", "commit", "change.after"]
