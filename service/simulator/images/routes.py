"""The two routes that the OpenAI-style models share, from a request through its checks to pictures.

What a model takes is said in `bodies` and `models`.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from service.simulator.aggregator import Refused, json_answer, platform_error
from service.simulator.family import Call, Family, Json, Operation
from service.simulator.hunyuan3d import image_answer as model3d_answer
from service.simulator.images.bodies import Edit, Generate, SeededitEdit, SeedreamGenerate
from service.simulator.images.elsewhere import inline
from service.simulator.images.models import ImageModel, model_of
from service.simulator.journal import Received
from service.simulator.scenario import Scenario
from service.simulator.uploads import MEGABYTE, Upload, refuse_strangers, taken

MODERATED = "Your request was rejected by the safety system. If you believe this is an error, contact us."
FAILED = "do request failed"
NO_IMAGE_ROUTE = "not supported model for image generation, only imagen models are supported"
USER_ERROR = "image_generation_user_error"
OUTPUT_TOKENS = 1056
_MODELS_3D = ("hunyuan", "hy-3d")

SOURCES = Upload(names=("image", "image[]"), most=16, max_bytes=25 * MEGABYTE)
SQUARE_PNG = Upload(names=("image",), content_types=("image/png",), max_bytes=4 * MEGABYTE)
SEED_SOURCE = Upload(names=("image",), content_types=("image/png", "image/jpeg"))
MASK = Upload(names=("mask",), least=0, content_types=("image/png",), max_bytes=4 * MEGABYTE)
BODIES: dict[tuple[str, bool], type[msgspec.Struct]] = {
    ("generate", False): Generate,
    ("generate", True): SeedreamGenerate,
    ("edit", False): Edit,
    ("edit", True): SeededitEdit,
}


class Images(Family):
    """The two shared picture routes."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations; their bodies follow from the model."""
        return (
            Operation(name="generate", path="/v1/images/generations", answer=self._generate),
            Operation(name="edit", path="/v1/images/edits", answer=self._edit, encoding=("form",)),
        )

    def _typed(self, operation: Operation, sent: Json, received: Received, *, strict: bool) -> Any:
        name = str(sent.get("model", ""))
        if name.startswith(_MODELS_3D):
            return None  # the family checks its own
        model = model_of(name)
        body = BODIES[operation.name, model.seed]
        return super()._typed(msgspec.structs.replace(operation, body=body), sent, received, strict=strict)

    def _fault(self, message: str, *, param: str = "", code: str = "invalid_value", kind: str = USER_ERROR) -> Refused:
        text = f"{message} (request id: {self.stage.ids.next()})"
        error = {"message": text, "type": kind, "param": param, "code": code}
        return Refused(json_answer({"error": error}, HTTPStatus.BAD_REQUEST))

    def _refuse_as_told(self, scenario: Scenario) -> None:
        if scenario.outcome == "moderation":
            raise self._fault(MODERATED, code="moderation_blocked")
        if scenario.outcome != "succeed":
            message = scenario.failure_text or FAILED
            raise Refused(platform_error(HTTPStatus.INTERNAL_SERVER_ERROR, message, "", self.stage.ids.next()))

    def _checked_model(self, call: Call) -> ImageModel:
        name = call.body.model
        model = model_of(name)
        if not model.has_image_route:
            refusal = platform_error(
                HTTPStatus.INTERNAL_SERVER_ERROR, NO_IMAGE_ROUTE, "convert_request_failed", self.stage.ids.next()
            )
            raise Refused(refusal)
        stranger = next((key for key in call.sent if key in model.refuses), None)
        if stranger is not None:
            raise self._fault(f"Unknown parameter: '{stranger}'.", param=stranger, kind="invalid_request_error")
        fault = model.fault_in(call.body)
        if fault is not None:
            param, message = fault
            raise self._fault(message, param=param)
        return model

    async def _generate(self, call: Call) -> web.Response:
        if call.body is None:
            return model3d_answer(call)
        model = self._checked_model(call)
        self._refuse_as_told(call.scenario)
        if getattr(call.body, "stream", False) and model.inline:
            return _stream(call.body)
        return json_answer(self._answer(call, model))

    async def _edit(self, call: Call) -> web.Response:
        model = self._checked_model(call)
        sources = SEED_SOURCE if model.seed else SQUARE_PNG if model.dall_e else SOURCES
        refuse_strangers(call, (SOURCES, MASK), self.invalid)
        taken(call, sources, self.invalid)
        taken(call, MASK, self.invalid)
        self._refuse_as_told(call.scenario)
        return json_answer(self._answer(call, model))

    def _answer(self, call: Call, model: ImageModel) -> Json:
        body = call.body
        count = 0 if call.scenario.empty else body.pictures
        items = [self._item(call, model) for _ in range(count)]
        answer: Json = {"created": int(self.stage.clock.now()), "data": items}
        if model.seed:
            usage = {"generated_images": count, "output_tokens": 16384 * count, "total_tokens": 16384 * count}
            return answer | {"model": body.model, "usage": usage}
        return answer | (_told(body) if model.inline else {})

    def _item(self, call: Call, model: ImageModel) -> Json:
        body = call.body
        is_inline = model.inline or body.response_format == "b64_json"
        suffix = getattr(body, "output_format", None) or "png"
        item = {"b64_json": inline(suffix)} if is_inline else {"url": call.link("0.png")}
        if model.seed and call.operation.name == "generate":
            item["size"] = body.size if re.fullmatch(r"\d+x\d+", body.size) else "2048x2048"
        if model.dall_e:
            item["revised_prompt"] = body.prompt
        return item


def _told(body: Generate | Edit) -> Json:
    """Return what stands beside the pictures of models that answer inline."""
    usage = {
        "input_tokens": len(body.prompt) // 4 + 1,
        "output_tokens": OUTPUT_TOKENS * body.pictures,
        "total_tokens": len(body.prompt) // 4 + 1 + OUTPUT_TOKENS * body.pictures,
        "input_tokens_details": {"text_tokens": len(body.prompt) // 4 + 1, "image_tokens": 0},
    }
    size, quality = ("1024x1024" if body.size == "auto" else body.size), _unless_auto(body.quality, "medium")
    background = _unless_auto(body.background, "opaque")
    return {
        "background": background,
        "output_format": body.output_format,
        "quality": quality,
        "size": size,
        "usage": usage,
    }


def _unless_auto(value: str, otherwise: str) -> str:
    return otherwise if value == "auto" else value


def _stream(body: Generate) -> web.Response:
    picture = inline(body.output_format)
    partial = [{"b64_json": picture, "partial_image_index": index} for index in range(body.partial_images)]
    events = [("image_generation.partial_image", data) for data in partial]
    events.append(("image_generation.completed", {"b64_json": picture, "usage": _told(body)["usage"]}))
    return web.Response(text=_event_text(events), content_type="text/event-stream")


def _event_text(events: Sequence[tuple[str, Json]]) -> str:
    lines = (f"event: {name}\ndata: {msgspec.json.encode({'type': name} | data).decode()}\n\n" for name, data in events)
    return "".join(lines)
