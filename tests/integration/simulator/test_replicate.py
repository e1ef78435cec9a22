"""Replicate over real sockets: predictions by model, their outputs, refusals, webhooks."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator.replicate import PREDICTIONS, Replicate
from tests.fakes.caller import get, post, solo
from tests.fakes.receiver import Receiver

MODELS = "/replicate/v1/models"
KONTEXT = f"{MODELS}/black-forest-labs/flux-kontext-pro/predictions"
SCHNELL = f"{MODELS}/black-forest-labs/flux-schnell/predictions"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator whose tasks end at once, and that plays this family alone."""
    async with solo(Replicate) as session:
        yield session


async def made(client: aiohttp.ClientSession, path: str, **sent: Any) -> Any:
    """Make a prediction and return what a query tells of it."""
    status, answer = await post(client, path, input=sent)
    assert (status, answer["status"]) == (201, "starting"), answer
    return (await get(client, f"{PREDICTIONS}/{answer['id']}"))[1]


@pytest.mark.parametrize("model", ["flux-kontext-max", "flux-1.1-pro", "flux-1.1-pro-ultra", "flux-2-pro"])
async def test_newer_models_answer_one_link(client: aiohttp.ClientSession, model: str) -> None:
    """The output of these models is a string, and a picture stands behind it."""
    answer = await made(client, f"{MODELS}/black-forest-labs/{model}/predictions", prompt="a fox")

    async with client.get(answer["output"]) as file:
        found = file.status, file.content_type
    assert (answer["status"], answer["model"], len(answer["id"])) == ("succeeded", f"black-forest-labs/{model}", 26)
    assert found == (200, "image/png")


async def test_schnell_answers_a_list(client: aiohttp.ClientSession) -> None:
    """The output of the open models is a list of as many links as were asked for."""
    answer = await made(client, SCHNELL, prompt="a fox", num_outputs=3)

    assert len(set(answer["output"])) == 3


async def test_older_route_names_the_model_inside(client: aiohttp.ClientSession) -> None:
    """A create without a model in its path takes it from the body, or is refused."""
    accepted, answer = await post(client, PREDICTIONS, model="acme/clips", input={"text": "x"})
    refused, _ = await post(client, PREDICTIONS, input={"text": "x"})

    assert (accepted, answer["model"], refused) == (201, "acme/clips", 422)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (KONTEXT, {}),
        (KONTEXT, {"prompt": "p", "aspect_ratio": "7:7"}),
        (KONTEXT, {"prompt": "p", "input_image": "https://files.example/a.png", "safety_tolerance": 6}),
        (f"{MODELS}/black-forest-labs/flux-1.1-pro/predictions", {"prompt": "p", "aspect_ratio": "custom"}),
        (SCHNELL, {"prompt": "p", "num_outputs": 9}),
    ],
)
async def test_input_is_validated(client: aiohttp.ClientSession, path: str, sent: Any) -> None:
    """A wrong input is told of as Replicate does, its status a number."""
    status, answer = await post(client, path, input=sent)

    assert (status, answer["status"], answer["title"]) == (422, 422, "Input validation failed")


async def test_failures_and_envelope(client: aiohttp.ClientSession) -> None:
    """Moderation is a failed prediction; a relay wraps it and tells the reason outside."""
    bare = await made(client, KONTEXT, prompt="[[moderation]]")
    wrapped = await made(client, KONTEXT, prompt="[[fail:no luck]][[envelope:double]]")

    assert (bare["status"], bare["output"], "E005" in bare["error"]) == ("failed", None, True)
    assert (wrapped["data"]["status"], wrapped["data"]["fail_reason"]) == ("FAILURE", "no luck")
    assert wrapped["data"]["data"]["error"] == "no luck"


async def test_webhook_filter(client: aiohttp.ClientSession, receiver: Receiver) -> None:
    """Without a filter every change is posted, with `completed` the end alone; the body is the prediction."""
    await post(client, KONTEXT, input={"prompt": "a"}, webhook=receiver.url)
    everything = [got.event["status"] for got in await receiver.wait_for(3)]
    await post(client, KONTEXT, input={"prompt": "b"}, webhook=receiver.url, webhook_events_filter=["completed"])
    last = (await receiver.wait_for(4))[3].event

    assert everything == ["starting", "processing", "succeeded"]
    assert (last["status"], last["input"]) == ("succeeded", {"prompt": "b"})


async def test_unknown_id(client: aiohttp.ClientSession) -> None:
    """A query of an unknown id is a 404 with a number as status."""
    status, answer = await get(client, f"{PREDICTIONS}/nobody")

    assert (status, answer["status"]) == (404, 404)
