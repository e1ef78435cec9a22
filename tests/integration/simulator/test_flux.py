"""Flux in BFL's format over real sockets: bodies by model, status words, the query that knows both kinds of id."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator, SimulatorOptions
from service.simulator.flux import Flux
from service.simulator.replicate import Replicate
from tests.fakes.caller import get, post
from tests.fakes.receiver import Receiver

RESULT = "/flux/v1/get_result"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator whose tasks end at once, and that plays this family alone."""
    async with (
        Simulator(
            SimulatorOptions(duration_s=0), families=lambda stage: [*Flux(stage).routes(), *Replicate(stage).routes()]
        ) as simulator,
        aiohttp.ClientSession(simulator.url, headers={"Authorization": "Bearer sk-test"}) as session,
    ):
        yield session


async def result(client: aiohttp.ClientSession, task_id: str) -> Any:
    """Ask for a result."""
    return (await get(client, RESULT, id=task_id))[1]


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("flux-dev", {"steps": 28, "guidance": 3, "width": 512}),
        ("flux-pro-1.1-ultra", {"raw": True, "aspect_ratio": "21:9"}),
        ("flux-kontext-pro", {"input_image": "https://files.example/a.png"}),
        ("flux-2-pro", {"width": 2000, "height": 80}),
        ("flux-pro-finetuned", {"finetune_id": "ft-1", "finetune_strength": 1.2}),
    ],
)
async def test_every_model_makes_a_picture(client: aiohttp.ClientSession, model: str, more: Any) -> None:
    """A generation is accepted with an id, ends Ready, and its sample is a picture."""
    status, accepted = await post(client, f"/flux/v1/{model}", prompt="a fox", seed=7, **more)
    ready = await result(client, accepted["id"])

    async with client.get(ready["result"]["sample"]) as file:
        kind = file.content_type
    assert (status, "polling_url" in accepted) == (200, True)
    assert (ready["status"], ready["result"]["seed"], kind) == ("Ready", 7, "image/png")


@pytest.mark.parametrize(
    ("model", "body", "place"),
    [
        ("flux-dev", {}, ["body", "prompt"]),
        ("flux-dev", {"prompt": "p", "width": 300}, ["body", "width"]),
        ("flux-2-flex", {"prompt": "p", "safety_tolerance": 6}, ["body", "safety_tolerance"]),
        ("flux-pro-finetuned", {"prompt": "p"}, ["body", "finetune_id"]),
    ],
)
async def test_faults_are_placed(client: aiohttp.ClientSession, model: str, body: Any, place: list[str]) -> None:
    """A wrong field is refused with 422 and its place."""
    status, answer = await post(client, f"/flux/v1/{model}", **body)

    assert (status, answer["detail"][0]["loc"]) == (422, place)


async def test_words_of_trouble(client: aiohttp.ClientSession) -> None:
    """Moderation, an unknown id and a success without a link are told by BFL's words."""
    ids = [
        (await post(client, "/flux/v1/flux-dev", prompt=mark))[1]["id"]
        for mark in ("[[moderation]]", "[[fail:no luck]]", "[[empty]]", "[[duration:60]]")
    ]

    moderated, failed, empty, pending, unknown = [await result(client, task_id) for task_id in (*ids, "nobody")]

    assert moderated["status"] == "Content Moderated"
    assert moderated["details"] == {"Moderation Reasons": ["Safety Filter"]}
    assert (failed["status"], failed["error"]) == ("Error", "no luck")
    assert (empty["status"], "sample" in empty["result"]) == ("Ready", False)
    assert (pending["status"], pending["result"], unknown["status"]) == ("Pending", None, "Task not found")


async def test_result_of_a_prediction(client: aiohttp.ClientSession) -> None:
    """An id made in Replicate's format is told of as a prediction; a relay may wrap either."""
    path = "/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
    _, bare = await post(client, path, input={"prompt": "a fox"})
    _, wrapped = await post(client, "/flux/v1/flux-dev", prompt="[[envelope:double]]")

    told, inside = await result(client, bare["id"]), (await result(client, wrapped["id"]))["data"]

    assert (told["status"], len(told["output"])) == ("succeeded", 1)
    assert (inside["status"], inside["progress"], inside["data"]["status"]) == ("SUCCESS", "100%", "Ready")


async def test_webhook_tells_the_end_with_the_secret(client: aiohttp.ClientSession, receiver: Receiver) -> None:
    """With a webhook the answer names it in place of a polling link; only the end is posted, with the secret."""
    _, accepted = await post(
        client, "/flux/v1/flux-dev", prompt="a fox", webhook_url=receiver.url, webhook_secret="s3cret"
    )

    event = (await receiver.wait_for(1))[0].event

    assert (accepted["webhook_url"], "polling_url" in accepted) == (receiver.url, False)
    assert (event["id"], event["status"], event["webhook_secret"]) == (accepted["id"], "Ready", "s3cret")
