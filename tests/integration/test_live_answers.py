"""Answers as they come: a start with `Accept: text/event-stream` over a real server, with an upstream that waits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from aiohttp import web

from service.api.live_answers import WholeEvents
from service.definitions.stream import Event, EventParser
from service.simulator import Simulator, SimulatorOptions
from tests.fakes.house import TUNING, House, house

CHAT = {"model": "gpt-5.4", "prompt": "hello there"}
EVENTS = {"Accept": "text/event-stream"}
FIRST = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hal"}}]}\r\n\r\n'
REST = (
    b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"ley"},"finish_reason":"stop"}]}\n\n'
    b": a comment of upstream\n\nid: 9\ndata: [DONE]\n\n"
)


class Waiting:
    """An upstream that sends the first event of a chat, and the rest when it is told to."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.first, self.rest = FIRST, REST

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat in two pieces."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(self.first)
        await self.goes_on.wait()
        await response.write(self.rest)
        return response


@pytest.fixture
def upstream() -> Waiting:
    """The upstream's own handler."""
    return Waiting()


@pytest.fixture
async def waiting(tmp_path: Path, upstream: Waiting) -> AsyncIterator[House]:
    """A Halley in front of the upstream that waits."""
    routes = [web.post("/v1/chat/completions", upstream.answer)]
    tuning = msgspec.structs.replace(TUNING, keep_alive_s=0.05)
    async with (
        Simulator(SimulatorOptions(), families=lambda _stage: list(routes)) as sim,
        house(tmp_path / "waiting", sim, tuning=tuning) as running,
    ):
        yield running
        upstream.goes_on.set()


class Reader:
    """Reads the events of an answer one by one, and keeps its bytes."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.received = b""
        self._chunks = response.aiter_bytes()
        self._events: list[Event] = []
        self._parser = EventParser()

    async def next(self) -> Event:
        """Return the next event."""
        while not self._events:
            await self.piece()
        return self._events.pop(0)

    async def piece(self) -> bytes:
        """Return what comes next."""
        chunk = await anext(self._chunks)
        self.received += chunk
        self._events += self._parser.feed(chunk.decode())
        return chunk

    async def all(self) -> list[Event]:
        """Return the events that are left."""
        with contextlib.suppress(StopAsyncIteration):
            while True:
                await self.piece()
        events, self._events = self._events, []
        return events


@contextlib.asynccontextmanager
async def live(
    halley: House, node: str, body: dict[str, Any], headers: dict[str, str] | None = None, **query: Any
) -> AsyncIterator[Reader]:
    """Start a run and read its answer as it comes."""
    url = f"/v1/nodes/{node}/runs"
    sent = EVENTS | (headers or {})
    async with (
        asyncio.timeout(30),
        halley.client.stream("POST", url, json=body, params=query, headers=sent) as response,
    ):
        yield Reader(response)


async def test_pieces_come_before_the_run_has_ended(waiting: House, upstream: Waiting) -> None:
    """First the run, then upstream's bytes as they are, at the end the run as it ended."""
    async with live(waiting, "text.chat", CHAT) as reader:
        stored, first = await reader.next(), await reader.next()
        meanwhile = (await waiting.client.get(f"/v1/runs/{stored.data['id']}")).json()
        upstream.goes_on.set()
        *_, ended = await reader.all()

    headers = reader.response.headers
    assert reader.response.status_code == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert headers["location"] == stored.data["status_url"]
    assert (stored.name, stored.data["state"]) == ("halley.run", "queued")
    assert first.data["choices"][0]["delta"]["content"] == "Hal"
    assert meanwhile["state"] == "submitting"
    assert (ended.name, ended.data["id"], ended.data["text"]) == ("halley.run", stored.data["id"], "Halley")
    quiet = reader.received.replace(b": keep-alive\n\n", b"")
    assert quiet.count(FIRST + REST) == 1
    assert quiet.count(b"event: halley.run\n") == 2


async def test_silence_is_broken_by_comments(waiting: House, upstream: Waiting) -> None:
    """While upstream says nothing, a line that means nothing keeps the connection open."""
    async with live(waiting, "text.chat", CHAT) as reader:
        await reader.next()
        await reader.next()
        silence = await reader.piece()
        upstream.goes_on.set()
        await reader.all()

    assert silence == b": keep-alive\n\n"


async def test_a_comment_never_stands_inside_an_event(waiting: House, upstream: Waiting) -> None:
    """An event that comes in two pieces waits for its second, and is then passed on as it is."""
    upstream.first, upstream.rest = FIRST[:20], FIRST[20:] + REST

    async with live(waiting, "text.chat", CHAT) as reader:
        await reader.next()
        silence = await reader.piece()
        upstream.goes_on.set()
        await reader.all()

    assert silence == b": keep-alive\n\n"
    assert FIRST + REST in reader.received


async def test_who_goes_away_loses_nothing_but_the_view(waiting: House, upstream: Waiting) -> None:
    """The run goes on and succeeds, and nobody listens to it any more."""
    async with live(waiting, "text.chat", CHAT) as reader:
        run_id = (await reader.next()).data["id"]
        await reader.next()
    listeners = waiting.app.state.services.live
    async with asyncio.timeout(10):
        while listeners.of(run_id) is not None:
            await waiting.client.get("/healthz")
    upstream.goes_on.set()

    ended = await waiting.end(run_id)

    assert (ended["state"], ended["text"]) == ("succeeded", "Halley")


async def test_a_stream_that_breaks_off_ends_with_the_failed_run(waiting: House, upstream: Waiting) -> None:
    """What came is passed on, half an event is not, and the run says what happened."""
    upstream.rest = b'data: {"choices":[{"del'
    upstream.goes_on.set()

    async with live(waiting, "text.chat", CHAT) as reader:
        events = await reader.all()

    assert [event.name for event in events] == ["halley.run", "", "halley.run"]
    assert events[-1].data["state"] == "failed"
    assert events[-1].data["error"]["code"] == "server"


async def test_an_upstream_that_does_not_stream_is_no_trouble(waiting: House, upstream: Waiting) -> None:
    """A whole answer in place of a stream makes the run succeed; nobody is sent JSON for events."""
    whole = {"id": "c1", "choices": [{"index": 0, "message": {"content": "Halley"}, "finish_reason": "stop"}]}
    upstream.first, upstream.rest = msgspec.json.encode(whole), b"\n\n"
    upstream.goes_on.set()

    async with live(waiting, "text.chat", CHAT) as reader:
        events = await reader.all()

    assert [event.name for event in events] == ["halley.run", "halley.run"]
    assert events[-1].data["text"] == "Halley"


async def test_a_repeated_start_brings_only_the_run(waiting: House, upstream: Waiting) -> None:
    """The pieces go to who started the run; who repeats the start sees its beginning and its end."""
    key = {"Idempotency-Key": "one"}

    async with live(waiting, "text.chat", CHAT, key) as reader:
        stored, _ = await reader.next(), await reader.next()
        async with live(waiting, "text.chat", CHAT, key) as again:
            await again.next()
            upstream.goes_on.set()
            repeated = await again.all()
        first = await reader.all()

    assert again.response.headers["idempotency-replayed"] == "true"
    assert [(event.name, event.data["id"]) for event in repeated] == [("halley.run", stored.data["id"])]
    assert [event.data["text"] for event in (repeated[-1], first[-1])] == ["Halley", "Halley"]


async def test_a_refusal_by_upstream_ends_the_stream_with_the_failed_run(halley: House) -> None:
    """An error answer in place of a stream is never passed on as a piece."""
    async with live(halley, "text.chat", CHAT | {"prompt": "[[quota]]"}) as reader:
        events = await reader.all()

    assert [event.name for event in events] == ["halley.run", "halley.run"]
    assert (events[-1].data["state"], events[-1].data["error"]["code"]) == ("failed", "quota")


@pytest.mark.parametrize(
    ("node", "body"),
    [
        ("text.chat", CHAT),
        ("text.response", {"model": "gpt-5.4", "input": "hello there"}),
        ("text.claude_message", {"model": "claude-sonnet-4-6", "prompt": "hello there"}),
        ("text.gemini_generate", {"model": "gemini-2.5-flash", "prompt": "hello there"}),
    ],
)
async def test_every_face_of_the_models_can_be_heard(halley: House, node: str, body: dict[str, Any]) -> None:
    """Its own events lie between the two of the run, which holds the text that they make up."""
    async with live(halley, node, body) as reader:
        stored, *pieces, ended = await reader.all()

    assert (stored.name, ended.name) == ("halley.run", "halley.run")
    assert len(pieces) > 2
    assert "halley.run" not in {piece.name for piece in pieces}
    assert (ended.data["state"], ended.data["text"]) == ("succeeded", "You said: hello there")


async def test_a_task_tells_its_states(halley: House) -> None:
    """Nodes that cannot stream give the run at its start, at its end, and at what is seen between."""
    async with live(halley, "kling.text_to_video", {"prompt": "a comet"}, mode="mock") as reader:
        events = await reader.all()

    states = [event.data["state"] for event in events]
    assert {event.name for event in events} == {"halley.run"}
    assert (states[0], states[-1]) == ("queued", "succeeded")
    assert events[-1].data["artifacts"]


async def test_a_refused_start_is_an_http_error(halley: House) -> None:
    """Nothing is stored, so there is nothing to stream."""
    async with live(halley, "text.chat", {"prompt": "hello"}) as reader:
        await reader.response.aread()

    assert reader.response.status_code == 422
    assert reader.response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("cut", range(1, 12))
def test_whole_events_are_passed_on_unchanged(cut: int) -> None:
    """Wherever the pieces are cut, nothing is added, lost or sent before its event is whole."""
    stream = b"data: 1\r\n\r\n: x\r\rdata: 2\n\ndata: 3\n"
    whole = WholeEvents()

    passed = [whole.feed(stream[at : at + cut]) for at in range(0, len(stream), cut)]

    assert all(not piece or piece.endswith((b"\n", b"\r")) for piece in passed)
    assert b"".join(passed) == stream.removesuffix(b"data: 3\n")
    assert whole.rest() == b"data: 3\n\n"
