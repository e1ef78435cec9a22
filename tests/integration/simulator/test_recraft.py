"""Recraft over real sockets: lists of pictures, tools with one picture, vectors, styles."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator
from service.simulator.family import sample
from service.simulator.recraft import Recraft

STYLES = "/recraft/v1/styles"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator that plays this family alone."""
    async with (
        Simulator(families=lambda stage: Recraft(stage).routes()) as simulator,
        aiohttp.ClientSession(simulator.url, headers={"Authorization": "Bearer sk-test"}) as session,
    ):
        yield session


async def generated(client: aiohttp.ClientSession, **body: Any) -> tuple[int, Any]:
    """Ask for pictures; return status and body."""
    async with client.post("/recraft/v1/images/generations", json={"prompt": "a red fox"} | body) as response:
        return response.status, await response.json()


def upload(
    *filenames: str | None, part: str = "file", content_type: str = "image/png", **fields: str
) -> aiohttp.FormData:
    """Make a form with pictures."""
    form = aiohttp.FormData(fields, default_to_multipart=True)
    for number, filename in enumerate(filenames, start=1):
        name = part if len(filenames) == 1 else f"{part}{number}"
        form.add_field(name, sample("png") if filename else "pixels", filename=filename, content_type=content_type)
    return form


async def test_generation_lists_each_picture(client: aiohttp.ClientSession) -> None:
    """As many pictures come as were asked for, each with its own link."""
    status, answer = await generated(client, n=3, style="digital_illustration", substyle="pixel_art", size="1820x1024")

    assert (status, len({item["url"] for item in answer["data"]})) == (200, 3)


async def test_a_vector_style_gives_svg(client: aiohttp.ClientSession) -> None:
    """Behind the link of a vector stands an SVG, and inline bytes are one too."""
    _, hosted = await generated(client, style="vector_illustration")
    _, inline = await generated(client, style="vector_illustration", response_format="b64_json")

    async with client.get(hosted["data"][0]["url"]) as file:
        kind = file.content_type
    assert kind == "image/svg+xml"
    assert base64.b64decode(inline["data"][0]["b64_json"]).startswith(b"<svg")


@pytest.mark.parametrize(
    "body",
    [
        {"style": "icon", "style_id": "f3c1e9a4-7d52-4b8e-9c0a-5d2b6f1e8a37"},
        {"n": 7},
        {"size": "100x100"},
        {"controls": {"colors": [{"rgb": [0, 0, 256]}]}},
        {"controls": {"colors": "red"}},
        {"prompt": "x" * 1001},
        {"text_layout": [{"text": "hi", "bbox": [[0, 0]]}]},
    ],
    ids=["two-styles", "many", "size", "channel", "colors-text", "long", "box"],
)
async def test_a_wrong_generation_is_refused(client: aiohttp.ClientSession, body: dict[str, Any]) -> None:
    """A field that the tables do not allow is refused."""
    status, answer = await generated(client, **body)

    assert (status, answer["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "tool",
    ["vectorize", "removeBackground", "clarityUpscale", "crispUpscale", "generativeUpscale", "creativeUpscale"],
)
async def test_a_tool_answers_with_one_picture(client: aiohttp.ClientSession, tool: str) -> None:
    """The picture stands under `image`, not in a list, under old and new names of the tool."""
    async with client.post(f"/recraft/v1/images/{tool}", data=upload("fox.png")) as response:
        answer = await response.json()

    assert (response.status, sorted(answer["image"])) == (200, ["image_id", "url"])


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        (STYLES, upload("a.png", "b.png", style="icon"), 200),
        (STYLES, upload("a.png"), 400),
        (STYLES, upload(style="icon"), 400),
        (STYLES, upload(*(f"{number}.png" for number in range(6)), style="icon"), 400),
        ("/recraft/v1/images/vectorize", upload(None), 400),
        ("/recraft/v1/images/vectorize", upload("fox.png", part="picture"), 400),
        ("/recraft/v1/images/clarityUpscale", upload("fox.gif", content_type="image/gif"), 400),
    ],
    ids=["style", "no-style", "no-file", "six", "no-name", "part", "gif"],
)
async def test_forms_are_checked(client: aiohttp.ClientSession, path: str, form: aiohttp.FormData, status: int) -> None:
    """A style takes one to five named files, a tool one under its own name."""
    async with client.post(path, data=form) as response:
        found = response.status
        await response.read()

    assert found == status


async def test_the_moderation_mark_refuses(client: aiohttp.ClientSession) -> None:
    """A generation has no task that could fail later: it is refused at once."""
    status, answer = await generated(client, prompt="[[moderation]]")

    assert (status, "content policy" in answer["error"]["message"]) == (400, True)
