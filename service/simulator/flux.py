"""The Flux family in Black Forest Labs' format under `/flux/v1`, written from its reference page alone.

Its rows in Replicate's format are served by the Replicate family; `get_result` knows the ids of both.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import NAMESPACE_OID, uuid5

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from service.simulator import replicate
from service.simulator.aggregator import json_answer
from service.simulator.family import Call, Family, Json, Look, Operation
from service.simulator.relay import gave_up, relay_answer
from service.simulator.tasks import Phase, Task

POLLING_HOST = "https://api.us1.bfl.example/v1/get_result"
USUAL_S = 100.0
WORDS: dict[Phase, str] = {
    "submitted": "Pending",
    "processing": "Pending",
    "succeeded": "Ready",
    "failed": "Error",
}
_AT = re.compile(r"(?:`(?P<field>\w+)`)?(?: - at `\$\.?(?P<path>[^`]*)`)?$")

Text = Annotated[str, Meta(min_length=1)]
Picture = Annotated[str, Meta(min_length=1, max_length=30_000_000)]
Hook = Annotated[str, Meta(pattern=r"^https?://\S+$", min_length=1, max_length=2083)]
Side = Annotated[int, Meta(ge=256, le=1440, multiple_of=32)]
WideSide = Annotated[int, Meta(ge=64, le=4096, multiple_of=16)]
Steps = Annotated[int, Meta(ge=1, le=50)]
Guidance = Annotated[float, Meta(ge=1.5, le=5)]
Ratio = Annotated[str, Meta(pattern=r"^\d{1,2}:\d{1,2}$")]
Strength = Annotated[float, Meta(ge=0, le=1)]


class Common(msgspec.Struct, kw_only=True):
    """What every model takes."""

    prompt: Text
    prompt_upsampling: bool = False
    seed: int | None = None
    safety_tolerance: Annotated[int, Meta(ge=0, le=6)] = 2
    output_format: Literal["jpeg", "png"] = "jpeg"
    webhook_url: Hook | UnsetType = UNSET
    webhook_secret: str = ""


class Sized(Common, kw_only=True):
    """FLUX.1 models with a size in pixels, and pictures as prompts."""

    image_prompt: Picture | None = None
    width: Side = 1024
    height: Side = 768


class Tuned(Sized, kw_only=True):
    """flux-dev and flux-pro."""

    steps: Steps | None = None
    guidance: Guidance | None = None
    interval: Annotated[float, Meta(ge=1, le=4)] = 2


class Ultra(Common, kw_only=True):
    """flux-pro-1.1-ultra."""

    image_prompt: Picture | None = None
    image_prompt_strength: Strength = 0.1
    aspect_ratio: Ratio = "16:9"
    raw: bool = False


class Kontext(Common, kw_only=True):
    """flux-kontext-pro and -max."""

    input_image: Picture | None = None
    input_image_2: Picture | None = None
    input_image_3: Picture | None = None
    input_image_4: Picture | None = None
    aspect_ratio: Ratio | None = None


class Flux2(Kontext, kw_only=True):
    """FLUX.2."""

    input_image_5: Picture | None = None
    input_image_6: Picture | None = None
    input_image_7: Picture | None = None
    input_image_8: Picture | None = None
    width: WideSide | None = None
    height: WideSide | None = None
    steps: Steps | None = None
    guidance: Annotated[float, Meta(ge=1.5, le=10)] | None = None
    safety_tolerance: Annotated[int, Meta(ge=0, le=5)] = 2


class Finetuned(Common, kw_only=True):
    """All fine-tuned models together."""

    prompt: str = ""
    finetune_id: Text
    finetune_strength: Annotated[float, Meta(ge=0, le=2)] = 1.1
    steps: Steps | None = None
    guidance: Annotated[float, Meta(ge=1.5, le=100)] | None = None
    width: Side | None = None
    height: Side | None = None
    aspect_ratio: Ratio | None = None
    image: Picture | None = None
    mask: Picture | None = None
    image_prompt: Picture | None = None
    image_prompt_strength: Strength | None = None


FAMILIES: tuple[tuple[str, type[Common]], ...] = (
    ("flux-2-", Flux2),
    ("flux-kontext-", Kontext),
    ("flux-pro-1.1-ultra", Ultra),
    ("flux-pro-1.1", Sized),
    ("flux-", Tuned),
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What of the request shows in the answers."""

    model: str
    prompt: str
    seed: int
    secret: str


def _result(look: Look) -> Json | None:
    facts: Facts = look.task.facts
    if look.phase != "succeeded" or look.unknown:
        return None
    sample = {} if look.empty else {"sample": look.link("0.png")}
    return sample | {"prompt": facts.prompt, "seed": facts.seed, "start_time": look.task.processing_at}


def _failure(task: Task) -> Json:
    if task.scenario.outcome == "moderation":
        return {"status": "Content Moderated", "details": {"Moderation Reasons": ["Safety Filter"]}}
    return {"error": _reason(task)}


def _reason(task: Task) -> str:
    usual = "Content Moderated: Safety Filter" if task.scenario.outcome == "moderation" else "Task failed"
    return task.scenario.failure_text or usual


def bfl_object(look: Look, task_id: str) -> Json:
    """Make the object that `get_result` answers."""
    body: Json = {
        "id": task_id,
        "status": "Reviewing" if look.unknown else WORDS[look.phase],
        "result": _result(look),
        "progress": look.percent / 100,
        "details": None,
        "preview": None,
    }
    return body | (_failure(look.task) if look.phase == "failed" else {})


def told(look: Look) -> Json:
    """Tell of a task as a query does: the bare object, or the relay's envelope where the scenario asks for it."""
    task = look.task
    if task.scenario.envelope == "flat":
        return bfl_object(look, task.public_id)
    inside = msgspec.structs.replace(look, phase="processing") if gave_up(look) else look
    reason = _reason(task) if look.phase == "failed" else ""
    return relay_answer(look, bfl_object(inside, task.id), action="flux", fail_reason=reason)


def callback_body(look: Look) -> Json:
    """Make the body of a webhook: the object with a time, and the secret as the aggregator's page has it."""
    secret = {"webhook_secret": look.task.facts.secret} if look.task.facts.secret else {}
    return bfl_object(look, look.task.id) | {"timestamp": look.task.entered_at(look.phase)} | secret


def body_of(model: str) -> type[Common]:
    """Find what a model takes; the catalogue is open, so that an unknown one takes what most do."""
    return next((body for prefix, body in FAMILIES if model.startswith(prefix)), Sized)


class Flux(Family):
    """Generations in BFL's format and the query that knows every id."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations; the fine-tuned models come before the open route."""
        return (
            Operation(
                name="finetune_images",
                path="/flux/v1/{model:flux-[a-z0-9.-]+-finetuned}",
                answer=self._finetuned,
                body=Finetuned,
                usual_s=USUAL_S,
            ),
            Operation(name="generate_image", path="/flux/v1/{model}", answer=self._generate, usual_s=USUAL_S),
            Operation(name="query", path="/flux/v1/get_result", answer=self._query, method="GET"),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse a body, with the place of the fault."""
        fault = {"loc": ["body", *_place(message)], "msg": message, "type": "value_error"}
        return json_answer({"detail": [fault]}, HTTPStatus.UNPROCESSABLE_ENTITY)

    def busy(self) -> web.Response:
        """Refuse over too many tasks in flight."""
        body = {"error": "rate_limit_exceeded", "message": "24 active tasks at most", "retry_after": 5}
        return json_answer(body, HTTPStatus.TOO_MANY_REQUESTS)

    def unknown_task(self) -> web.Response:
        """Say that the id is unknown or expired, which is a status here."""
        return json_answer({"id": None, "status": "Task not found", "result": None})

    async def _generate(self, call: Call) -> web.Response:
        body = body_of(call.request.match_info["model"])
        typed = msgspec.structs.replace(call.operation, body=body)
        checked = self._typed(typed, call.sent, call.received, strict=True)
        return await self._created(call, checked)

    async def _finetuned(self, call: Call) -> web.Response:
        return await self._created(call, call.body)

    async def _created(self, call: Call, body: Common) -> web.Response:
        only_the_end = "last" if call.scenario.callback == "changes" else call.scenario.callback
        scenario = msgspec.structs.replace(call.scenario, callback=only_the_end)
        model = call.request.match_info["model"]
        task = await msgspec.structs.replace(call, scenario=scenario).create(
            callback_url=body.webhook_url or "",
            render=callback_body,
            facts=Facts(model=model, prompt=body.prompt, seed=body.seed or 42, secret=body.webhook_secret),
            make_id=lambda number: str(uuid5(NAMESPACE_OID, number)),
        )
        return json_answer(_accepted(task, body))

    async def _query(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.query.get("id", ""))
        if isinstance(task.facts, Facts):
            return json_answer(told(self.look(task)))
        if isinstance(task.facts, replicate.Facts):
            return json_answer(replicate.told(self.look(task)))
        return self.unknown_task()


def _accepted(task: Task, body: Common) -> Mapping[str, object]:
    if body.webhook_url:
        return {"id": task.public_id, "status": "Pending", "webhook_url": body.webhook_url}
    return {"id": task.public_id, "polling_url": f"{POLLING_HOST}?id={task.public_id}"}


def _place(message: str) -> list[str]:
    found = _AT.search(message)
    parts = (found["path"] or "").split(".") if found else []
    return [part for part in (*parts, found["field"] if found and "missing" in message else None) if part]
