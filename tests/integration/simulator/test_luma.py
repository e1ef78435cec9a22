"""Luma over real sockets: both shapes of a generation, refusals, callbacks."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator.luma import GENERATIONS, Luma
from tests.fakes.caller import get, post, solo
from tests.fakes.receiver import Receiver


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator whose tasks end at once, and that plays this family alone."""
    async with solo(Luma) as session:
        yield session


async def made(client: aiohttp.ClientSession, **body: Any) -> Any:
    """Make a generation and return what a query tells of it."""
    status, answer = await post(client, GENERATIONS, **body)
    assert status in (200, 201), answer
    return (await get(client, f"{GENERATIONS}/{answer['id']}"))[1]


async def test_legacy_shape(client: aiohttp.ClientSession) -> None:
    """As the aggregator's page has it: a video with a download link beside the watermarked one."""
    done = await made(client, prompt="a fox", loop=True)

    async with client.get(done["video"]["download_url"]) as file:
        kind = file.content_type
    assert (done["state"], kind, done["video"]["url"] != done["video"]["download_url"]) == (
        "completed",
        "video/mp4",
        True,
    )


async def test_own_shape(client: aiohttp.ClientSession) -> None:
    """In the provider's shape the link stands under assets, and a failure has its reason."""
    done = await made(client, prompt="a fox [[envelope:openai]]")
    failed = await made(client, prompt="a fox [[envelope:openai]][[fail:no luck]]")

    assert (done["state"], list(done["assets"])) == ("completed", ["video"])
    assert (failed["state"], failed["failure_reason"], failed["assets"]) == ("failed", "no luck", None)


async def test_waiting_words(client: aiohttp.ClientSession) -> None:
    """A generation that has not begun is pending, without a video."""
    waiting = await made(client, prompt="a fox [[duration:60]]")

    assert (waiting["state"], waiting["video"]) == ("pending", None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": "a fox", "aspect_ratio": "2:1"},
        {"prompt": "a fox", "keyframes": {"frame0": {"type": "video", "url": "https://files.example/a.mp4"}}},
        {"prompt": "a fox", "keyframes": {"frame1": {"type": "generation"}}},
    ],
)
async def test_bodies_are_checked(client: aiohttp.ClientSession, body: Any) -> None:
    """A wrong body is refused with a list of faults."""
    status, answer = await post(client, GENERATIONS, **body)

    assert (status, list(answer["detail"][0])) == (422, ["type", "loc", "msg"])


async def test_callbacks_hold_the_generation(client: aiohttp.ClientSession, receiver: Receiver) -> None:
    """Callbacks are the provider's object without an envelope, and the last one tells of the end."""
    earlier = {"frame0": {"type": "generation", "id": "g-1"}}
    _, accepted = await post(client, GENERATIONS, prompt="a fox", keyframes=earlier, callback_url=receiver.url)

    events = [got.event for got in await receiver.wait_for(3)]

    assert [event["state"] for event in events] == ["dreaming", "dreaming", "completed"]
    assert (events[-1]["id"], events[-1]["request"]["keyframes"]) == (accepted["id"], earlier)


async def test_unknown_id(client: aiohttp.ClientSession) -> None:
    """An unknown generation is a 404."""
    status, answer = await get(client, f"{GENERATIONS}/nobody")

    assert (status, answer) == (404, {"detail": "Generation not found"})
