"""How the family tells of things: the task object, the submit envelope and its refusals."""

from http import HTTPStatus
from typing import Any, Literal

import msgspec
from aiohttp import web

from service.simulator.aggregator import json_answer
from service.simulator.family import Look
from service.simulator.midjourney.buttons import Json, buttons_of
from service.simulator.tasks import Task

ACCEPTED = 1
EXISTS = 21
INVALID = 4
QUEUE_FULL = 23
NO_ACCOUNT = 3
DESCRIPTIONS = {
    NO_ACCOUNT: "No account instance is available",
    INVALID: "Parameter error",
    9: "Internal failure",
    QUEUE_FULL: "Queue is full, please try again later",
    24: "The prompt may contain banned words",
    30: "The load of the current group is saturated, please try again later",
}
_STATUS_OF_CODE = {30: HTTPStatus.TOO_MANY_REQUESTS, NO_ACCOUNT: HTTPStatus.NOT_FOUND}
_WORDS = {"submitted": "SUBMITTED", "processing": "IN_PROGRESS", "succeeded": "SUCCESS", "failed": "FAILURE"}
_KINDS: dict[str, Literal["video", "text"]] = {"VIDEO": "video", "DESCRIBE": "text", "SHORTEN": "text"}
_IDEAS = ("a comet over a winter sea", "ice under a long tail of light", "a night of blue snow", "the last star")
SUGGESTED = "\n\n".join(f"{n}️⃣ {idea} --ar 16:9" for n, idea in enumerate(_IDEAS, 1))


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the family remembers of a submission.

    Attributes:
        clips: How many videos a video task makes.
        state: The caller's text, given back unchanged.
        parked: Whether the task waits for its window to be confirmed.
    """

    action: str
    prompt: str = ""
    clips: int = 4
    state: str = ""
    hook: str = ""
    parked: bool = False

    @property
    def kind(self) -> Literal["image", "video", "text"]:
        """What a task of this action makes."""
        return _KINDS.get(self.action, "image")


def accepted(task: Task, *, number: bool = False, properties: Json | None = None) -> web.Response:
    """Make the answer to an accepted submission; some operations write the id as a number."""
    result = int(task.public_id) if number else task.public_id
    return envelope(ACCEPTED, "Submit success", result, properties or {"discordInstanceId": "1"})


def envelope(code: int, description: str, result: Any, properties: Json | None = None) -> web.Response:
    """Make the answer to a submission; the verdict is its code."""
    status = _STATUS_OF_CODE.get(code, HTTPStatus.OK)
    body = {"code": code, "description": description, "result": result, "properties": properties}
    return json_answer(body, status)


def rejected(code: int) -> web.Response:
    """Make a refusal by the proxy."""
    properties = {"bannedWord": "gore", "promptEn": "gore"} if code == 24 else None  # noqa: PLR2004
    return envelope(code, DESCRIPTIONS[code], None, properties)


def relay_refusal(description: str) -> web.Response:
    """Make a refusal by the relay, with the space that it leaves at the end."""
    body = {"description": f"{description} ", "type": "upstream_error", "code": INVALID}
    return json_answer(body, HTTPStatus.BAD_REQUEST)


def status_of(look: Look) -> str:
    """Write the status word of a look."""
    if look.task.facts.parked:
        return "MODAL"
    return "SHELVED" if look.unknown else _WORDS[look.phase]


def task_object(look: Look) -> Json:
    """Write the task object, as queries and callbacks hold it."""
    task, facts = look.task, look.task.facts
    status = status_of(look)
    done = status == "SUCCESS"
    started_ms, ended_ms = int(task.processing_at * 1000), int(task.finished_at * 1000)
    return {
        "id": task.id,
        "action": facts.action,
        "status": status,
        "progress": "0%" if facts.parked else f"{look.percent}%",
        "prompt": facts.prompt,
        "promptEn": SUGGESTED if done and facts.kind == "text" and not look.empty else facts.prompt,
        "description": f"/{facts.action.lower()} {facts.prompt}",
        "state": facts.state,
        "submitTime": int(task.created_at * 1000),
        "startTime": 0 if status == "SUBMITTED" else started_ms,
        "finishTime": ended_ms if status in ("SUCCESS", "FAILURE") else 0,
        **_links(look, status),
        "failReason": _reason(look) if status == "FAILURE" else None,
        "buttons": buttons_of(task.id, facts.action) if done else [],
        "properties": {"finalPrompt": facts.prompt, "notifyHook": facts.hook},
    }


def _links(look: Look, status: str) -> Json:
    facts = look.task.facts
    links: Json = {"imageUrl": "", "imageUrls": None, "videoUrl": "", "videoUrls": None}
    if look.empty or status not in ("IN_PROGRESS", "SUCCESS"):
        return links
    links["imageUrl"] = look.link("preview.png") if status == "IN_PROGRESS" else look.link("0.png")
    if status == "SUCCESS" and facts.kind == "video":
        clips = [look.link(f"{n}.mp4") for n in range(facts.clips)]
        links |= {"videoUrl": clips[0], "videoUrls": [{"url": clip} for clip in clips]}
    return links


def _reason(look: Look) -> str:
    scenario = look.task.scenario
    if scenario.outcome == "moderation":
        return "The prompt contains sensitive words"
    return scenario.failure_text or "The job could not be finished"
