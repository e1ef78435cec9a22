"""The request bodies as the tables of the reference list them: types, closed enums, limits, exclusive fields.

Defaults are those of the tables; an absent text or file is the empty string. Keys that are not listed are
ignored here, as the provider does; the journal names them. Lists that grow (models, voices, scenes) stay
open.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

URL_PATTERN = r"^(https?://\S+)?$"
FILE_PATTERN = r"^(https?://\S+|[A-Za-z0-9+/]+={0,2})$"

Text = Annotated[str, Meta(max_length=2500)]
RequiredText = Annotated[str, Meta(min_length=1, max_length=2500)]
ShortText = Annotated[str, Meta(max_length=200)]
Word = Annotated[str, Meta(min_length=1)]
File = Annotated[str, Meta(pattern=FILE_PATTERN)]
Url = Annotated[str, Meta(pattern=URL_PATTERN)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Volume = Annotated[float, Meta(ge=0, le=2)]
Ratio = Annotated[float, Meta(ge=0, le=2)]
Camera = Annotated[float, Meta(ge=-10, le=10)]
Speed = Annotated[float, Meta(ge=0.8, le=2)]
Count = Annotated[int, Meta(ge=1, le=9)]
Milliseconds = Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern=r"^\d+$")]
Mode = Literal["std", "pro"]
OnOff = Literal["on", "off"]
VideoRatio = Literal["16:9", "9:16", "1:1"]
WideVideoRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3"]
ImageRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"]
FiveOrTen = Literal["5", "10"]
Seconds = Annotated[str, Meta(pattern=r"^\d{1,2}$")]
Language = Literal["zh", "en"]

MIN_CUT_MS = 2000
MAX_EXPANSION = 3.0
MIN_PICTURES = 2
MAX_REFERENCES = 7
MAX_REFERENCES_WITH_VIDEO = 4


def _require(holds: object, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


def _require_one(**fields: object) -> None:
    sent = sum(1 for value in fields.values() if value)
    _require(sent == 1, f"exactly one of {', '.join(fields)} is required")


class Watermark(msgspec.Struct, frozen=True):
    """Whether a second, watermarked file is wanted."""

    enabled: bool = False


class Called(msgspec.Struct, kw_only=True):
    """What every create takes: where to call back, and the caller's own id."""

    callback_url: Url = ""
    external_task_id: str = ""


class Common(Called, kw_only=True):
    """The common three."""

    watermark_info: Watermark = Watermark()


class Point(msgspec.Struct, frozen=True):
    """A place in a frame, as fractions of its width and height."""

    x: Fraction
    y: Fraction


class VideoSource(msgspec.Struct, kw_only=True):
    """A video by its id or by its URL."""

    video_id: str = ""
    video_url: Url = ""

    def __post_init__(self) -> None:
        _require_one(video_id=self.video_id, video_url=self.video_url)


class InitSelection(VideoSource, kw_only=True):
    """Section 3.1; the pages disagree on `task_id`."""

    task_id: str = ""


class Session(msgspec.Struct, kw_only=True):
    """Sections 3.4 and 3.5."""

    session_id: Word


class Selection(Session, kw_only=True):
    """Sections 3.2 and 3.3."""

    frame_index: Annotated[int, Meta(ge=0)]
    points: Annotated[list[Point], Meta(min_length=1, max_length=10)]


class ListedImage(msgspec.Struct):
    """One entry of an `image_list`."""

    image: File


class MultiElements(Common, kw_only=True):
    """Section 3.6."""

    session_id: Word
    edit_mode: Literal["addition", "swap", "removal"]
    prompt: RequiredText
    image_list: list[ListedImage] = []
    model_name: Literal["kling-v1-6"] = "kling-v1-6"
    negative_prompt: Text = ""
    mode: Mode = "std"
    duration: FiveOrTen = "5"

    def __post_init__(self) -> None:
        allowed = {"addition": (1, 2), "swap": (1,), "removal": (0,)}[self.edit_mode]
        _require(len(self.image_list) in allowed, f"image_list does not fit edit_mode {self.edit_mode}")


class Element(msgspec.Struct):
    """One entry of an `element_list`."""

    element_id: int


class ImageGeneration(Common, kw_only=True):
    """Section 3.7."""

    prompt: RequiredText
    model_name: str = "kling-v3"
    negative_prompt: Text = ""
    image: File = ""
    image_reference: Literal["subject", "face"] | UnsetType = UNSET
    image_fidelity: Fraction = 0.5
    human_fidelity: Fraction | UnsetType = UNSET
    element_list: list[Element] = []
    resolution: Literal["1k", "2k"] = "1k"
    n: Count = 1
    aspect_ratio: ImageRatio = "16:9"

    def __post_init__(self) -> None:
        _require(not (self.image and self.negative_prompt), "negative_prompt is not allowed with image")
        _require(self.image or self.image_reference is UNSET, "image_reference requires image")
        _require(
            self.human_fidelity is UNSET or self.image_reference == "subject",
            "human_fidelity is only allowed with image_reference subject",
        )


class ImageExpand(Common, kw_only=True):
    """Section 3.8; the provider says `down`, the aggregator `bottom`."""

    image: File
    up_expansion_ratio: Ratio
    left_expansion_ratio: Ratio
    right_expansion_ratio: Ratio
    down_expansion_ratio: Ratio | UnsetType = UNSET
    bottom_expansion_ratio: Ratio | UnsetType = UNSET
    prompt: Text = ""
    n: Count = 1

    def __post_init__(self) -> None:
        down = self.bottom_expansion_ratio if self.down_expansion_ratio is UNSET else self.down_expansion_ratio
        if down is UNSET:
            raise ValueError("down_expansion_ratio is required")
        height = 1 + self.up_expansion_ratio + down
        width = 1 + self.left_expansion_ratio + self.right_expansion_ratio
        _require(height * width <= MAX_EXPANSION, "the expanded area exceeds 3 times the original")


class CameraConfig(msgspec.Struct):
    """Section 3.9.1: six movements, one of them not zero."""

    horizontal: Camera = 0
    vertical: Camera = 0
    pan: Camera = 0
    tilt: Camera = 0
    roll: Camera = 0
    zoom: Camera = 0

    def __post_init__(self) -> None:
        moves = (self.horizontal, self.vertical, self.pan, self.tilt, self.roll, self.zoom)
        _require(sum(1 for move in moves if move) == 1, "exactly one value of config must be non-zero")


class CameraControl(msgspec.Struct):
    """Section 3.9.1."""

    type: Literal["simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward"]
    config: CameraConfig | UnsetType = UNSET

    def __post_init__(self) -> None:
        _require(
            (self.type == "simple") == (self.config is not UNSET),
            "camera_control.config is required for simple and must be absent otherwise",
        )


class Shot(msgspec.Struct):
    """One shot of a customised multi-shot video."""

    index: int
    prompt: Annotated[str, Meta(max_length=512)]
    duration: Seconds


class Shots(Common, kw_only=True):
    """What text-to-video, image-to-video and omni share: a prompt, or up to six shots with one each."""

    prompt: Text = ""
    duration: Seconds = "5"
    sound: OnOff = "off"
    multi_shot: bool = False
    shot_type: Literal["customize", "intelligence"] | UnsetType = UNSET
    multi_prompt: Annotated[list[Shot], Meta(max_length=6)] = []

    @property
    def customized(self) -> bool:
        """Whether every shot has a prompt of its own."""
        return self.multi_shot and self.shot_type == "customize"

    def __post_init__(self) -> None:
        _require(not self.multi_shot or self.shot_type is not UNSET, "multi_shot requires shot_type")
        if not self.customized:
            return
        lengths = [int(shot.duration) for shot in self.multi_prompt]
        _require(lengths and min(lengths) >= 1, "customize requires multi_prompt, each shot 1 s or longer")
        _require(sum(lengths) == int(self.duration), "the shots do not add up to duration")


class Generated(Shots, kw_only=True):
    """What text-to-video and image-to-video share."""

    model_name: str = "kling-v1"
    negative_prompt: Text = ""
    cfg_scale: Fraction = 0.5
    mode: Mode = "std"
    camera_control: CameraControl | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        old = self.model_name.startswith(("kling-v1", "kling-v2"))
        lengths = ("5", "10") if old else [str(length) for length in range(3, 16)]
        _require(self.duration in lengths, f"duration {self.duration} is not allowed for {self.model_name}")


class TextToVideo(Generated, kw_only=True):
    """Section 3.9."""

    aspect_ratio: WideVideoRatio = "16:9"

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.prompt or self.customized, "prompt is required")


class Pixel(msgspec.Struct):
    """A place in a picture, in pixels from its lower left corner."""

    x: int
    y: int


class DynamicMask(msgspec.Struct):
    """A part of the picture and the way that it moves."""

    mask: File
    trajectories: Annotated[list[Pixel], Meta(min_length=2, max_length=77)]


class Voice(msgspec.Struct):
    """One entry of a `voice_list`."""

    voice_id: Word


class ImageToVideo(Generated, kw_only=True):
    """Section 3.10."""

    image: File = ""
    image_tail: File = ""
    static_mask: File = ""
    dynamic_masks: Annotated[list[DynamicMask], Meta(max_length=6)] = []
    element_list: Annotated[list[Element], Meta(max_length=3)] = []
    voice_list: Annotated[list[Voice], Meta(max_length=2)] = []

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.image or self.image_tail, "at least one of image, image_tail is required")
        masked = bool(self.static_mask or self.dynamic_masks)
        exclusive = (bool(self.image_tail), masked, self.camera_control is not UNSET)
        _require(sum(exclusive) <= 1, "image_tail, masks and camera_control exclude each other")
        _require(not (self.element_list and self.voice_list), "element_list excludes voice_list")
        _require(not self.voice_list or self.sound == "on", "voice_list requires sound on")


class MultiImageToVideo(Common, kw_only=True):
    """Section 3.11."""

    image_list: Annotated[list[ListedImage], Meta(min_length=1, max_length=4)]
    prompt: Text = ""
    model_name: str = "kling-v1-6"
    negative_prompt: Text = ""
    mode: Mode = "std"
    duration: FiveOrTen = "5"
    aspect_ratio: VideoRatio = "16:9"


class Subject(msgspec.Struct):
    """One entry of a `subject_image_list`."""

    subject_image: File


class MultiImageToImage(Common, kw_only=True):
    """Section 3.12; an older page spells one field `scence_image`."""

    subject_image_list: Annotated[list[Subject], Meta(min_length=1, max_length=4)]
    scene_image: File = ""
    scence_image: File = ""
    style_image: File = ""
    prompt: Text = ""
    negative_prompt: Text = ""
    model_name: str = "kling-v2"
    n: Count = 1
    aspect_ratio: ImageRatio = "16:9"

    def __post_init__(self) -> None:
        scenes = bool(self.scene_image or self.scence_image)
        pictures = len(self.subject_image_list) + scenes + bool(self.style_image)
        _require(pictures >= MIN_PICTURES, "at least 2 subject, scene and style images are required")


class VideoExtend(Common, kw_only=True):
    """Section 3.13; the pages disagree on `task_id`."""

    video_id: Word
    task_id: str = ""
    prompt: Text = ""
    negative_prompt: Text = ""
    cfg_scale: Fraction = 0.5


class VirtualTryOn(Common, kw_only=True):
    """Section 3.14."""

    human_image: File
    cloth_image: File
    model_name: str = "kolors-virtual-try-on-v1"


class LipSyncInput(msgspec.Struct, kw_only=True):
    """The inner object of section 3.15."""

    mode: Literal["text2video", "audio2video"]
    video_id: str = ""
    video_url: Url = ""
    task_id: str = ""
    text: Annotated[str, Meta(max_length=120)] = ""
    voice_id: str = ""
    voice_language: Language = "zh"
    voice_speed: Speed = 1.0
    audio_type: Literal["file", "url"] | UnsetType = UNSET
    audio_file: File = ""
    audio_url: Url = ""

    def __post_init__(self) -> None:
        _require_one(video_id=self.video_id, video_url=self.video_url)
        if self.mode == "text2video":
            _require(self.text and self.voice_id, "text2video requires text and voice_id")
        elif self.audio_type == "url":
            _require(self.audio_url, "audio_type url requires audio_url")
        else:
            _require(self.audio_type == "file" and self.audio_file, "audio2video requires its audio")


class LipSync(Called, kw_only=True):
    """Section 3.15."""

    input: LipSyncInput

    @property
    def video_id(self) -> str:
        """The parent video."""
        return self.input.video_id


class EffectsInput(msgspec.Struct, kw_only=True):
    """The inner object of section 3.16."""

    image: File = ""
    images: Annotated[list[File], Meta(min_length=2, max_length=2)] = []
    duration: FiveOrTen = "5"
    model_name: str = ""
    mode: Mode = "std"

    def __post_init__(self) -> None:
        _require_one(image=self.image, images=self.images)
        _require(self.images or self.duration == "5", "effects of a single image last 5 s")


class Effects(Called, kw_only=True):
    """Section 3.16."""

    effect_scene: Word
    input: EffectsInput

    @property
    def duration(self) -> str:
        """The length of the video in seconds."""
        return self.input.duration


class VideoToAudio(Called, kw_only=True):
    """Section 3.17."""

    video_id: str = ""
    video_url: Url = ""
    sound_effect_prompt: ShortText = ""
    bgm_prompt: ShortText = ""
    asmr_mode: bool = False

    def __post_init__(self) -> None:
        _require_one(video_id=self.video_id, video_url=self.video_url)


class TextToAudio(Called, kw_only=True):
    """Section 3.18; the one duration that is a number."""

    prompt: Annotated[str, Meta(min_length=1, max_length=200)]
    duration: Annotated[float, Meta(ge=3, le=10)]

    def __post_init__(self) -> None:
        _require(round(self.duration, 1) == self.duration, "duration takes one decimal")


class IdentifyFace(VideoSource, kw_only=True):
    """Section 4.1."""


class FaceChoice(msgspec.Struct, kw_only=True):
    """One entry of `face_choose`."""

    face_id: Word
    audio_id: str = ""
    sound_file: File = ""
    sound_start_time: Milliseconds
    sound_end_time: Milliseconds
    sound_insert_time: Milliseconds
    sound_volume: Volume = 1.0
    original_audio_volume: Volume = 1.0
    original_sound_volume: Volume = 1.0

    def __post_init__(self) -> None:
        _require_one(audio_id=self.audio_id, sound_file=self.sound_file)
        cut_ms = int(self.sound_end_time) - int(self.sound_start_time)
        _require(cut_ms >= MIN_CUT_MS, "the cut must be 2000 ms or longer")


class AdvancedLipSync(Common, kw_only=True):
    """Section 4.2."""

    session_id: Word
    face_choose: Annotated[list[FaceChoice], Meta(min_length=1, max_length=1)]


class Avatar(Common, kw_only=True):
    """Section 4.3."""

    image: File
    audio_id: str = ""
    sound_file: File = ""
    prompt: Text = ""
    mode: Mode = "std"

    def __post_init__(self) -> None:
        _require_one(audio_id=self.audio_id, sound_file=self.sound_file)


class Tts(msgspec.Struct, kw_only=True):
    """Section 4.4."""

    text: Annotated[str, Meta(min_length=1, max_length=1000)]
    voice_id: Word
    voice_language: Language = "zh"
    voice_speed: Speed = 1.0


class OmniImage(msgspec.Struct):
    """One entry of omni's `image_list`."""

    image_url: File
    type: Literal["first_frame", "end_frame"] | UnsetType = UNSET


class OmniVideoSource(msgspec.Struct):
    """One entry of omni's `video_list`."""

    video_url: Annotated[str, Meta(pattern=r"^https?://\S+$")]
    refer_type: Literal["feature", "base"] = "base"
    keep_original_sound: Literal["yes", "no"] | UnsetType = UNSET


class OmniVideo(Shots, kw_only=True):
    """Section 4.5."""

    model_name: str = "kling-video-o1"
    image_list: list[OmniImage] = []
    element_list: list[Element] = []
    video_list: Annotated[list[OmniVideoSource], Meta(max_length=1)] = []
    mode: Mode = "pro"
    aspect_ratio: VideoRatio | UnsetType = UNSET

    @property
    def _edits(self) -> bool:
        return any(video.refer_type == "base" for video in self.video_list)

    @property
    def _has_first_frame(self) -> bool:
        return any(image.type == "first_frame" for image in self.image_list)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.prompt or self.customized, "prompt is required")
        limit = MAX_REFERENCES_WITH_VIDEO if self.video_list else MAX_REFERENCES
        _require(len(self.image_list) + len(self.element_list) <= limit, f"at most {limit} references")
        framed = self._edits or self._has_first_frame
        _require(framed or self.aspect_ratio is not UNSET, "aspect_ratio is required")
        _require(self._edits or self._fitting_duration(), f"duration {self.duration} is not allowed")

    def _fitting_duration(self) -> bool:
        if "v3" in self.model_name:
            return int(self.duration) in range(3, 16)
        frames_only = len(self.image_list) == 1 and self._has_first_frame
        text_only = not (self.image_list or self.element_list or self.video_list)
        return int(self.duration) in ((5, 10) if text_only or frames_only else range(3, 11))
