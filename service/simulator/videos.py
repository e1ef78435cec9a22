"""The video route that three families share, in the shape of OpenAI's; a model's name decides how it answers.

What a video of a family may be asked with and how it is told of stands in that family's module.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator import bytedance, sora, veo
from service.simulator.aggregator import Refused, json_answer, platform_error
from service.simulator.bytedance_bodies import Seedance
from service.simulator.family import Call, Encoding, Family, FilePart, Json, Look, Operation, sample
from service.simulator.journal import Received
from service.simulator.tasks import Task
from service.simulator.uploads import Upload, refuse_strangers, taken

PATH = "/v1/videos"
NOT_READY = "Video is not ready yet, ask for its status first"
STILLS = ("thumbnail", "spritesheet")
USUAL_S = 120.0


class Remix(msgspec.Struct, frozen=True):
    """Body of a remix."""

    prompt: Annotated[str, Meta(min_length=1)]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How one family uses the route.

    Attributes:
        prefixes: What the names of its models begin with.
        creates: Id in the reference of creating.
        asks: Id in the reference of asking.
        picture: What it wants of the form's file parts.
        fault: Says what is wrong with a body and its pictures beyond their types; empty for nothing.
        facts: From a body to what is remembered of it.
        told: From a look to the answer of a query.
        code: Error code of a fault.
        id_prefix: What its task ids begin with.
        has_bytes: Its files can be had over the route for bytes.
    """

    prefixes: tuple[str, ...]
    creates: str
    asks: str
    body: type[msgspec.Struct]
    picture: Upload
    fault: Callable[[Any, list[FilePart]], str]
    facts: Callable[[Any], Any]
    told: Callable[[Look], Json]
    code: str = "invalid_request"
    id_prefix: str = "task_"
    has_bytes: bool = True


SORA = Shape(
    prefixes=("sora",),
    creates="create_video_openai",
    asks="retrieve_video",
    body=sora.VideosCreate,
    picture=sora.PICTURE,
    fault=sora.fault_in_picture,
    facts=sora.facts_of,
    told=sora.video_object,
    id_prefix="video_",
)
VEO = Shape(
    prefixes=("veo",),
    creates="videos_create",
    asks="videos_get",
    body=veo.VideosCreate,
    picture=veo.FRAMES,
    fault=lambda _body, _pictures: "",
    facts=veo.facts_of,
    told=veo.video_object,
)
SEEDANCE = Shape(
    prefixes=("doubao", "seedance", "bytedance"),
    creates="seedance_video",
    asks="seedance_video_get",
    body=Seedance,
    picture=bytedance.REFERENCE,
    fault=bytedance.fault_in_video,
    facts=lambda body: body,
    told=bytedance.video_object,
    code="InvalidParameter",
    has_bytes=False,
)
SHAPES = (SORA, VEO, SEEDANCE)
REMIX = "remix_video"
_BY_OPERATION = {shape.creates: shape for shape in SHAPES} | {REMIX: SORA}


class Videos(Family):
    """The shared video route, with remix and bytes."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations; body and name of the first follow from the model."""
        one = f"{PATH}/{{task_id}}"
        encoding: tuple[Encoding, ...] = ("form", "json")
        return (
            Operation(name=SORA.creates, path=PATH, answer=self._create, encoding=encoding, usual_s=USUAL_S),
            Operation(name=SORA.asks, path=one, answer=self._query, method="GET"),
            Operation(name="retrieve_content", path=f"{one}/content", answer=self._content, method="GET"),
            Operation(name=REMIX, path=f"{one}/remix", answer=self._remix, body=Remix, usual_s=USUAL_S),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse as OpenAI does."""
        return _error(message, "invalid_request")

    def _typed(self, operation: Operation, sent: Json, received: Received, *, strict: bool) -> Any:
        if operation.name == SORA.creates:
            shape = self._shape_for(sent.get("model", SORA.prefixes[0]))
            received.operation = shape.creates
            operation = msgspec.structs.replace(operation, body=shape.body)
        return super()._typed(operation, sent, received, strict=strict)

    def _shape_for(self, model: Any) -> Shape:
        shape = next((each for each in SHAPES if str(model).lower().startswith(each.prefixes)), None)
        if shape is None:
            message = f"no available channel for group default and model {model} (distributor)"
            code, number = "model_not_found", self.stage.ids.next()
            raise Refused(platform_error(HTTPStatus.SERVICE_UNAVAILABLE, message, code, number))
        return shape

    async def _create(self, call: Call) -> web.Response:
        shape = _BY_OPERATION[call.received.operation]
        refuse_strangers(call, (shape.picture,), self.invalid)
        fault = shape.fault(call.body, taken(call, shape.picture, self.invalid))
        if fault:
            raise Refused(_error(fault, shape.code))
        return await self._created(call, shape, shape.facts(call.body), shape.creates)

    async def _created(self, call: Call, shape: Shape, facts: Any, name: str) -> web.Response:
        named = msgspec.structs.replace(call, operation=msgspec.structs.replace(call.operation, name=name))
        task = await named.create(facts=facts, make_id=lambda number: f"{shape.id_prefix}{number}")
        look = Look(task=task, phase="submitted", percent=0, unknown=False, empty=False, expires_at=0)
        return json_answer(shape.told(look))

    def _shape_of(self, task: Task | None) -> Shape:
        shape = None if task is None or not task.path.startswith(PATH) else _BY_OPERATION.get(task.operation)
        if shape is None:
            raise Refused(self.unknown_task())
        return shape

    async def _query(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.match_info["task_id"])
        return json_answer(self._shape_of(task).told(self.look(task)))

    async def _content(self, call: Call) -> web.Response:
        task_id, variant = call.request.match_info["task_id"], call.request.query.get("variant", "video")
        if self._is_any(task_id):
            return web.Response(body=sample("mp4"), content_type="video/mp4")
        task = self.find(call, task_id)
        if not self._shape_of(task).has_bytes or variant not in ("video", *STILLS):
            raise Refused(self.invalid(f"variant {variant} is not supported for this video"))
        if task.phase(self.stage.clock.now()) != "succeeded":
            raise Refused(self.invalid(NOT_READY))
        if variant in STILLS:
            return web.Response(body=sample("png"), content_type="image/png")
        return web.Response(body=sample("mp4"), content_type="video/mp4")

    def _is_any(self, task_id: str) -> bool:
        """Tell whether an id is nobody's, and ids of anybody are taken."""
        return not self.stage.options.strict_sessions and self.stage.tasks.by_id(task_id) is None

    async def _remix(self, call: Call) -> web.Response:
        source_id = call.request.match_info["task_id"]
        if self._is_any(source_id):
            facts = sora.facts_of(sora.VideosCreate(prompt=call.body.prompt))
            return await self._created(call, SORA, msgspec.structs.replace(facts, remixed_from=source_id), REMIX)
        source = self.stage.tasks.by_id(source_id)
        if source is None or self._shape_of(source) is not SORA:
            raise Refused(self.unknown_task())
        if source.phase(self.stage.clock.now()) != "succeeded":
            raise Refused(self.invalid("Video must be completed before it can be remixed"))
        changed = {"prompt": call.body.prompt, "remixed_from": source.public_id}
        return await self._created(call, SORA, msgspec.structs.replace(source.facts, **changed), REMIX)


def _error(message: str, code: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return json_answer({"error": error}, HTTPStatus.BAD_REQUEST)
