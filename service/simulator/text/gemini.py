"""Gemini's native face: content in one piece or in a stream, and pictures from the models that make them."""

import base64
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import json_answer
from service.simulator.family import Call, Operation, sample
from service.simulator.text.speech import Asked, Json, Reply, Tool, pieces, reply_to
from service.simulator.text.spoken import Spoken, require
from service.simulator.text.stream import event, stream

FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool": "STOP", "moderation": "SAFETY", "empty": "MAX_TOKENS"}
MAX_REFERENCES = 14
RATIOS = Literal[
    "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:4", "4:1", "1:8", "8:1"
]  # fmt: skip


class Blob(msgspec.Struct, rename="camel"):
    """Bytes as plain Base64; a data URL is not one."""

    mime_type: Annotated[str, Meta(pattern="^[a-z]+/")]
    data: Annotated[str, Meta(pattern="^[A-Za-z0-9+/]+={0,2}$")]


class OldBlob(msgspec.Struct):
    """The same in the spelling of the older guide."""

    mime_type: str
    data: Annotated[str, Meta(pattern="^[A-Za-z0-9+/]+={0,2}$")]


class FileData(msgspec.Struct, rename="camel"):
    """A file by its address."""

    file_uri: Annotated[str, Meta(pattern="^https://")]
    mime_type: str = ""


class Part(msgspec.Struct, rename="camel", kw_only=True):
    """A part of a turn."""

    text: str | None = None
    inline_data: Blob | None = None
    old_inline_data: OldBlob | None = msgspec.field(default=None, name="inline_data")
    file_data: FileData | None = None
    old_file_data: Json | None = msgspec.field(default=None, name="file_data")
    function_call: Json | None = None
    function_response: Json | None = None
    thought: bool | None = None
    thought_signature: str | None = None

    def __post_init__(self) -> None:
        require(self.old_file_data is None, "unknown field file_data; write fileData.fileUri")

    @property
    def is_picture(self) -> bool:
        """Whether the part is a picture."""
        return self.inline_data is not None or self.old_inline_data is not None


class Content(msgspec.Struct):
    """A turn of the conversation."""

    parts: Annotated[list[Part], Meta(min_length=1)]
    role: Literal["user", "model"] = "user"


class ThinkingConfig(msgspec.Struct, rename="camel", frozen=True):
    """How hard to think, and whether to tell."""

    thinking_level: Literal["MINIMAL", "LOW", "MEDIUM", "HIGH", "minimal", "low", "medium", "high"] | None = None
    thinking_budget: Annotated[int, Meta(ge=-1)] | None = None
    include_thoughts: bool = False


class ImageConfig(msgspec.Struct, rename="camel"):
    """Form and size of a picture."""

    aspect_ratio: RATIOS | None = None
    image_size: Literal["512", "1K", "2K", "4K"] | None = None


class GenerationConfig(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How to generate."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=1)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop_sequences: list[str] | None = None
    candidate_count: Annotated[int, Meta(ge=1)] | None = None
    seed: int | None = None
    response_mime_type: str | None = None
    response_schema: Json | None = None
    response_modalities: list[Literal["TEXT", "IMAGE", "AUDIO"]] | None = None
    thinking_config: ThinkingConfig = ThinkingConfig()
    image_config: ImageConfig | None = None


class SystemInstruction(msgspec.Struct):
    """The system's words."""

    parts: list[Part]
    role: str = ""


class Body(msgspec.Struct, rename="camel", kw_only=True):
    """The fields of the reference's table."""

    contents: Annotated[list[Content], Meta(min_length=1)]
    system_instruction: SystemInstruction | None = None
    generation_config: GenerationConfig = GenerationConfig()
    tools: list[Json] | None = None
    tool_config: Json | None = None
    safety_settings: list[Json] | None = None

    def __post_init__(self) -> None:
        pictures = sum(1 for content in self.contents for part in content.parts if part.is_picture)
        require(pictures <= MAX_REFERENCES, f"at most {MAX_REFERENCES} pictures")

    @property
    def modalities(self) -> list[str]:
        """What the answer shall hold."""
        return list(self.generation_config.response_modalities or ["TEXT"])

    def asked(self) -> Asked:
        """Say what is asked for."""
        spoken = [content.parts for content in self.contents if content.role == "user"]
        said = spoken[-1] if spoken else []
        config = self.generation_config
        wants_json = config.response_mime_type == "application/json"
        mode = (self.tool_config or {}).get("functionCallingConfig", {}).get("mode", "AUTO")
        functions = [each for tool in self.tools or () for each in tool.get("functionDeclarations", ())]
        return Asked(
            text=" ".join(part.text for part in said if part.text),
            pictures=sum(1 for part in said if part.is_picture or part.file_data),
            tools=tuple(Tool(name=each["name"], schema=each.get("parameters", {})) for each in functions),
            must_call=mode == "ANY",
            max_tokens=config.max_output_tokens,
            schema=config.response_schema or {} if wants_json else None,
        )


class Gemini(Spoken):
    """`/v1beta/models/{model}:generateContent` and its stream."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        model = "/v1beta/models/{model:[^/:]+}"
        return (
            Operation(name="gemini_generate", path=f"{model}:generateContent", body=Body, answer=self._whole),
            Operation(name="gemini_stream", path=f"{model}:streamGenerateContent", body=Body, answer=self._stream),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse a body in Google's shape."""
        return _error(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", message)

    def busy(self) -> web.Response:
        """Refuse for want of a free slot, with words that sound like money and are not."""
        text = "You exceeded your current quota. Please retry in 1.5s."
        return _error(HTTPStatus.TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", text)

    def failed(self, text: str) -> web.Response:
        """Refuse because the generation failed."""
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", text)

    def _written(self, call: Call) -> "_Written":
        model = call.request.match_info["model"]
        self.require_model(model)
        body: Body = call.body
        asked = body.asked()
        makes_picture = "image" in model and "IMAGE" in body.modalities
        number = call.stage.ids.next()
        reply = reply_to(asked, call.scenario)
        return _Written(model=model, number=number, body=body, asked=asked, reply=reply, makes_picture=makes_picture)

    async def _whole(self, call: Call) -> web.StreamResponse:
        written = self._written(call)
        self.refuse_failure(call)
        return json_answer(written.answer(written.parts()))

    async def _stream(self, call: Call) -> web.StreamResponse:
        chunks, failure = self._written(call).chunks(), self.failure_of(call)
        if call.request.query.get("alt") != "sse":
            self.refuse_failure(call)
            return json_answer(chunks)
        error = {"error": {"code": 503, "message": failure, "status": "UNAVAILABLE"}}
        return await stream(call, [event(chunk) for chunk in chunks], event(error) if failure else b"")


def _error(code: int, status: str, message: str) -> web.Response:
    return json_answer({"error": {"code": int(code), "message": message, "status": status}}, code)


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to be written down."""

    model: str
    number: str
    body: Body
    asked: Asked
    reply: Reply
    makes_picture: bool

    def _thoughts(self) -> list[Json]:
        wanted = self.body.generation_config.thinking_config.include_thoughts
        return [{"text": "The user wants an answer.", "thought": True}] if wanted else []

    def _picture(self) -> list[Json]:
        blob = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(sample("png")).decode()}}
        draft = [blob | {"thought": True}] if self._thoughts() else []
        caption = [{"text": "Here is your picture."}] if "TEXT" in self.body.modalities else []
        if self.reply.ending == "empty":
            return [{"text": "I could not draw that."}]
        return [*draft, *caption, blob]

    def parts(self) -> list[Json]:
        """Write the parts of the answer in one piece."""
        if self.reply.ending == "moderation":
            return []
        if self.makes_picture:
            return [*self._thoughts(), *self._picture()]
        if self.reply.tool is not None:
            call = {"name": self.reply.tool.name, "args": self.reply.arguments}
            return [*self._thoughts(), {"functionCall": call, "thoughtSignature": "c2ln"}]
        return [*self._thoughts(), *([{"text": self.reply.text}] if self.reply.text else [])]

    @property
    def _finish(self) -> str:
        if self.makes_picture:
            return "IMAGE_SAFETY" if self.reply.ending == "moderation" else "STOP"
        return FINISH[self.reply.ending]

    def answer(self, parts: list[Json], *, ends: bool = True) -> Json:
        """Write an answer of some parts; all but the last piece of a stream have no reason to end."""
        content = {"content": {"role": "model", "parts": parts}} if parts or not ends else {}
        candidate = content | ({"finishReason": self._finish} if ends else {}) | {"index": 0, "safetyRatings": []}
        usage = {
            "promptTokenCount": self.asked.tokens,
            "candidatesTokenCount": self.reply.tokens,
            "totalTokenCount": self.asked.tokens + self.reply.tokens,
        }
        tail = {"usageMetadata": usage, "modelVersion": self.model, "responseId": self.number}
        return {"candidates": [candidate]} | tail

    def chunks(self) -> list[Json]:
        """Write the answer in pieces."""
        told: list[Json] = []
        for part in self.parts():
            told += [part | {"text": piece} for piece in pieces(part["text"])] if "text" in part else [part]
        last = [told.pop()] if told else []
        return [*(self.answer([part], ends=False) for part in told), self.answer(last)]
