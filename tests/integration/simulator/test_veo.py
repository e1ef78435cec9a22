"""Veo over real sockets: the alias route and the chat answer that carries a link."""

from typing import Any

import pytest
from aiohttp import web

from service.simulator.family import Call, Family, Operation
from service.simulator.veo import Veo, chat_answer
from tests.fakes.caller import Caller, playing

BODY = {"model": "veo3-fast", "prompt": "a lighthouse"}
CHAT = {"model": "veo3-pro", "messages": [{"role": "user", "content": "a lighthouse"}]}


class ChatRoute(Family):
    """The shared chat route with nothing but this family behind it."""

    def operations(self) -> tuple[Operation, ...]:
        """List the one operation."""
        return (Operation(name="chat", path="/v1/chat/completions", answer=self._chat),)

    async def _chat(self, call: Call) -> web.Response:
        return chat_answer(call)


async def _asked(caller: Caller, **more: Any) -> tuple[Any, Any]:
    _, accepted = await caller.post("/veo/v1/video/create", BODY | more)
    _, told = await caller.get(f"/veo/v1/video/query/{accepted['id'].replace(':', '%3A')}")
    return accepted, told


async def test_a_task_is_pending_then_found_under_its_escaped_id() -> None:
    """The id holds an alias and a colon; its task is queued first and has no link."""
    async with playing(Veo, duration_s=60.0) as caller:
        accepted, told = await _asked(caller)

    assert accepted["status"] == "pending"
    assert accepted["id"].startswith("veo3-fast:")
    assert (told["data"]["task_id"], told["data"]["status"]) == (accepted["id"], "QUEUED")
    assert "video_url" not in told["data"]["data"]


@pytest.mark.parametrize(
    ("envelope", "path"),
    [("flat", ("data", "data", "video_url")), ("openai", ("video_url",)), ("double", ("data", "output"))],
)
async def test_a_success_has_its_link_in_each_envelope(envelope: str, path: tuple[str, ...]) -> None:
    """The wrapper, the bare task and the unified form each hold the link in their own place."""
    async with playing(Veo, duration_s=0.0, envelope=envelope) as caller:
        _, told = await _asked(caller)

    for key in path:
        told = told[key]
    assert ".mp4" in told


async def test_an_upsampled_twin_comes_when_asked_for() -> None:
    """`enable_upsample` adds a second link beside the first."""
    async with playing(Veo, duration_s=0.0) as caller:
        _, told = await _asked(caller, enable_upsample=True)

    assert {"video_url", "upsample_video_url"} <= told["data"]["data"].keys()


async def test_pictures_are_for_aliases_that_take_them() -> None:
    """A plain alias takes no picture, frames take two, and the refusal is the relay's flat one."""
    pictures = ["https://files.example/1.png", "https://files.example/2.png"]
    async with playing(Veo) as caller:
        plain = await caller.post("/veo/v1/video/create", BODY | {"images": pictures})
        frames = await caller.post("/veo/v1/video/create", BODY | {"model": "veo3-fast-frames", "images": pictures})

    assert (plain[0], plain[1]["code"], plain[1]["data"]) == (400, "invalid_request", None)
    assert frames[0] == 200


async def test_the_chat_says_its_link_whole_and_streamed() -> None:
    """The text holds the link; a stream says the same text in pieces and ends with its end mark."""
    async with playing(ChatRoute) as caller:
        _, whole = await caller.post("/v1/chat/completions", CHAT)
        _, stream = await caller.post("/v1/chat/completions", CHAT | {"stream": True})
        refused = await caller.post("/v1/chat/completions", {"model": "veo3"})

    assert ".mp4)" in whole["choices"][0]["message"]["content"]
    assert stream.endswith(b"data: [DONE]\n\n")
    assert b".mp4)" in stream
    assert (refused[0], refused[1]["error"]["code"]) == (400, "invalid_request")


async def test_a_chat_that_fails_has_no_link() -> None:
    """A failed chat answers HTTP 200 with its reason as text."""
    async with playing(ChatRoute, marks=("fail:no frames",)) as caller:
        status, told = await caller.post("/v1/chat/completions", CHAT)

    text = told["choices"][0]["message"]["content"]
    assert (status, "no frames" in text, ".mp4" in text) == (200, True, False)
