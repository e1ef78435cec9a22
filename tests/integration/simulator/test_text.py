"""The text family against its reference page, over real sockets."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator, SimulatorOptions
from service.simulator.text import Text

Json = dict[str, Any]
AUTH = {"Authorization": "Bearer sk-test"}
TOOL = {"type": "function", "name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}
NESTED_TOOL = {"type": "function", "function": {"name": "weather", "parameters": TOOL["parameters"]}}
CLAUDE = {"model": "claude-sonnet-4-6", "max_tokens": 100}


class Client:
    """Talks to one simulator that plays the text family alone."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def send(self, path: str, body: Json, headers: dict[str, str] = AUTH) -> tuple[int, Any]:
        """Post JSON and return status and decoded body; a stream is the list of its events' data."""
        async with self.session.post(self.simulator.url + path, json=body, headers=headers) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            text = await answer.text()
        return answer.status, [line[6:] for line in text.splitlines() if line.startswith("data: ")]

    async def chat(self, text: str, **more: Any) -> tuple[int, Any]:
        """Ask a chat model."""
        return await self.send("/v1/chat/completions", _chat(text, **more))

    async def claude(self, text: str, **more: Any) -> tuple[int, Any]:
        """Ask Claude natively."""
        body = CLAUDE | {"messages": [{"role": "user", "content": text}]} | more
        return await self.send("/v1/messages", body, AUTH | {"anthropic-version": "2023-06-01"})

    async def gemini(self, text: str, model: str = "gemini-2.5-flash", **config: Any) -> tuple[int, Any]:
        """Ask Gemini natively, in one piece."""
        body = {"contents": [{"parts": [{"text": text}]}], "generationConfig": config}
        return await self.send(f"/v1beta/models/{model}:generateContent", body)

    async def ask(self, response_id: str) -> Json:
        """Ask for a response."""
        url = f"{self.simulator.url}/v1/responses/{response_id}"
        async with self.session.get(url, headers=AUTH) as answer:
            return dict(await answer.json())


def _chat(text: str, **more: Any) -> Json:
    return {"model": "gpt-5.4", "messages": [{"role": "user", "content": text}]} | more


class SteppedClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.time = 1_790_000_000.0

    def now(self) -> float:
        """Return the time."""
        return self.time


@pytest.fixture
def clock() -> SteppedClock:
    """Make the simulator's clock."""
    return SteppedClock()


@pytest.fixture
async def client(clock: SteppedClock) -> AsyncIterator[Client]:
    """Start a simulator with the text family."""
    options = SimulatorOptions(duration_s=10.0)
    async with (
        Simulator(options, clock, lambda stage: Text(stage).routes()) as simulator,
        aiohttp.ClientSession() as session,
    ):
        yield Client(simulator, session)


async def test_each_surface_says_its_words(client: Client) -> None:
    """Chat, responses, Claude and Gemini answer with the same words, each in its own place."""
    _, chat = await client.chat("hello")
    _, response = await client.send("/v1/responses", {"model": "m", "input": "hello", "reasoning": {"effort": "low"}})
    _, claude = await client.claude("hello", thinking={"type": "adaptive"})
    _, gemini = await client.gemini("hello", thinkingConfig={"includeThoughts": True})

    said = [
        chat["choices"][0]["message"]["content"],
        response["output"][1]["content"][0]["text"],
        claude["content"][1]["text"],
        gemini["candidates"][0]["content"]["parts"][1]["text"],
    ]
    assert said == ["You said: hello"] * 4
    assert all(request.unknown_keys == () for request in client.simulator.requests)


async def test_streams_come_in_pieces_and_end_as_documented(client: Client) -> None:
    """The pieces make up the words, and each surface has its own end."""
    _, chat = await client.chat("one two", stream=True, stream_options={"include_usage": True})
    _, response = await client.send("/v1/responses", {"model": "m", "input": "one two", "stream": True})
    _, claude = await client.claude("one two", stream=True)
    body = {"contents": [{"parts": [{"text": "one two"}]}]}
    _, gemini = await client.send("/v1beta/models/gemini-3:streamGenerateContent?alt=sse", body)

    chunks, events, blocks, parts = (
        [json.loads(each) for each in told if each != "[DONE]"] for told in (chat, response, claude, gemini)
    )
    texts = [
        "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]),
        "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta"),
        "".join(event["delta"]["text"] for event in blocks if event["type"] == "content_block_delta"),
        "".join(part["candidates"][0]["content"]["parts"][0]["text"] for part in parts),
    ]
    assert texts == ["You said: one two"] * 4
    assert (chunks[-1]["choices"], chat[-1]) == ([], "[DONE]")
    assert [events[-1]["type"], blocks[-1]["type"]] == ["response.completed", "message_stop"]
    assert [part["candidates"][0].get("finishReason") for part in parts] == [None, None, None, "STOP"]


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called_on_the_word_or_when_required(client: Client, *, stream: bool) -> None:
    """The mark or `tool_choice` makes a call whose arguments fit; without them the tool is left alone."""
    _, marked = await client.chat("[[tool]] now", tools=[NESTED_TOOL], stream=stream)
    _, required = await client.send(
        "/v1/responses", {"model": "m", "input": "now", "tools": [TOOL], "tool_choice": "required"}
    )
    _, left = await client.chat("now", tools=[NESTED_TOOL])

    if stream:
        deltas = [json.loads(each)["choices"][0]["delta"] for each in marked[:-1]]
        calls = [delta["tool_calls"][0]["function"] for delta in deltas if "tool_calls" in delta]
        arguments = "".join(call["arguments"] for call in calls)
    else:
        arguments = marked["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"city": "example"}
    assert required["output"][0]["type"] == "function_call"
    assert left["choices"][0]["finish_reason"] == "stop"


async def test_refusals_are_those_that_were_measured(client: Client) -> None:
    """Status and code as the page tells them, each surface in its own shape."""
    missing = await client.send("/v1/chat/completions", {"model": "m"})
    nameless = await client.send("/v1/chat/completions", {"messages": _chat("x")["messages"]})
    unknown = await client.send("/v1/chat/completions", _chat("x", model="no-such-model"))
    nested = await client.send("/v1/responses", {"model": "m", "input": "x", "tools": [NESTED_TOOL]})
    versionless = await client.send("/v1/messages", CLAUDE | {"messages": [{"role": "user", "content": "x"}]})
    snake = {"contents": [{"parts": [{"file_data": {"file_uri": "https://cdn.example/a.mp4"}}]}]}
    google = await client.send("/v1beta/models/gemini-3:generateContent", snake)

    openai = [(status, body["error"]["code"]) for status, body in (missing, nameless, unknown, nested)]
    assert openai == [(500, "invalid_request"), (400, ""), (503, "model_not_found"), (400, "invalid_request")]
    assert (versionless[0], versionless[1]["type"]) == (400, "error")
    assert (google[0], google[1]["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_soft_failures_have_status_200(client: Client) -> None:
    """Moderation, emptiness and a failure in the middle of a stream look like success from outside."""
    _, filtered = await client.chat("[[moderation]]")
    _, cut = await client.chat("[[empty]]")
    _, refused = await client.claude("[[moderation]]")
    _, blocked = await client.gemini("[[moderation]]")
    status, broken = await client.chat("[[fail:lost]] one two", stream=True)
    _, ended_early = await client.chat("[[truncated]] one two", stream=True)

    assert filtered["choices"][0]["finish_reason"] == "content_filter"
    assert (cut["choices"][0]["finish_reason"], cut["choices"][0]["message"]["content"]) == ("length", "")
    assert (refused["stop_reason"], refused["content"]) == ("refusal", [])
    assert "content" not in blocked["candidates"][0]
    assert (status, json.loads(broken[-1])["error"]["message"]) == (200, "lost")
    assert "[DONE]" not in ended_early


async def test_a_background_response_is_queued_runs_and_ends_or_is_cancelled(
    client: Client, clock: SteppedClock
) -> None:
    """Its id leads to its states; a cancel ends it for good; another id is a 404."""
    body = {"model": "o3-pro", "input": "think", "background": True}
    ids = [(await client.send("/v1/responses", body))[1]["id"] for _ in range(2)]

    seen = []
    for _ in range(3):
        seen.append(await client.ask(ids[0]))
        clock.time += 5.0 if len(seen) > 1 else 1.5
        await asyncio.sleep(0)
    _, ended = await client.send(f"/v1/responses/{ids[0]}/cancel", {})
    _, other = await client.send("/v1/responses", body)
    _, canceled = await client.send(f"/v1/responses/{other['id']}/cancel", {})
    clock.time += 60
    later = await client.ask(other["id"])

    assert [each["status"] for each in seen] == ["queued", "in_progress", "in_progress"]
    assert (ended["status"], ended["output"][0]["content"][0]["text"]) == ("completed", "You said: think")
    assert (canceled["status"], later["status"]) == ("cancelled", "cancelled")
    assert (await client.ask("resp_1"))["error"]["param"] == "id"


async def test_models_that_make_files_link_to_them(client: Client) -> None:
    """Video and picture links in markdown lead to real files; Gemini's picture comes inline."""
    _, video = await client.chat("a comet", model="veo3-fast")
    _, picture = await client.chat("a comet", model="gpt-4o-image", stream=True)
    _, inline = await client.gemini("a comet", "gemini-3-pro-image", responseModalities=["TEXT", "IMAGE"])

    told = "".join(json.loads(each)["choices"][0]["delta"].get("content", "") for each in picture[:-1])
    links = [
        video["choices"][0]["message"]["content"].split("[Watch online](")[1].split(")")[0],
        told.split("![file_")[1].split("](")[1].split(")")[0],
    ]
    files = []
    for link in links:
        async with client.session.get(link) as answer:
            files.append((link[-4:], answer.content_type, (await answer.read())[:8]))
    data = base64.b64decode(inline["candidates"][0]["content"]["parts"][-1]["inlineData"]["data"])

    assert [each[:2] for each in files] == [(".mp4", "video/mp4"), (".png", "image/png")]
    assert files[1][2] == data[:8] == b"\x89PNG\r\n\x1a\n"


async def test_vectors_have_their_length_in_both_encodings(client: Client) -> None:
    """Equal texts give equal vectors, as numbers or as little-endian Base64."""
    body = {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 4}

    _, plain = await client.send("/v1/embeddings", body)
    _, coded = await client.send("/v1/embeddings", body | {"encoding_format": "base64"})

    numbers = [row["embedding"] for row in plain["data"]]
    decoded = [list(struct.unpack("<4f", base64.b64decode(row["embedding"]))) for row in coded["data"]]
    assert decoded == [pytest.approx(row) for row in numbers]
    assert numbers[0] != numbers[1]
