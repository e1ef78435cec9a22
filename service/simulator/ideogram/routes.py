"""The family's operations: from a request through its fields and files to pictures or words about one.

What the fields may hold is said in `bodies`.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from aiohttp import web

from service.simulator.aggregator import Refused, json_answer, platform_error
from service.simulator.family import Call, Family, Json, Operation
from service.simulator.ideogram.bodies import BODIES, LegacyRequest, RemixRequest, UpscaleRequest
from service.simulator.scenario import Scenario
from service.simulator.uploads import MEGABYTE, Upload, refuse_strangers, taken

V3 = "/ideogram/v1/ideogram-v3"
UNSAFE_PROMPT = "Prompt provided failed safety check due to the inclusion of prohibited content."
DESCRIPTION = "A photograph of a red fox standing in deep snow at dawn."

IMAGE = Upload(names=("image",))
MASK = Upload(names=("mask",))
IMAGE_FILE = Upload(names=("image_file",))
STYLE_REFERENCES = Upload(names=("style_reference_images",), least=0, most=10, max_bytes_in_all=10 * MEGABYTE)
CHARACTER = Upload(names=("character_reference_images",), least=0)
CHARACTER_MASK = Upload(names=("character_reference_images_mask",), least=0)
CHARACTERS = (CHARACTER, CHARACTER_MASK)
FILES: dict[str, tuple[Upload, ...]] = {
    "generate_v3": (STYLE_REFERENCES, *CHARACTERS),
    "remix_v3": (IMAGE, STYLE_REFERENCES, *CHARACTERS),
    "reframe_v3": (IMAGE, STYLE_REFERENCES),
    "replace_background_v3": (IMAGE, STYLE_REFERENCES),
    "edit_v3": (IMAGE, MASK, STYLE_REFERENCES, *CHARACTERS),
    "generate": (),
    "remix": (IMAGE_FILE,),
    "upscale": (IMAGE_FILE,),
    "describe": (IMAGE_FILE,),
    "edit": (IMAGE_FILE, MASK),
}
PATHS = {
    "generate_v3": f"{V3}/generate",
    "remix_v3": f"{V3}/remix",
    "reframe_v3": f"{V3}/reframe",
    "replace_background_v3": f"{V3}/replace-background",
    "edit_v3": f"{V3}/edit",
    "generate": "/ideogram/generate",
    "remix": "/ideogram/remix",
    "upscale": "/ideogram/upscale",
    "describe": "/ideogram/describe",
    "edit": "/ideogram/edit",
}
IN_JSON_TEXT: dict[str, type[LegacyRequest] | type[UpscaleRequest]] = {
    "remix": RemixRequest,
    "upscale": UpscaleRequest,
}
ENCODINGS: dict[str, tuple[Literal["json", "form"], ...]] = {"generate_v3": ("json", "form"), "generate": ("json",)}


class Ideogram(Family):
    """The family, played on one stage."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return tuple(
            Operation(
                name=name,
                path=path,
                answer=self._describe if name == "describe" else self._draw,
                body=BODIES[name],
                encoding=ENCODINGS.get(name, ("form",)),
            )
            for name, path in PATHS.items()
        )

    async def _draw(self, call: Call) -> web.Response:
        wanted = self._wanted(call)
        self._check_files(call)
        self._refuse_as_told(call.scenario)
        items = [self._item(call, wanted) for _ in range(wanted.num_images or 1)]
        return json_answer({"created": self._created(), "data": items})

    async def _describe(self, call: Call) -> web.Response:
        self._check_files(call)
        self._refuse_as_told(call.scenario)
        texts = [] if call.scenario.empty else [{"text": DESCRIPTION}]
        return json_answer({"descriptions": texts})

    def _wanted(self, call: Call) -> Any:
        """Return what holds the wishes: the body, its `image_request`, or the JSON text in that field."""
        form = IN_JSON_TEXT.get(call.operation.name)
        if form is None:
            return getattr(call.body, "image_request", call.body)
        try:
            return msgspec.json.decode(call.body.image_request, type=form)
        except msgspec.DecodeError as error:
            raise Refused(self.invalid(f"image_request: {error}")) from error

    def _check_files(self, call: Call) -> None:
        uploads = FILES[call.operation.name]
        refuse_strangers(call, uploads, self.invalid)
        parts = {upload.label: taken(call, upload, self.invalid) for upload in uploads}
        if parts.get(STYLE_REFERENCES.label) and getattr(call.body, "style_codes", None):
            raise Refused(self.invalid("style_codes and style_reference_images exclude each other"))
        if parts.get(CHARACTER_MASK.label) and not parts.get(CHARACTER.label):
            raise Refused(self.invalid("character_reference_images_mask needs character_reference_images"))

    def _refuse_as_told(self, scenario: Scenario) -> None:
        if scenario.outcome == "moderation":
            raise Refused(json_answer({"error": UNSAFE_PROMPT}, HTTPStatus.UNPROCESSABLE_ENTITY))
        if scenario.outcome != "succeed":
            message = scenario.failure_text or "do request failed"
            raise Refused(platform_error(HTTPStatus.INTERNAL_SERVER_ERROR, message, "", self.stage.ids.next()))

    def _created(self) -> str:
        now = datetime.fromtimestamp(self.stage.clock.now(), UTC)
        return f"{now:%Y-%m-%dT%H:%M:%S.%f}195+00:00"

    def _item(self, call: Call, wanted: Any) -> Json:
        """Make a picture; `empty` makes one that is not safe and has no link."""
        safe = not call.scenario.empty
        resolution = (getattr(wanted, "resolution", None) or "1024x1024").removeprefix("RESOLUTION_").replace("_", "x")
        item = {
            "url": call.link("0.png") if safe else None,
            "prompt": getattr(wanted, "prompt", None) or "",
            "resolution": resolution,
            "seed": wanted.seed if wanted.seed is not None else 12345,
            "is_image_safe": safe,
            "style_type": getattr(wanted, "style_type", None),
        }
        return item | ({"upscaled_resolution": "2048x2048"} if call.operation.name == "upscale" else {})
