"""Claude's native face: messages, as JSON or in pieces."""

import re
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Operation
from service.simulator.text.chat import ARGUMENT_CUT, Word
from service.simulator.text.speech import Asked, Json, Reply, Tool, pieces, reply_to
from service.simulator.text.spoken import Spoken, require
from service.simulator.text.stream import event, stream

MAX_TOKENS = 128_000
MIN_BUDGET_TOKENS = 1024
STOPS = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", "moderation": "refusal", "empty": "max_tokens"}
_BETA = re.compile(r"[a-z0-9-]+-\d{4}-\d{2}-\d{2}")


class Block(msgspec.Struct, kw_only=True):
    """A block of content."""

    type: Literal["text", "image", "document", "tool_use", "tool_result", "thinking"]
    text: str | None = None
    source: Json | None = None
    id: str | None = None
    name: str | None = None
    input: Json | None = None
    tool_use_id: str | None = None
    content: str | list[Json] | None = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    cache_control: Json | None = None

    def __post_init__(self) -> None:
        needed = {"text": self.text, "image": self.source, "document": self.source, "tool_result": self.tool_use_id}
        require(self.type not in needed or needed[self.type], f"a block of type {self.type} is not complete")


class Message(msgspec.Struct):
    """A turn of the conversation; there is no system role here."""

    role: Literal["user", "assistant"]
    content: Word | Annotated[list[Block], Meta(min_length=1)]

    @property
    def blocks(self) -> list[Block]:
        """The content as blocks."""
        return [Block(type="text", text=self.content)] if isinstance(self.content, str) else self.content


class AnyTool(msgspec.Struct):
    """A function, or a server tool, which has a type."""

    name: Word
    description: str = ""
    input_schema: Json | None = None
    type: str = "custom"

    def __post_init__(self) -> None:
        require(self.type != "custom" or self.input_schema is not None, "input_schema is required")


class ToolChoice(msgspec.Struct):
    """Whether a tool is called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct):
    """Whether the model thinks aloud."""

    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: Annotated[int, Meta(ge=MIN_BUDGET_TOKENS)] | None = None


class OutputConfig(msgspec.Struct):
    """Effort."""

    effort: str | None = None


class Body(msgspec.Struct, kw_only=True):
    """The fields of the reference's table."""

    model: Word
    max_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    system: str | list[Json] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    stop_sequences: list[str] | None = None
    tools: list[AnyTool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    metadata: Json | None = None
    service_tier: str | None = None

    def __post_init__(self) -> None:
        thinking = self.thinking
        if thinking is not None and thinking.type == "enabled":
            require(thinking.budget_tokens, "thinking.budget_tokens is required")
            require((thinking.budget_tokens or 0) < self.max_tokens, "max_tokens must be greater than budget_tokens")

    @property
    def thinks(self) -> bool:
        """Whether a thinking block comes first."""
        return self.thinking is not None and self.thinking.type != "disabled"

    def asked(self) -> Asked:
        """Say what is asked for."""
        spoken = [message.blocks for message in self.messages if message.role == "user"]
        said = spoken[-1] if spoken else []
        choice = self.tool_choice.type if self.tool_choice else "auto"
        tools = [] if choice == "none" else [tool for tool in self.tools or () if tool.type == "custom"]
        return Asked(
            text=" ".join(block.text for block in said if block.text),
            pictures=sum(1 for block in said if block.type == "image"),
            tools=tuple(Tool(name=tool.name, schema=tool.input_schema or {}) for tool in tools),
            must_call=choice in ("any", "tool"),
            max_tokens=self.max_tokens,
        )


class Claude(Spoken):
    """`/v1/messages`."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (Operation(name="claude_message", path="/v1/messages", body=Body, answer=self._answer),)

    def invalid(self, message: str) -> web.Response:
        """Refuse in the relay's shape of this path, which has no code."""
        text = f"{message} (request id: {self.stage.ids.next()})"
        error = {"type": "comet_api_error", "message": f"ValidationException: {text}"}
        return json_answer({"error": error, "type": "error"}, HTTPStatus.BAD_REQUEST)

    def busy(self) -> web.Response:
        """Refuse for want of a free slot, in the provider's shape."""
        return json_answer(self._error("rate_limit_error", "Number of requests exceeds"), HTTPStatus.TOO_MANY_REQUESTS)

    def failed(self, text: str) -> web.Response:
        """Refuse because the generation failed, in the provider's shape."""
        return json_answer(self._error("api_error", text), HTTPStatus.INTERNAL_SERVER_ERROR)

    def _error(self, kind: str, text: str) -> Json:
        return {"type": "error", "error": {"type": kind, "message": text}, "request_id": f"req_{self.stage.ids.next()}"}

    def _check_headers(self, request: web.Request) -> None:
        if "anthropic-version" not in request.headers:
            raise Refused(self.invalid("anthropic-version: header is required"))
        unknown = [each for each in request.headers.get("anthropic-beta", "").split(",") if not _known(each.strip())]
        if unknown:
            raise Refused(self.invalid(f"invalid beta flag {unknown[0]}"))

    async def _answer(self, call: Call) -> web.StreamResponse:
        self._check_headers(call.request)
        body: Body = call.body
        self.require_model(body.model)
        asked, failure = body.asked(), self.failure_of(call)
        whole = _whole(f"msg_{call.stage.ids.next()}", body, asked, reply_to(asked, call.scenario))
        if body.stream:
            error = event(self._error("overloaded_error", failure), "error") if failure else b""
            return await stream(call, _events(whole), error)
        return self.failed(failure) if failure else json_answer(whole)


def _known(beta: str) -> bool:
    return not beta or _BETA.fullmatch(beta) is not None


def _content(body: Body, reply: Reply, number: str) -> list[Json]:
    blocks: list[Json] = []
    if body.thinks:
        blocks.append({"type": "thinking", "thinking": "The user wants an answer.", "signature": "EqQBsimulated"})
    if reply.tool is not None:
        use = {"type": "tool_use", "id": f"toolu_{number}", "name": reply.tool.name, "input": reply.arguments}
        blocks += [{"type": "text", "text": "I look that up."}, use]
    elif reply.text:
        blocks.append({"type": "text", "text": reply.text})
    return blocks


def _whole(message_id: str, body: Body, asked: Asked, reply: Reply) -> Json:
    usage = {
        "input_tokens": asked.tokens,
        "output_tokens": reply.tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    }
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": body.model,
        "content": _content(body, reply, message_id[4:]),
        "stop_reason": STOPS[reply.ending],
        "stop_sequence": None,
        "usage": usage,
    }


def _named(kind: str, **data: Any) -> bytes:
    return event({"type": kind} | data, kind)


def _deltas(block: Json) -> list[Json]:
    if block["type"] == "text":
        return [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    if block["type"] == "thinking":
        thought = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        return [*thought, {"type": "signature_delta", "signature": block["signature"]}]
    arguments = msgspec.json.encode(block["input"]).decode()
    parts = [arguments[at : at + ARGUMENT_CUT] for at in range(0, len(arguments), ARGUMENT_CUT)]
    return [{"type": "input_json_delta", "partial_json": part} for part in ("", *parts)]


def _block_events(index: int, block: Json) -> list[bytes]:
    emptied: dict[str, Json] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    return [
        _named("content_block_start", index=index, content_block=block | emptied[block["type"]]),
        *(_named("content_block_delta", index=index, delta=delta) for delta in _deltas(block)),
        _named("content_block_stop", index=index),
    ]


def _events(whole: Json) -> list[bytes]:
    begun = whole | {"content": [], "stop_reason": None, "usage": whole["usage"] | {"output_tokens": 1}}
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    return [
        _named("message_start", message=begun),
        _named("ping"),
        *(each for index, block in enumerate(whole["content"]) for each in _block_events(index, block)),
        _named("message_delta", delta=ended, usage={"output_tokens": whole["usage"]["output_tokens"]}),
        _named("message_stop"),
    ]
