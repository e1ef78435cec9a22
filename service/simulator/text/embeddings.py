"""Embeddings: vectors that follow from the text alone, so that equal texts are equal."""

import base64
import hashlib
import math
import sys
from array import array
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import json_answer
from service.simulator.family import Call, Operation
from service.simulator.text.chat import Word
from service.simulator.text.speech import Json
from service.simulator.text.spoken import Spoken, require

USUAL_DIMENSIONS = 1536
DIMENSIONS = {"text-embedding-3-large": 3072}
FIXED_MODEL = "text-embedding-ada-002"
MAX_ITEMS = 2048
MAX_DIMENSIONS = 4096

Token = Annotated[int, Meta(ge=0)]
Item = Word | Token | Annotated[list[Token], Meta(min_length=1)]


class Body(msgspec.Struct, kw_only=True):
    """The fields of the reference's table."""

    model: Word
    input: Word | Annotated[list[Item], Meta(min_length=1, max_length=MAX_ITEMS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=MAX_DIMENSIONS)] | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        require(self.dimensions is None or self.model != FIXED_MODEL, f"{FIXED_MODEL} takes no dimensions")
        require(len({type(item) for item in self.input}) == 1, "input items must be of one kind")

    @property
    def texts(self) -> list[str]:
        """What is to be embedded, one text per vector."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [str(self.input)]
        return [str(item) for item in self.input]


class Embeddings(Spoken):
    """`/v1/embeddings`."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (Operation(name="embedding", path="/v1/embeddings", body=Body, answer=self._answer),)

    async def _answer(self, call: Call) -> web.StreamResponse:
        body: Body = call.body
        self.require_model(body.model)
        self.refuse_failure(call)
        size = body.dimensions or DIMENSIONS.get(body.model, USUAL_DIMENSIONS)
        vectors = [] if call.scenario.empty else [vector_of(text, size) for text in body.texts]
        data = [
            {"object": "embedding", "index": at, "embedding": _written(body, each)} for at, each in enumerate(vectors)
        ]
        tokens = sum(len(text.split()) for text in body.texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        told: Json = {"object": "list", "data": data, "model": body.model, "usage": usage}
        return json_answer(told)


def vector_of(text: str, size: int) -> list[float]:
    """Derive a vector of length 1 from a text."""
    numbers = array("h", hashlib.shake_256(text.encode()).digest(2 * size))
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]


def _written(body: Body, vector: list[float]) -> list[float] | str:
    if body.encoding_format != "base64":
        return vector
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
