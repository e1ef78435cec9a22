"""Plays the scenes: starts each run, watches it and waits for its event."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import httpx

from service.demo import show
from service.demo.outcome import Played, faults_of
from service.demo.receiver import ReceivedEvent
from service.demo.stage import Stage, staged
from service.lifecycle.states import FINAL
from service.serving import signals_set
from service.simulator.showcase import Scene
from service.terminal import Watch, watching

_TIME_LIMIT_S = 60.0
_WATCH_S = 0.25


class NotPlayed(Exception):
    """A scene could not be played to its end; the text says why."""


async def perform(port: int, marks: Sequence[str], *, once: bool) -> list[str]:
    """Play the demo; returns what did not happen, in words.

    Args:
        port: Where Halley listens, if nothing else does.
        marks: Played by the simulator for every submission.
        once: End after the scenes; otherwise go on serving until SIGINT or SIGTERM.
    """
    stop = asyncio.Event()
    with signals_set(stop):
        async with staged(port, marks) as stage:
            show.opening(stage, wanted_port=port)
            failures = await _until(stop, play(stage))
            if failures is None:
                return ["it was stopped before its end"] if once else []
            show.verdict(failures)
            if not once:
                show.what_next(stage)
                await stop.wait()
                show.closing()
    return failures


async def _until(stop: asyncio.Event, playing: Any) -> list[str] | None:
    """Return the failures, or None when it was stopped before the end."""
    play_task, stop_task = asyncio.ensure_future(playing), asyncio.create_task(stop.wait())
    await asyncio.wait([play_task, stop_task], return_when=asyncio.FIRST_COMPLETED)
    stop_task.cancel()
    if play_task.done():
        return list(play_task.result())
    play_task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await play_task
    return None


async def play(stage: Stage, time_limit_s: float = _TIME_LIMIT_S) -> list[str]:
    """Play all scenes at the same time and show what came of them; returns what did not happen."""
    async with httpx.AsyncClient(
        base_url=stage.url, headers={"X-API-Key": stage.key}, trust_env=False, timeout=10
    ) as client:
        with watching(sys.stdout) as watch:
            playing = (_played(scene, stage, client, watch, time_limit_s) for scene in stage.scenes)
            outcomes = await asyncio.gather(*playing)
    failures = []
    for outcome in outcomes:
        if isinstance(outcome, Played):
            show.played(outcome)
            failures += faults_of(outcome)
        else:
            failures.append(str(outcome))
    return failures


async def _played(
    scene: Scene, stage: Stage, client: httpx.AsyncClient, watch: Watch, time_limit_s: float
) -> Played | NotPlayed:
    reached = "the run was not accepted"
    try:
        async with asyncio.timeout(time_limit_s):
            run = await _start(scene, stage, client)
            reached = f"the run {run['id']} did not end"
            run = await _watched(run, client, watch)
            reached = f"the run {run['state']}, but no event came"
            event = await stage.receiver.event_of(run["id"])
            reached = "its timeline could not be read"
            timeline = (await _asked(client.get(f"/v1/runs/{run['id']}/timeline")))["data"]
    except TimeoutError:
        return NotPlayed(f"{scene.node}: {reached} within {time_limit_s:g} s")
    except (httpx.HTTPError, NotPlayed) as exc:
        return NotPlayed(f"{scene.node}: {reached}: {exc}")
    return _outcome(scene, stage, run, event, timeline)


def _outcome(
    scene: Scene, stage: Stage, run: dict[str, Any], event: ReceivedEvent, timeline: list[dict[str, Any]]
) -> Played:
    task_id = run["upstream"]["task_id"]
    asked = [each for each in stage.simulator.requests if each.method == "GET"]
    ended_at = {task.public_id: task.finished_at for task in stage.simulator.tasks}.get(task_id)
    return Played(
        scene=scene,
        run=run,
        callbacks=sum(entry["kind"] == "callback" for entry in timeline),
        questions=sum(each.path.endswith(f"/{task_id}") for each in asked),
        event=event,
        told_after_s=None if ended_at is None else event.received_at - ended_at,
    )


async def _start(scene: Scene, stage: Stage, client: httpx.AsyncClient) -> dict[str, Any]:
    query = {"mode": "mock", "webhook_url": stage.receiver.url, "reference": "demo"}
    return await _asked(client.post(f"/v1/nodes/{scene.node}/runs", json=scene.input, params=query))


async def _watched(run: dict[str, Any], client: httpx.AsyncClient, watch: Watch) -> dict[str, Any]:
    watch.show(run["node"], run["state"], run["progress"])
    while run["state"] not in FINAL and run["state"] != "submit_unknown":
        run = await _asked(client.get(f"/v1/runs/{run['id']}", params={"wait": _WATCH_S}))
        watch.show(run["node"], run["state"], run["progress"])
    return run


async def _asked(request: Any) -> dict[str, Any]:
    response = await request
    body = dict(response.json())
    if response.is_error:
        raise NotPlayed(f"HTTP {response.status_code}: {body.get('detail')}")
    return body
