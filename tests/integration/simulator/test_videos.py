"""The shared video route over real sockets: the model decides the shape; pictures, remix and bytes."""

import struct
from typing import Any

import pytest

from service.simulator.sora import Sora
from service.simulator.veo import Veo
from service.simulator.videos import Videos
from tests.fakes.caller import Caller, playing

PATH = "/v1/videos"
ENDS = [("sora-2", "completed"), ("veo3-fast", "completed"), ("doubao-seedance-2-0", "SUCCESS")]


def _png(width: int, height: int) -> tuple[str, bytes, str]:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return "a.png", head + bytes(64), "image/png"


async def _made(caller: Caller, model: str = "sora-2", **fields: Any) -> Any:
    status, accepted = await caller.send_form(PATH, {"prompt": "p", "model": model} | fields)
    assert status == 200, accepted
    return accepted


@pytest.mark.parametrize(("model", "word"), ENDS)
async def test_the_model_decides_the_words(model: str, word: str) -> None:
    """Each family accepts its models over one path and ends in its own word, with a link."""
    async with playing(Videos, duration_s=0.0) as caller:
        accepted = await _made(caller, model)
        _, told = await caller.get(f"{PATH}/{accepted['id']}")

    assert accepted["model"] == model
    assert (told["status"], told["progress"]) == (word, 100)
    assert ".mp4" in told["video_url"]


async def test_the_operation_in_the_journal_is_the_familys() -> None:
    """What was created and what was asked carry the reference's id of the family that the model belongs to."""
    async with playing(Videos) as caller:
        for model, _ in ENDS:
            await _made(caller, model)

        names = [task.operation for task in caller.simulator.tasks]

    assert names == ["create_video_openai", "videos_create", "seedance_video"]


async def test_json_is_taken_where_there_is_no_file() -> None:
    """A text-only submission may come as JSON, and its length must then be a text."""
    async with playing(Videos) as caller:
        right = await caller.post(PATH, {"prompt": "p", "seconds": "8"})
        wrong = await caller.post(PATH, {"prompt": "p", "seconds": 8})
        unknown = await caller.post(PATH, {"prompt": "p", "model": "nope-1"})

    assert (right[0], right[1]["model"], right[1]["seconds"]) == (200, "sora-2", "8")
    assert (wrong[0], wrong[1]["error"]["type"]) == (400, "invalid_request_error")
    assert (unknown[0], unknown[1]["error"]["code"]) == (503, "model_not_found")


async def test_each_family_looks_at_its_own_faults() -> None:
    """Sora measures the picture, Seedance the length, and older Seedance models take no picture."""
    fields = {"prompt": "p", "size": "1280x720"}
    older = {"prompt": "p", "model": "doubao-seedance-1-0-pro"}
    async with playing(Videos) as caller:
        fits = await caller.send_form(PATH, fields, input_reference=_png(1280, 720))
        other = await caller.send_form(PATH, fields, input_reference=_png(64, 64))
        long = await caller.send_form(PATH, older | {"seconds": 11})
        picture = await caller.send_form(PATH, older, input_reference=_png(64, 64))

    assert fits[0] == 200
    assert (other[0], "width and height" in other[1]["error"]["message"]) == (400, True)
    assert (long[0], long[1]["error"]["code"]) == (400, "InvalidParameter")
    assert (picture[0], "task_type r2v" in picture[1]["error"]["message"]) == (400, True)


async def test_bytes_come_after_the_end() -> None:
    """Before the end the bytes are refused in JSON; afterwards they are an mp4, and a thumbnail is a picture."""
    async with playing(Videos) as caller:
        waiting = await _made(caller)
        early = await caller.get(f"{PATH}/{waiting['id']}/content")
        ended = await _made(caller, prompt="[[duration:0]]")
        film = await caller.get(f"{PATH}/{ended['id']}/content")
        still = await caller.get(f"{PATH}/{ended['id']}/content?variant=thumbnail")

    assert (early[0], early[1]["error"]["type"]) == (400, "invalid_request_error")
    assert film[1][4:8] == b"ftyp"
    assert still[1].startswith(b"\x89PNG")


async def test_a_remix_names_its_source() -> None:
    """Only a finished Sora video can be remixed; the new one says which it came from."""
    async with playing(Videos) as caller:
        waiting = await _made(caller)
        early = await caller.post(f"{PATH}/{waiting['id']}/remix", {"prompt": "p"})
        ended = await _made(caller, prompt="[[duration:0]]")
        remixed = await caller.post(f"{PATH}/{ended['id']}/remix", {"prompt": "at night"})

    assert early[0] == 400
    assert remixed[1]["remixed_from_video_id"] == ended["id"]
    assert remixed[1]["id"] != ended["id"]


async def test_tasks_of_other_routes_are_unknown_here() -> None:
    """A task that was made over a family's own route is not found over the shared one."""
    async with playing(Videos, Sora, Veo) as caller:
        _, made = await caller.post("/sora/v1/videos", {"prompt": "p"})
        status, told = await caller.get(f"{PATH}/{made['data']}")

    assert (status, told["code"]) == (400, "task_not_exist")


async def test_the_providers_own_envelope_has_no_link() -> None:
    """With the `openai` envelope a finished Sora video has to be fetched as bytes."""
    async with playing(Videos, duration_s=0.0, envelope="openai") as caller:
        made = await _made(caller)
        _, told = await caller.get(f"{PATH}/{made['id']}")

    assert told["status"] == "completed"
    assert "video_url" not in told
