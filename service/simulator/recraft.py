"""Recraft: pictures and vectors from words, tools that make one picture of another, and styles; all at once."""

import base64
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import Refused, json_answer, platform_error
from service.simulator.family import Call, Family, Json, Operation, sample
from service.simulator.scenario import Scenario
from service.simulator.uploads import MEGABYTE, PICTURES, Upload, refuse_strangers, taken

PREFIX = "/recraft/v1"
FILES = "/recraft/files"
SVG = "image/svg+xml"
TOOLS = {
    "vectorize_image": ("vectorize",),
    "remove_background": ("removeBackground",),
    "clarity_upscale": ("clarityUpscale", "crispUpscale"),
    "generative_upscale": ("generativeUpscale", "creativeUpscale"),
}
LISTED_SIZES = (
    "1024x1024 1365x1024 1024x1365 1536x1024 1024x1536 1820x1024 1024x1820 1024x2048 2048x1024 "
    "1434x1024 1024x1434 1024x1280 1280x1024 1024x1707 1707x1024"
)
SIZES = frozenset(LISTED_SIZES.split())
EARLY_MODELS = ("recraftv3", "recraftv2", "recraft20b")
MAX_EARLY_PROMPT = 1000
VECTOR_STYLES = ("vector_illustration", "icon")
REFERENCES = Upload(names=(), most=5, max_bytes_in_all=5 * MEGABYTE)

Word = Annotated[str, Meta(min_length=1)]
Channel = Annotated[int, Meta(ge=0, le=255)]
Place = Annotated[float, Meta(ge=0, le=1)]
Corner = Annotated[list[Place], Meta(min_length=2, max_length=2)]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
ResponseFormat = Literal["url", "b64_json"]
OnOff = Literal["on", "off"]
Answer = Callable[[Call], Awaitable[web.StreamResponse]]


class Color(msgspec.Struct, frozen=True, kw_only=True):
    """A colour of the palette."""

    rgb: Annotated[list[Channel], Meta(min_length=3, max_length=3)]
    weight: float | None = None
    std: float | None = None


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """Palette and tone."""

    colors: list[Color] = []
    background_color: Color | None = None
    artistic_level: Annotated[int, Meta(ge=0, le=5)] | None = None
    no_text: bool = False


class TextBox(msgspec.Struct, frozen=True, kw_only=True):
    """A word and where it stands."""

    text: Word
    bbox: Annotated[list[Corner], Meta(min_length=4, max_length=4)]


class Generate(msgspec.Struct, frozen=True, kw_only=True):
    """A picture from words."""

    prompt: Annotated[str, Meta(min_length=1, max_length=10000)]
    n: Annotated[int, Meta(ge=1, le=6)] = 1
    model: Word = "recraftv3"
    style: Word | None = None
    substyle: Word | None = None
    style_id: Uuid | None = None
    size: Annotated[str, Meta(pattern=r"^(\d{3,4}x\d{3,4}|\d{1,2}:\d{1,2})$")] = "1024x1024"
    response_format: ResponseFormat = "url"
    negative_prompt: str = ""
    controls: Controls = Controls()
    text_layout: list[TextBox] = []
    random_seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    image_format: Literal["png", "webp"] = "png"

    def __post_init__(self) -> None:
        if self.style and self.style_id:
            raise ValueError("style and style_id exclude each other")
        if self.substyle and not self.style:
            raise ValueError("substyle needs style")
        if self.model in EARLY_MODELS:
            self._check_early_model()

    def _check_early_model(self) -> None:
        if len(self.prompt) > MAX_EARLY_PROMPT:
            raise ValueError(f"prompt is longer than {MAX_EARLY_PROMPT} characters")
        if "x" in self.size and self.size not in SIZES:
            raise ValueError(f"size {self.size} is not supported by {self.model}")

    @property
    def is_vector(self) -> bool:
        """Whether an SVG is wanted."""
        return self.style in VECTOR_STYLES or self.model.endswith("_vector")


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """What all tools take beside the file."""

    response_format: ResponseFormat = "url"
    image_format: Literal["png", "webp"] = "png"


class Vectorize(Tool, frozen=True, kw_only=True):
    """What making a vector of a picture takes."""

    color_reduction: OnOff = "off"
    max_num_colors: Annotated[int, Meta(ge=0)] = 0
    limit_num_shapes: OnOff = "off"
    max_num_shapes: Annotated[int, Meta(ge=0)] = 0
    return_gradients: OnOff = "off"
    shape_stacking: Literal["cut_out", "hierarchical"] = "cut_out"
    small_shape_filter: OnOff = "off"
    strict_color_palette: str = ""
    svg_compression: OnOff = "off"


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """The family of a new style."""

    style: Literal["any", "realistic_image", "digital_illustration", "vector_illustration", "icon"]


class Recraft(Family):
    """The family, played on one stage."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations; renamed tools answer under both names."""
        return (
            Operation(name="generate_image", path=f"{PREFIX}/images/generations", answer=self._generate, body=Generate),
            *(self._tool(name, path) for name, paths in TOOLS.items() for path in paths),
            Operation(name="create_style", path=f"{PREFIX}/styles", answer=self._style, body=Style, encoding=("form",)),
            Operation(name="file", path=f"{FILES}/{{name}}", method="GET", answer=_vector_file, key="none"),
        )

    def _tool(self, name: str, path: str) -> Operation:
        is_vector = name == "vectorize_image"
        source = Upload(
            names=("file", "image"), content_types=(*PICTURES, SVG) if name == "remove_background" else PICTURES
        )
        return Operation(
            name=name,
            path=f"{PREFIX}/images/{path}",
            answer=partial(self._rework, source=source, is_vector=is_vector),
            body=Vectorize if is_vector else Tool,
            encoding=("form",),
        )

    def _refuse_as_told(self, scenario: Scenario) -> None:
        request_id = self.stage.ids.next()
        if scenario.outcome == "moderation":
            message = "the request was refused by the content policy"
            raise Refused(platform_error(HTTPStatus.BAD_REQUEST, message, "", request_id))
        if scenario.outcome != "succeed":
            body = {"code": "custom_router_error", "message": scenario.failure_text or "unknown error", "data": None}
            raise Refused(json_answer(body, HTTPStatus.INTERNAL_SERVER_ERROR))

    async def _generate(self, call: Call) -> web.Response:
        self._refuse_as_told(call.scenario)
        body: Generate = call.body
        count = 0 if call.scenario.empty else body.n
        pictures = [self._picture(call, body, is_vector=body.is_vector) for _ in range(count)]
        return json_answer(self._answer(80 * count) | {"data": pictures})

    async def _rework(self, call: Call, *, source: Upload, is_vector: bool) -> web.Response:
        refuse_strangers(call, (source,), self.invalid)
        taken(call, source, self.invalid)
        self._refuse_as_told(call.scenario)
        picture = None if call.scenario.empty else self._picture(call, call.body, is_vector=is_vector)
        return json_answer(self._answer(10) | {"image": picture})

    async def _style(self, call: Call) -> web.Response:
        taken(call, REFERENCES, self.invalid)
        self._refuse_as_told(call.scenario)
        return json_answer({"id": self._uuid(), "credits": 40})

    def _answer(self, credit: int) -> Json:
        return {"created": int(self.stage.clock.now()), "credits": credit}

    def _picture(self, call: Call, body: Generate | Tool, *, is_vector: bool) -> Json:
        picture: Json = {"image_id": self._uuid()}
        if body.response_format == "b64_json":
            suffix = "svg" if is_vector else body.image_format
            return picture | {"b64_json": base64.b64encode(sample(suffix)).decode()}
        if is_vector:
            return picture | {"url": f"{call.base_url}{FILES}/{self.stage.ids.next()}"}
        return picture | {"url": call.link("0.png")}

    def _uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.stage.ids.next()))


async def _vector_file(_call: Call) -> web.Response:
    return web.Response(body=sample("svg"), content_type=SVG)
