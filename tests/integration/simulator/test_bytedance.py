"""The seed models over real sockets: the provider's tasks, their callbacks, and pictures on the shared routes."""

from typing import Any

import pytest
from aiohttp import web

from service.simulator.bytedance import PATH, Bytedance, image_answer
from service.simulator.family import Call, Family, Operation, sample
from tests.fakes.caller import Caller, playing
from tests.fakes.receiver import Receiver

MODEL = "doubao-seedance-1-5-pro-251215"
TEXT = {"type": "text", "text": "a lighthouse --rs 720p"}
PICTURE = "https://files.example/a.png"


def _image(role: str | None = None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": PICTURE}} | ({"role": role} if role else {})


class Pictures(Family):
    """The shared picture routes with nothing but this family behind them."""

    def operations(self) -> tuple[Operation, ...]:
        """List both operations."""
        return (
            Operation(name="image_generation", path="/v1/images/generations", answer=self._generate),
            Operation(name="image_edit", path="/v1/images/edits", answer=self._edit, encoding=("form",)),
        )

    async def _generate(self, call: Call) -> web.Response:
        return image_answer(call, edit=False)

    async def _edit(self, call: Call) -> web.Response:
        return image_answer(call, edit=True)


async def _ended(caller: Caller, text: str = "p", **more: Any) -> tuple[int, Any]:
    body = {"model": MODEL, "content": [{"type": "text", "text": text}], **more}
    _, accepted = await caller.post(PATH, body)
    return await caller.get(f"{PATH}/{accepted['id']}")


async def test_a_task_ends_with_its_video_and_its_last_frame() -> None:
    """A success holds the video, the last frame when asked for, and no error."""
    async with playing(Bytedance, duration_s=0.0) as caller:
        _, plain = await _ended(caller)
        _, framed = await _ended(caller, return_last_frame=True)

    assert (plain["status"], plain["error"], set(plain["content"])) == ("succeeded", None, {"video_url"})
    assert set(framed["content"]) == {"video_url", "last_frame_url"}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ([TEXT], 200),
        ([_image()], 200),
        ([TEXT, _image("first_frame"), _image("last_frame")], 200),
        ([TEXT, _image(), _image()], 400),
        ([TEXT, _image("first_frame"), _image("reference_image")], 400),
        ([{"type": "text", "text": " "}], 400),
        ([{"type": "audio_url", "audio_url": {"url": PICTURE}, "role": "reference_audio"}], 400),
        ([{"type": "poem"}], 400),
    ],
)
async def test_the_three_modes_of_pictures_exclude_each_other(content: list[Any], status: int) -> None:
    """Words, one frame or both frames are taken; mixtures, nothing and unknown kinds are refused."""
    async with playing(Bytedance) as caller:
        found, told = await caller.post(PATH, {"model": MODEL, "content": content})

    assert (found, told.get("error", {}).get("code")) == (status, "InvalidParameter" if status == 400 else None)


@pytest.mark.parametrize(
    "more", [{"duration": 13}, {"frames": 57}, {"resolution": "2K"}, {"model": "doubao-seedance-1-0-pro", "frames": 30}]
)
async def test_body_fields_are_checked(more: dict[str, Any]) -> None:
    """Lengths, frames and resolutions that the model does not know are refused."""
    async with playing(Bytedance) as caller:
        status, told = await caller.post(PATH, {"model": MODEL, "content": [TEXT]} | more)

    assert (status, told["error"]["type"]) == (400, "BadRequest")


async def test_failures_and_unknown_ids() -> None:
    """The output filter has its own code; an id that was never given is 404."""
    async with playing(Bytedance, duration_s=0.0) as caller:
        status, told = await _ended(caller, "[[moderation]]")
        unknown = await caller.get(f"{PATH}/cgt-1")

    assert (status, told["status"], told["content"]) == (200, "failed", None)
    assert told["error"]["code"] == "OutputVideoSensitiveContentDetected"
    assert unknown == (404, {"error": {"message": "Task not found"}})


async def test_callbacks_are_the_querys_body_under_the_providers_id() -> None:
    """Each change is posted; behind a relay with ids of its own the callback carries another id."""
    async with Receiver() as receiver, playing(Bytedance, duration_s=0.05, relay_ids=True) as caller:
        body = {"model": MODEL, "content": [TEXT], "callback_url": receiver.url}
        _, accepted = await caller.post(PATH, body)
        posts = [got.event for got in await receiver.wait_for(3)]

    assert [post["status"] for post in posts] == ["queued", "running", "succeeded"]
    assert posts[-1]["content"]["video_url"]
    assert {post["id"] for post in posts} != {accepted["id"]}


async def test_a_moderated_set_loses_one_picture() -> None:
    """A set holds good pictures and one error item under HTTP 200."""
    body = {
        "model": "doubao-seedream-4-0-250828",
        "prompt": "[[moderation]]",
        "sequential_image_generation": "auto",
        "sequential_image_generation_options": {"max_images": 3},
    }
    async with playing(Pictures) as caller:
        status, told = await caller.post("/v1/images/generations", body)

    assert status == 200
    assert [sorted(item) for item in told["data"]] == [["url"], ["url"], ["error"]]
    assert told["usage"]["generated_images"] == 2


async def test_an_edit_needs_its_picture() -> None:
    """The form is refused without a file and answered inline when asked to."""
    fields = {"prompt": "p", "model": "seedream-4-0-250828", "response_format": "b64_json", "guidance_scale": 5.5}
    async with playing(Pictures) as caller:
        missing = await caller.send_form("/v1/images/edits", fields)
        status, told = await caller.send_form("/v1/images/edits", fields, image=("a.png", sample("png"), "image/png"))

    assert (missing[0], missing[1]["error"]["code"]) == (400, "InvalidParameter")
    assert (status, list(told["data"][0])) == (200, ["b64_json"])
