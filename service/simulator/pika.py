"""The Pika family under `/pika`, written from its reference page alone: the dm dialect and, beside it, the native one.

A task is asked for in the dialect in which it was made.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import NAMESPACE_OID, uuid5

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Family, Json, Look, Operation
from service.simulator.tasks import Phase, Task

DM, NATIVE, FEED = "/pika/pro/generate", "/pika/generate", "/pika/feed"
USUAL_S = 120.0
BAD_REQUEST = 400
FAILED = "generation failed"
MODERATED = "the prompt contains sensitive words"
DM_WORDS: dict[Phase, tuple[str, str]] = {
    "submitted": ("0", ""),
    "processing": ("1", "running"),
    "succeeded": ("3", "succeeded"),
    "failed": ("2", "error"),
}
NATIVE_WORDS: dict[Phase, str] = {
    "submitted": "queued",
    "processing": "pending",
    "succeeded": "finished",
    "failed": "error",
}

Text = Annotated[str, Meta(min_length=1)]
Link = Annotated[str, Meta(pattern=r"^https?://\S+$")]
Effect = Literal[
    "", "Inflate", "Melt", "Explode", "Squish", "Crush", "Cake-ify", "Ta-da", "Deflate", "Crumble", "Dissolve",
    "Levitate", "Decapitate", "Eye-pop",
]  # fmt: skip


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """How the camera moves."""

    pan: Literal["left", "right"] | UnsetType = UNSET
    tilt: Literal["up", "down"] | UnsetType = UNSET
    rotate: Literal["cw", "ccw"] | UnsetType = UNSET
    zoom: Literal["in", "out"] | UnsetType = UNSET


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Tuning of the model."""

    guidanceScale: Annotated[float, Meta(ge=5, le=25)] = 12  # noqa: N815
    motion: Annotated[int, Meta(ge=0, le=4)] = 1
    negativePrompt: str = ""  # noqa: N815
    seed: int | UnsetType = UNSET


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Tuning of the clip."""

    frameRate: Annotated[int, Meta(ge=8, le=24)] = 24  # noqa: N815
    camera: Camera = Camera()
    parameters: Parameters = Parameters()


class Generate(msgspec.Struct, kw_only=True):
    """The body of a create in the dm dialect; what it holds decides which of the three operations it is."""

    prompt: Text
    callback_url: Link
    ratio: str = "16:9"
    model: float = 1.5
    sfx: bool = False
    options: Options = Options()
    image: Link = ""
    video: Link = ""
    style: Effect = ""


class NativeOptions(Options, frozen=True, kw_only=True):
    """Tuning of the clip in the native dialect."""

    aspectRatio: Annotated[float, Meta(ge=0.4, le=2.5)] | UnsetType = UNSET  # noqa: N815
    extend: bool = False


class NativeGenerate(msgspec.Struct, kw_only=True):
    """The body of a create in the native dialect."""

    promptText: Text  # noqa: N815
    model: Literal["1.5", "2.0"] = "1.5"
    pikaffect: Effect = ""
    image: Text | UnsetType = UNSET
    options: NativeOptions = NativeOptions()


class Asked(msgspec.Struct):
    """The body of a question for a task."""

    task_id: Text


def _operation_of(body: Generate) -> str:
    return "video_to_video" if body.video else "image_to_video" if body.image else "text_to_video"


def _has_result(look: Look) -> bool:
    return look.phase == "succeeded" and not look.unknown and not look.empty


def _failure_text(look: Look) -> str:
    scenario = look.task.scenario
    return scenario.failure_text or (MODERATED if scenario.outcome == "moderation" else FAILED)


def _time(epoch_s: float) -> str:
    return str(int(epoch_s))


def dm_object(look: Look, task_id: str) -> Json:
    """Make the inner object of the dm dialect, which is also the callback."""
    status, state = ("9", "reviewing") if look.unknown else DM_WORDS[look.phase]
    done, failed = _has_result(look), look.phase == "failed"
    return {
        "task_id": task_id,
        "state": state,
        "status": status,
        "prompt": look.task.facts,
        "video_url": look.link("0.mp4") if done else "",
        "poster": look.link("0.png") if done else "",
        "msg": _failure_text(look) if failed else None,
        "point": "20",
        "refund": "20" if failed else "0",
        "create_time": _time(look.task.created_at),
        "update_time": _time(look.task.entered_at(look.phase)),
    }


def native_object(look: Look) -> Json:
    """Make the answer to a question in the native dialect; there is no clip before the task is begun."""
    done = _has_result(look)
    clip = {
        "id": f"{look.task.public_id}-0",
        "status": "reviewing" if look.unknown else NATIVE_WORDS[look.phase],
        "seed": 1,
        "resultUrl": look.link("0.mp4") if done else "",
        "sharingUrl": look.link("0-shared.mp4") if done else "",
        "videoPoster": look.link("0.png") if done else "",
        "duration": 3,
        "error": _failure_text(look) if look.phase == "failed" else "",
        "progress": look.percent,
    }
    clips = [] if look.phase == "submitted" else [clip]
    return {"id": look.task.public_id, "promptText": look.task.facts, "videos": clips}


class Pika(Family):
    """Creating clips and asking for them, in both dialects."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations; the first three share their route."""
        return (
            Operation(name="text_to_video", path=DM, answer=self._generate, body=Generate, usual_s=USUAL_S),
            Operation(name="feed", path=FEED, answer=self._feed, body=Asked, asks=True),
            Operation(name="feed", path=FEED, answer=self._feed, body=Asked, method="GET"),
            Operation(
                name="text_to_video", path=NATIVE, answer=self._generate_native, body=NativeGenerate, usual_s=USUAL_S
            ),
            Operation(name="feed", path=f"{FEED}/{{task_id}}", answer=self._feed_native, method="GET"),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse a body inside HTTP 200."""
        return self._told(None, BAD_REQUEST, message)

    def refused(self, code: int) -> web.Response:
        """Refuse inside HTTP 200."""
        return self._told(None, BAD_REQUEST, f"refused with {code}")

    def busy(self) -> web.Response:
        """Refuse as too fast, inside HTTP 200."""
        return self._told(None, BAD_REQUEST, "too many requests")

    def unknown_task(self) -> web.Response:
        """Say that there is no such task, inside HTTP 200."""
        return self._told(None, BAD_REQUEST, "task not found")

    def _told(self, data: Any, code: int = HTTPStatus.OK, message: str = "成功") -> web.Response:
        return json_answer({"code": code, "msg": message, "data": data, "exec_time": 0.01})

    async def _generate(self, call: Call) -> web.Response:
        name = _operation_of(call.body)
        call.received.operation = name
        named = msgspec.structs.replace(call, operation=msgspec.structs.replace(call.operation, name=name))
        task = await named.create(
            callback_url=call.body.callback_url,
            render=lambda look: dm_object(look, look.task.id),
            facts=call.body.prompt,
            make_id=_uuid,
        )
        return self._told({"task_id": task.public_id})

    async def _generate_native(self, call: Call) -> web.Response:
        name = "image_to_video" if call.body.image else "text_to_video"
        call.received.operation = name
        named = msgspec.structs.replace(call, operation=msgspec.structs.replace(call.operation, name=name))
        task = await named.create(facts=call.body.promptText, make_id=_uuid)
        return json_answer({"id": task.public_id})

    async def _feed(self, call: Call) -> web.Response:
        task = await self._made(call, call.body.task_id, DM)
        return self._told(dm_object(self.look(task), task.public_id))

    async def _feed_native(self, call: Call) -> web.Response:
        task = await self._made(call, call.request.match_info["task_id"], NATIVE)
        return json_answer(native_object(self.look(task)))

    async def _made(self, call: Call, task_id: str, path: str) -> Task:
        task = await self.find_or_hang(call, task_id)
        if task.path != path:
            raise Refused(self.unknown_task())
        return task


def _uuid(number: str) -> str:
    return str(uuid5(NAMESPACE_OID, number))
