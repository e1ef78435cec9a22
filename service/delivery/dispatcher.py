"""Takes events from the outbox to their receivers and writes down what became of each attempt."""

import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from service.clock import Clock
from service.delivery.ladder import SoFar, next_delay_s
from service.delivery.profiles import Profile, profile_of
from service.delivery.sender import Exchange, Sender
from service.delivery.signer import SigningKey, signed_headers
from service.lifecycle.run import Entry
from service.log import Log
from service.sealing import CannotOpen, Sealer
from service.store.base import Delivery, DeliveryResult, Store

_IN_FLIGHT = 128
_LEASE_S = 60.0


class Dispatcher:
    """One pass: lease due deliveries and start an attempt of each.

    Args:
        store: The outbox.
        sender: Makes one exchange.
        start: Starts a task that a graceful stop waits for.
        ring: Asks for another pass.
        secrets_of: Signing secrets of a workspace.
        keys_of: Its ed25519 keys.
        sealer: Opens the URLs of receivers.
        count: Counts an attempt by its outcome.
        clock: The time.
        chance: Source of jitter.
        log: Structured log.
    """

    def __init__(  # noqa: PLR0913 - it knows its tools one by one, and no other floor's bundle of them
        self,
        store: Store,
        sender: Sender,
        *,
        start: Callable[[Coroutine[Any, Any, None]], None],
        ring: Callable[[], None],
        secrets_of: Callable[[str], Sequence[str]],
        keys_of: Callable[[str], Sequence[SigningKey]],
        sealer: Sealer,
        count: Callable[[str], None],
        clock: Clock,
        chance: random.Random,
        log: Log,
    ) -> None:
        self._store = store
        self._sender = sender
        self._start = start
        self._ring = ring
        self._secrets_of = secrets_of
        self._keys_of = keys_of
        self._sealer = sealer
        self._count = count
        self._clock = clock
        self._chance = chance
        self._log = log
        self._in_flight = 0

    async def run_once(self) -> bool:
        """Lease what is due and start sending it."""
        free = _IN_FLIGHT - self._in_flight
        if free <= 0:
            return False
        deliveries = await self._store.claim_deliveries(self._clock.now(), free, _LEASE_S)
        for delivery in deliveries:
            self._in_flight += 1
            self._start(self._attempt(delivery))
        return len(deliveries) == free

    async def _attempt(self, delivery: Delivery) -> None:
        profile = profile_of(delivery.profile)
        try:
            exchange = await self._send(delivery, profile)
        finally:
            self._in_flight -= 1
            if self._in_flight == _IN_FLIGHT - 1:
                self._ring()
        result = self._result(delivery, profile, exchange)
        await self._store.finish_delivery(delivery, result)
        self._count(exchange.outcome)
        self._log.info("delivery.attempt", event_id=delivery.event_id, **result.entry.detail)

    async def _send(self, delivery: Delivery, profile: Profile) -> Exchange:
        try:
            url = self._sealer.open(delivery.url)
        except CannotOpen as exc:  # the right key may be there after the next start
            self._log.error("delivery.sealed", event_id=delivery.event_id, error=str(exc))
            return Exchange(outcome="failed", reason=f"The webhook URL cannot be read: {exc}.")
        moment = datetime.fromtimestamp(self._clock.wall(), UTC)
        secrets, keys = self._secrets_of(delivery.workspace), self._keys_of(delivery.workspace)
        body = _body(delivery, profile)
        headers = signed_headers(secrets, delivery.event_id, moment, body, keys) | _tags(delivery, profile)
        return await self._sender.send(url, body, headers, method=delivery.method, profile=profile)

    def _result(self, delivery: Delivery, profile: Profile, exchange: Exchange) -> DeliveryResult:
        now, attempts = self._clock.now(), delivery.attempts + 1
        delay_s = self._delay_s(delivery, profile, exchange, now)
        detail = {
            "type": delivery.event_type,
            "profile": profile.name,
            "attempt": attempts,
            "outcome": exchange.outcome,
            "status": exchange.status,
            "latency_ms": round(exchange.latency_ms, 1),
            "reason": exchange.reason,
            "answer": exchange.answer[:200],
            "again_in_s": None if delay_s is None else round(delay_s, 1),
        }
        state = "delivered" if exchange.outcome == "delivered" else "failed" if delay_s is None else "pending"
        return DeliveryResult(
            state=state,  # type: ignore[arg-type]
            attempts=attempts,
            due_at=None if delay_s is None else now + delay_s,
            entry=Entry(at=now, kind="delivery", detail=detail),
        )

    def _delay_s(self, delivery: Delivery, profile: Profile, exchange: Exchange, now: float) -> float | None:
        """Return when the next attempt is made, or None when there is none."""
        if exchange.outcome in ("delivered", "gone"):
            return None
        so_far = SoFar(
            attempts=delivery.attempts + 1,
            since_first_s=now - delivery.first_at,
            deadline_in_s=None if delivery.until is None else delivery.until - now,
        )
        return next_delay_s(
            profile.ladder,
            so_far,
            random=self._chance.random(),
            retry_after_s=exchange.retry_after_s,
            throttled=exchange.outcome == "throttled",
        )


class _Envelope(msgspec.Struct):
    data: msgspec.Raw


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def _body(delivery: Delivery, profile: Profile) -> bytes:
    """Return what is sent of an event; the run in it goes out as it was written."""
    if delivery.method == "GET":
        return b""
    return bytes(_decode_envelope(delivery.body).data) if profile.body == "run" else delivery.body


def _tags(delivery: Delivery, profile: Profile) -> dict[str, str]:
    """Return what the event would have said, where it does not go out."""
    if delivery.method == "POST" and profile.body == "event":
        return {}
    return {"Halley-Event": delivery.event_type, "Halley-Run": delivery.run_id}
