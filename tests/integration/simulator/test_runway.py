"""Both surfaces of Runway over real sockets: accepted and refused bodies, states, results, callbacks."""

from typing import Any

import pytest

from service.simulator.runway import VERSION_HEADER, Runway
from service.simulator.runway_reverse import RunwayReverse
from tests.fakes.caller import Caller, playing
from tests.fakes.receiver import Receiver

VERSION = {VERSION_HEADER: "2024-11-06"}
URL = "https://files.example/a.mp4"
PICTURE = {"uri": "https://files.example/a.png"}
BODIES: dict[str, dict[str, Any]] = {
    "image_to_video": {"promptImage": PICTURE["uri"], "model": "gen3a_turbo"},
    "video_to_video": {"videoUri": URL, "promptText": "p", "model": "gen4_aleph", "ratio": "1280:720"},
    "text_to_image": {
        "promptText": "p",
        "model": "gen4_image",
        "ratio": "1024:1024",
        "referenceImages": [{**PICTURE, "tag": "Hat"}],
    },
    "video_upscale": {"videoUri": URL, "model": "upscale_v1"},
    "character_performance": {
        "character": {"type": "image", **PICTURE},
        "reference": {"type": "video", "uri": URL},
        "model": "act_two",
    },
}
CLIP = {"callback_url": "http://127.0.0.1:9/cb", "prompt": "p", "model": "gen4"}
REVERSE: dict[str, tuple[str, dict[str, Any]]] = {
    "reverse_text_to_video": (
        "generate",
        {**CLIP, "ratio": "16:9", "style": "cinematic", "options": {"seconds": 10, "motion_vector": {"x": 0}}},
    ),
    "reverse_image_to_video": ("generate", {**CLIP, "image": PICTURE["uri"], "ratio": "1280:720"}),
    "reverse_video_to_video": ("video2video", {**CLIP, "video": URL, "options": {"seconds": 5}}),
    "reverse_act_one": ("act_one", {"callback_url": CLIP["callback_url"], "video": URL, "image": PICTURE["uri"]}),
}


async def _ended(caller: Caller, operation: str, **more: Any) -> Any:
    _, accepted = await caller.post(f"/runwayml/v1/{operation}", BODIES[operation] | more, VERSION)
    _, told = await caller.get(f"/runwayml/v1/tasks/{accepted['id']}")
    return told


@pytest.mark.parametrize(
    ("operation", "suffix"), [(name, "png" if name == "text_to_image" else "mp4") for name in BODIES]
)
async def test_official_operations_end_with_a_link(operation: str, suffix: str) -> None:
    """Every official operation is accepted with its id alone and ends with one link of its kind."""
    async with playing(Runway, duration_s=0.0) as caller:
        told = await _ended(caller, operation)

        assert told["status"] == "SUCCEEDED"
        assert told["output"][0].partition("?")[0].endswith(f".{suffix}")
        assert "failure" not in told
        assert caller.simulator.requests[0].unknown_keys == ()


async def test_official_refusals() -> None:
    """A missing version header, a wrong ratio and a picture-less text are refused, each in its own shape."""
    async with playing(Runway) as caller:
        bare = await caller.post("/runwayml/v1/image_to_video", BODIES["image_to_video"])
        wrong = await caller.post("/runwayml/v1/image_to_video", BODIES["image_to_video"] | {"ratio": "7:1"}, VERSION)
        no_picture = BODIES["text_to_image"] | {"referenceImages": []}
        empty = await caller.post("/runwayml/v1/text_to_image", no_picture, VERSION)

    assert (bare[0], VERSION_HEADER in bare[1]["error"]) == (400, True)
    assert (wrong[0], "ratio" in wrong[1]["error"]) == (400, True)
    assert (empty[0], empty[1]["code"]) == (400, "reference_images_empty")


async def test_official_failures_name_their_code() -> None:
    """A moderated task carries a SAFETY code, another failure its text; a relay may give up on a running task."""
    async with playing(Runway, duration_s=0.0) as caller:
        moderated = await _ended(caller, "image_to_video", promptText="[[moderation]]")
        failed = await _ended(caller, "image_to_video", promptText="[[fail:no face]]")
        given_up = await _ended(caller, "image_to_video", promptText="[[gave_up]][[envelope:wrapped]]")

    assert moderated["failureCode"].startswith("SAFETY.")
    assert failed["failure"] == "no face"
    assert (given_up["data"]["status"], given_up["data"]["data"]["status"]) == ("FAILURE", "RUNNING")


async def test_wrapped_success_keeps_its_link_as_the_reason() -> None:
    """In the relay's older form a success has the link where a failure has its reason."""
    async with playing(Runway, duration_s=0.0, envelope="double") as caller:
        told = await _ended(caller, "image_to_video")

    data = told["data"]
    assert (told["code"], data["status"], data["progress"]) == ("success", "SUCCESS", "100%")
    assert data["fail_reason"] == data["data"]["output"][0]


@pytest.mark.parametrize("operation", REVERSE)
async def test_reverse_operations_end_in_the_feed(operation: str) -> None:
    """Every reverse operation is accepted in an envelope with a code and is found in the feed, numbers as texts."""
    end, body = REVERSE[operation]
    async with playing(RunwayReverse, duration_s=0.0) as caller:
        _, accepted = await caller.post(f"/runway/pro/{end}", body)
        _, told = await caller.post("/runway/feed", {"task_id": accepted["data"]["task_id"]})

        assert accepted["code"] == told["code"] == 200
        assert told["data"]["status"] == "3"
        assert ".mp4" in told["data"]["video_url"]
        assert caller.simulator.tasks[0].operation == operation


async def test_reverse_refusals_come_inside_http_200() -> None:
    """Wrong bodies are refused inside HTTP 200, a missing callback URL by the relay; ids stay on their surface."""
    body = REVERSE["reverse_act_one"][1]
    async with playing(Runway, RunwayReverse) as caller:
        wrong = await caller.post("/runway/pro/act_one", body | {"video": ""})
        silent = await caller.post("/runway/pro/act_one", {key: body[key] for key in ("video", "image")})
        _, official = await caller.post("/runwayml/v1/video_upscale", BODIES["video_upscale"], VERSION)
        stranger = await caller.post("/runway/feed", {"task_id": official["id"]})

    assert (wrong[0], wrong[1]["code"], wrong[1]["data"]) == (200, 400, None)
    assert (silent[0], silent[1]["code"]) == (400, "callback_url_empty")
    assert (stranger[0], stranger[1]["code"]) == (400, "task_not_exist")


async def test_reverse_callbacks_come_without_an_envelope() -> None:
    """Each change is posted as the bare task, the failure with its reason and its refund."""
    async with Receiver() as receiver, playing(RunwayReverse, duration_s=0.05) as caller:
        body = REVERSE["reverse_image_to_video"][1] | {"callback_url": receiver.url, "prompt": "[[fail:no face]]"}
        await caller.post("/runway/pro/generate", body)
        posts = [got.event for got in await receiver.wait_for(3)]

    assert [post["status"] for post in posts] == ["0", "1", "2"]
    assert (posts[-1]["msg"], posts[-1]["refund"]) == ("no face", "1")
