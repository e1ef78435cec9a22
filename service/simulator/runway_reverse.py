"""Runway's reverse format: every task has a callback URL, refusals come inside HTTP 200, numbers are texts.

One query route takes the task's id in a body. What relays put around a task is written as in the official format.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Family, Json, Look, Operation
from service.simulator.journal import Received
from service.simulator.runway import Facts, failure_text, inside, outputs, relayed, task_id
from service.simulator.tasks import Phase

PATH = "/runway/pro"
DONE = 200
REFUSED = 400
STATUS: dict[Phase, str] = {"submitted": "0", "processing": "1", "failed": "2", "succeeded": "3"}
STATE: dict[Phase, str] = {"submitted": "", "processing": "running", "failed": "error", "succeeded": "succeeded"}

Url = Annotated[str, Meta(pattern=r"^https?://\S+$")]
Prompt = Annotated[str, Meta(min_length=1)]
Seconds = Literal[5, 10]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Shape = Annotated[str, Meta(pattern=r"^(16:9|9:16|1:1|4:3|3:4|21:9|\d{3,4}:\d{3,4})$")]
OptionalUrl = Annotated[str, Meta(pattern=r"^(https?://\S+)?$")]


class MotionVector(msgspec.Struct, frozen=True):
    """How the camera moves."""

    x: float = 0
    y: float = 0
    z: float = 0
    r: float = 0
    bg_x_pan: float = 0
    bg_y_pan: float = 0


class TextOptions(msgspec.Struct, frozen=True):
    """Options of a text, both wanted."""

    seconds: Seconds
    motion_vector: MotionVector


class TextToVideo(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a generation from words."""

    callback_url: OptionalUrl = ""
    prompt: Prompt
    ratio: Shape
    style: str
    model: str
    options: TextOptions


class PictureOptions(msgspec.Struct, frozen=True):
    """Options of a reference picture."""

    seconds: Seconds = 10
    motion_vector: MotionVector | None = None
    image_as_end_frame: bool = False
    flip: bool = False


class ImageToVideo(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a generation from a picture."""

    callback_url: OptionalUrl = ""
    image: Url
    prompt: Prompt
    model: str
    ratio: Shape
    style: str = ""
    options: PictureOptions | None = None
    last_image: OptionalUrl = ""


class RedrawOptions(msgspec.Struct, frozen=True):
    """Options of a redrawing."""

    seconds: Seconds
    structure_transformation: Fraction = 0.5
    flip: bool = False


class VideoToVideo(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a redrawing."""

    callback_url: OptionalUrl = ""
    video: Url
    model: str
    prompt: Prompt
    options: RedrawOptions


class ActOne(msgspec.Struct, frozen=True, kw_only=True):
    """Body of an expression moved to another face."""

    callback_url: OptionalUrl = ""
    video: Url
    image: Url


class Asked(msgspec.Struct, frozen=True):
    """Body of a query."""

    task_id: str


BODIES: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "reverse_text_to_video": ("generate", TextToVideo),
    "reverse_video_to_video": ("video2video", VideoToVideo),
    "reverse_act_one": ("act_one", ActOne),
}
FROM_PICTURE = "reverse_image_to_video"


def _accepted(data: Any) -> Json:
    return {"code": DONE, "msg": "成功", "data": data, "exec_time": 0.67}


def backend_task(look: Look, shown_id: str) -> Json:
    """Tell of a task as the backend does; its numbers are texts."""
    task, ended_well = look.task, look.phase == "succeeded" and not look.unknown and not look.empty
    video = outputs(look)[0] if ended_well else ""
    return {
        "task_id": shown_id,
        "state": "reviewing" if look.unknown else STATE[look.phase],
        "status": "9" if look.unknown else STATUS[look.phase],
        "prompt": task.facts.prompt,
        "prompt_en": task.facts.prompt,
        "video_url": video,
        "poster": look.link("poster.png") if ended_well else "",
        "last_frame": look.link("last.png") if ended_well else "",
        "msg": failure_text(task) if look.phase == "failed" else None,
        "point": "320",
        "refund": "1" if look.phase == "failed" else "0",
        "create_time": str(int(task.created_at)),
        "update_time": str(int(task.entered_at(look.phase))),
    }


def callback_body(look: Look) -> Json:
    """Make a callback: the backend's task without anything around it."""
    told = backend_task(look, look.task.id)
    return {key: value for key, value in told.items() if key != "state"}


def _flat(look: Look) -> Json:
    told: Json = relayed(look, {}, "generate")["data"]
    del told["data"]
    links = outputs(look) if look.phase == "succeeded" and not look.unknown else []
    return told | ({"result_url": links[0]} if links else {})


class RunwayReverse(Family):
    """The reverse format."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations; words and a reference picture come over one path."""
        return (
            *(
                Operation(name=name, path=f"{PATH}/{end}", answer=self._submit, body=body, usual_s=120.0)
                for name, (end, body) in BODIES.items()
            ),
            Operation(name="reverse_get_task", path="/runway/feed", answer=self._feed, body=Asked, asks=True),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse inside HTTP 200."""
        return self.refused(REFUSED, message)

    def refused(self, code: int, message: str = "") -> web.Response:
        """Refuse inside HTTP 200 with a code and its reason."""
        return json_answer({"code": code, "msg": message or f"refused with {code}", "data": None, "exec_time": 0.02})

    def busy(self) -> web.Response:
        """Refuse for want of a free slot."""
        return self.refused(REFUSED, "concurrency limit reached")

    def _typed(self, operation: Operation, sent: Json, received: Received, *, strict: bool) -> Any:
        if operation.name == "reverse_text_to_video" and "image" in sent:
            received.operation = FROM_PICTURE
            operation = msgspec.structs.replace(operation, body=ImageToVideo)
        return super()._typed(operation, sent, received, strict=strict)

    async def _submit(self, call: Call) -> web.Response:
        body = call.body
        if not body.callback_url:
            refusal = {"code": "callback_url_empty", "message": "callback_url_empty", "data": None}
            raise Refused(json_answer(refusal, HTTPStatus.BAD_REQUEST))
        named = msgspec.structs.replace(call.operation, name=call.received.operation)
        task = await msgspec.structs.replace(call, operation=named).create(
            callback_url=body.callback_url,
            render=callback_body,
            facts=Facts(prompt=getattr(body, "prompt", "")),
            make_id=task_id,
        )
        return json_answer(_accepted({"task_id": task.public_id}))

    async def _feed(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.body.task_id)
        if task.operation not in (*BODIES, FROM_PICTURE):
            raise Refused(self.unknown_task())
        look, envelope = self.look(task), task.scenario.envelope
        if envelope == "flat":
            return json_answer(_accepted(backend_task(look, task.public_id)))
        if envelope == "openai":
            return json_answer(_flat(look))
        return json_answer(relayed(look, backend_task(inside(look), task.id), "generate"))
