"""The bodies that the two shared picture routes take, as the tables of the reference list them.

What only one model refuses is said in `models`.
"""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Word = Annotated[str, Meta(min_length=1)]
Prompt = Annotated[str, Meta(min_length=1, max_length=32000)]
Size = Annotated[str, Meta(pattern=r"^(auto|\d{2,4}x\d{2,4})$")]
SeedSize = Annotated[str, Meta(pattern=r"^([124]K|adaptive|\d{2,5}x\d{2,5})$")]
Count = Annotated[int, Meta(ge=1, le=10)]
Seed = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
Guidance = Annotated[float, Meta(ge=1, le=10)]
ResponseFormat = Literal["url", "b64_json"]
Quality = Literal["auto", "low", "medium", "high", "standard", "hd"]
Background = Literal["auto", "opaque", "transparent"]
OutputFormat = Literal["png", "jpeg", "webp"]

MAX_REFERENCES = 14
# A pattern on one side of a union with a list corrupts memory in msgspec 0.22, so these texts are matched here.
_PICTURE = re.compile(r"(https?://\S+|data:image/[a-z]+;base64,[A-Za-z0-9+/=\s]+)")


class Common(msgspec.Struct, kw_only=True, frozen=True):
    """What both routes take for most models."""

    model: Word
    prompt: Prompt
    n: Count = 1
    size: Size = "auto"
    response_format: ResponseFormat = "url"
    output_format: OutputFormat = "png"
    output_compression: Annotated[int, Meta(ge=0, le=100)] = 100
    background: Background = "auto"
    user: str = ""

    @property
    def pictures(self) -> int:
        """How many pictures are wanted."""
        return self.n


class Generate(Common, kw_only=True, frozen=True):
    """Pictures from words."""

    quality: Quality = "auto"
    moderation: Literal["auto", "low"] = "auto"
    style: Literal["vivid", "natural"] = "vivid"
    stream: bool = False
    partial_images: Annotated[int, Meta(ge=0, le=3)] = 0


class Edit(Common, kw_only=True, frozen=True):
    """A picture from pictures and words."""

    quality: Literal["auto", "low", "medium", "high"] = "auto"
    input_fidelity: Literal["low", "high"] = "low"


class SetOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How many pictures a set may have."""

    max_images: Annotated[int, Meta(ge=1, le=15)] = 15


class PromptOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How a prompt is rewritten."""

    mode: Literal["standard", "fast"] = "standard"


class SeedreamGenerate(msgspec.Struct, kw_only=True, frozen=True):
    """Pictures from words and pictures, by one provider's models."""

    model: Word
    prompt: Prompt
    image: str | list[str] | None = None
    size: SeedSize = "2048x2048"
    response_format: ResponseFormat = "url"
    watermark: bool = True
    seed: Seed = -1
    guidance_scale: Guidance = 2.5
    sequential_image_generation: Literal["auto", "disabled"] = "disabled"
    sequential_image_generation_options: SetOptions = SetOptions()
    optimize_prompt_options: PromptOptions = PromptOptions()
    output_format: Literal["jpeg", "png"] = "jpeg"
    stream: bool = False

    def __post_init__(self) -> None:
        references = [self.image] if isinstance(self.image, str) else self.image or []
        if len(references) > MAX_REFERENCES:
            raise ValueError(f"image: at most {MAX_REFERENCES} references")
        if not all(map(_PICTURE.fullmatch, references)):
            raise ValueError("image must be a URL or a data: URL")

    @property
    def pictures(self) -> int:
        """How many pictures are wanted; a set is as large as it may be, up to three."""
        wanted = min(3, self.sequential_image_generation_options.max_images)
        return wanted if self.sequential_image_generation == "auto" else 1


class SeededitEdit(msgspec.Struct, kw_only=True, frozen=True):
    """A picture from a picture and words, by one provider's models."""

    model: Word
    prompt: Prompt
    response_format: ResponseFormat = "url"
    size: SeedSize = "adaptive"
    seed: Seed = -1
    guidance_scale: Guidance = 5.5
    watermark: bool = True

    @property
    def pictures(self) -> int:
        """How many pictures are wanted."""
        return 1
