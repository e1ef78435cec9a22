"""Chat completions, as JSON or in pieces; also the chat models whose answers are links to files."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import json_answer, platform_error
from service.simulator.family import Call, Operation
from service.simulator.text import markdown
from service.simulator.text.speech import Asked, Json, Reply, Tool, pieces, reply_to
from service.simulator.text.spoken import Spoken, require
from service.simulator.text.stream import DONE, event, stream

Word = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls", "moderation": "content_filter", "empty": "length"}
ARGUMENT_CUT = 6


class ImageUrl(msgspec.Struct):
    """A picture by its address or as a data URL."""

    url: Annotated[str, Meta(pattern=r"^(https?://|data:image/)")]
    detail: Literal["low", "high", "auto"] = "auto"


class InputAudio(msgspec.Struct):
    """A sound."""

    data: Word
    format: str


class Part(msgspec.Struct):
    """A part of a message; its type names the field that it must have."""

    type: Literal["text", "image_url", "input_audio"]
    text: str | None = None
    image_url: ImageUrl | None = None
    input_audio: InputAudio | None = None

    def __post_init__(self) -> None:
        require(getattr(self, self.type) is not None, f"a part of type {self.type} needs {self.type}")


class Message(msgspec.Struct):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_call_id: str = ""
    tool_calls: list[Json] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        replays_call = self.role == "assistant" and self.tool_calls
        require(self.content is not None or replays_call, "content is required")
        require(self.role != "tool" or self.tool_call_id, "a message of role tool needs tool_call_id")

    @property
    def parts(self) -> list[Part]:
        """The content as parts."""
        if isinstance(self.content, str):
            return [Part(type="text", text=self.content)]
        return self.content or []


class Function(msgspec.Struct):
    """A function to call."""

    name: Word
    description: str = ""
    parameters: Json | None = None
    strict: bool | None = None


class FunctionTool(msgspec.Struct):
    """A tool; the function is nested here."""

    type: Literal["function"]
    function: Function


class JsonSchema(msgspec.Struct):
    """The form of a structured answer."""

    name: Word
    schema: Json = {}
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """Prose, JSON, or JSON of a form."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def __post_init__(self) -> None:
        require(self.type != "json_schema" or self.json_schema, "json_schema is required")

    @property
    def wanted(self) -> Json | None:
        """The schema of the answer; None for prose."""
        if self.json_schema is not None:
            return self.json_schema.schema
        return None if self.type == "text" else {}


class StreamOptions(msgspec.Struct):
    """What comes with a stream."""

    include_usage: bool = False


class Body(msgspec.Struct, kw_only=True):
    """The fields of the reference's table."""

    model: Word
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Count | None = None
    stop: Word | Annotated[list[str], Meta(max_length=4)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    seed: int | None = None
    response_format: ResponseFormat | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Json | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    user: str | None = None

    @property
    def last_words(self) -> list[Part]:
        """The parts of the user's last message."""
        spoken = [message.parts for message in self.messages if message.role == "user"]
        return spoken[-1] if spoken else []

    def asked(self) -> Asked:
        """Say what is asked for."""
        said = self.last_words
        tools = [] if self.tool_choice == "none" else self.tools or []
        return Asked(
            text=" ".join(part.text for part in said if part.text),
            pictures=sum(1 for part in said if part.image_url),
            tools=tuple(Tool(name=tool.function.name, schema=tool.function.parameters or {}) for tool in tools),
            must_call=self.tool_choice == "required" or isinstance(self.tool_choice, dict),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            schema=self.response_format.wanted if self.response_format else None,
        )


class Chat(Spoken):
    """`/v1/chat/completions`."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (Operation(name="chat", path="/v1/chat/completions", body=Body, answer=self._answer),)

    def routes(self) -> list[web.RouteDef]:
        """List the routes, those of the linked files among them."""
        return [*super().routes(), web.get(r"/cdn/{path:.+}.{suffix:mp4|png}", markdown.serve)]

    def invalid(self, message: str) -> web.Response:
        """Refuse as measured: messages missing is a 500, model missing has no code."""
        if "missing required field `messages`" in message:
            text, status, code = "field messages is required", HTTPStatus.INTERNAL_SERVER_ERROR, "invalid_request"
        elif "missing required field `model`" in message:
            text, status, code = "model is required", HTTPStatus.BAD_REQUEST, ""
        else:
            text, status, code = message, HTTPStatus.BAD_REQUEST, "invalid_request"
        return platform_error(status, text, code, self.stage.ids.next())

    async def _answer(self, call: Call) -> web.StreamResponse:
        body: Body = call.body
        self.require_model(body.model)
        asked = body.asked()
        made_of_links = markdown.makes_files(body.model)
        if made_of_links:
            reply = Reply(text=markdown.told(call, body.model, asked.text))
        else:
            reply = reply_to(asked, call.scenario)
        failure = "" if made_of_links else self.failure_of(call)
        told = _Told(id=f"chatcmpl-{call.stage.ids.next()}", created=int(call.stage.clock.now()), body=body)
        if body.stream:
            error = {"error": {"message": failure, "type": "comet_api_error", "code": "bad_response"}}
            return await stream(call, told.chunks(reply, asked), event(error) if failure else b"")
        if failure:
            return self.failed(failure)
        return json_answer(told.whole(reply, asked))


def _usage(reply: Reply, asked: Asked) -> Json:
    return {
        "prompt_tokens": asked.tokens,
        "completion_tokens": reply.tokens,
        "total_tokens": asked.tokens + reply.tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to be written down."""

    id: str
    created: int
    body: Body

    @property
    def _indexes(self) -> range:
        return range(self.body.n or 1)

    def _head(self, kind: str) -> Json:
        # The answer names the dated snapshot behind the alias that was asked.
        model = f"{self.body.model}-2026-03-05"
        return {"id": self.id, "object": kind, "created": self.created, "model": model}

    def _call(self, reply: Reply) -> Json:
        arguments = msgspec.json.encode(reply.arguments).decode()
        name = reply.tool.name if reply.tool else ""
        return {"id": f"call_{self.id[-12:]}", "type": "function", "function": {"name": name, "arguments": arguments}}

    def _message(self, reply: Reply) -> Json:
        content = {"moderation": None, "empty": ""}.get(reply.ending, reply.text or None)
        message: Json = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
        return message | ({"tool_calls": [self._call(reply)]} if reply.tool else {})

    def whole(self, reply: Reply, asked: Asked) -> Json:
        """Write the answer in one piece."""
        finish, message = FINISH[reply.ending], self._message(reply)
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish} for index in self._indexes
        ]
        tail = {"usage": _usage(reply, asked), "service_tier": "default", "system_fingerprint": None}
        return self._head("chat.completion") | {"choices": choices} | tail

    def _deltas(self, reply: Reply) -> list[Json]:
        begin: Json = {"role": "assistant", "content": "" if reply.tool is None else None}
        if reply.tool is None:
            return [begin, *({"content": piece} for piece in pieces(reply.text))]
        whole = self._call(reply)
        arguments: str = whole["function"]["arguments"]
        opening = whole | {"index": 0, "function": {"name": whole["function"]["name"], "arguments": ""}}
        parts = [arguments[at : at + ARGUMENT_CUT] for at in range(0, len(arguments), ARGUMENT_CUT)]
        later = [{"index": 0, "function": {"arguments": part}} for part in parts]
        return [begin, *({"tool_calls": [each]} for each in (opening, *later))]

    def _chunk(self, index: int, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(self._head("chat.completion.chunk") | {"choices": [choice], "obfuscation": "x" * 8})

    def chunks(self, reply: Reply, asked: Asked) -> list[bytes]:
        """Write the answer in pieces."""
        events = [
            self._chunk(index, delta, finish)
            for index in self._indexes
            for delta, finish in [*((each, None) for each in self._deltas(reply)), ({}, FINISH[reply.ending])]
        ]
        if self.body.stream_options and self.body.stream_options.include_usage:
            last: dict[str, Any] = {"choices": [], "usage": _usage(reply, asked)}
            events.append(event(self._head("chat.completion.chunk") | last))
        return [*events, DONE]
