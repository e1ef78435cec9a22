"""A receiver of events as users write theirs: it verifies the signature before it believes a word."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

from service.clock import Clock

_PATH = "/events"
_SHOWN_HEADERS = ("webhook-", "content-type")
_SHUTDOWN_TIMEOUT_S = 0.2


class ReceivedEvent(Struct, frozen=True, kw_only=True):
    """One request that came in.

    Attributes:
        received_at: Epoch seconds.
        headers: Those that Standard Webhooks speaks of, and the content type.
        body: The event, or None when it is no JSON object.
        fault: Why it is not believed; empty when its signature verified.
    """

    received_at: float
    headers: dict[str, str]
    body: dict[str, Any] | None
    fault: str

    @property
    def run_id(self) -> str | None:
        """The run that it tells of."""
        data = (self.body or {}).get("data")
        return data.get("id") if isinstance(data, dict) else None


class Receiver:
    """Listens on a free port of 127.0.0.1.

    Args:
        secret: Signing secret of the workspace.
        clock: The time.
    """

    def __init__(self, secret: str, clock: Clock) -> None:
        self._webhook = Webhook(secret)
        self._clock = clock
        self._events: list[ReceivedEvent] = []
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to listen."""
        app = web.Application()
        app.router.add_post(_PATH, self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where events are to be posted."""
        if self._runner is None:
            raise RuntimeError("the receiver is not running")
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}{_PATH}"

    async def event_of(self, run_id: str) -> ReceivedEvent:
        """Return the first event about a run, once it has come."""
        async with self._news:
            await self._news.wait_for(lambda: any(event.run_id == run_id for event in self._events))
        return next(event for event in self._events if event.run_id == run_id)

    async def _receive(self, request: web.Request) -> web.Response:
        event = self._judged(await request.read(), dict(request.headers))
        async with self._news:
            self._events.append(event)
            self._news.notify_all()
        return web.Response(status=401, text=event.fault) if event.fault else web.Response(status=204)

    def _judged(self, body: bytes, headers: dict[str, str]) -> ReceivedEvent:
        told = {name.lower(): value for name, value in headers.items()}
        fault = ""
        try:
            self._webhook.verify(body, told)
        except WebhookVerificationError as exc:
            fault = str(exc)
        return ReceivedEvent(
            received_at=self._clock.now(),
            headers={name: told[name] for name in sorted(told) if name.startswith(("webhook-", "content-type"))},
            body=_object(body),
            fault=fault,
        )


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        return None
