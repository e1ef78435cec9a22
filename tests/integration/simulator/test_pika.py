"""Pika over real sockets: the dm dialect with its refusals in HTTP 200, and the native one."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator.pika import DM, FEED, NATIVE, Pika
from tests.fakes.caller import get, post, solo
from tests.fakes.receiver import Receiver

HOOK = "https://hooks.example/x"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator whose tasks end at once, and that plays this family alone."""
    async with solo(Pika) as session:
        yield session


async def made(client: aiohttp.ClientSession, **body: Any) -> Any:
    """Make a clip in the dm dialect and return what the feed tells of it."""
    _, answer = await post(client, DM, **({"callback_url": HOOK} | body))
    assert answer["code"] == 200, answer
    return (await post(client, FEED, task_id=answer["data"]["task_id"]))[1]["data"]


@pytest.mark.parametrize(
    "more",
    [
        {"ratio": "9:16", "options": {"camera": {"pan": "left"}, "parameters": {"motion": 4}}},
        {"image": "https://files.example/a.png", "style": "Melt"},
        {"video": "https://files.example/a.mp4", "sfx": True},
    ],
)
async def test_feed_gives_the_video(client: aiohttp.ClientSession, more: Any) -> None:
    """All three operations share a route; the feed ends at status 3 with a video."""
    done = await made(client, prompt="a fox", **more)

    async with client.get(done["video_url"]) as file:
        kind = file.content_type
    assert (done["status"], done["state"], kind) == ("3", "succeeded", "video/mp4")


async def test_feed_by_get_and_by_post(client: aiohttp.ClientSession) -> None:
    """The feed answers both methods alike; an unknown id is refused inside HTTP 200."""
    done = await made(client, prompt="a fox")
    _, asked = await get(client, FEED, task_id=done["task_id"])
    status, unknown = await post(client, FEED, task_id="nobody")

    assert asked["data"]["video_url"].partition("?")[0] == done["video_url"].partition("?")[0]
    assert (status, unknown["code"], unknown["data"]) == (200, 400, None)


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "a fox"},
        {"callback_url": HOOK},
        {"prompt": "a fox", "callback_url": HOOK, "options": {"frameRate": 60}},
        {"prompt": "a fox", "callback_url": HOOK, "style": "Boil"},
        {"prompt": "[[busy]]", "callback_url": HOOK},
        {"prompt": "[[refuse:1]]", "callback_url": HOOK},
    ],
)
async def test_refusals_come_with_200(client: aiohttp.ClientSession, body: Any) -> None:
    """A refusal is HTTP 200 with another code and its reason."""
    status, answer = await post(client, DM, **body)

    assert (status, answer["code"], answer["data"], bool(answer["msg"])) == (200, 400, None, True)


async def test_failure_is_refunded(client: aiohttp.ClientSession) -> None:
    """A failed clip has status 2, its reason, and the points back."""
    failed = await made(client, prompt="[[fail:no luck]]")

    assert (failed["status"], failed["msg"], failed["refund"], failed["video_url"]) == ("2", "no luck", "20", "")


async def test_native_dialect(client: aiohttp.ClientSession) -> None:
    """A native clip is asked for by path, has no clip while it waits, and is unknown to the dm feed."""
    _, done = await post(client, NATIVE, promptText="a fox", options={"aspectRatio": 1.7777})
    _, waits = await post(client, NATIVE, promptText="[[duration:60]]", image="aGk=")
    _, told = await get(client, f"{FEED}/{done['id']}")
    _, empty = await get(client, f"{FEED}/{waits['id']}")
    _, unknown = await post(client, FEED, task_id=done["id"])

    assert [clip["status"] for clip in told["videos"]] == ["finished"]
    assert (empty["videos"], unknown["code"]) == ([], 400)


async def test_callbacks_are_the_inner_object(client: aiohttp.ClientSession, receiver: Receiver) -> None:
    """Every change is posted without an envelope."""
    _, answer = await post(client, DM, prompt="a fox", callback_url=receiver.url)

    events = [got.event for got in await receiver.wait_for(3)]

    assert [event["status"] for event in events] == ["0", "1", "3"]
    assert {event["task_id"] for event in events} == {answer["data"]["task_id"]}
