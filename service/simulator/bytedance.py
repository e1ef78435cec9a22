"""Seedance in the provider's own create-then-query format, with callbacks, and its face on the shared video route.

The rules of a body stand in `bytedance_bodies`. The shared routes belong to `videos` and to the pictures' family;
`image_answer` is what the seed models say on the latter.
"""

import base64
from http import HTTPStatus

import msgspec
from aiohttp import web

from service.simulator.aggregator import Refused, json_answer
from service.simulator.bytedance_bodies import ImageEdit, ImageGeneration, Seedance, Video
from service.simulator.family import Call, Family, FilePart, Json, Look, Operation, sample
from service.simulator.tasks import Phase, Task
from service.simulator.uploads import Upload, taken

PATH = "/volc/v3/contents/generations/tasks"
FAILURE_CODE, FAILURE_TEXT = "InternalServiceError", "The service encountered an unexpected internal error."
BLOCKED_VIDEO = "OutputVideoSensitiveContentDetected"
BLOCKED_IMAGE = "OutputImageSensitiveContentDetected"
MODERATION_TEXT = "The request failed because the output may contain sensitive information."
TOKENS_OF_VIDEO, TOKENS_OF_IMAGE = 108_900, 16_384
REFERENCE = Upload(names=("input_reference",), least=0)
SOURCE = Upload(names=("image",), content_types=("image/png", "image/jpeg"))
WORDS: dict[Phase, str] = {
    "submitted": "queued",
    "processing": "running",
    "succeeded": "succeeded",
    "failed": "failed",
}
OBJECT_WORDS: dict[Phase, str] = {
    "submitted": "SUBMITTED",
    "processing": "IN_PROGRESS",
    "succeeded": "SUCCESS",
    "failed": "FAILED",
}
OUTER_WORDS: dict[Phase, str] = OBJECT_WORDS | {"failed": "FAILURE"}


def _failure(task: Task, blocked: str) -> Json:
    moderated = task.scenario.outcome == "moderation"
    usual = MODERATION_TEXT if moderated else FAILURE_TEXT
    return {"code": blocked if moderated else FAILURE_CODE, "message": task.scenario.failure_text or usual}


def provider_error(status: int, code: str, message: str) -> web.Response:
    """Make a refusal as the provider words it."""
    return json_answer({"error": {"code": code, "message": message, "param": "", "type": "BadRequest"}}, status)


def _content(look: Look) -> Json | None:
    if look.phase != "succeeded" or look.unknown:
        return None
    if look.empty:
        return {}
    last = {"last_frame_url": look.link("last.png")} if look.task.facts.return_last_frame else {}
    return {"video_url": look.link("0.mp4")} | last


def task_object(look: Look, shown_id: str) -> Json:
    """Tell of a task as queries and callbacks do."""
    task, body = look.task, look.task.facts
    length = {"duration": body.duration} if body.frames is None else {"frames": body.frames}
    usage = {"completion_tokens": TOKENS_OF_VIDEO, "total_tokens": TOKENS_OF_VIDEO}
    return {
        "id": shown_id,
        "model": body.model,
        "status": "reviewing" if look.unknown else WORDS[look.phase],
        "content": _content(look),
        "error": _failure(task, BLOCKED_VIDEO) if look.phase == "failed" else None,
        "created_at": int(task.created_at),
        "updated_at": int(task.entered_at(look.phase)),
        "seed": body.seed,
        "resolution": body.resolution,
        "ratio": body.ratio,
        **length,
        "framespersecond": 24,
        "service_tier": body.service_tier,
        "execution_expires_after": body.execution_expires_after,
        **({"usage": usage} if look.phase == "succeeded" else {}),
    }


def query_answer(look: Look) -> Json:
    """Tell of a task in the envelope of its scenario."""
    task, told = look.task, task_object(look, look.task.public_id)
    if task.scenario.envelope == "wrapped":
        return {"success": True, "message": "ok", "data": told}
    if task.scenario.envelope != "double":
        return told
    outer = {
        "task_id": task.public_id,
        "status": "REVIEWING" if look.unknown else OUTER_WORDS[look.phase],
        "progress": f"{look.percent}%",
        "fail_reason": "task failed" if look.phase == "failed" else "",
        "data": told,
    }
    return {"code": "success", "message": "", "data": outer}


def callback_body(look: Look) -> Json:
    """Make a callback: the query's body, under the provider's own id."""
    return task_object(look, look.task.id)


def video_object(look: Look) -> Json:
    """Tell of a task on the shared video route."""
    task, ended_well = look.task, look.phase == "succeeded" and not look.unknown
    told: Json = {
        "id": task.public_id,
        "task_id": task.public_id,
        "model": task.facts.model,
        "object": "video",
        "status": "REVIEWING" if look.unknown else OBJECT_WORDS[look.phase],
        "progress": look.percent,
        "created_at": int(task.created_at),
        "completed_at": int(task.finished_at) if ended_well else None,
    }
    if look.phase == "failed":
        return told | {"error": _failure(task, BLOCKED_VIDEO)}
    return told | ({"video_url": look.link("0.mp4")} if ended_well and not look.empty else {})


def fault_in_video(body: Seedance, pictures: list[FilePart]) -> str:
    """Say what is wrong with the length or the picture of a submission to the shared video route."""
    least, most = body.span_s
    if not least <= body.seconds <= most:
        return f"duration must be between {least} and {most} for {body.model}"
    if pictures and not body.is_second_generation:
        return f"the specified task_type r2v does not support model {body.model}"
    return ""


class Bytedance(Family):
    """The provider's own route."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (
            Operation(name="video", path=PATH, answer=self._create, body=Video, usual_s=90.0),
            Operation(name="video_get", path=f"{PATH}/{{task_id}}", answer=self._query, method="GET"),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse as the provider does."""
        return provider_error(HTTPStatus.BAD_REQUEST, "InvalidParameter", message)

    def busy(self) -> web.Response:
        """Refuse as the provider does when there is too much to do."""
        message = "The requests per minute limit of the model was exceeded."
        return provider_error(HTTPStatus.TOO_MANY_REQUESTS, "ModelAccountRpmRateLimitExceeded", message)

    def unknown_task(self) -> web.Response:
        """Answer as the provider does about ids that it never gave or has forgotten."""
        return json_answer({"error": {"message": "Task not found"}}, HTTPStatus.NOT_FOUND)

    async def _create(self, call: Call) -> web.Response:
        body: Video = call.body
        task = await call.create(
            callback_url=body.callback_url,
            render=callback_body,
            facts=body,
            make_id=lambda number: f"cgt-{number}",
        )
        return json_answer({"id": task.public_id})

    async def _query(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.match_info["task_id"])
        if not isinstance(task.facts, Video):
            raise Refused(self.unknown_task())
        return json_answer(query_answer(self.look(task)))


def _picture(call: Call, body: ImageGeneration | ImageEdit) -> Json:
    if body.response_format == "b64_json":
        return {"b64_json": base64.b64encode(sample("png")).decode()}
    return {"url": call.link("0.png")}


def _pictures(call: Call, body: ImageGeneration | ImageEdit) -> list[Json]:
    count = 1 if isinstance(body, ImageEdit) else body.pictures
    good = [_picture(call, body) for _ in range(0 if call.scenario.empty else count)]
    error = {"error": {"code": BLOCKED_IMAGE, "message": MODERATION_TEXT}}
    if call.scenario.outcome == "moderation":
        return [*good[1:], error]
    return good


def image_answer(call: Call, *, edit: bool) -> web.Response:
    """Answer the shared picture routes for the seed models; a moderated set loses one picture to an error item.

    Args:
        call: The request; a form for an edit, JSON otherwise. Its `body` is not looked at.
        edit: It came over the route for edits.

    Raises:
        Refused: The body is not one that these models take, or the scenario wants it refused.
    """
    form: type[ImageEdit | ImageGeneration] = ImageEdit if edit else ImageGeneration
    try:
        body: ImageEdit | ImageGeneration = msgspec.convert(call.sent, form, strict=not edit)
    except msgspec.ValidationError as error:
        raise Refused(_invalid(str(error))) from error
    if edit:
        taken(call, SOURCE, _invalid)
    if call.scenario.outcome not in ("succeed", "moderation"):
        text = call.scenario.failure_text or FAILURE_TEXT
        raise Refused(provider_error(HTTPStatus.INTERNAL_SERVER_ERROR, FAILURE_CODE, text))
    items = _pictures(call, body)
    count = sum("error" not in item for item in items)
    tokens = TOKENS_OF_IMAGE * count
    usage = {"generated_images": count, "output_tokens": tokens, "total_tokens": tokens}
    created_at = int(call.stage.clock.now())
    return json_answer({"model": body.model, "created": created_at, "data": items, "usage": usage})


def _invalid(message: str) -> web.Response:
    return provider_error(HTTPStatus.BAD_REQUEST, "InvalidParameter", message)
