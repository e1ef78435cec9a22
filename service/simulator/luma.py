"""The Luma family under `/dream-machine/v1`, written from its reference page alone.

A generation is told of in the legacy web shape that the aggregator's page shows; callbacks, and queries where the
scenario asks for any envelope, come in the provider's own shape.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import NAMESPACE_OID, uuid5

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Family, Json, Look, Operation, look_at
from service.simulator.tasks import Phase, Task

GENERATIONS = "/dream-machine/v1/generations"
FAILED = "The generation could not be completed"
MODERATED = "The prompt was rejected by the content policy"
WEB_WORDS: dict[Phase, str] = {
    "submitted": "pending",
    "processing": "processing",
    "succeeded": "completed",
    "failed": "failed",
}
OWN_WORDS: dict[Phase, str] = {
    "submitted": "queued",
    "processing": "dreaming",
    "succeeded": "completed",
    "failed": "failed",
}

Hook = Annotated[str, Meta(pattern=r"^https?://\S+$")]


class Image(msgspec.Struct, tag_field="type", tag="image"):
    """A keyframe that is a picture."""

    url: Hook


class Earlier(msgspec.Struct, tag_field="type", tag="generation"):
    """A keyframe that is an earlier generation."""

    id: Annotated[str, Meta(min_length=1)]


class Keyframes(msgspec.Struct):
    """Start and end."""

    frame0: Image | Earlier | UnsetType = UNSET
    frame1: Image | Earlier | UnsetType = UNSET


class Concept(msgspec.Struct):
    """A camera concept."""

    key: str


class Generate(msgspec.Struct, kw_only=True):
    """The body of a create."""

    prompt: Annotated[str, Meta(min_length=3, max_length=5000)]
    aspect_ratio: Literal["1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21"] = "16:9"
    loop: bool = False
    keyframes: Keyframes | None = None
    callback_url: Hook | UnsetType = UNSET
    model: str = "ray-1-6"
    resolution: Literal["540p", "720p", "1080p", "4k"] | UnsetType = UNSET
    duration: Annotated[str, Meta(pattern=r"^\d+s$")] | UnsetType = UNSET
    concepts: list[Concept] | UnsetType = UNSET
    generation_type: Literal["video"] = "video"


def _created_at(task: Task) -> str:
    return datetime.fromtimestamp(task.created_at, UTC).isoformat()


def _failure_reason(task: Task) -> str:
    usual = MODERATED if task.scenario.outcome == "moderation" else FAILED
    return task.scenario.failure_text or usual


def _has_result(look: Look) -> bool:
    return look.phase == "succeeded" and not look.unknown and not look.empty


def _size(url: str) -> Json:
    return {"url": url, "width": 1360, "height": 752}


def web_object(look: Look) -> Json:
    """Make the legacy web shape, without the raw video that only some accounts have."""
    done = _has_result(look)
    video = _size(look.link("0-watermark.mp4")) | {"download_url": look.link("0.mp4")}
    pictures = {"thumbnail": _size(look.link("thumb.png")), "last_frame": _size(look.link("last.png"))}
    return {
        "id": look.task.public_id,
        "prompt": look.task.facts["prompt"],
        "state": "reviewing" if look.unknown else WEB_WORDS[look.phase],
        "created_at": _created_at(look.task),
        "video": video if done else None,
        "liked": None,
        "queue_state": None,
        "estimate_wait_seconds": None,
        **(pictures if done else {}),
    }


def own_object(look: Look, task_id: str) -> Json:
    """Make the provider's shape."""
    task = look.task
    return {
        "id": task_id,
        "generation_type": "video",
        "state": "reviewing" if look.unknown else OWN_WORDS[look.phase],
        "failure_reason": _failure_reason(task) if look.phase == "failed" else None,
        "created_at": _created_at(task),
        "assets": {"video": look.link("0.mp4")} if _has_result(look) else None,
        "model": task.facts.get("model", "ray-1-6"),
        "request": task.facts,
    }


def callback_body(look: Look) -> Json:
    """Make the body of a callback; the first one tells of dreaming, there is none for the queue."""
    phase: Phase = "processing" if look.phase == "submitted" else look.phase
    return own_object(msgspec.structs.replace(look, phase=phase), look.task.id)


def told(look: Look) -> Json:
    """Tell of a generation in the shape of its scenario."""
    return web_object(look) if look.task.scenario.envelope == "flat" else own_object(look, look.task.public_id)


class Luma(Family):
    """Creating generations and asking for them."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (
            Operation(name="generate", path=GENERATIONS, answer=self._generate, body=Generate, usual_s=90.0),
            Operation(name="search", path=f"{GENERATIONS}/{{task_id}}", answer=self._search, method="GET"),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse a body."""
        fault = {"type": "value_error", "loc": ["body"], "msg": message}
        return json_answer({"detail": [fault]}, HTTPStatus.UNPROCESSABLE_ENTITY)

    def busy(self) -> web.Response:
        """Refuse over too many concurrent generations."""
        return json_answer({"detail": "Too many concurrent generations"}, HTTPStatus.TOO_MANY_REQUESTS)

    def unknown_task(self) -> web.Response:
        """Say that there is no such generation."""
        return json_answer({"detail": "Generation not found"}, HTTPStatus.NOT_FOUND)

    async def _generate(self, call: Call) -> web.Response:
        task = await call.create(
            callback_url=call.body.callback_url or "",
            render=callback_body,
            facts=call.sent,
            make_id=lambda number: str(uuid5(NAMESPACE_OID, number)),
        )
        status = HTTPStatus.OK if task.scenario.envelope == "flat" else HTTPStatus.CREATED
        return json_answer(told(look_at(self.stage, task, "submitted")), status)

    async def _search(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.match_info["task_id"])
        if task.operation != "generate" or task.path != GENERATIONS:
            raise Refused(self.unknown_task())
        return json_answer(told(self.look(task)))
