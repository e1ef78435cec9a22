"""MiniMax over real sockets: refusals in HTTP 200, the file behind a video, the challenge of a callback address."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from service.simulator.minimax import Minimax
from tests.fakes.caller import get, post, solo
from tests.fakes.receiver import Receiver

CREATE, QUERY, FILE = "/v1/video_generation", "/v1/query/video_generation", "/v1/files/retrieve"
MODEL = "MiniMax-Hailuo-02"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator whose tasks end at once, and that plays this family alone."""
    async with solo(Minimax) as session:
        yield session


async def made(client: aiohttp.ClientSession, prefix: str = "", **body: Any) -> Any:
    """Make a video and return what a query tells of it."""
    _, answer = await post(client, prefix + CREATE, **({"model": MODEL} | body))
    assert answer["base_resp"]["status_code"] == 0, answer
    return (await get(client, prefix + QUERY, task_id=answer["task_id"]))[1]


async def echo(request: web.Request) -> web.Response:
    """Repeat what came, as a challenge wants it."""
    return web.json_response(await request.json())


@pytest.mark.parametrize("prefix", ["", "/minimax"])
async def test_video_takes_another_call(client: aiohttp.ClientSession, prefix: str) -> None:
    """A query names a file and no link; the file's link leads to a video, with or without a relay's prefix."""
    done = await made(client, prefix, prompt="a fox [Push in]")
    _, retrieved = await get(client, prefix + FILE, file_id=done["file_id"])

    async with client.get(retrieved["file"]["download_url"]) as file:
        kind = file.content_type
    assert (done["status"], kind) == ("Success", "video/mp4")
    assert retrieved["file"]["file_id"] == int(done["file_id"])


async def test_wrapped_answer_has_the_link(client: aiohttp.ClientSession) -> None:
    """A relay resolves the file itself and puts its id where a reason would stand."""
    told = (await made(client, prompt="[[envelope:double]]"))["data"]

    assert (told["status"], told["fail_reason"]) == ("SUCCESS", told["data"]["file_id"])
    assert "/media/" in told["data"]["file"]["download_url"]


async def test_failures_have_a_code(client: aiohttp.ClientSession) -> None:
    """A failed task has its service code and text; sensitive output has a code of its own."""
    failed = await made(client, prompt="[[fail:no luck]]")
    moderated = await made(client, prompt="[[moderation]]")

    assert (failed["status"], failed["base_resp"]) == ("Fail", {"status_code": 1024, "status_msg": "no luck"})
    assert moderated["base_resp"]["status_code"] == 1027


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"prompt": "p"}, 2013),
        ({"model": MODEL}, 2013),
        ({"model": MODEL, "prompt": "p", "duration": 10, "resolution": "1080P"}, 2013),
        ({"model": "I2V-01", "prompt": "p"}, 2013),
        ({"model": "S2V-01", "prompt": "p"}, 2013),
        ({"model": MODEL, "prompt": "p", "last_frame_image": "not a picture"}, 2013),
        ({"model": MODEL, "prompt": "[[busy]]"}, 1002),
        ({"model": MODEL, "prompt": "[[refuse:1026]]"}, 1026),
    ],
)
async def test_refusals_come_with_200(client: aiohttp.ClientSession, body: Any, code: int) -> None:
    """A refusal is HTTP 200 with a service code and an empty id."""
    status, answer = await post(client, CREATE, **body)

    assert (status, answer["task_id"], answer["base_resp"]["status_code"]) == (200, "", code)


@pytest.mark.parametrize(("path", "query"), [(QUERY, {"task_id": "1"}), (FILE, {"file_id": "1"}), (FILE, {})])
async def test_unknown_ids(client: aiohttp.ClientSession, path: str, query: dict[str, str]) -> None:
    """An unknown id is a service code without any status word."""
    _, answer = await get(client, path, **query)

    assert (list(answer), answer["base_resp"]["status_code"]) == (["base_resp"], 2013)


async def test_updates_follow_a_passed_challenge(client: aiohttp.ClientSession, receiver: Receiver) -> None:
    """The address is challenged before the submission is answered; whoever repeats the word gets updates."""
    receiver.answers.append(echo)
    _, answer = await post(client, CREATE, model=MODEL, prompt="a fox", callback_url=receiver.url)
    challenge, *updates = [got.event for got in await receiver.wait_for(4)]

    assert list(challenge) == ["challenge"]
    assert [update["status"] for update in updates] == ["processing", "processing", "success"]
    assert updates[-1]["task_id"] == answer["task_id"]


async def test_no_updates_after_a_failed_challenge(client: aiohttp.ClientSession, receiver: Receiver) -> None:
    """An address that does not repeat the word gets nothing more, and the video is made all the same."""
    done = await made(client, prompt="a fox [[callback:early]]", callback_url=receiver.url)

    assert (done["status"], [list(got.event) for got in receiver.got]) == ("Success", [["challenge"]])
