"""Moderation: texts that ask for violence are flagged. The route is one that a partner's toolkit shows."""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from service.simulator.aggregator import json_answer
from service.simulator.family import Call, Operation
from service.simulator.text.chat import Word
from service.simulator.text.spoken import Spoken

FLAGGED = ("kill", "bomb")


class Body(msgspec.Struct, kw_only=True):
    """What is to be looked at."""

    input: Word | Annotated[list[Word], Meta(min_length=1)]
    model: Word | None = None


class Moderations(Spoken):
    """`/v1/moderations`."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (Operation(name="moderation", path="/v1/moderations", body=Body, answer=self._answer),)

    async def _answer(self, call: Call) -> web.StreamResponse:
        body: Body = call.body
        self.refuse_failure(call)
        texts = [body.input] if isinstance(body.input, str) else body.input
        results = [{"flagged": flagged, "categories": {"violence": flagged}} for flagged in map(_is_flagged, texts)]
        number = self.stage.ids.next()
        return json_answer(
            {"id": f"modr-{number}", "model": body.model or "omni-moderation-latest", "results": results}
        )


def _is_flagged(text: str) -> bool:
    return any(word in text.casefold() for word in FLAGGED)
