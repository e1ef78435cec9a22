"""The buttons under a finished task, and what pressing each of them does.

The custom ids carry a hash of their task, so that one cannot be pressed on another task.
"""

import hashlib
from typing import Any

import msgspec

Json = dict[str, Any]


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of button does.

    Attributes:
        starts: How the custom id begins.
        action: Action of the task that it makes.
        window: Whether it opens a window that must be confirmed first.
        remix: Whether it does so when remix is forced.
        once: Whether pressing it again leads to the task that is there already.
    """

    starts: str
    action: str
    window: bool = False
    remix: bool = False
    once: bool = False


PRESSES = (
    Press(starts="MJ::JOB::upsample_", action="UPSCALE"),
    Press(starts="MJ::JOB::upsample::", action="UPSCALE", once=True),
    Press(starts="MJ::JOB::variation::", action="VARIATION", remix=True),
    Press(starts="MJ::JOB::reroll::", action="REROLL", remix=True),
    Press(starts="MJ::JOB::low_variation::", action="LOW_VARIATION", remix=True),
    Press(starts="MJ::JOB::high_variation::", action="HIGH_VARIATION", remix=True),
    Press(starts="MJ::JOB::pan_", action="PAN", remix=True),
    Press(starts="MJ::Outpaint::", action="ZOOM"),
    Press(starts="MJ::CustomZoom::", action="CUSTOM_ZOOM", window=True),
    Press(starts="MJ::Inpaint::", action="INPAINT", window=True),
    Press(starts="MJ::Job::PicReader::", action="IMAGINE"),
    Press(starts="MJ::Picread::Retry", action="DESCRIBE"),
)
GRID = (
    *((f"U{n}", "", f"MJ::JOB::upsample::{n}::{{hash}}") for n in range(1, 5)),
    ("", "🔄", "MJ::JOB::reroll::0::{hash}::SOLO"),
    *((f"V{n}", "", f"MJ::JOB::variation::{n}::{{hash}}") for n in range(1, 5)),
)
SINGLE = (
    ("Upscale (Subtle)", "", "MJ::JOB::upsample_v6_2x_subtle::1::{hash}::SOLO"),
    ("Upscale (Creative)", "", "MJ::JOB::upsample_v6_2x_creative::1::{hash}::SOLO"),
    ("Vary (Subtle)", "", "MJ::JOB::low_variation::1::{hash}::SOLO"),
    ("Vary (Strong)", "", "MJ::JOB::high_variation::1::{hash}::SOLO"),
    ("Vary (Region)", "", "MJ::Inpaint::1::{hash}::SOLO"),
    ("Zoom Out 2x", "", "MJ::Outpaint::50::1::{hash}::SOLO"),
    ("Custom Zoom", "", "MJ::CustomZoom::{hash}"),
    ("", "⬅️", "MJ::JOB::pan_left::1::{hash}::SOLO"),
)
SUGGESTIONS = (
    *(("", f"{n}️⃣", f"MJ::Job::PicReader::{n}") for n in range(1, 5)),
    ("Imagine all", "", "MJ::Job::PicReader::all"),
    ("", "🔄", "MJ::Picread::Retry"),
)
_ROWS = {"UPSCALE": SINGLE, "DESCRIBE": SUGGESTIONS, "SHORTEN": (), "VIDEO": (), "SWAP_FACE": ()}


def buttons_of(task_id: str, action: str) -> list[Json]:
    """List the buttons under a finished task."""
    digest = hashlib.sha256(task_id.encode()).hexdigest()[:8]
    return [
        {"customId": custom_id.format(hash=digest), "emoji": emoji, "label": label, "type": 2, "style": 2}
        for label, emoji, custom_id in _ROWS.get(action, GRID)
    ]


def press_of(custom_id: str) -> Press | None:
    """Tell what pressing a button does; None when no such button exists."""
    return next((press for press in PRESSES if custom_id.startswith(press.starts)), None)
