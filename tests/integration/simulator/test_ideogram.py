"""Ideogram over real sockets: version 3 with plain fields, older operations with their wrapper, forms with files."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator
from service.simulator.family import sample
from service.simulator.ideogram import Ideogram

V3 = "/ideogram/v1/ideogram-v3"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator that plays this family alone."""
    async with (
        Simulator(families=lambda stage: Ideogram(stage).routes()) as simulator,
        aiohttp.ClientSession(simulator.url, headers={"Authorization": "Bearer sk-test"}) as session,
    ):
        yield session


def form_of(fields: dict[str, Any], *files: str, filename: str | None = "fox.png") -> aiohttp.FormData:
    """Make a form; objects become JSON texts."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    form = aiohttp.FormData(texts, default_to_multipart=True)
    for name in files:
        form.add_field(name, sample("png") if filename else "pixels", filename=filename, content_type="image/png")
    return form


async def posted(client: aiohttp.ClientSession, path: str, **body: Any) -> tuple[int, Any]:
    """Post a body; return status and answer."""
    async with client.post(path, **body) as response:
        return response.status, await response.json()


async def test_pictures_with_a_time_that_is_no_number(client: aiohttp.ClientSession) -> None:
    """As many pictures come as were asked for, under an ISO time finer than microseconds."""
    body = {"prompt": "a fox", "num_images": 2, "resolution": "1536x512", "seed": 7}

    status, answer = await posted(client, f"{V3}/generate", json=body)

    assert (status, [item["resolution"] for item in answer["data"]]) == (200, ["1536x512"] * 2)
    assert [item["seed"] for item in answer["data"]] == [7, 7]
    assert datetime.fromisoformat(answer["created"]).tzinfo is not None


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (f"{V3}/generate", form_of({"prompt": "x", "color_palette": {"name": "EMBER"}}, "style_reference_images")),
        (f"{V3}/remix", form_of({"prompt": "x", "image_weight": "60"}, "image", "character_reference_images")),
        (f"{V3}/reframe", form_of({"resolution": "512x1536"}, "image")),
        (f"{V3}/replace-background", form_of({"prompt": "x"}, "image")),
        (f"{V3}/edit", form_of({"prompt": "x"}, "image", "mask")),
        ("/ideogram/remix", form_of({"image_request": {"prompt": "x", "image_weight": 60}}, "image_file")),
        ("/ideogram/upscale", form_of({"image_request": {}}, "image_file")),
        ("/ideogram/edit", form_of({"prompt": "x", "model": "V_2"}, "image_file", "mask")),
    ],
    ids=["generate", "remix", "reframe", "replace-background", "edit", "old-remix", "upscale", "old-edit"],
)
async def test_forms_with_files_are_drawn(client: aiohttp.ClientSession, path: str, form: aiohttp.FormData) -> None:
    """Each operation that takes files answers with one safe picture."""
    status, answer = await posted(client, path, data=form)

    assert (status, [item["is_image_safe"] for item in answer["data"]]) == (200, [True])


async def test_older_generation_wraps_its_wishes(client: aiohttp.ClientSession) -> None:
    """The wishes stand inside `image_request`; without the wrapper they are refused."""
    wishes = {"prompt": "a cat", "model": "V_2_TURBO", "magic_prompt_option": "AUTO", "num_images": 1}

    wrapped, _ = await posted(client, "/ideogram/generate", json={"image_request": wishes})
    bare, _ = await posted(client, "/ideogram/generate", json=wishes)

    assert (wrapped, bare) == (200, 400)


async def test_a_description_is_text(client: aiohttp.ClientSession) -> None:
    """A picture is described in words, without any link."""
    _, answer = await posted(client, "/ideogram/describe", data=form_of({}, "image_file"))

    assert [sorted(each) for each in answer["descriptions"]] == [["text"]]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (f"{V3}/edit", form_of({"prompt": "x"}, "image")),
        (f"{V3}/edit", form_of({"prompt": "x"}, "image", "mask", filename=None)),
        (f"{V3}/remix", form_of({"prompt": "x"}, "image_file")),
        (f"{V3}/reframe", form_of({}, "image")),
        (f"{V3}/reframe", form_of({"resolution": "100x100"}, "image")),
        (f"{V3}/generate", form_of({"prompt": "x", "color_palette": "{"}, "style_reference_images")),
        (f"{V3}/generate", form_of({"prompt": "x", "style_codes": "0123abcd"}, "style_reference_images")),
        ("/ideogram/remix", form_of({"image_request": "no JSON"}, "image_file")),
        ("/ideogram/upscale", form_of({"image_request": {"detail": 101}}, "image_file")),
        ("/ideogram/edit", form_of({"prompt": "x", "model": "V_1"}, "image_file", "mask")),
    ],
)
async def test_a_wrong_form_is_refused(client: aiohttp.ClientSession, path: str, form: aiohttp.FormData) -> None:
    """A missing or nameless file, the other generation's names and wrong fields are refused."""
    status, answer = await posted(client, path, data=form)

    assert (status, answer["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("body", [{"aspect_ratio": "16:9"}, {"aspect_ratio": "1x1", "resolution": "512x1536"}])
async def test_wrong_shapes_are_refused(client: aiohttp.ClientSession, body: dict[str, str]) -> None:
    """Ratios are written with an x, and exclude resolutions."""
    status, _ = await posted(client, f"{V3}/generate", json={"prompt": "x"} | body)

    assert status == 400


async def test_what_is_not_safe_comes_in_two_ways(client: aiohttp.ClientSession) -> None:
    """A refused prompt is a plain string with 422; an unsafe picture is a 200 without a link."""
    refused, error = await posted(client, f"{V3}/generate", json={"prompt": "[[moderation]]"})
    passed, answer = await posted(client, f"{V3}/generate", json={"prompt": "[[empty]]"})

    assert (refused, type(error["error"])) == (422, str)
    assert (passed, answer["data"][0]["url"], answer["data"][0]["is_image_safe"]) == (200, None, False)
