"""Runway's official format: typed bodies, a version header, one query route, no callbacks.

The other surface of the same name, with its own ways of answering, stands in `runway_reverse`; a task is asked for
on the surface on which it was made.
"""

import re
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Family, Json, Look, Operation
from service.simulator.tasks import Phase, Task

VERSION_HEADER = "X-Runway-Version"
MAX_REFERENCE_PICTURES = 3
MODERATION_TEXT = "The input did not pass the content checks."
FAILURE_TEXT = "An unexpected error occurred while generating."
UNKNOWN_WORD = "REVIEWING"
WORDS: dict[Phase, str] = {
    "submitted": "PENDING",
    "processing": "RUNNING",
    "succeeded": "SUCCEEDED",
    "failed": "FAILED",
}
RELAY_WORDS: dict[Phase, str] = {
    "submitted": "QUEUED",
    "processing": "IN_PROGRESS",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
}

Prompt = Annotated[str, Meta(min_length=1, max_length=1000)]
OptionalPrompt = Annotated[str, Meta(max_length=1000)]
URI_PATTERN = r"^(https?://\S+|data:\S+)$"

Uri = Annotated[str, Meta(pattern=URI_PATTERN)]
Seed = Annotated[int, Meta(ge=0, le=4294967295)]
Tag = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{2,15}$")]
Seconds = Annotated[int, Meta(ge=2, le=10)]
Intensity = Annotated[int, Meta(ge=1, le=5)]
PortraitRatio = Literal["1280:720", "720:1280", "960:960", "1104:832", "832:1104", "1584:672"]
ClipRatio = PortraitRatio | Literal["1280:768", "768:1280", "16:9", "9:16"]
EditRatio = PortraitRatio | Literal["848:480", "640:480"]
_PICTURE_SIZES = (
    "1024:1024|1080:1080|1168:880|1360:768|1440:1080|1080:1440|1808:768|1920:1080|1080:1920|2112:912"
    "|1280:720|720:1280|720:720|960:720|720:960|1680:720"
)
PictureRatio = Annotated[str, Meta(pattern=f"^({_PICTURE_SIZES})$")]


class ContentModeration(msgspec.Struct, frozen=True, rename="camel"):
    """How strict the provider is about known faces."""

    public_figure_threshold: Literal["auto", "low"] = "auto"


class Frame(msgspec.Struct, frozen=True):
    """A picture at one end of the clip."""

    uri: Uri
    position: Literal["first", "last"] = "first"


class Asset(msgspec.Struct, frozen=True):
    """A character, a driving performance, a reference."""

    type: Literal["image", "video"]
    uri: Uri


class Reference(msgspec.Struct, frozen=True):
    """A picture that a prompt may call by its tag."""

    uri: Uri
    tag: Tag | None = None


class ImageToVideo(msgspec.Struct, frozen=True, rename="camel"):
    """Body of `image_to_video`."""

    # a pattern beside a list in one union makes msgspec 0.22 free its memory twice
    prompt_image: str | list[Frame]
    model: str
    prompt_text: OptionalPrompt = ""
    seed: Seed | None = None
    watermark: bool = False
    duration: Seconds = 5
    ratio: ClipRatio = "1280:768"
    content_moderation: ContentModeration | None = None

    def __post_init__(self) -> None:
        if isinstance(self.prompt_image, str) and not re.match(URI_PATTERN, self.prompt_image):
            raise ValueError("promptImage must be a URL or a data URI")
        if self.model == "gen3a_turbo" and self.duration not in (5, 10):
            raise ValueError("gen3a_turbo makes clips of 5 or 10 seconds")


class VideoToVideo(msgspec.Struct, frozen=True, rename="camel"):
    """Body of `video_to_video`."""

    video_uri: Uri
    prompt_text: Prompt
    model: str
    ratio: EditRatio
    seed: Seed | None = None
    references: list[Asset] = []
    content_moderation: ContentModeration | None = None


class TextToImage(msgspec.Struct, frozen=True, rename="camel"):
    """Body of `text_to_image`; that it names pictures is asked for in the relay's own way."""

    prompt_text: Prompt
    model: str
    ratio: PictureRatio
    reference_images: Annotated[list[Reference], Meta(max_length=MAX_REFERENCE_PICTURES)] = []
    seed: Seed | None = None
    content_moderation: ContentModeration | None = None


class VideoUpscale(msgspec.Struct, frozen=True, rename="camel"):
    """Body of `video_upscale`."""

    video_uri: Uri
    model: Literal["upscale_v1"]


class CharacterPerformance(msgspec.Struct, frozen=True, rename="camel"):
    """Body of `character_performance`."""

    character: Asset
    reference: Asset
    model: Literal["act_two"]
    ratio: PortraitRatio = "1280:720"
    body_control: bool = False
    expression_intensity: Intensity = 3
    seed: Seed | None = None
    content_moderation: ContentModeration | None = None

    def __post_init__(self) -> None:
        if self.reference.type != "video":
            raise ValueError("reference must be a video")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What of the request shows in the answers."""

    prompt: str = ""
    suffix: str = "mp4"


BODIES: dict[str, type[msgspec.Struct]] = {
    "image_to_video": ImageToVideo,
    "video_to_video": VideoToVideo,
    "text_to_image": TextToImage,
    "video_upscale": VideoUpscale,
    "character_performance": CharacterPerformance,
}


def task_id(number: str) -> str:
    """Write a task id, a UUID, from a number of 18 digits."""
    return str(uuid.UUID(int=int(number), version=4))


def failure_text(task: Task) -> str:
    """Give the reason of a failed task."""
    usual = MODERATION_TEXT if task.scenario.outcome == "moderation" else FAILURE_TEXT
    return task.scenario.failure_text or usual


def outputs(look: Look) -> list[str]:
    """List the links of a task that ended well."""
    return [] if look.empty else [look.link(f"0.{look.task.facts.suffix}")]


def bare(look: Look) -> Json:
    """Tell of a task as the provider does: only the fields that fit its status."""
    task, phase = look.task, "processing" if look.unknown else look.phase
    created_at = datetime.fromtimestamp(task.created_at, UTC).isoformat(timespec="milliseconds")
    told: Json = {
        "id": task.public_id,
        "status": UNKNOWN_WORD if look.unknown else WORDS[look.phase],
        "createdAt": created_at.replace("+00:00", "Z"),
    }
    if phase == "processing":
        told["progress"] = look.percent / 100
    if phase == "succeeded":
        told["output"] = outputs(look)
    if phase == "failed":
        moderated = task.scenario.outcome == "moderation"
        told["failure"] = failure_text(task)
        told["failureCode"] = "SAFETY.INPUT.TEXT" if moderated else "INTERNAL.BAD_OUTPUT.CODE01"
    return told


def relayed(look: Look, inner: Json, action: str) -> Json:
    """Wrap a task as relays do; their oldest habit is the link in `fail_reason` of a success."""
    task, links = look.task, outputs(look) if look.phase == "succeeded" and not look.unknown else []
    reason = failure_text(task) if look.phase == "failed" else ""
    told: Json = {
        "task_id": task.public_id,
        "action": action,
        "status": "REVIEWING" if look.unknown else RELAY_WORDS[look.phase],
        "fail_reason": reason or ("".join(links) if task.scenario.envelope == "double" else ""),
        "submit_time": int(task.created_at),
        "start_time": 0 if look.phase == "submitted" else int(task.processing_at),
        "finish_time": int(task.finished_at) if look.phase in ("succeeded", "failed") else 0,
        "progress": f"{look.percent}%",
        "data": inner,
    }
    return {"code": "success", "message": "", "data": told}


def inside(look: Look) -> Look:
    """Look at what a relay wraps: it may have given up on a task that goes on."""
    gave_up = look.task.scenario.outcome == "gave_up" and look.phase == "failed"
    return msgspec.structs.replace(look, phase="processing") if gave_up else look


class Runway(Family):
    """The official format."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (
            *(
                Operation(name=name, path=f"/runwayml/v1/{name}", answer=self._submit, body=body, usual_s=60.0)
                for name, body in BODIES.items()
            ),
            Operation(name="get_task", path="/runwayml/v1/tasks/{task_id}", answer=self._query, method="GET"),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse as the provider does, the reason under `error`."""
        return json_answer({"error": message}, HTTPStatus.BAD_REQUEST)

    def busy(self) -> web.Response:
        """Refuse for want of a free slot."""
        return json_answer({"error": "You have reached your concurrency limit"}, HTTPStatus.TOO_MANY_REQUESTS)

    async def _submit(self, call: Call) -> web.Response:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", call.request.headers.get(VERSION_HEADER, "")):
            raise Refused(self.invalid(f"{VERSION_HEADER} header is required"))
        if call.operation.name == "text_to_image" and not call.body.reference_images:
            refusal = {"code": "reference_images_empty", "message": "reference_images_empty", "data": None}
            raise Refused(json_answer(refusal, HTTPStatus.BAD_REQUEST))
        suffix = "png" if call.operation.name == "text_to_image" else "mp4"
        task = await call.create(facts=Facts(suffix=suffix), make_id=task_id)
        return json_answer({"id": task.public_id})

    async def _query(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.match_info["task_id"])
        if task.operation not in BODIES:
            raise Refused(self.unknown_task())
        look = self.look(task)
        if task.scenario.envelope in ("flat", "openai"):
            return json_answer(bare(look))
        return json_answer(relayed(look, bare(inside(look)), task.operation.upper()))
