"""What the pages say beside the shipped workflows: groups, a *Wait* node on GET, one order that comes twice."""

import re
from pathlib import Path
from typing import Any

from tests.n8n.instance import Workflow
from tests.n8n.report import Row, row
from tests.n8n.scenes import VIDEO, Scene, Stage
from tests.n8n.workflows import chain, hook, in_production, node, settled, shipped, wait

_PAGE = Path(__file__).parents[2] / "docs" / "events.md"
_FILM = 12
_OVER = "run.succeeded,run.failed,run.canceled,run.timed_out"


def page_workflows(stage: Stage) -> list[Workflow]:
    """Return the workflows of these scenes."""
    url = stage.halley.url
    order = settled(in_production(settled(shipped(VIDEO), halley=url), "same-order"), order="={{ $json.body.prompt }}")
    return [_film(url), _left_on_get(url), order]


def _film(url: str) -> Workflow:
    """The step that the page on groups shows, one item for each scene before and after it."""
    shown = re.search(r"\*\*In n8n\*\*.*?```\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    body = {"sendBody": True, "specifyBody": "json", "jsonBody": f"={shown[1].strip()}"}
    steps = {
        "Begin": hook("film"),
        "Scenes": _split("body.scenes"),
        "Start": {**_asks(f"{url}/v1/groups", method="POST", **body), "executeOnce": True},
        "Wait": wait(resume="webhook", httpMethod="POST"),
        "Videos": _split("body.data.runs"),
    }
    return chain("film", steps)


def _left_on_get(url: str) -> Workflow:
    """The *Wait* node as n8n makes it, and a step that reads the run by its id."""
    start = dict(node(shipped(VIDEO), "Start the video")["parameters"])
    start["url"] = f"{url}/v1/nodes/kling.text_to_video/runs"
    start["queryParameters"] = _pairs(mode="live")
    start["bodyParameters"] = _pairs(prompt="={{ $json.body.prompt }}")
    words = {"Halley-Webhook-Url": "={{ $execution.resumeUrl }}", "Halley-Webhook-Events": _OVER}
    start["headerParameters"] = _pairs(**words, **{"Halley-Webhook-Method": "GET"})
    steps = {
        "Begin": hook("left-on-get"),
        "Start": _asks(**start),
        "Wait": wait(resume="webhook"),
        "Read": _asks(f"={url}/v1/runs/{{{{ $json.headers['halley-run'] }}}}"),
    }
    return chain("left-on-get", steps)


def _asks(url: str, **parameters: Any) -> dict[str, Any]:
    asks = node(shipped(VIDEO), "Start the video")
    whole = {"authentication": "genericCredentialType", "genericAuthType": "httpHeaderAuth", "options": {}}
    return {
        **{name: asks[name] for name in ("type", "typeVersion", "credentials")},
        "parameters": {**whole, "url": url, **parameters},
    }


def _pairs(**values: str) -> dict[str, list[dict[str, str]]]:
    return {"parameters": [{"name": name, "value": value} for name, value in values.items()]}


def _split(field: str) -> dict[str, Any]:
    parameters = {"fieldToSplitOut": field, "options": {}}
    return {"type": "n8n-nodes-base.splitOut", "typeVersion": 1, "parameters": parameters}


async def film(stage: Stage) -> list[Row]:
    """Twelve videos and one event, which comes when the last is there."""
    prompts = {f"scene-{n}": f"probe-film-{n} [[duration:{1 + n % 4}]]" for n in range(_FILM)}
    asked = [{"id": reference, "prompt": prompt} for reference, prompt in prompts.items()]
    (await stage.n8n.client.post("/webhook/film", json={"scenes": asked})).raise_for_status()
    ended = await stage.n8n.ended("film", 1)
    given = await stage.n8n.items(ended[0].id, "Videos")
    runs = await stage.halley.runs("probe-film-")
    submitted = [each for each in stage.upstream.submissions if each.marker.startswith("probe-film-")]
    return [
        row("film", "executions", ["success"], [each.status for each in ended]),
        row("film", "runs; submissions upstream", [_FILM] * 2, [len(runs), len(submitted)]),
        row("film", "scenes in their order", True, [each["reference"] for each in given] == list(prompts)),
        row("film", "each scene with its video", True, _alike(runs, given)),
    ]


async def left_on_get(stage: Stage) -> list[Row]:
    """A *Wait* node that nobody has changed: it listens for GET, and the run is read."""
    scene = "left-on-get"
    await stage.start(scene)
    ended = await stage.n8n.ended(scene, stage.times)
    read = [item for each in ended for item in await stage.n8n.items(each.id, "Read")]
    runs = await stage.halley.runs(f"probe-{scene}-")
    succeeded = [each for each in ended if each.status == "success"]
    return [
        row(scene, "executions; successful; runs", [stage.times] * 3, [len(ended), len(succeeded), len(runs)]),
        row(scene, "each read its run", True, _alike(runs, read)),
    ]


def _alike(runs: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    """Whether these are the same runs with the same results, whatever their order."""
    return sorted(map(_told, runs)) == sorted(map(_told, others))


def _told(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["id"], run["reference"], run["state"], *(each["url"] for each in run["artifacts"])


async def same_order(stage: Stage) -> list[Row]:
    """A second execution for an order that was started is refused, tries again in vain, and costs nothing."""
    scene = "same-order"
    await stage.start(scene, times=1)
    await stage.n8n.ended(scene, 1)
    await stage.start(scene, times=1)
    ended = await stage.n8n.ended(scene, 2)
    refused = [await stage.n8n.data(each.id) for each in ended if each.status == "error"]
    submitted = [each for each in stage.upstream.submissions if each.marker.startswith(f"probe-{scene}-")]
    runs = await stage.halley.runs(f"probe-{scene}-")
    return [
        row(scene, "executions", ["error", "success"], sorted(each.status for each in ended)),
        row(scene, "runs; submissions upstream", [1, 1], [len(runs), len(submitted)]),
        row(scene, "refused with", ["422"], [each["resultData"]["error"]["httpCode"] for each in refused]),
    ]


PAGE_SCENES: tuple[Scene, ...] = (film, left_on_get, same_order)
