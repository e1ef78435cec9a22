"""The aggregator's own questions: the account's money, the public catalogue, and the models that a key may use.

They hold for all families and make nothing.
"""

import time
from typing import Any

import msgspec
from aiohttp import web

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Family, Json, Operation

DATE_FORM = "%Y-%m-%d"
CREATED = 1626777600


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model on sale.

    Attributes:
        endpoints: The kinds of routes on which it answers.
        prices: What is charged, by unit.
    """

    id: str
    provider: str
    kind: str
    endpoints: tuple[str, ...]
    prices: dict[str, float]

    def listed(self) -> Json:
        """Write the row of the list that is shown to a key."""
        owner = self.provider.lower()
        row = {"id": self.id, "object": "model", "created": CREATED, "owned_by": owner}
        return row | {"supported_endpoint_types": list(self.endpoints)}

    def offered(self) -> Json:
        """Write the row of the public catalogue."""
        units = ("input", "output", "per_request", "per_second")
        return {
            "id": self.id,
            "code": self.id,
            "provider": self.provider,
            "model_type": self.kind,
            "features": [f"text-to-{self.kind}"],
            "pricing": {"currency": "USD"} | {unit: self.prices.get(unit) for unit in units},
            "ratio": 0.8,
            "api_doc_url": f"https://docs.example/{self.id}",
        }


CHAT = ("openai", "openai-response")
MODELS = (
    Model(id="gpt-5.4", provider="OpenAI", kind="text", endpoints=CHAT, prices={"input": 2.0, "output": 8.0}),
    Model(
        id="claude-sonnet-4-6",
        provider="Anthropic",
        kind="text",
        endpoints=("anthropic", "openai"),
        prices={"input": 3.0, "output": 15.0},
    ),
    Model(
        id="gemini-2.5-flash",
        provider="Google",
        kind="text",
        endpoints=("gemini", "openai"),
        prices={"input": 0.3, "output": 2.5},
    ),
    Model(
        id="text-embedding-3-small",
        provider="OpenAI",
        kind="text",
        endpoints=("embeddings",),
        prices={"input": 0.02},
    ),
    Model(
        id="gpt-image-2",
        provider="OpenAI",
        kind="image",
        endpoints=("image-generation",),
        prices={"input": 5.0, "output": 40.0},
    ),
    Model(id="veo3.1", provider="Google", kind="video", endpoints=("openai-video",), prices={"per_request": 0.4}),
    Model(id="suno_music", provider="Suno", kind="audio", endpoints=(), prices={"per_request": 0.14}),
)


class Platform(Family):
    """The aggregator's own routes; those of the options' marks that strike before a creation strike here too."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (
            *(
                Operation(
                    name="balance", path=path, method="GET", key="query", encoding=("none",), answer=self._balance
                )
                for path in ("/user/quota", "/user/quota/")
            ),
            Operation(
                name="models", path="/api/models", method="GET", key="none", encoding=("none",), answer=self._models
            ),
            Operation(name="check_key", path="/v1/models", method="GET", encoding=("none",), answer=self._check_key),
        )

    async def _models(self, call: Call) -> web.StreamResponse:
        await self.stage.strike_before(call.request, call.scenario)
        rows = [] if call.scenario.empty else [model.offered() for model in MODELS]
        return json_answer({"success": True, "page": 0, "page_size": 0, "total": len(rows), "data": rows})

    async def _check_key(self, call: Call) -> web.StreamResponse:
        await self.stage.strike_before(call.request, call.scenario)
        rows = [] if call.scenario.empty else [model.listed() for model in MODELS]
        return json_answer({"object": "list", "data": rows})

    async def _balance(self, call: Call) -> web.StreamResponse:
        await self.stage.strike_before(call.request, call.scenario)
        days = self._days(call)
        key = {"name": "default", "remain_quota": -1, "used_quota": 7.66}
        told: Json = {
            "username": "simulated",
            "total_quota": 12.34,
            "total_used_quota": 7.66,
            "request_count": len(self.stage.journal.all()),
            "keys": [key],
        }
        return json_answer(told | ({"daily_quota": days} if days else {}))

    def _days(self, call: Call) -> dict[str, Any]:
        dates = [call.sent.get(name, "") for name in ("start_date", "end_date")]
        if not any(dates):
            return {}
        if not all(_is_date(date) for date in dates):
            raise Refused(self.invalid("start_date and end_date are both required, as YYYY-MM-DD"))
        used = {"token_name": "default", "quota_used": 0.12, "request_count": 3}
        return {date: [used] for date in dates}


def _is_date(text: str) -> bool:
    try:
        time.strptime(text, DATE_FORM)
    except ValueError:
        return False
    return True
