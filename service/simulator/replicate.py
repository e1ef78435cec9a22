"""The Replicate family: predictions of any model under `/replicate/v1`, written from its reference page alone.

Other families hand out predictions as well; `prediction` writes one for them. Routes that only Replicate itself
serves (cancel, files, training) are not part of the aggregator and not played.
"""

import base64
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import NAMESPACE_OID, uuid5

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Family, Json, Look, Operation, look_at
from service.simulator.relay import gave_up, relay_answer
from service.simulator.tasks import Phase, Task

PREDICTIONS = "/replicate/v1/predictions"
OWNER = "black-forest-labs"
SENSITIVE = "The input or output was flagged as sensitive. Please try again with different inputs. (E005) (sim)"
FAILED = "Prediction failed"
WORDS: dict[Phase, str] = {
    "submitted": "starting",
    "processing": "processing",
    "succeeded": "succeeded",
    "failed": "failed",
}
LISTS = ("flux-schnell", "flux-dev")

Text = Annotated[str, Meta(min_length=1)]
Link = Annotated[str, Meta(pattern=r"^(https?://\S+|data:\S+)$")]
Hook = Annotated[str, Meta(pattern=r"^https?://\S+$")]
Side = Annotated[int, Meta(ge=256, le=1440, multiple_of=32)]
Quality = Annotated[int, Meta(ge=0, le=100)]
Tolerance = Annotated[int, Meta(ge=1, le=6)]
Event = Literal["start", "output", "logs", "completed"]

Input = TypeVar("Input")


class Prompted(msgspec.Struct, kw_only=True):
    """What all Flux models take."""

    prompt: Text
    seed: int | None = None


class KontextInput(Prompted, kw_only=True):
    """Input of flux-kontext-pro and -max."""

    input_image: Link | None = None
    input_image_2: Link | None = None
    input_image_3: Link | None = None
    input_image_4: Link | None = None
    aspect_ratio: Literal[
        "match_input_image",
        "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "21:9", "9:21", "2:1", "1:2",
    ] = "match_input_image"  # fmt: skip
    output_format: Literal["jpg", "png"] = "png"
    safety_tolerance: Annotated[int, Meta(ge=0, le=6)] = 2
    prompt_upsampling: bool = False

    def __post_init__(self) -> None:
        if self.input_image and self.safety_tolerance > 2:  # noqa: PLR2004
            raise ValueError("safety_tolerance: at most 2 with an input image")


class ProInput(Prompted, kw_only=True):
    """Input of flux-1.1-pro."""

    image_prompt: Link | None = None
    aspect_ratio: Literal["custom", "1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3"] = "1:1"
    width: Side | None = None
    height: Side | None = None
    safety_tolerance: Tolerance = 2
    prompt_upsampling: bool = False
    output_format: Literal["webp", "jpg", "png"] = "webp"
    output_quality: Quality = 80

    def __post_init__(self) -> None:
        if self.aspect_ratio == "custom" and not (self.width and self.height):
            raise ValueError("width and height are required with aspect_ratio custom")


class UltraInput(Prompted, kw_only=True):
    """Input of flux-1.1-pro-ultra."""

    raw: bool = False
    aspect_ratio: Literal["21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16", "9:21"] = "1:1"
    image_prompt: Link | None = None
    image_prompt_strength: Annotated[float, Meta(ge=0, le=1)] = 0.1
    output_format: Literal["jpg", "png"] = "jpg"
    safety_tolerance: Tolerance = 2


class OpenInput(msgspec.Struct, kw_only=True):
    """Input of the open models, flux-schnell and flux-dev; whatever else is sent is passed on unlooked at."""

    prompt: Text
    num_outputs: Annotated[int, Meta(ge=1, le=4)] = 1


class Prediction(msgspec.Struct, Generic[Input], kw_only=True):
    """The body of a create; every model parameter is inside `input`."""

    input: Input
    webhook: Hook | UnsetType = UNSET
    webhook_events_filter: list[Event] | UnsetType = UNSET
    stream: bool | UnsetType = UNSET


class NamedPrediction(Prediction[Json], kw_only=True):
    """The body of the older create route, with the model inside."""

    model: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        if not (self.model or self.version):
            raise ValueError("model or version is required")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What of the request shows in a prediction; no count stands for an output that is one string."""

    model: str
    input: Json
    count: int | None


def prediction_id(number: str) -> str:
    """Write an id as Replicate's: 26 characters."""
    return base64.b32encode(uuid5(NAMESPACE_OID, number).bytes).decode().rstrip("=").lower()


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat().replace("+00:00", "000Z")


def _output(look: Look, facts: Facts) -> Any:
    if look.phase != "succeeded" or look.unknown or look.empty:
        return None
    if facts.count is None:
        return look.link("0.png")
    return [look.link(f"{index}.png") for index in range(facts.count)]


def failure_text(task: Task) -> str:
    """Give the reason of a failed task."""
    usual = SENSITIVE if task.scenario.outcome == "moderation" else FAILED
    return task.scenario.failure_text or usual


def prediction(look: Look, task_id: str) -> Json:
    """Make the prediction object; it links to Replicate's own hosts, which know no key of the aggregator."""
    task, facts = look.task, look.task.facts
    begun, ended = look.phase != "submitted", look.phase in ("succeeded", "failed")
    own_url = f"https://api.replicate.example/v1/predictions/{task.id}"
    return {
        "id": task_id,
        "model": facts.model,
        "version": "hidden",
        "input": facts.input,
        "logs": "",
        "output": _output(look, facts),
        "data_removed": False,
        "error": failure_text(task) if look.phase == "failed" else None,
        "status": "reviewing" if look.unknown else WORDS[look.phase],
        "created_at": _moment(task.created_at),
        **({"started_at": _moment(task.processing_at)} if begun else {}),
        **({"completed_at": _moment(task.finished_at)} if ended else {}),
        "urls": {"get": own_url, "cancel": f"{own_url}/cancel"},
        "metrics": {"predict_time": task.finished_at - task.processing_at} if ended else {},
    }


def told(look: Look) -> Json:
    """Tell of a prediction as a query does: bare, or in the relay's envelope where the scenario asks for it."""
    task = look.task
    if task.scenario.envelope == "flat":
        return prediction(look, task.public_id)
    inside = msgspec.structs.replace(look, phase="processing") if gave_up(look) else look
    reason = failure_text(task) if look.phase == "failed" else ""
    return relay_answer(look, prediction(inside, task.id), action="replicate", fail_reason=reason)


class Replicate(Family):
    """Predictions, created by model and asked for by id."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations; the routes of single models come before the route of all."""
        return (
            self._create("flux_kontext", f"{OWNER}/{{model:flux-kontext-(?:pro|max)}}", Prediction[KontextInput]),
            self._create("flux_1_1_pro", f"{OWNER}/{{model:flux-1\\.1-pro}}", Prediction[ProInput]),
            self._create("flux_1_1_pro_ultra", f"{OWNER}/{{model:flux-1\\.1-pro-ultra}}", Prediction[UltraInput]),
            self._create(
                "create_prediction", f"{OWNER}/{{model:{'|'.join(LISTS)}}}", Prediction[OpenInput], self._create_list
            ),
            self._create("create_prediction", "{owner:[^/]+}/{model:[^/]+}", Prediction[Json]),
            Operation(
                name="create_prediction",
                path=PREDICTIONS,
                answer=self._create_named,
                body=NamedPrediction,
                usual_s=10.0,
            ),
            Operation(name="query", path=f"{PREDICTIONS}/{{task_id}}", answer=self._query, method="GET"),
        )

    def _create(self, name: str, model: str, body: type[msgspec.Struct], answer: Any = None) -> Operation:
        path = f"/replicate/v1/models/{model}/predictions"
        return Operation(name=name, path=path, answer=answer or self._create_one, body=body, usual_s=10.0)

    def invalid(self, message: str) -> web.Response:
        """Refuse an input that does not validate."""
        fault = {"type": "invalid", "field": "input", "description": message}
        body = {"title": "Input validation failed", "detail": f"- input: {message}\n", "invalid_fields": [fault]}
        return json_answer(body | {"status": 422}, HTTPStatus.UNPROCESSABLE_ENTITY)

    def busy(self) -> web.Response:
        """Refuse as too fast."""
        body = {"detail": "Request was throttled. Expected available in 3 seconds.", "status": 429}
        limits = {"ratelimit-remaining": "0", "ratelimit-reset": "3"}
        return json_answer(body, HTTPStatus.TOO_MANY_REQUESTS, limits)

    def unknown_task(self) -> web.Response:
        """Say that there is no such prediction."""
        return json_answer({"detail": "Prediction not found", "status": 404}, HTTPStatus.NOT_FOUND)

    async def _create_one(self, call: Call) -> web.Response:
        return await self._created(call, _model_of(call.request))

    async def _create_list(self, call: Call) -> web.Response:
        return await self._created(call, _model_of(call.request), call.body.input.num_outputs)

    async def _create_named(self, call: Call) -> web.Response:
        return await self._created(call, call.body.model or call.body.version)

    async def _created(self, call: Call, model: str, count: int | None = None) -> web.Response:
        sent = call.sent["input"]
        if model.startswith(f"{OWNER}/") and not sent.get("prompt"):
            raise Refused(self.invalid("prompt is required"))
        task = await _with_filter(call).create(
            callback_url=call.body.webhook or "",
            render=lambda look: prediction(look, look.task.id),
            facts=Facts(model=model, input=sent, count=count),
            make_id=prediction_id,
        )
        return json_answer(prediction(look_at(self.stage, task, "submitted"), task.public_id), HTTPStatus.CREATED)

    async def _query(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.match_info["task_id"])
        if not isinstance(task.facts, Facts):
            raise Refused(self.unknown_task())
        return json_answer(told(self.look(task)))


def _model_of(request: web.Request) -> str:
    return f"{request.match_info.get('owner', OWNER)}/{request.match_info['model']}"


def _with_filter(call: Call) -> Call:
    """Post only the end where the filter asks for nothing else."""
    if call.body.webhook_events_filter != ["completed"] or call.scenario.callback != "changes":
        return call
    return msgspec.structs.replace(call, scenario=msgspec.structs.replace(call.scenario, callback="last"))
