"""Hunyuan3D over real sockets: both pairs of job routes, and the answer of the shared pictures' route."""

import base64
from typing import Any

import pytest
from aiohttp import web

from service.simulator.family import Call, Family, Operation
from service.simulator.hunyuan3d import Hunyuan3d, image_answer
from tests.fakes.caller import Caller, playing

GENERATIONS = "/v1/images/generations"
BODY = {"model": "hunyuan3d-2", "prompt": "a chair"}


class Pictures(Family):
    """The shared picture route with nothing but this family behind it."""

    def operations(self) -> tuple[Operation, ...]:
        """List the one operation."""
        return (Operation(name="generate", path=GENERATIONS, answer=self._generate),)

    async def _generate(self, call: Call) -> web.Response:
        return image_answer(call)


async def _job(caller: Caller, **body: Any) -> Any:
    _, accepted = await caller.post("/v1/ai3d/submit", {"Prompt": "a chair"} | body)
    _, told = await caller.post("/v1/ai3d/query", {"JobId": accepted["Response"]["JobId"]})
    return told["Response"]


async def test_a_job_ends_with_its_file() -> None:
    """The job's id is a text of digits; its file has a type, a link and a preview; errors are empty texts."""
    async with playing(Hunyuan3d, duration_s=0.0) as caller:
        told = await _job(caller, ResultFormat="OBJ", EnablePBR=True)

        assert caller.simulator.requests[0].unknown_keys == ()
        assert caller.simulator.tasks[0].public_id.isdecimal()

    file = told["ResultFile3Ds"][0]
    assert (told["Status"], told["ErrorCode"], told["ErrorMessage"]) == ("DONE", "", "")
    assert (file["Type"], ".zip" in file["Url"], "PreviewImageUrl" in file) == ("OBJ", True, True)


async def test_the_old_form_lies_one_level_deeper() -> None:
    """With the `double` envelope the files stand under `File3D`."""
    async with playing(Hunyuan3d, duration_s=0.0, envelope="double") as caller:
        told = await _job(caller)

    assert ".glb" in told["ResultFile3Ds"][0]["File3D"][0]["Url"]


@pytest.mark.parametrize("body", [{"Prompt": ""}, {"ImageUrl": "https://files.example/a.png"}, {"FaceCount": 1}])
async def test_job_refusals_come_inside_http_200(body: dict[str, Any]) -> None:
    """Neither or both of words and picture, and too few faces, are refused inside HTTP 200."""
    async with playing(Hunyuan3d) as caller:
        status, told = await caller.post("/v1/ai3d/submit", {"Prompt": "a chair"} | body)

    assert (status, told["Response"]["Error"]["Code"]) == (200, "InvalidParameter")


async def test_failed_and_unknown_jobs() -> None:
    """A failed job says why; a job that there is not is refused."""
    async with playing(Hunyuan3d, duration_s=0.0) as caller:
        failed = await _job(caller, Prompt="[[fail:collapsed]]")
        _, unknown = await caller.post("/v1/ai3d/query", {"JobId": "1"})

    assert (failed["Status"], failed["ErrorMessage"], failed["ResultFile3Ds"]) == ("FAIL", "collapsed", [])
    assert "Error" in unknown["Response"]


async def test_the_hub_has_its_own_words() -> None:
    """The hub's pair accepts with an id and ends as completed, files in lower case."""
    async with playing(Hunyuan3d, duration_s=0.0) as caller:
        _, accepted = await caller.post("/v1/api/3d/submit", BODY)
        _, told = await caller.post("/v1/api/3d/query", {"model": BODY["model"], "id": accepted["id"]})

    assert (told["status"], told["data"][0]["type"]) == ("completed", "glb")


async def test_the_pictures_route_gives_the_file_at_once() -> None:
    """A link, the file itself when inline is asked for, or file objects with the `double` envelope."""
    async with playing(Pictures) as caller:
        _, linked = await caller.post(GENERATIONS, BODY)
        _, inline = await caller.post(GENERATIONS, BODY | {"response_format": "b64_json"})
        _, members = await caller.post(GENERATIONS, BODY | {"prompt": "[[envelope:double]]"})
        refused = await caller.post(GENERATIONS, {"model": BODY["model"]})

    assert ".glb" in linked["data"][0]["url"]
    assert base64.b64decode(inline["data"][0]["b64_json"]).startswith(b"glTF")
    assert members["model_mesh"]["file_name"] == "0.glb"
    assert (refused[0], refused[1]["error"]["code"]) == (400, "invalid_request")
