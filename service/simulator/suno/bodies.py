"""What may be sent to the family: its typed bodies, and what each scenario of the music call must hold.

One call makes all music; which fields it needs follows from `task`.
"""

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Link = Annotated[str, msgspec.Meta(pattern=r"^https?://")]
Text = str | None

STEMS = {"Two": "two", "Twelve": "twelve"}
_STEM_FIELDS = ("title", "task_id", "continue_clip_id", "stem_type_id", "stem_type_group_name", "stem_task")
REQUIRED: dict[str, tuple[str, ...]] = {
    "extend": ("continue_clip_id", "continue_at"),
    "upload_extend": ("continue_clip_id", "continue_at"),
    "cover": ("cover_clip_id",),
    "infill": ("continue_clip_id", "infill_start_s", "infill_end_s"),
    "artist_consistency": ("task_id", "persona_id", "artist_clip_id"),
    "artist_consistency_vox": ("task_id", "persona_id", "artist_clip_id"),
    "underpainting": ("underpainting_clip_id", "underpainting_start_s", "underpainting_end_s"),
    "overpainting": ("overpainting_clip_id", "overpainting_start_s", "overpainting_end_s"),
    "gen_stem": _STEM_FIELDS,
}


class Sliders(msgspec.Struct, frozen=True, kw_only=True):
    """How strongly style, strangeness and source are to be felt."""

    style_weight: Share | None = None
    weirdness_constraint: Share | None = None
    audio_weight: Share | None = None


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """Advanced controls."""

    create_mode: Literal["custom"] | None = None
    control_sliders: Sliders | None = None
    can_control_sliders: list[str] | None = None
    vocal_gender: Literal["m", "f"] | None = None
    is_remix: bool | None = None


class Music(msgspec.Struct, frozen=True, kw_only=True):
    """The music call with the fields of all scenarios."""

    mv: str = "chirp-v3-0"
    gpt_description_prompt: Text = None
    prompt: Text = None
    tags: Text = None
    negative_tags: Text = None
    title: Text = None
    make_instrumental: bool = False
    generation_type: Literal["TEXT"] | None = None
    task: Text = None
    task_id: Text = None
    continue_clip_id: Text = None
    continue_at: Seconds | None = None
    continued_aligned_prompt: Text = None
    infill_start_s: Seconds | None = None
    infill_end_s: Seconds | None = None
    infill_dur_s: Seconds | None = None
    infill_context_start_s: Seconds | None = None
    infill_context_end_s: Seconds | None = None
    cover_clip_id: Text = None
    persona_id: Text = None
    artist_clip_id: Text = None
    underpainting_clip_id: Text = None
    underpainting_start_s: Seconds | None = None
    underpainting_end_s: Seconds | None = None
    overpainting_clip_id: Text = None
    overpainting_start_s: Seconds | None = None
    overpainting_end_s: Seconds | None = None
    override_fields: list[str] | None = None
    stem_type_id: int | None = None
    stem_type_group_name: Text = None
    stem_task: Text = None
    metadata: Controls | None = None
    notify_hook: Text = None


class Lyrics(msgspec.Struct, frozen=True, kw_only=True):
    """A theme or seed text."""

    prompt: str = ""
    notify_hook: Text = None


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A public link to a song."""

    url: Link


class Concat(msgspec.Struct, frozen=True, kw_only=True):
    """The last part of a song that was extended."""

    clip_id: Annotated[str, msgspec.Meta(min_length=1)]
    is_infill: bool = False


class Persona(msgspec.Struct, frozen=True, kw_only=True):
    """A voice, taken from a finished clip."""

    root_clip_id: str
    name: str
    description: str
    clips: list[str]
    is_public: bool


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks to be read at once."""

    ids: list[str]
    action: Literal["MUSIC", "LYRICS"] | None = None


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """A style in few words."""

    original_tags: str


class Vox(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a clip."""

    vocal_start_s: Seconds
    vocal_end_s: Seconds


def fault_of(music: Music) -> str:
    """Say what is wrong with a music call, in the relay's words; empty when nothing is."""
    if music.task and music.task not in REQUIRED:
        return "invalid_action"
    missing = [name for name in REQUIRED.get(music.task or "", ()) if getattr(music, name) is None]
    if music.continue_clip_id and not music.task_id:
        return "task id is empty"
    if missing:
        return f"{missing[0]} is required"
    if music.task == "gen_stem":
        return _stem_fault(music)
    return "" if music.gpt_description_prompt or music.prompt is not None else "prompt_empty"


def _stem_fault(music: Music) -> str:
    fixed = {"generation_type": "TEXT", "make_instrumental": True, "mv": "chirp-auk", "prompt": "", "stem_type_id": 91}
    wrong = [name for name, value in fixed.items() if getattr(music, name) != value]
    if wrong:
        return f"{wrong[0]} must be {fixed[wrong[0]]!r}"
    fits = STEMS.get(music.stem_type_group_name or "") == music.stem_task
    return "" if fits else "stem_task does not fit stem_type_group_name"
