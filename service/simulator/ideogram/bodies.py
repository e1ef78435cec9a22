"""The bodies of Ideogram's operations, as the tables of the reference list them.

Lists that grow (presets, resolutions of the older operations) stay open.
"""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

LISTED_RESOLUTIONS = (
    "512x1536 576x1408 576x1472 576x1536 640x1344 640x1408 640x1472 640x1536 704x1152 704x1216 704x1280 704x1344 "
    "704x1408 704x1472 736x1312 768x1088 768x1216 768x1280 768x1344 800x1280 832x960 832x1024 832x1088 832x1152 "
    "832x1216 832x1248 864x1152 896x960 896x1024 896x1088 896x1120 896x1152 960x832 960x896 960x1024 960x1088 "
    "1024x832 1024x896 1024x960 1024x1024 1088x768 1088x832 1088x896 1088x960 1120x896 1152x704 1152x832 1152x864 "
    "1152x896 1216x704 1216x768 1216x832 1248x832 1280x704 1280x768 1280x800 1312x736 1344x640 1344x704 1344x768 "
    "1408x576 1408x640 1408x704 1472x576 1472x640 1472x704 1536x512 1536x576 1536x640"
)
RESOLUTIONS = frozenset(LISTED_RESOLUTIONS.split())
# A pattern on one side of a union with a list corrupts memory in msgspec 0.22, so these texts are matched here.
_CODE = re.compile(r"[0-9A-Fa-f]{8}")
PALETTES = ("EMBER", "FRESH", "JUNGLE", "MAGIC", "MELON", "MOSAIC", "PASTEL", "ULTRAMARINE")

RequiredText = Annotated[str, Meta(min_length=1)]
Seed = Annotated[int, Meta(ge=0, le=2147483647)]
Count = Annotated[int, Meta(ge=1, le=8)]
Percent = Annotated[int, Meta(ge=1, le=100)]
Weight = Annotated[float, Meta(ge=0.05, le=1)]
HexColor = Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}$")]
Magic = Literal["AUTO", "ON", "OFF"]
Speed = Literal["TURBO", "DEFAULT", "QUALITY", "BALANCED"]
AspectRatio = Literal[
    "1x3", "3x1", "1x2", "2x1", "9x16", "16x9", "10x16", "16x10", "2x3", "3x2", "3x4", "4x3", "4x5", "5x4", "1x1"
]
StyleType = Literal["AUTO", "GENERAL", "REALISTIC", "DESIGN", "FICTION", "CUSTOM", "STYLIZED"]
LegacyModel = Literal["V_1", "V_1_TURBO", "V_2", "V_2_TURBO", "V_2A", "V_2A_TURBO", "V_3", "AUTO"]
LegacyRatio = Annotated[str, Meta(pattern=r"^ASPECT_(10_16|16_10|9_16|16_9|3_2|2_3|4_3|3_4|1_1|1_3|3_1)$")]
LegacyResolution = Annotated[str, Meta(pattern=r"^RESOLUTION_\d{3,4}_\d{3,4}$")]
LegacyStyle = Literal["AUTO", "GENERAL", "REALISTIC", "DESIGN", "RENDER_3D", "ANIME", "FICTION"]


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A colour of a palette."""

    color_hex: HexColor
    color_weight: Weight | None = None


class Palette(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A palette by its name or by its colours."""

    name: str | None = None
    members: list[Member] = []

    def __post_init__(self) -> None:
        if (self.name is None) == (not self.members):
            raise ValueError("color_palette needs either name or members")
        if self.name is not None and self.name not in PALETTES:
            raise ValueError(f"unknown color_palette {self.name}")


class Version3(msgspec.Struct, frozen=True, kw_only=True):
    """What all operations of version 3 take; in a form the palette is a JSON text."""

    seed: Seed | None = None
    rendering_speed: Speed = "DEFAULT"
    num_images: Count = 1
    color_palette: Palette | str | None = None
    style_codes: str | list[str] | None = None
    style_preset: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.color_palette, str):
            _check_palette(self.color_palette)
        codes = [self.style_codes] if isinstance(self.style_codes, str) else self.style_codes or []
        if not all(map(_CODE.fullmatch, codes)):
            raise ValueError("style_codes are eight hexadecimal digits each")


class Prompted(Version3, frozen=True, kw_only=True):
    """What those take that follow a prompt."""

    prompt: RequiredText
    magic_prompt: Magic = "AUTO"


class ReplaceBackground(Prompted, frozen=True, kw_only=True):
    """A new background."""


class EditV3(Prompted, frozen=True, kw_only=True):
    """A masked part drawn anew."""

    style_type: StyleType | None = None
    custom_model_uri: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.style_codes and self.style_type:
            raise ValueError("style_codes and style_type exclude each other")


class GenerateV3(EditV3, frozen=True, kw_only=True):
    """A picture from words."""

    resolution: str | None = None
    aspect_ratio: AspectRatio | None = None
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_resolution(self.resolution)
        if self.resolution and self.aspect_ratio:
            raise ValueError("resolution and aspect_ratio exclude each other")


class RemixV3(GenerateV3, frozen=True, kw_only=True):
    """A mix of a picture and words."""

    image_weight: Percent = 50


class ReframeV3(Version3, frozen=True, kw_only=True):
    """A picture drawn on to another shape."""

    resolution: str

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_resolution(self.resolution)


class LegacyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The wishes inside `image_request`."""

    prompt: RequiredText
    model: LegacyModel = "V_2"
    aspect_ratio: LegacyRatio | None = None
    resolution: LegacyResolution | None = None
    magic_prompt_option: Magic = "AUTO"
    seed: Seed | None = None
    style_type: LegacyStyle | None = None
    num_images: Count = 1
    negative_prompt: str = ""
    color_palette: Palette | None = None

    def __post_init__(self) -> None:
        if self.resolution and self.aspect_ratio:
            raise ValueError("resolution and aspect_ratio exclude each other")
        if self.resolution and not self.model.startswith("V_2"):
            raise ValueError("resolution needs a model of the V_2 family")
        if self.style_type and re.match(r"V_1(_TURBO)?$", self.model):
            raise ValueError("style_type is not for V_1")
        if self.color_palette and not re.match(r"V_2(_TURBO)?$", self.model):
            raise ValueError("color_palette is only for V_2 and V_2_TURBO")


class RemixRequest(LegacyRequest, frozen=True, kw_only=True):
    """The wishes for a mix."""

    image_weight: Percent = 50


class UpscaleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The wishes for a larger picture."""

    prompt: str | None = None
    resemblance: Percent = 50
    detail: Percent = 50
    magic_prompt_option: Magic = "AUTO"
    num_images: Count = 1
    seed: Seed | None = None


class Wrapped(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON body that holds its wishes one level down."""

    image_request: LegacyRequest


class WrappedText(msgspec.Struct, frozen=True, kw_only=True):
    """A form that holds its wishes as a JSON text."""

    image_request: RequiredText


class Describe(msgspec.Struct, frozen=True, kw_only=True):
    """Which model describes."""

    describe_model_version: Literal["V_2", "V_3"] = "V_3"


class LegacyEdit(msgspec.Struct, frozen=True, kw_only=True):
    """A masked part drawn anew, with plain fields."""

    prompt: RequiredText
    model: Literal["V_2", "V_2_TURBO"]
    magic_prompt_option: Magic = "AUTO"
    num_images: Count = 1
    seed: Seed | None = None
    style_type: LegacyStyle | None = None


BODIES: dict[str, type[msgspec.Struct]] = {
    "generate_v3": GenerateV3,
    "remix_v3": RemixV3,
    "reframe_v3": ReframeV3,
    "replace_background_v3": ReplaceBackground,
    "edit_v3": EditV3,
    "generate": Wrapped,
    "remix": WrappedText,
    "upscale": WrappedText,
    "describe": Describe,
    "edit": LegacyEdit,
}


def _check_resolution(resolution: str | None) -> None:
    if resolution is not None and resolution not in RESOLUTIONS:
        raise ValueError(f"unknown resolution {resolution}")


def _check_palette(text: str) -> None:
    try:
        msgspec.json.decode(text, type=Palette)
    except msgspec.DecodeError as error:
        raise ValueError(f"color_palette: {error}") from error
