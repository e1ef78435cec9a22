"""The simulated Midjourney family against its reference page, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.simulator import Simulator, SimulatorOptions
from service.simulator.midjourney import Midjourney

AUTH = {"Authorization": "Bearer sk-test"}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


class Client:
    """Talks to one simulator."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Send a body; return status and decoded answer."""
        async with self.session.post(self.simulator.url + path, json=body) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str) -> tuple[int, Any]:
        """Ask; return status and decoded answer."""
        async with self.session.get(self.simulator.url + path) as answer:
            return answer.status, await answer.json()

    async def done(self, path: str, body: Any) -> Any:
        """Submit what must be accepted and return the task object of its end."""
        status, answer = await self.post(path, body)
        assert (status, answer["code"]) == (200, 1), answer
        return (await self.get(f"/mj/task/{answer['result']}/fetch"))[1]


@pytest.fixture
async def mj() -> AsyncIterator[Client]:
    """A client of a simulator whose tasks end at once."""
    simulator = Simulator(SimulatorOptions(duration_s=0.0), families=lambda stage: Midjourney(stage).routes())
    async with simulator, aiohttp.ClientSession(headers=AUTH) as session:
        yield Client(simulator, session)


async def test_imagine_ends_with_a_grid_and_its_buttons(mj: Client):
    """A task object tells of one grid picture and nine buttons; a speed prefix leads to the same place."""
    task = await mj.done("/mj-fast/mj/submit/imagine", {"prompt": "a comet", "state": "order-42", "spell": 1})

    async with mj.session.get(task["imageUrl"]) as picture:
        kind = picture.content_type
    assert (task["status"], task["progress"], task["state"]) == ("SUCCESS", "100%", "order-42")
    assert [each["label"] or each["emoji"] for each in task["buttons"]][:5] == ["U1", "U2", "U3", "U4", "🔄"]
    assert kind == "image/png"
    assert mj.simulator.requests[0].unknown_keys == ("spell",)


@pytest.mark.parametrize(
    ("path", "body", "makes"),
    [
        ("video", {"motion": "low", "image": PICTURE, "batchSize": 2}, ("VIDEO", 2, 0)),
        ("imagine", {"prompt": "a comet --video 1 --motion low"}, ("VIDEO", 4, 0)),
        ("describe", {"link": "https://files.example/a.png"}, ("DESCRIBE", 0, 4)),
        ("shorten", {"prompt": "many words"}, ("SHORTEN", 0, 4)),
        ("edits", {"prompt": "blue", "image": PICTURE}, ("EDITS", 0, 0)),
    ],
)
async def test_each_kind_of_result_has_its_place(mj: Client, path: str, body: Any, makes: tuple[str, int, int]):
    """Videos stand in `videoUrls`, words in `promptEn`, pictures in `imageUrl`."""
    task = await mj.done(f"/mj/submit/{path}", body)

    suggestions = task["promptEn"].split("\n\n") if makes[2] else []
    assert (task["action"], len(task["videoUrls"] or []), len(suggestions)) == makes
    assert task["imageUrl"]


async def test_a_button_that_opens_a_window_parks_its_task(mj: Client):
    """The parked task says MODAL until the window is confirmed; then the same id goes on to its end."""
    grid = await mj.done("/mj/submit/imagine", {"prompt": "a comet"})
    upscale = {"taskId": grid["id"], "customId": grid["buttons"][0]["customId"]}
    single = await mj.done("/mj/submit/action", upscale)
    zoom = next(each for each in single["buttons"] if each["label"] == "Custom Zoom")

    _, opened = await mj.post("/mj/submit/action", {"taskId": single["id"], "customId": zoom["customId"]})
    _, parked = await mj.get(f"/mj/task/{opened['result']}/fetch")
    ended = await mj.done("/mj/submit/modal", {"taskId": opened["result"], "prompt": "a comet --zoom 2"})
    _, again = await mj.post("/mj/submit/action", upscale)

    assert (opened["code"], parked["status"]) == (21, "MODAL")
    assert (ended["id"], ended["status"], ended["prompt"]) == (opened["result"], "SUCCESS", "a comet --zoom 2")
    assert (again["code"], again["result"], again["properties"]["status"]) == (21, single["id"], "SUCCESS")


async def test_refusals_come_in_the_words_of_proxy_and_relay(mj: Client):
    """The proxy refuses inside HTTP 200, a saturated group with 429, the relay with 400; nothing is created."""
    answers = [
        await mj.post("/mj/submit/imagine", {"prompt": f"a comet {mark}"})
        for mark in ("[[busy]]", "[[refuse:24]]", "[[refuse:30]]")
    ]
    answers.append(await mj.post("/mj/submit/imagine", {}))
    answers.append(await mj.post("/mj/submit/action", {"customId": "MJ::JOB::upsample::1::x", "taskId": "17"}))
    answers.append(await mj.get("/mj/task/17/fetch"))

    assert [(status, answer["code"]) for status, answer in answers] == [
        (200, 23), (200, 24), (429, 30), (400, 4), (400, 4), (400, 4),
    ]  # fmt: skip
    told = [answer["description"] for _, answer in answers[3:]]
    assert told == ["prompt_is_required ", "task_not_found ", "task_no_found "]
    assert mj.simulator.tasks == []


async def test_a_list_leaves_out_what_it_does_not_know(mj: Client):
    """Known tasks come as task objects; too few pictures to blend are found out after the bill."""
    blended = await mj.done("/mj/submit/blend", {"base64Array": [PICTURE]})

    status, tasks = await mj.post("/mj/task/list-by-condition", {"ids": ["17", blended["id"]]})

    assert (status, [task["id"] for task in tasks]) == (200, [blended["id"]])
    assert (blended["status"], blended["imageUrl"]) == ("FAILURE", "")
    assert "two to five" in blended["failReason"]


async def test_links_and_seeds_are_answered_at_once(mj: Client):
    """Uploaded pictures come back as links, or with code 4; a seed is a text."""
    grid = await mj.done("/mj/submit/imagine", {"prompt": "a comet"})

    _, links = await mj.post("/mj/submit/upload-discord-images", {"base64Array": [PICTURE, PICTURE]})
    _, nothing = await mj.post("/mj/submit/upload-discord-images", {"base64Array": ["not a picture"]})
    _, seed = await mj.get(f"/mj/task/{grid['id']}/image-seed")

    assert (links["code"], len(links["result"])) == (1, 2)
    assert (nothing["code"], nothing["result"]) == (4, None)
    assert seed["result"].isdigit()


async def test_every_change_is_posted_to_the_hook(mj: Client):
    """A hook receives the task object of each state, the last one with the result."""
    posted: asyncio.Queue[Any] = asyncio.Queue()

    async def hook(request: web.Request) -> web.Response:
        posted.put_nowait(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    async with TestServer(app) as receiver:
        await mj.post("/mj/submit/imagine", {"prompt": "a comet", "notifyHook": str(receiver.make_url("/hook"))})
        told = [await asyncio.wait_for(posted.get(), 5) for _ in range(3)]

    assert [each["status"] for each in told] == ["SUBMITTED", "IN_PROGRESS", "SUCCESS"]
    assert told[-1]["imageUrl"]
