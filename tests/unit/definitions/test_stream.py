"""Streams of server-sent events, put together into the answers that would have come at once."""

import json
from typing import Any

import pytest

from service.definitions.catalog import Catalog, load_catalog
from service.definitions.reader import Answer
from service.definitions.schema import Stream, StreamStep
from service.definitions.stream import Event, EventParser, StreamedAnswer, StreamPlan, is_stream

CATALOG: Catalog = load_catalog()
MESSY = (
    ": hello\r\n\r\n"
    'event: first\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
    "data:plain words\r\rid: 7\ndata\n\n"
    'event:last\ndata: {"é": "ü"}\n\n\n'
    "data: [DONE]"
)
EVENTS = [
    Event(name="first", data={"a": 1}),
    Event(name="", data="plain words"),
    Event(name="last", data={"é": "ü"}),
    Event(name="", data="[DONE]"),
]


def assembled(node: str, *events: Any) -> StreamedAnswer:
    """Put events together as a node's dialect says; a pair is a name and its data."""
    plan = CATALOG.nodes[node].reader.stream
    assert plan is not None
    return plan.assembled("".join(map(written, events)))


def written(event: Any) -> str:
    """Write one event."""
    name, data = event if isinstance(event, tuple) else ("", event)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


def chunk(**delta: Any) -> dict[str, Any]:
    """Write a piece of a chat completion."""
    reason = delta.pop("finish_reason", None)
    return {"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_whatever_pieces_they_come_in(size: int) -> None:
    """Line ends of all three kinds, data of several lines, comments and a missing last blank line."""
    parser = EventParser()

    events = [event for at in range(0, len(MESSY), size) for event in parser.feed(MESSY[at : at + size])]

    assert [*events, *parser.end()] == EVENTS


def test_deltas_are_joined_and_the_end_is_seen() -> None:
    """Texts of `joined` keys grow, other values are replaced, and null changes nothing."""
    told = assembled(
        "text.chat", chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"),
        chunk(content=None, finish_reason="stop"), "[DONE]",
    )  # fmt: skip

    assert told.whole
    assert told.body["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    ]


def test_tool_calls_are_told_apart_by_their_index() -> None:
    """Pieces of two calls may alternate; each call keeps its own arguments, in order."""
    calls = [
        {"index": 1, "id": "b", "function": {"name": "sea", "arguments": '{"y"'}},
        {"index": 0, "id": "a", "function": {"name": "sky", "arguments": '{"x"'}},
        {"index": 1, "function": {"arguments": ":2}"}},
        {"index": 0, "function": {"arguments": ":1}"}},
    ]

    told = assembled("text.chat", *(chunk(tool_calls=[call]) for call in calls), chunk(finish_reason="tool_calls"))

    found = told.body["choices"][0]["message"]["tool_calls"]
    assert [(each["id"], each["function"]["name"], each["function"]["arguments"]) for each in found] == [
        ("a", "sky", '{"x":1}'),
        ("b", "sea", '{"y":2}'),
    ]


def test_content_blocks_are_put_together() -> None:
    """Blocks stand by their index, a tool's input is decoded, and the end brings reason and usage."""
    told = assembled(
        "text.claude_message",
        ("message_start", {"type": "message_start", "message": {"id": "m", "type": "message", "content": []}}),
        ("ping", {"type": "ping"}),
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "see."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "sky"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"x":'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    )

    assert told.whole
    assert told.body["stop_reason"] == "tool_use"
    assert told.body["usage"]["output_tokens"] == 9
    text, tool = told.body["content"]
    assert (text["type"], text["text"]) == ("text", "Let me see.")
    assert (tool["type"], tool["name"], tool["input"]) == ("tool_use", "sky", {"x": 1})


def test_parts_of_candidates_are_put_one_after_the_other() -> None:
    """Each piece brings more parts; the last one has the reason, and no line ends the stream."""
    parts = [{"text": "Hal"}, {"text": "ley"}, {"functionCall": {"name": "sky", "args": {"x": 1}}}]
    pieces = [{"candidates": [{"content": {"role": "model", "parts": [part]}}]} for part in parts]
    last = {"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}], "usageMetadata": {"totalTokenCount": 3}}

    told = assembled("text.gemini_generate", *pieces, last)

    candidate = told.body["candidates"][0]
    assert told.whole
    assert candidate["content"]["parts"] == parts
    assert candidate["finishReason"] == "STOP"
    assert told.body["usageMetadata"]["totalTokenCount"] == 3


@pytest.mark.parametrize(
    ("node", "event"),
    [
        ("text.chat", chunk(content="Hel")),
        ("text.claude_message", {"type": "message_start", "message": {"id": "m", "content": []}}),
        ("text.gemini_generate", {"candidates": [{"content": {"parts": [{"text": "Hal"}]}}]}),
        ("text.response", {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}),
    ],
)
def test_a_stream_that_was_cut_is_no_answer(node: str, event: dict[str, Any]) -> None:
    """Without its end it is told as broken off, however much of it came, and is not sent again by itself."""
    read = CATALOG.nodes[node].reader.read("submit", Answer(status=200, body=written(event)))

    assert not assembled(node, event).whole
    assert read.state == "failed"
    assert read.error is not None
    assert read.error.code == "server"
    assert "broke off" in read.error.message
    assert not read.refused


def test_an_error_before_anything_came_is_a_refusal() -> None:
    """Nothing was accepted, so what the error means decides whether it is sent again."""
    error = {"error": {"message": "too many requests", "code": "rate_limit_exceeded"}}

    read = CATALOG.nodes["text.chat"].reader.read("submit", Answer(status=200, body=written(error)))

    assert read.error is not None
    assert (read.error.code, read.error.retryable, read.refused) == ("rate_limited", True, True)


def test_an_error_in_mid_stream_ends_what_was_accepted() -> None:
    """The answer had begun, so its failure never has it sent again, whatever the error means."""
    events = (
        {"type": "message_start", "message": {"id": "m", "type": "message", "content": []}},
        ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    )
    body = "".join(map(written, events))

    read = CATALOG.nodes["text.claude_message"].reader.read("submit", Answer(status=200, body=body))

    assert (read.state, read.refused) == ("failed", False)
    assert read.error is not None
    assert read.error.message == "Overloaded"


def test_what_is_no_object_says_nothing() -> None:
    """Events of words, lists or broken JSON are passed over."""
    plan = StreamPlan(Stream(steps=[StreamStep()], joined=["text"]))

    told = plan.assembled('data: {"text": "a"}\n\ndata: nonsense\n\ndata: [1]\n\ndata: {"text": "b"}\n\n')

    assert told == StreamedAnswer(body={"text": "ab"}, whole=True)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("data: 1\n\n", True),
        ("\ufeff\n: comment\n\n", True),
        ("event: x\ndata: 1\n\n", True),
        ('{"data": 1}', False),
        ("<html>data: 1</html>", False),
        ("", False),
    ],
)
def test_streams_are_told_from_other_texts(body: str, *, expected: bool) -> None:
    """By how they begin, whatever their content type said."""
    assert is_stream(body) is expected
