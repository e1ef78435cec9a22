"""Sora: the reverse route with the web client's task format, and its face on the shared video route.

The shared route itself, with remix and bytes, belongs to `videos`.
"""

import struct
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Family, FilePart, Json, Look, Operation
from service.simulator.relay import QUEUED_WORDS
from service.simulator.tasks import Phase, Task
from service.simulator.uploads import Upload

MODERATION_TEXT = "This content may violate our content policy."
FAILURE_TEXT = "The video could not be rendered."
MODERATION_CODE = "moderation_blocked"
SIZE_MISMATCH = "Inpaint image must match the requested width and height"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_SIZE_AT = 16
FRAMES_PER_SECOND = 30
PICTURE = Upload(names=("input_reference",), least=0)
WEB_WORDS: dict[Phase, str] = {
    "submitted": "queued",
    "processing": "running",
    "succeeded": "succeeded",
    "failed": "failed",
}
OBJECT_WORDS: dict[Phase, str] = {
    "submitted": "queued",
    "processing": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
}

Prompt = Annotated[str, Meta(min_length=1)]
Url = Annotated[str, Meta(pattern=r"^(https?://\S+)?$")]
Variants = Annotated[int, Meta(ge=1, le=4)]
Frames = Annotated[int, Meta(ge=FRAMES_PER_SECOND)]
Side = Annotated[int, Meta(ge=1, le=4096)]
Seconds = Literal["4", "8", "12", "16", "20"]
Size = Literal["720x1280", "1280x720", "1024x1792", "1792x1024", "1920x1080", "1080x1920"]


class CreateVideo(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the reverse route."""

    prompt: Prompt
    type: Literal["video_gen"] = "video_gen"
    operation: Literal["simple_compose"] = "simple_compose"
    n_variants: Variants = 1
    n_frames: Frames = 5 * FRAMES_PER_SECOND
    width: Side = 854
    height: Side = 480
    style: str = "natural"
    inpaint_items: list[Json] = []
    notify_hook: Url = ""


class VideosCreate(msgspec.Struct, frozen=True, kw_only=True):
    """Form of the shared video route; the length is a text even in JSON."""

    prompt: Prompt
    model: str = "sora-2"
    seconds: Seconds = "4"
    size: Size = "720x1280"

    def __post_init__(self) -> None:
        if "1920" in self.size and not self.model.startswith("sora-2-pro"):
            raise ValueError(f"size {self.size} is not supported by {self.model}")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request to the shared route shows in the answers."""

    model: str
    prompt: str
    seconds: str
    size: str
    remixed_from: str | None = None


def facts_of(body: VideosCreate) -> Facts:
    """Return what of a submission to the shared route is remembered."""
    return Facts(model=body.model, prompt=body.prompt, seconds=body.seconds, size=body.size)


def failure_text(task: Task) -> str:
    """Give the reason of a failed task."""
    usual = MODERATION_TEXT if task.scenario.outcome == "moderation" else FAILURE_TEXT
    return task.scenario.failure_text or usual


def fault_in_picture(body: VideosCreate, files: list[FilePart]) -> str:
    """Say what is wrong with a reference picture; only a PNG shows its size in its first bytes."""
    width, _, height = body.size.partition("x")
    for part in files:
        if not part.head.startswith(PNG_SIGNATURE):
            continue
        if struct.unpack_from(">II", part.head, PNG_SIZE_AT) != (int(width), int(height)):
            return SIZE_MISMATCH
    return ""


def video_object(look: Look) -> Json:
    """Tell of a task on the shared video route; in the provider's own envelope there is no link."""
    task, facts = look.task, look.task.facts
    ended_well = look.phase == "succeeded" and not look.unknown
    told: Json = {
        "id": task.public_id,
        "object": "video",
        "model": facts.model,
        "status": "transcoding" if look.unknown else OBJECT_WORDS[look.phase],
        "progress": look.percent,
        "created_at": int(task.created_at),
        "completed_at": int(task.finished_at) if ended_well else None,
        "expires_at": int(look.expires_at) if ended_well else None,
        "size": facts.size,
        "seconds": facts.seconds,
        "prompt": facts.prompt,
        "remixed_from_video_id": facts.remixed_from,
        "error": _error(task) if look.phase == "failed" else None,
    }
    has_link = ended_well and not look.empty and task.scenario.envelope != "openai"
    return told | ({"video_url": look.link("0.mp4")} if has_link else {})


def _error(task: Task) -> Json:
    code = MODERATION_CODE if task.scenario.outcome == "moderation" else "video_generation_failed"
    return {"code": code, "message": failure_text(task)}


def _generation(look: Look, index: int) -> Json:
    url = look.link(f"{index}.mp4")
    return {
        "id": f"gen_{look.task.id}_{index}",
        "task_id": look.task.public_id,
        "url": url,
        "encodings": {"source": {"path": url}, "thumbnail": {"path": look.link(f"{index}-thumb.png")}},
        "can_download": True,
    }


def _web_task(look: Look) -> Json:
    task, body = look.task, look.task.facts
    gave_up = task.scenario.outcome == "gave_up" and look.phase == "failed"
    phase: Phase = "processing" if gave_up else look.phase
    ended_well = phase == "succeeded" and not (look.unknown or look.empty)
    return {
        "id": task.id,
        "status": "reviewing" if look.unknown else WEB_WORDS[phase],
        "prompt": body.prompt,
        "actions": {"0": {"prompt": body.prompt}},
        "n_frames": body.n_frames,
        "width": body.width,
        "height": body.height,
        "created_at": int(task.created_at),
        "estimated_queue_wait_time": None,
        "progress_pct": look.percent / 100,
        "failure_reason": failure_text(task) if phase == "failed" else None,
        "generations": [_generation(look, index) for index in range(body.n_variants)] if ended_well else [],
    }


def relayed(look: Look) -> Json:
    """Tell of a task of the reverse route as the query does inside its envelope, and as the callback does."""
    task = look.task
    return {
        "task_id": task.public_id,
        "notify_hook": task.facts.notify_hook,
        "action": "sora-video",
        "status": "REVIEWING" if look.unknown else QUEUED_WORDS[look.phase],
        "fail_reason": failure_text(task) if look.phase == "failed" else "",
        "submit_time": int(task.created_at),
        "start_time": 0 if look.phase == "submitted" else int(task.processing_at),
        "finish_time": int(task.finished_at) if look.phase in ("succeeded", "failed") else 0,
        "progress": f"{look.percent}%",
        "data": _web_task(look),
    }


def _enveloped(data: Any) -> web.Response:
    return json_answer({"code": "success", "message": "", "data": data})


class Sora(Family):
    """The reverse route."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        path = "/sora/v1/videos"
        return (
            Operation(name="create_video", path=path, answer=self._create, body=CreateVideo, usual_s=120.0),
            Operation(name="query_video_task", path=f"{path}/{{task_id}}", answer=self._query, method="GET"),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse in the relay's flat form."""
        refusal = {"code": "invalid_request", "message": message, "data": None}
        return json_answer(refusal, HTTPStatus.BAD_REQUEST)

    async def _create(self, call: Call) -> web.Response:
        body: CreateVideo = call.body
        task = await call.create(
            callback_url=body.notify_hook, render=relayed, facts=body, make_id=lambda number: f"task_{number}"
        )
        return _enveloped(task.public_id)

    async def _query(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.match_info["task_id"])
        if not isinstance(task.facts, CreateVideo):
            raise Refused(self.unknown_task())
        return _enveloped(relayed(self.look(task)))
