"""The two shared picture routes over real sockets: a model's name decides what is taken and how it is answered."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.clock import SystemClock
from service.simulator import Scenario, Simulator, SimulatorOptions
from service.simulator.family import sample
from service.simulator.images import Images, image_chat_text, image_parts
from service.simulator.stage import Stage

GENERATE, EDIT = "/v1/images/generations", "/v1/images/edits"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator that plays this family alone."""
    async with (
        Simulator(families=lambda stage: Images(stage).routes()) as simulator,
        aiohttp.ClientSession(simulator.url, headers={"Authorization": "Bearer sk-test"}) as session,
    ):
        yield session


async def generated(client: aiohttp.ClientSession, **body: Any) -> tuple[int, Any]:
    """Ask for pictures; return status and body."""
    async with client.post(GENERATE, json={"prompt": "a red fox"} | body) as response:
        return response.status, await response.json()


def edit_form(model: str, *, filename: str | None = "fox.png", content_type: str = "image/png") -> aiohttp.FormData:
    """Make the form of an edit."""
    form = aiohttp.FormData({"model": model, "prompt": "make it blue"})
    form.add_field("image", sample("png") if filename else "pixels", filename=filename, content_type=content_type)
    return form


async def test_link_models_answer_with_links_that_can_be_fetched(client: aiohttp.ClientSession) -> None:
    """A link model gives as many links as were asked for, and behind each stands a picture."""
    status, answer = await generated(client, model="dall-e-2", n=2, size="512x512")

    links = [item["url"] for item in answer["data"]]
    async with client.get(links[0]) as picture:
        kind = picture.content_type
    assert (status, len(set(links)), kind) == (200, 2, "image/png")


async def test_gpt_models_answer_inline_in_the_wanted_format(client: aiohttp.ClientSession) -> None:
    """A GPT image model never gives links, and its bytes are of the format that it names."""
    status, answer = await generated(client, model="gpt-image-2", output_format="webp")

    data = base64.b64decode(answer["data"][0]["b64_json"])
    assert (status, answer["output_format"], data[:4], data[8:12]) == (200, "webp", b"RIFF", b"WEBP")


async def test_seed_models_answer_with_size_and_usage(client: aiohttp.ClientSession) -> None:
    """A picture set of one provider's models has links with sizes, counted in the usage."""
    wanted = {"sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 2}}

    status, answer = await generated(client, model="doubao-seedream-4-0-250828", size="2048x1024", **wanted)

    assert status == 200
    assert [item["size"] for item in answer["data"]] == ["2048x1024", "2048x1024"]
    assert answer["usage"]["generated_images"] == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "gpt-image-1", "size": "100x100"}, 400, "invalid_value"),
        ({"model": "gpt-image-1", "response_format": "url"}, 400, "invalid_value"),
        ({"model": "gpt-image-2", "background": "transparent"}, 400, "invalid_value"),
        ({"model": "dall-e-3", "n": 2}, 400, "invalid_value"),
        ({"model": "dall-e-3", "output_format": "png"}, 400, "invalid_value"),
        ({"model": "doubao-seedream-5-0-260128", "size": "1024x1024"}, 400, "invalid_value"),
        ({"model": "gpt-image-2", "n": 11}, 400, "invalid_request"),
        ({"model": "seedream-4-0-250828", "image": ["https://cdn.example/a.png", "a.png"]}, 400, "invalid_request"),
        ({"model": "gemini-2.5-flash-image"}, 500, "convert_request_failed"),
        ({"model": "gpt-image-2", "prompt": "[[moderation]]"}, 400, "moderation_blocked"),
    ],
)
async def test_a_wrong_request_is_refused(
    client: aiohttp.ClientSession, body: dict[str, Any], status: int, code: str
) -> None:
    """What a model does not take is refused, with the code that the reference tells."""
    found, answer = await generated(client, **body)

    assert (found, answer["error"]["code"]) == (status, code)


async def test_a_stream_ends_with_the_whole_picture(client: aiohttp.ClientSession) -> None:
    """Partial previews come first, the completed picture last."""
    body = {"model": "gpt-image-1", "prompt": "a fox", "stream": True, "partial_images": 2}

    async with client.post(GENERATE, json=body) as response:
        text = await response.text()

    events = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert events == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (edit_form("gpt-image-1"), 200),
        (edit_form("bytedance-seedEdit-3.0-i2i"), 200),
        (edit_form("gpt-image-1", filename=None), 400),
        (edit_form("gpt-image-1", content_type="image/gif"), 400),
        (edit_form("dall-e-2", filename="fox.jpg", content_type="image/jpeg"), 400),
        (aiohttp.FormData({"model": "gpt-image-1", "prompt": "x"}, default_to_multipart=True), 400),
    ],
    ids=["gpt", "seededit", "no-name", "gif", "dall-e-jpeg", "no-file"],
)
async def test_an_edit_needs_a_proper_file(client: aiohttp.ClientSession, form: aiohttp.FormData, status: int) -> None:
    """A file part without a name or of a kind that is not taken is refused, as is a form without one."""
    async with client.post(EDIT, data=form) as response:
        found = response.status
        await response.read()

    assert found == status


def test_what_picture_models_say_elsewhere() -> None:
    """In a chat there is one marked picture, none after a refusal; Gemini's last part is the picture."""
    stage = Stage(SimulatorOptions(), SystemClock())

    drawn = image_chat_text(stage, "http://127.0.0.1")
    refused = image_chat_text(stage, "http://127.0.0.1", Scenario(outcome="moderation"))

    assert (drawn.count("!["), refused.count("![")) == (1, 0)
    assert image_parts()[-1]["inlineData"]["mimeType"] == "image/png"
