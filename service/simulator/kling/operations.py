"""The table of operations: where each stands, what it takes, and what it makes or answers.

Every row is one row of the reference's summary. The durations are those that section 1.10 reports.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from service.simulator.kling import bodies, direct
from service.simulator.kling.answers import Json

PREFIX = "/kling/v1"
IMAGES = ("images",)
VIDEOS = ("videos",)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation.

    Attributes:
        name: The reference's id without the family.
        path: The create path under the prefix.
        body: What it takes.
        makes: The result arrays of its tasks, in order; empty when it answers at once.
        usual_s: How long its tasks take.
        answer: Makes the data of its direct answer.
        by_external_id: Whether queries may name the caller's own id.
    """

    name: str
    path: str
    body: type[msgspec.Struct]
    makes: tuple[str, ...] = ()
    usual_s: float = 120.0
    answer: Callable[[direct.Desk, Any], Json] | None = None
    by_external_id: bool = True


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="multi_elements_init",
        path="/videos/multi-elements/init-selection",
        body=bodies.InitSelection,
        answer=direct.init_selection,
    ),
    Operation(
        name="multi_elements_add_selection",
        path="/videos/multi-elements/add-selection",
        body=bodies.Selection,
        answer=direct.add_selection,
    ),
    Operation(
        name="multi_elements_delete_selection",
        path="/videos/multi-elements/delete-selection",
        body=bodies.Selection,
        answer=direct.delete_selection,
    ),
    Operation(
        name="multi_elements_clear_selection",
        path="/videos/multi-elements/clear-selection",
        body=bodies.Session,
        answer=direct.clear_selection,
    ),
    Operation(
        name="multi_elements_preview_selection",
        path="/videos/multi-elements/preview-selection",
        body=bodies.Session,
        answer=direct.preview_selection,
    ),
    Operation(
        name="multi_elements_create_task",
        path="/videos/multi-elements",
        body=bodies.MultiElements,
        makes=VIDEOS,
    ),
    Operation(
        name="image_generation",
        path="/images/generations",
        body=bodies.ImageGeneration,
        makes=IMAGES,
        usual_s=25.0,
    ),
    Operation(
        name="image_expand",
        path="/images/editing/expand",
        body=bodies.ImageExpand,
        makes=IMAGES,
        usual_s=25.0,
    ),
    Operation(
        name="text_to_video",
        path="/videos/text2video",
        body=bodies.TextToVideo,
        makes=VIDEOS,
    ),
    Operation(
        name="image_to_video",
        path="/videos/image2video",
        body=bodies.ImageToVideo,
        makes=VIDEOS,
    ),
    Operation(
        name="multi_image_to_video",
        path="/videos/multi-image2video",
        body=bodies.MultiImageToVideo,
        makes=VIDEOS,
    ),
    Operation(
        name="multi_image_to_image",
        path="/images/multi-image2image",
        body=bodies.MultiImageToImage,
        makes=IMAGES,
        usual_s=25.0,
    ),
    Operation(
        name="video_extend",
        path="/videos/video-extend",
        body=bodies.VideoExtend,
        makes=VIDEOS,
    ),
    Operation(
        name="virtual_try_on",
        path="/images/kolors-virtual-try-on",
        body=bodies.VirtualTryOn,
        makes=IMAGES,
        usual_s=25.0,
    ),
    Operation(
        name="lip_sync",
        path="/videos/lip-sync",
        body=bodies.LipSync,
        makes=VIDEOS,
    ),
    Operation(
        name="effects",
        path="/videos/effects",
        body=bodies.Effects,
        makes=VIDEOS,
    ),
    Operation(
        name="video_to_audio",
        path="/audio/video-to-audio",
        body=bodies.VideoToAudio,
        makes=("videos", "audios"),
        usual_s=60.0,
    ),
    Operation(
        name="text_to_audio",
        path="/audio/text-to-audio",
        body=bodies.TextToAudio,
        makes=("audios",),
        usual_s=20.0,
    ),
    Operation(
        name="identify_face",
        path="/videos/identify-face",
        body=bodies.IdentifyFace,
        answer=direct.identify_face,
    ),
    Operation(
        name="advanced_lip_sync",
        path="/videos/advanced-lip-sync",
        body=bodies.AdvancedLipSync,
        makes=VIDEOS,
        by_external_id=False,
    ),
    Operation(
        name="avatar",
        path="/videos/avatar/image2video",
        body=bodies.Avatar,
        makes=VIDEOS,
        usual_s=180.0,
    ),
    Operation(
        name="tts",
        path="/audio/tts",
        body=bodies.Tts,
        answer=direct.tts,
    ),
    Operation(
        name="omni_video",
        path="/videos/omni-video",
        body=bodies.OmniVideo,
        makes=VIDEOS,
        usual_s=80.0,
    ),
)

BY_NAME = {operation.name: operation for operation in OPERATIONS}
BY_PATH = {PREFIX + operation.path: operation for operation in OPERATIONS}


def operation_of(path: str, body: Json) -> Operation:
    """Find the operation that a request means; one path is shared, there the body tells."""
    if path == f"{PREFIX}/images/generations" and "subject_image_list" in body:
        return BY_NAME["multi_image_to_image"]
    return BY_PATH[path]
