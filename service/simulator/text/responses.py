"""The Responses API: at once, in pieces, or in the background with a query and a cancel."""

import base64
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import json_answer
from service.simulator.family import Call, Look, Operation, look_at, sample
from service.simulator.tasks import Phase
from service.simulator.text.chat import ARGUMENT_CUT, Word
from service.simulator.text.speech import Asked, Json, Reply, Tool, pieces, reply_to
from service.simulator.text.spoken import Spoken, require
from service.simulator.text.stream import event, stream

PATH = "/v1/responses"
WORDS: dict[Phase, str] = {
    "submitted": "queued",
    "processing": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
}
REFUSAL_TEXT = "I'm sorry, but I can't help with that."


class Format(msgspec.Struct):
    """The form of the text; the schema is flat here."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = ""
    schema: Json | None = None
    strict: bool | None = None
    description: str = ""

    def __post_init__(self) -> None:
        require(self.type != "json_schema" or (self.name and self.schema is not None), "text.format needs name, schema")


class TextOptions(msgspec.Struct):
    """How the text is to be."""

    format: Format | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class AnyTool(msgspec.Struct):
    """A tool; a function is flat here, which clients of the chat path get wrong."""

    type: Word
    name: str = ""
    description: str = ""
    parameters: Json | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        require(self.type != "function" or self.name, "Missing required parameter: 'tools[0].name'")


class Reasoning(msgspec.Struct):
    """How hard to think, and whether to tell."""

    effort: str | None = None
    summary: str | None = None


class Body(msgspec.Struct, kw_only=True):
    """The fields of the reference's table."""

    model: Word
    input: Word | Annotated[list[Json], Meta(min_length=1)] | None = None
    prompt: Json | None = None
    instructions: str | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    previous_response_id: Annotated[str, Meta(pattern="^resp_")] | None = None
    conversation: str | Json | None = None
    tools: list[AnyTool] | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        require(self.input or self.prompt or self.previous_response_id or self.conversation, "input is required")
        require(not self.background or self.store is not False, "background needs store=true")
        require(not (self.conversation and self.previous_response_id), "conversation excludes previous_response_id")

    def _last_parts(self) -> list[Json]:
        if isinstance(self.input, str):
            return [{"type": "input_text", "text": self.input}]
        turns = [item for item in self.input or () if item.get("role") == "user"]
        content = turns[-1].get("content") if turns else None
        if isinstance(content, str):
            return [{"type": "input_text", "text": content}]
        return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []

    def asked(self) -> Asked:
        """Say what is asked for."""
        parts = self._last_parts()
        form = self.text.format if self.text else None
        tools = [] if self.tool_choice == "none" else self.tools or []
        return Asked(
            text=" ".join(str(part["text"]) for part in parts if "text" in part),
            pictures=sum(1 for part in parts if part.get("type") == "input_image"),
            tools=tuple(Tool(name=tool.name or tool.type, schema=tool.parameters or {}) for tool in tools),
            must_call=self.tool_choice == "required" or isinstance(self.tool_choice, dict),
            max_tokens=self.max_output_tokens,
            schema=form.schema or {} if form and form.type != "text" else None,
        )


class Facts(msgspec.Struct, kw_only=True):
    """What a background run remembers; `canceled_at` is set by its cancel."""

    body: Body
    canceled_at: float | None = None


class Responses(Spoken):
    """`/v1/responses`."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        one = PATH + "/{response_id}"
        return (
            Operation(name="response", path=PATH, body=Body, answer=self._create, usual_s=10.0),
            Operation(name="response", path=one, method="GET", encoding=("none",), answer=self._get),
            Operation(name="response", path=f"{one}/cancel", encoding=("none",), answer=self._cancel),
        )

    def unknown_task(self) -> web.Response:
        """Answer a question about a response that there is not."""
        error = {"message": "Response with that id not found.", "type": "invalid_request_error", "param": "id"}
        return json_answer({"error": error | {"code": None}}, HTTPStatus.NOT_FOUND)

    async def _create(self, call: Call) -> web.StreamResponse:
        body: Body = call.body
        self.require_model(body.model)
        if body.background:
            task = await call.create(facts=Facts(body=body), make_id="resp_{}".format)
            return json_answer(self._told(look_at(self.stage, task, "submitted")))
        told = _Told(id=f"resp_{call.stage.ids.next()}", created_at=int(call.stage.clock.now()), body=body)
        whole = told.ended(reply_to(body.asked(), call.scenario), self.failure_of(call))
        return await stream(call, told.events(whole)) if body.stream else json_answer(whole)

    async def _get(self, call: Call) -> web.StreamResponse:
        task = await self.find_or_hang(call, call.request.match_info["response_id"])
        return json_answer(self._told(self.look(task)))

    async def _cancel(self, call: Call) -> web.StreamResponse:
        task = self.find(call, call.request.match_info["response_id"])
        now, facts = self.stage.clock.now(), task.facts
        if now < task.finished_at and facts.canceled_at is None:
            facts.canceled_at = now
        return json_answer(self._told(look_at(self.stage, task, task.phase(now))))

    def _told(self, look: Look) -> Json:
        task, facts = look.task, look.task.facts
        told = _Told(id=task.public_id, created_at=int(task.created_at), body=facts.body)
        if facts.canceled_at is not None:
            return told.object("cancelled")
        if look.unknown:
            return told.object("reviewing")
        if look.phase in ("submitted", "processing"):
            return told.object(WORDS[look.phase])
        scenario = task.scenario
        quiet = msgspec.structs.replace(scenario, empty=int(look.empty))
        failure = scenario.failure_text or "The run failed." if scenario.outcome in ("fail", "gave_up") else ""
        return told.ended(reply_to(facts.body.asked(), quiet), failure)


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """One response to be written down."""

    id: str
    created_at: int
    body: Body

    def object(self, status: str, output: list[Json] | None = None, **more: Any) -> Json:
        """Write the response object."""
        body = self.body
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": self.created_at + 1 if status == "completed" else None,
            "status": status,
            "background": bool(body.background),
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": f"{body.model}-2026-03-05",
            "output": output or [],
            "parallel_tool_calls": True,
            "previous_response_id": body.previous_response_id,
            "store": body.store is not False,
            "metadata": body.metadata or {},
            "usage": None,
        } | more

    def ended(self, reply: Reply, failure: str) -> Json:
        """Write the response as it ends."""
        if failure:
            return self.object("failed", error={"code": "server_error", "message": failure})
        usage = {"input_tokens": 12, "output_tokens": reply.tokens, "total_tokens": 12 + reply.tokens}
        thought = [{"type": "reasoning", "id": f"rs_{self.id[5:]}", "summary": []}] if self.body.reasoning else []
        if reply.ending in ("length", "empty"):
            output = [*thought, *([self._message(reply)] if reply.text else [])]
            return self.object("incomplete", output, incomplete_details={"reason": "max_output_tokens"}, usage=usage)
        return self.object("completed", [*thought, *self._items(reply)], usage=usage)

    def _items(self, reply: Reply) -> list[Json]:
        if reply.tool is None:
            return [self._message(reply)]
        if reply.tool.name == "image_generation":
            picture = {"type": "image_generation_call", "id": f"ig_{self.id[5:]}", "status": "completed"}
            return [
                picture | {"result": base64.b64encode(sample("png")).decode()},
                self._message(Reply(text="Here it is.")),
            ]
        number = self.id[5:]
        arguments = msgspec.json.encode(reply.arguments).decode()
        call = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "status": "completed"}
        return [call | {"name": reply.tool.name, "arguments": arguments}]

    def _message(self, reply: Reply) -> Json:
        if reply.ending == "moderation":
            part: Json = {"type": "refusal", "refusal": REFUSAL_TEXT}
        else:
            part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        status = "incomplete" if reply.ending == "length" else "completed"
        return {"type": "message", "id": f"msg_{self.id[5:]}", "role": "assistant", "status": status, "content": [part]}

    def events(self, whole: Json) -> list[bytes]:
        """Write a finished response in pieces; the last event holds it whole."""
        begun = {"response": self.object("in_progress")}
        told: list[tuple[str, Json]] = [("response.created", begun), ("response.in_progress", begun)]
        for index, item in enumerate(whole["output"]):
            told += _item_events(index, item)
        told.append((f"response.{whole['status']}", {"response": whole}))
        return [event({"type": kind, "sequence_number": at} | data, kind) for at, (kind, data) in enumerate(told)]


def _item_events(index: int, item: Json) -> list[tuple[str, Json]]:
    place: Json = {"output_index": index, "item_id": item["id"]}
    inside: list[tuple[str, Json]] = []
    if item["type"] == "message":
        inside = _part_events(place, item["content"][0])
    elif item["type"] == "function_call":
        inside = _argument_events(place, item["arguments"])
    emptied = item | {"status": "in_progress"} | ({"content": []} if item["type"] == "message" else {})
    added = ("response.output_item.added", {"output_index": index, "item": emptied})
    return [added, *inside, ("response.output_item.done", {"output_index": index, "item": item})]


def _part_events(place: Json, part: Json) -> list[tuple[str, Json]]:
    place = place | {"content_index": 0}
    kind, field = part["type"], "text" if part["type"] == "output_text" else "refusal"
    deltas = [(f"response.{kind}.delta", place | {"delta": piece}) for piece in pieces(part[field])]
    return [
        ("response.content_part.added", place | {"part": part | {field: ""}}),
        *deltas,
        (f"response.{kind}.done", place | {field: part[field]}),
        ("response.content_part.done", place | {"part": part}),
    ]


def _argument_events(place: Json, arguments: str) -> list[tuple[str, Json]]:
    parts = [arguments[at : at + ARGUMENT_CUT] for at in range(0, len(arguments), ARGUMENT_CUT)]
    deltas = [("response.function_call_arguments.delta", place | {"delta": part}) for part in parts]
    return [*deltas, ("response.function_call_arguments.done", place | {"arguments": arguments})]
