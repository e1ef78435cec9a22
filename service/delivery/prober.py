"""Looks after endpoints whose time has come: ends those that expire, and tries those again that had only failed."""

from service.clock import Clock
from service.delivery.courier import Courier, address_of, letter_of
from service.delivery.dispatcher import attempt_detail
from service.lifecycle.endpoint import Endpoint, enabled, expired, probed
from service.lifecycle.run import Entry
from service.log import Log
from service.store.base import Store
from service.store.outbox import DeliveryFilter, DeliveryRecord

_BATCH = 20


class Prober:
    """One pass over endpoints that are due.

    Args:
        store: Where they are.
        courier: Makes one attempt.
        clock: The time.
        log: Structured log.
    """

    def __init__(self, store: Store, courier: Courier, *, clock: Clock, log: Log) -> None:
        self._store = store
        self._courier = courier
        self._clock = clock
        self._log = log

    async def run_once(self) -> bool:
        """End or try what is due."""
        due = await self._store.due_endpoints(self._clock.now(), _BATCH)
        for endpoint in due:
            if endpoint.state == "enabled":
                await self._store.change_endpoint(endpoint.id, lambda current: expired(current, self._clock.now()))
            elif await self._store.change_endpoint(endpoint.id, lambda current: probed(current, self._clock.now())):
                await self._probe(endpoint)
        return len(due) == _BATCH

    async def _probe(self, endpoint: Endpoint) -> None:
        """Send the latest event that it has missed; when it is taken, all the others follow."""
        missed = await self._store.deliveries(
            DeliveryFilter(workspace=endpoint.workspace, endpoint=endpoint.id, state="failed", limit=1)
        )
        if missed and await self._is_taken(endpoint, missed[0]):
            now, since = self._clock.now(), endpoint.failing_since or endpoint.created_at
            await self._store.change_endpoint(endpoint.id, lambda current: enabled(current, now))
            count = await self._store.recover(endpoint.id, since, now)
            self._log.info("endpoint.recovered", endpoint=endpoint.id, deliveries=count)

    async def _is_taken(self, endpoint: Endpoint, missed: DeliveryRecord) -> bool:
        event = await self._store.body_of(missed.workspace, missed.event_id)
        if event is None:
            return False
        exchange = await self._courier.send(letter_of(missed, event[1]), address_of(endpoint, self._clock.now()))
        detail = {
            "delivery": missed.id,
            "endpoint": endpoint.id,
            "type": missed.event_type,
            "probe": endpoint.probes + 1,
        }
        entry = Entry(at=self._clock.now(), kind="delivery", detail=detail | attempt_detail(exchange))
        await self._store.note_attempt(missed, entry)
        return exchange.outcome == "delivered"
