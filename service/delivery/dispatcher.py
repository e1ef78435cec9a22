"""Takes events from the outbox to their receivers and writes down what became of each attempt."""

import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from service.clock import Clock
from service.delivery.courier import Address, Courier, address_of, letter_of
from service.delivery.gates import Gates
from service.delivery.ladder import SoFar, next_delay_s
from service.delivery.profiles import Profile, profile_of
from service.delivery.sender import Exchange
from service.lifecycle.endpoint import Endpoint, attempted
from service.lifecycle.run import Entry
from service.log import Log
from service.store.base import Store
from service.store.outbox import Delivery, DeliveryResult, DeliveryState

_SLOW = ("timeout", "unreachable", "throttled")
_NOT_WANTED = Exchange(outcome="gone", reason="The endpoint is deleted or disabled; recover sends what it has missed.")


class Dispatcher:
    """Attempts deliveries: those that are due, pass by pass, and those that a commit hands over (see `store/prompt`).

    Args:
        store: The outbox.
        courier: Makes one attempt.
        start: Starts a task that a graceful stop waits for.
        ring: Asks for another pass.
        count: Counts an attempt by its outcome.
        clock: The time.
        chance: Source of jitter.
        log: Structured log.
    """

    lease_s = 60.0

    def __init__(
        self,
        store: Store,
        courier: Courier,
        *,
        start: Callable[[Coroutine[Any, Any, None]], None],
        ring: Callable[[], None],
        count: Callable[[str], None],
        clock: Clock,
        chance: random.Random,
        log: Log,
    ) -> None:
        self._store = store
        self._courier = courier
        self._start = start
        self.ring = ring
        self._count = count
        self._clock = clock
        self._chance = chance
        self._log = log
        self._gates = Gates(clock.now)

    def share(self, processes: int) -> None:
        """Share what endpoints may have with the other processes."""
        self._gates.share(processes)

    def reserve(self, item: Delivery) -> bool:
        """Keep a place for a delivery that is being committed, unless there is none."""
        return self._gates.enter(item.target, item.workspace)

    def release(self, item: Delivery) -> None:
        """Give the place back."""
        self._gates.leave(item.target, item.workspace)

    def begin(self, item: Delivery) -> None:
        """Attempt a delivery for which a place was kept."""
        self._start(self._attempt(item, None))

    async def run_once(self) -> bool:
        """Lease what is due, as far as there is room for it, and start sending it."""
        now = self._clock.now()
        rooms = self._gates.rooms(await self._store.due_targets(now))
        deliveries = await self._store.claim_deliveries(now, rooms, self.lease_s)
        self._gates.taken(rooms, Counter(each.target for each in deliveries))
        endpoints = await self._endpoints(deliveries)
        for delivery in deliveries:
            self._gates.begin(delivery.target, delivery.workspace)
            self._start(self._attempt(delivery, endpoints.get(delivery.endpoint_id or "")))
        return False

    async def _endpoints(self, deliveries: list[Delivery]) -> dict[str, Endpoint]:
        wanted = {each.endpoint_id for each in deliveries if each.endpoint_id is not None}
        return {each.id: each for each in await self._store.endpoints_by_id(sorted(wanted))}

    async def _attempt(self, delivery: Delivery, endpoint: Endpoint | None) -> None:
        is_quick = False
        try:
            exchange = await self._send(delivery, endpoint)
            is_quick = exchange.outcome not in _SLOW
        finally:
            if self._gates.end(delivery.target, delivery.workspace, is_quick=is_quick):
                self.ring()
        profile = profile_of(delivery.profile if endpoint is None else endpoint.profile)
        result = self._result(delivery, profile, exchange)
        await self._store.finish_delivery(delivery, result)
        self._count(exchange.outcome)
        self._log.info("delivery.attempt", event_id=delivery.event_id, **result.entry.detail)
        if endpoint is not None and exchange is not _NOT_WANTED:
            await self._note(endpoint, exchange)

    async def _send(self, delivery: Delivery, endpoint: Endpoint | None) -> Exchange:
        if delivery.endpoint_id is None:
            address = _address_of(delivery)
        elif endpoint is not None and endpoint.is_open(self._clock.now()):
            address = address_of(endpoint, self._clock.now())
        else:
            return _NOT_WANTED
        return await self._courier.send(letter_of(delivery, delivery.body), address)

    async def _note(self, endpoint: Endpoint, exchange: Exchange) -> None:
        """Let the endpoint know how the attempt ended, if that is news to it."""

        def ended(current: Endpoint) -> Any:
            return attempted(
                current,
                self._clock.now(),
                is_delivered=exchange.outcome == "delivered",
                is_gone=exchange.outcome == "gone",
            )

        if ended(endpoint) is None:
            return
        change = await self._store.change_endpoint(endpoint.id, ended)
        if change is not None and change.events:
            self._log.warning("endpoint.disabled", endpoint=endpoint.id, reason=change.endpoint.disabled_reason)
            self.ring()

    def _result(self, delivery: Delivery, profile: Profile, exchange: Exchange) -> DeliveryResult:
        now, attempts = self._clock.now(), delivery.attempts + 1
        delay_s = self._delay_s(delivery, profile, exchange, now)
        detail = {
            "delivery": delivery.id,
            **({} if delivery.endpoint_id is None else {"endpoint": delivery.endpoint_id}),
            "type": delivery.event_type,
            "profile": profile.name,
            "attempt": attempts,
            **attempt_detail(exchange),
            "again_in_s": None if delay_s is None else round(delay_s, 1),
        }
        undelivered: DeliveryState = "failed" if delay_s is None else "pending"
        return DeliveryResult(
            state="delivered" if exchange.outcome == "delivered" else undelivered,
            attempts=attempts,
            due_at=None if delay_s is None else now + delay_s,
            outcome=exchange.outcome,
            status=exchange.status,
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


def attempt_detail(exchange: Exchange) -> dict[str, Any]:
    """Return what people are told of an attempt."""
    return {
        "outcome": exchange.outcome,
        "status": exchange.status,
        "latency_ms": round(exchange.latency_ms, 1),
        "reason": exchange.reason,
        "answer": exchange.answer[:200],
    }


def _address_of(delivery: Delivery) -> Address:
    profile = profile_of(delivery.profile)
    return Address(url=delivery.url, profile=profile, method=delivery.method, envelope=profile.envelope)
