"""The bodies of the seed models as their tables list them; what excludes what is said where a body is made."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FRAME_STEP = 4
FRAME_BASE = 25
MODEL_DECIDES = -1
MAX_REFERENCES = 9
MAX_REFERENCES_OF_LITE = 4
MAX_MEDIA = 3
MAX_PICTURES = 14
PICTURE_PATTERN = r"^(https?://\S+|data:image/[a-z+]+;base64,\S+)$"

Word = Annotated[str, Meta(min_length=1)]
Url = Annotated[str, Meta(pattern=r"^(https?://\S+)?$")]
Picture = Annotated[str, Meta(pattern=PICTURE_PATTERN)]
Seed = Annotated[int, Meta(ge=-1, le=4294967295)]
SmallSeed = Annotated[int, Meta(ge=-1, le=2147483647)]
Expiry = Annotated[int, Meta(ge=3600, le=259200)]
Frames = Annotated[int, Meta(ge=29, le=289)]
Identifier = Annotated[str, Meta(max_length=64)]
Guidance = Annotated[float, Meta(ge=1, le=10)]
SetSize = Annotated[int, Meta(ge=1, le=15)]
ImageSize = Annotated[str, Meta(pattern=r"^([124]K|\d{3,4}x\d{3,4}|adaptive)$")]
Resolution = Literal["480p", "720p", "1080p"]
Ratio = Literal["16:9", "4:3", "1:1", "3:4", "9:16", "21:9"]
Format = Literal["url", "b64_json"]


class Link(msgspec.Struct, frozen=True):
    """Where a piece of content lies."""

    url: Picture


class MediaLink(msgspec.Struct, frozen=True):
    """Where a video or a sound lies."""

    url: Word


class Text(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """The prompt, with flags in the old style."""

    text: str


class Image(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    """A picture at one end of the clip, or one to refer to."""

    image_url: Link
    role: Literal["first_frame", "last_frame", "reference_image"] = "first_frame"


class Clip(msgspec.Struct, frozen=True, tag_field="type", tag="video_url"):
    """A clip to refer to."""

    video_url: MediaLink
    role: Literal["reference_video"]


class Sound(msgspec.Struct, frozen=True, tag_field="type", tag="audio_url"):
    """A sound to refer to."""

    audio_url: MediaLink
    role: Literal["reference_audio"]


class DraftId(msgspec.Struct, frozen=True):
    """The task of a draft."""

    id: Word


class Draft(msgspec.Struct, frozen=True, tag_field="type", tag="draft_task"):
    """A draft to be finished."""

    draft_task: DraftId


Content = Text | Image | Clip | Sound | Draft


def _require(holds: object, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


class Video(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the provider's own route."""

    model: Word
    content: Annotated[list[Content], Meta(min_length=1)]
    callback_url: Url = ""
    return_last_frame: bool = False
    service_tier: Literal["default", "flex"] = "default"
    execution_expires_after: Expiry = 172800
    generate_audio: bool = True
    draft: bool = False
    resolution: Resolution = "720p"
    ratio: Ratio | Literal["adaptive"] = "16:9"
    duration: int = 5
    frames: Frames | None = None
    seed: Seed = -1
    camera_fixed: bool = False
    watermark: bool = False
    tools: list[object] = []
    safety_identifier: Identifier = ""
    priority: int = 0

    def __post_init__(self) -> None:
        self._check_length()
        self._check_content()
        _require(not (self.draft and self.return_last_frame), "return_last_frame is not taken with draft")
        _require(not (self.draft and "1-5-pro" not in self.model), f"draft is not supported by {self.model}")

    def _check_length(self) -> None:
        least, most = span_s(self.model)
        in_span = least <= self.duration <= most or (self.duration == MODEL_DECIDES and "1-0" not in self.model)
        _require(in_span, f"duration must be between {least} and {most} for {self.model}")
        if self.frames is not None:
            _require("1-0" in self.model, f"frames is not supported by {self.model}")
            _require((self.frames - FRAME_BASE) % FRAME_STEP == 0, "frames must be of the form 25+4n")

    def _check_content(self) -> None:
        seen = [item for item in self.content if isinstance(item, Image | Clip | Draft)]
        said = any(isinstance(item, Text) and item.text.strip() for item in self.content)
        _require(seen or said, "a text is required without pictures")
        media = [item for item in self.content if isinstance(item, Clip | Sound)]
        _require(not media or "2-0" in self.model, f"{self.model} takes texts and pictures only")
        for kind in (Clip, Sound):
            _require(sum(isinstance(item, kind) for item in media) <= MAX_MEDIA, f"at most {MAX_MEDIA} of a kind")
        self._check_roles([item.role for item in self.content if isinstance(item, Image)])

    def _check_roles(self, roles: list[str]) -> None:
        if "reference_image" in roles:
            most = MAX_REFERENCES_OF_LITE if "lite" in self.model else MAX_REFERENCES
            _require(set(roles) == {"reference_image"}, "reference images exclude first and last frames")
            _require(len(roles) <= most, f"at most {most} reference images are taken")
        elif roles:
            pairs = (["first_frame"], ["first_frame", "last_frame"])
            _require(sorted(roles) in pairs, "one first frame is taken, and one last frame with it")


def span_s(model: str) -> tuple[int, int]:
    """Say how short and how long the clips of a model may be."""
    if "1-0" in model:
        return 2, 12
    return (4, 12) if "1-5" in model else (4, 15)


class Seedance(msgspec.Struct, frozen=True, kw_only=True):
    """Form of the shared video route; its length and picture are refused in other words than the rest."""

    prompt: Word
    model: Word
    seconds: int = 5
    size: Ratio = "16:9"
    resolution: Resolution = "720p"

    def __post_init__(self) -> None:
        allowed = self.resolution != "1080p" or not self.is_second_generation
        _require(allowed, f"resolution 1080p is not supported by {self.model}")

    @property
    def is_second_generation(self) -> bool:
        """Whether it is one of the models that take pictures here."""
        return "2-0" in self.model

    @property
    def span_s(self) -> tuple[int, int]:
        """How short and how long the clips of the model may be."""
        return (2, 10) if "1-0" in self.model else span_s(self.model)


class SetOptions(msgspec.Struct, frozen=True):
    """How large a set of pictures may grow."""

    max_images: SetSize = 15


class PromptOptions(msgspec.Struct, frozen=True):
    """How a prompt is improved."""

    mode: Literal["standard", "fast"] = "standard"


class ImageGeneration(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the pictures' route."""

    model: Word
    prompt: Word
    # a pattern beside a list in one union makes msgspec 0.22 free its memory twice
    image: str | list[str] = []
    size: ImageSize = "2048x2048"
    response_format: Format = "url"
    watermark: bool = True
    seed: SmallSeed = -1
    guidance_scale: Guidance | None = None
    sequential_image_generation: Literal["auto", "disabled"] = "disabled"
    sequential_image_generation_options: SetOptions | None = None
    optimize_prompt_options: PromptOptions | None = None
    output_format: Literal["jpeg", "png"] = "jpeg"
    stream: bool = False

    def __post_init__(self) -> None:
        images = [self.image] if isinstance(self.image, str) else self.image
        _require(len(images) <= MAX_PICTURES, f"at most {MAX_PICTURES} images are taken")
        _require(all(re.match(PICTURE_PATTERN, each) for each in images), "image must be a URL or a data URL")

    @property
    def pictures(self) -> int:
        """How many pictures the answer holds."""
        options = self.sequential_image_generation_options
        in_set = self.sequential_image_generation == "auto" and options is not None
        return options.max_images if in_set and options is not None else 1


class ImageEdit(msgspec.Struct, frozen=True, kw_only=True):
    """Form of the route for edits, beside its file."""

    prompt: Word
    model: str = "doubao-seededit-3-0-i2i-250628"
    response_format: Format = "url"
    size: ImageSize = "adaptive"
    seed: SmallSeed = -1
    guidance_scale: Guidance = 5.5
    watermark: bool = True
