"""What the surfaces of the text family share: the mark that makes a model call its tool, and failures.

What a surface's answers look like does not belong here.
"""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from service.simulator.aggregator import Refused, platform_error
from service.simulator.family import Call, Family, FilePart, Json, Operation
from service.simulator.marks import texts_of
from service.simulator.text.speech import TOOL_MARK, TOOL_WORD

UNKNOWN_PREFIX = "no-such-"
FAILURE_TEXT = "the upstream model failed to answer"


class Spoken(Family):
    """A surface on which a model speaks."""

    async def _read(self, request: web.Request, operation: Operation) -> tuple[Json, dict[str, list[FilePart]]]:
        if operation.encoding == ("none",):
            return {}, {}
        sent, files = await super()._read(request, operation)
        marked = any(TOOL_MARK in text for text in texts_of(sent))
        # The shared table of marks does not know this one and would refuse it.
        return (_unmarked(sent) if marked else sent), files

    def require_model(self, model: str) -> None:
        """Check that a model has a provider.

        Raises:
            Refused: The model's name begins with `no-such-`.
        """
        if model.startswith(UNKNOWN_PREFIX):
            text = f"no available channel for group default and model {model} (distributor)"
            status = HTTPStatus.SERVICE_UNAVAILABLE
            raise Refused(platform_error(status, text, "model_not_found", self.stage.ids.next()))

    def failed(self, text: str) -> web.Response:
        """Refuse because the generation failed."""
        return platform_error(HTTPStatus.INTERNAL_SERVER_ERROR, text, "bad_response", self.stage.ids.next())

    def failure_of(self, call: Call) -> str:
        """Say why the generation fails; empty when it does not."""
        fails = call.scenario.outcome in ("fail", "gave_up")
        return call.scenario.failure_text or FAILURE_TEXT if fails else ""

    def refuse_failure(self, call: Call) -> None:
        """Answer with the failure, if there is one.

        Raises:
            Refused: There is.
        """
        text = self.failure_of(call)
        if text:
            raise Refused(self.failed(text))


def require(holds: object, rule: str) -> None:
    """Check a rule of a body while it is converted.

    Raises:
        ValueError: The rule does not hold.
    """
    if not holds:
        raise ValueError(rule)


def _unmarked(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(TOOL_MARK, TOOL_WORD)
    if isinstance(value, dict):
        return {key: _unmarked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    return value
