"""Veo: the alias route with its query, the chat answer that carries a link, and its face on the shared video route.

The shared routes themselves, `/v1/videos` and `/v1/chat/completions`, belong to `videos` and to the text family.
"""

from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import Refused, json_answer, platform_error
from service.simulator.family import Call, Family, Json, Look, Operation
from service.simulator.relay import QUEUED_WORDS
from service.simulator.tasks import Phase, Task
from service.simulator.uploads import Upload

MODERATION_TEXT = "The prompt was rejected for a policy violation."
FAILURE_TEXT = "No video was generated."
INNER_WORDS: dict[Phase, str] = {
    "submitted": "pending",
    "processing": "video_generating",
    "succeeded": "completed",
    "failed": "video_generation_failed",
}
OBJECT_WORDS: dict[Phase, str] = {
    "submitted": "queued",
    "processing": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
}
FRAMES = Upload(names=("input_reference",), least=0, most=2)
MAX_COMPONENTS = 3

Model = Annotated[str, Meta(pattern=r"^veo")]
Prompt = Annotated[str, Meta(min_length=1)]
Url = Annotated[str, Meta(pattern=r"^https?://\S+$")]
Orientation = Annotated[str, Meta(pattern=r"^\d+x\d+$")]


def _most_pictures(model: str) -> int:
    if model.endswith("-components"):
        return MAX_COMPONENTS
    if not model.endswith("-frames"):
        return 0
    return 1 if model == "veo3-pro-frames" else 2


class Generate(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the alias route."""

    model: Model
    prompt: Prompt
    enhance_prompt: bool = False
    enable_upsample: bool = False
    images: list[Url] = []
    aspect_ratio: Literal["16:9", "9:16"] = "16:9"
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        if len(self.images) > _most_pictures(self.model):
            raise ValueError(f"{self.model} takes {_most_pictures(self.model)} images")


class VideosCreate(msgspec.Struct, frozen=True, kw_only=True):
    """Form of the shared video route."""

    prompt: Prompt
    model: Model = "veo3-fast"
    size: Orientation = "16x9"


class Message(msgspec.Struct, frozen=True):
    """One message of a chat: words, or parts with words and pictures."""

    role: str
    content: str | list[Json]


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the chat route, as far as these models read it."""

    model: Model
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What of the request shows in the answers."""

    model: str
    prompt: str = ""
    size: str = "16x9"
    upsample: bool = False


def facts_of(body: VideosCreate) -> Facts:
    """Return what of a submission to the shared route is remembered."""
    return Facts(model=body.model, prompt=body.prompt, size=body.size)


def failure_text(task: Task) -> str:
    """Give the reason of a failed task."""
    usual = MODERATION_TEXT if task.scenario.outcome == "moderation" else FAILURE_TEXT
    return task.scenario.failure_text or usual


def _backend_task(look: Look) -> Json:
    task = look.task
    gave_up = task.scenario.outcome == "gave_up" and look.phase == "failed"
    phase: Phase = "processing" if gave_up else look.phase
    told: Json = {
        "id": task.public_id,
        "status": "video_reviewing" if look.unknown else INNER_WORDS[phase],
        "enhanced_prompt": task.facts.prompt,
        "status_update_time": int(task.entered_at(look.phase) * 1000),
    }
    if phase == "failed":
        told["error_message"] = failure_text(task)
    if phase == "succeeded" and not (look.unknown or look.empty):
        told["video_url"] = look.link("0.mp4")
        told |= {"upsample_video_url": look.link("0-upsampled.mp4")} if task.facts.upsample else {}
    return told


def _relayed(look: Look, inner: Json) -> Json:
    task = look.task
    return {
        "task_id": task.public_id,
        "action": "google-videos",
        "status": "REVIEWING" if look.unknown else QUEUED_WORDS[look.phase],
        "fail_reason": failure_text(task) if look.phase == "failed" else inner.get("video_url", ""),
        "submit_time": int(task.created_at),
        "start_time": 0 if look.phase == "submitted" else int(task.processing_at),
        "finish_time": int(task.finished_at) if look.phase in ("succeeded", "failed") else 0,
        "progress": f"{look.percent}%",
        "data": inner,
    }


def query_answer(look: Look) -> Json:
    """Tell of a task of the alias route: in the relay's wrapper, unwrapped, or in the unified form of siblings."""
    inner = _backend_task(look)
    if look.task.scenario.envelope == "openai":
        return inner
    if look.task.scenario.envelope == "double":
        output = {"output": inner["video_url"]} if "video_url" in inner else {}
        return _relayed(look, output) | {"platform": "google"}
    return {"code": "success", "message": "", "data": _relayed(look, inner)}


def video_object(look: Look) -> Json:
    """Tell of a task on the shared video route."""
    task = look.task
    told: Json = {
        "id": task.public_id,
        "task_id": task.public_id,
        "object": "video",
        "model": task.facts.model,
        "size": task.facts.size,
        "status": "reviewing" if look.unknown else OBJECT_WORDS[look.phase],
        "progress": look.percent,
        "created_at": int(task.created_at),
    }
    if look.phase == "failed":
        code = "content_policy_violation" if task.scenario.outcome == "moderation" else "generation_failed"
        return told | {"error": {"code": code, "message": failure_text(task)}}
    if look.phase == "succeeded" and not look.unknown:
        told["completed_at"] = int(task.finished_at)
        told |= {} if look.empty else {"video_url": look.link("0.mp4")}
    return told


def _refuse(status: int, code: str, message: str) -> web.Response:
    return json_answer({"code": code, "message": message, "data": None}, status)


class Veo(Family):
    """The alias route."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        path = "/veo/v1/video"
        return (
            Operation(name="generate", path=f"{path}/create", answer=self._generate, body=Generate, usual_s=120.0),
            Operation(name="query", path=f"{path}/query/{{task_id}}", answer=self._query, method="GET"),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse in the relay's flat form."""
        return _refuse(HTTPStatus.BAD_REQUEST, "invalid_request", message)

    async def _generate(self, call: Call) -> web.Response:
        body: Generate = call.body
        facts = Facts(model=body.model, prompt=body.prompt, upsample=body.enable_upsample)
        task = await call.create(facts=facts, make_id=lambda number: f"{body.model}:{number}")
        told = _backend_task(Look(task=task, phase="submitted", percent=0, unknown=False, empty=False, expires_at=0))
        return json_answer(told)

    async def _query(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.match_info["task_id"])
        if task.operation != "generate" or not isinstance(task.facts, Facts):
            raise Refused(self.unknown_task())
        return json_answer(query_answer(self.look(task)))


def _chat_text(call: Call, model: str) -> str:
    name = f"{model}:{call.stage.ids.next()}"
    head = (
        f"> Task `{name}`\n> [preview]({call.base_url}/web/{name}) | [raw]({call.base_url}/source/{name})\n\n"
        "Progress: 30%\nProgress: 100%\n\n"
    )
    if call.scenario.outcome == "moderation":
        return f"{head}{MODERATION_TEXT}"
    if call.scenario.outcome != "succeed" or call.scenario.empty:
        return head + (call.scenario.failure_text or FAILURE_TEXT)
    watch = call.link("0.mp4").partition("?")[0]
    download = f"{call.base_url}/cdn/download/{watch.rpartition('/')[2]}"
    return f"{head}[watch]({watch}) | [download]({download})\n"


def _chunks(text: str, envelope: Json) -> str:
    deltas = [{"content": line} for line in text.splitlines(keepends=True)]
    choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunks = [envelope | {"object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
    told = "".join(f"data: {msgspec.json.encode(chunk).decode()}\n\n" for chunk in chunks)
    return f"{told}data: [DONE]\n\n"


def chat_answer(call: Call) -> web.Response:
    """Answer the shared chat route for a model of this family: text whose link ends in `.mp4`, whole or streamed.

    Raises:
        Refused: The body is not one that these models take.
    """
    try:
        body = msgspec.convert(call.sent, Chat)
    except msgspec.ValidationError as error:
        number = call.stage.ids.next()
        raise Refused(platform_error(HTTPStatus.BAD_REQUEST, str(error), "invalid_request", number)) from error
    created_at, text = int(call.stage.clock.now()), _chat_text(call, body.model)
    envelope: Json = {"id": f"chatcmpl-{call.stage.ids.next()}", "created": created_at, "model": body.model}
    if body.stream:
        return web.Response(text=_chunks(text, envelope), content_type="text/event-stream")
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": len(text) // 4, "total_tokens": 12 + len(text) // 4}
    return json_answer(envelope | {"object": "chat.completion", "choices": [choice], "usage": usage})
