"""What may be sent to the family: its typed bodies, with the limits that the reference page names.

Fields that the proxy itself asks for by name (`prompt_is_required`) may be missing here; `routes` refuses them
in the proxy's own words.
"""

from typing import Annotated, Literal

import msgspec

DataUri = Annotated[str, msgspec.Meta(pattern=r"^data:image/[a-z+.-]+;base64,")]
Mask = Annotated[str, msgspec.Meta(pattern=r"^data:image/png;base64,")]
Picture = Annotated[str, msgspec.Meta(pattern=r"^(https?://|data:image/)")]
Link = Annotated[str, msgspec.Meta(pattern=r"^https?://")]
Hook = Annotated[str, msgspec.Meta(max_length=2000)]
Echo = Annotated[str, msgspec.Meta(max_length=255)]
Bot = Literal["MID_JOURNEY", "NIJI_JOURNEY"]
VideoType = Literal["vid_1.1_i2v_480", "vid_1.1_i2v_720"]


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Names in JSON are in camel case."""


class AccountFilter(_Body, frozen=True, kw_only=True):
    """Which account and speed are to be used."""

    modes: list[Literal["RELAX", "FAST", "TURBO"]] | None = None
    instance_id: str | None = None
    remix: bool | None = None
    niji_remix: bool | None = None
    remix_auto_considered: bool | None = None
    remark: str | None = None


class Submission(_Body, frozen=True, kw_only=True):
    """What every submission may carry."""

    notify_hook: Hook | None = None
    state: Echo | None = None


class Routed(Submission, frozen=True, kw_only=True):
    """A submission that may choose its account."""

    account_filter: AccountFilter | None = None


class Imagine(Routed, frozen=True, kw_only=True):
    """Section 2.1."""

    prompt: str = ""
    bot_type: Bot = "MID_JOURNEY"
    base64_array: list[DataUri] = []
    video_type: VideoType | None = None


class Video(Submission, frozen=True, kw_only=True):
    """Section 2.2."""

    motion: Literal["low", "high"]
    image: Picture | None = None
    prompt: str = ""
    action: Literal["extend"] | None = None
    index: Annotated[int, msgspec.Meta(ge=0, le=3)] | None = None
    task_id: str | None = None
    end_image: Picture | None = None
    loop: bool = False
    video_type: VideoType | None = None
    batch_size: Literal[1, 2, 4] = 4
    no_storage: bool = False
    mode: Literal["fast"] | None = None
    animate_mode: Literal["manual", "auto"] | None = None


class Edits(Routed, frozen=True, kw_only=True):
    """Section 2.3."""

    image: Picture
    prompt: str = ""
    mask_base64: Mask | None = None


class Action(Routed, frozen=True, kw_only=True):
    """Section 2.4."""

    custom_id: str = ""
    task_id: str = ""
    enable_remix: bool = False
    choose_same_channel: bool = False
    strong: bool = False


class Blend(Routed, frozen=True, kw_only=True):
    """Section 2.5; how many pictures there are is looked at only after the bill."""

    base64_array: list[DataUri]
    dimensions: Literal["PORTRAIT", "SQUARE", "LANDSCAPE"] = "SQUARE"
    bot_type: Bot = "MID_JOURNEY"


class Describe(Routed, frozen=True, kw_only=True):
    """Section 2.6."""

    base64: DataUri | None = None
    link: Link | None = None
    bot_type: Bot = "MID_JOURNEY"
    language: str | None = None


class Modal(Submission, frozen=True, kw_only=True):
    """Section 2.7."""

    task_id: str = ""
    mask_base64: Mask | None = None
    prompt: str = ""
    no_storage: bool = False


class Change(Submission, frozen=True, kw_only=True):
    """Section 2.11; the index must not be zero even where it means nothing."""

    action: Literal["UPSCALE", "VARIATION", "REROLL"]
    index: Annotated[int, msgspec.Meta(ge=0, le=4)] = 0
    task_id: str = ""


class Shorten(Submission, frozen=True, kw_only=True):
    """Section 3."""

    prompt: str = ""
    bot_type: Bot = "MID_JOURNEY"


class Swap(Submission, frozen=True, kw_only=True):
    """Section 3."""

    source_base64: DataUri
    target_base64: DataUri


class Upload(_Body, frozen=True, kw_only=True):
    """Section 3."""

    base64_array: list[str] = []


class Condition(_Body, frozen=True, kw_only=True):
    """Section 2.9."""

    ids: list[str]
