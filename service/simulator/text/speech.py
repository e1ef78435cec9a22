"""What a simulated model says: an echo, JSON to a schema, a tool call, or nothing usable.

Nothing here knows how a surface writes it down; what the models that make files say is in `markdown`.
"""

import re
from typing import Any, Literal

import msgspec

from service.simulator.scenario import Scenario

Json = dict[str, Any]
Ending = Literal["stop", "length", "tool", "moderation", "empty"]

TOOL_MARK = "[[tool]]"
TOOL_WORD = "[tool]"
MAX_ECHO_CHARS = 240
_BRACKETS = re.compile(r"\[+[^\[\]]*\]+")
_PIECE = re.compile(r"\S+\s*|\s+")


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call; `schema` is what its arguments must fit."""

    name: str
    schema: Json = {}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for, whatever its surface.

    Attributes:
        text: The last words of the user.
        pictures: How many pictures came along.
        tools: Functions that may be called.
        must_call: One of them has to be called.
        max_tokens: Longest answer, in pieces.
        schema: Form of a JSON answer; None when prose is wanted.
    """

    text: str
    pictures: int = 0
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    max_tokens: int | None = None
    schema: Json | None = None

    @property
    def tokens(self) -> int:
        """Length of the question."""
        return len(pieces(self.text)) + 85 * self.pictures


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says, and why it stops."""

    text: str = ""
    tool: Tool | None = None
    ending: Ending = "stop"

    @property
    def tokens(self) -> int:
        """Length of the answer."""
        return len(pieces(self.text))

    @property
    def arguments(self) -> Json:
        """Arguments of the tool call."""
        return dict(example_of(self.tool.schema or {"type": "object"})) if self.tool else {}


def pieces(text: str) -> list[str]:
    """Cut a text into the pieces in which it is streamed."""
    return _PIECE.findall(text)


def plain(text: str) -> str:
    """Take the marks out of a text."""
    return " ".join(_BRACKETS.sub("", text).split())


def reply_to(asked: Asked, scenario: Scenario) -> Reply:
    """Decide what is said."""
    if scenario.outcome == "moderation":
        return Reply(ending="moderation")
    if scenario.empty:
        return Reply(ending="empty")
    if asked.tools and (asked.must_call or TOOL_WORD in asked.text):
        return Reply(tool=asked.tools[0], ending="tool")
    return shortened_to(asked.max_tokens, _words(asked))


def shortened_to(max_tokens: int | None, text: str) -> Reply:
    """Say a text as far as the limit allows."""
    said = pieces(text)
    if max_tokens is None or len(said) <= max_tokens:
        return Reply(text=text)
    return Reply(text="".join(said[:max_tokens]), ending="length")


def _words(asked: Asked) -> str:
    if asked.schema is not None:
        return msgspec.json.encode(example_of(asked.schema or {"type": "object"})).decode()
    seen = f"There are {asked.pictures} pictures. " if asked.pictures > 1 else "There is one picture. "
    return f"{seen if asked.pictures else ''}You said: {plain(asked.text)[:MAX_ECHO_CHARS] or 'nothing'}"


def example_of(schema: Json) -> Any:
    """Make a small value that fits a JSON Schema of the usual kind."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        return {name: example_of(field) for name, field in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema.get("items", {"type": "string"}))]
    return {"string": "example", "boolean": True, "null": None}.get(kind, schema.get("minimum", 1))
