"""Deliveries over a database engine; see `outbox` for what is promised."""

from collections.abc import Mapping, Sequence

import msgspec

from service.ids import first_id
from service.lifecycle.run import Entry
from service.store.engine import Engine, Plan, Unit
from service.store.outbox import (
    Delivery,
    DeliveryFilter,
    DeliveryRecord,
    DeliveryResult,
    DueTarget,
)
from service.store.rows import FinishRow, Row, Writes, delivery_of, entry_of, entry_rows

_ATTEMPTS_LIMIT = 1000


class SqlOutbox:
    """An `Outbox` over an engine."""

    _engine: Engine
    _owner: str

    async def due_targets(self, now: float) -> list[DueTarget]:
        """Return the receivers that have due deliveries, the one that has waited longest first."""
        return [DueTarget(*row) for row in await self._engine.read("deliveries_targets", now=now)]

    async def claim_deliveries(self, now: float, rooms: Mapping[str, int], lease_s: float) -> list[Delivery]:
        """Lease due deliveries for one attempt each: for each target in `rooms` so many at most."""
        if not rooms:
            return []
        lease_until = now + lease_s
        rows = await self._engine.write(
            "deliveries_claim",
            now=now,
            targets=list(rooms),
            rooms=list(rooms.values()),
            most=max(rooms.values()),
            lease_until=lease_until,
            owner=self._owner,
        )
        bodies = {row[0]: row[1:] for row in await self._events([row[1] for row in rows])}
        return [delivery_of((*row, *bodies[row[1]]), lease_until) for row in rows]

    async def _events(self, event_ids: list[str]) -> list[Row]:
        return await self._engine.read("events_get", ids=event_ids) if event_ids else []

    async def finish_delivery(self, delivery: Delivery, result: DeliveryResult) -> None:
        """Write what became of an attempt, unless another has been begun meanwhile; what was delivered stays so."""
        writes = Writes()
        writes.finishes.append(
            FinishRow(
                id=delivery.id,
                leased_until=delivery.leased_until,
                state=result.state,
                attempts=result.attempts,
                due_at=result.due_at,
                outcome=result.outcome,
                status=result.status,
                attempted_at=result.entry.at,
            )
        )
        writes.entries += entry_rows(delivery.run_id, (result.entry,), delivery.id)
        touches = frozenset((f"run {delivery.run_id}", f"delivery {delivery.id}"))
        await self._engine.settle(
            Unit(select="", key=(), touches=touches, plan=lambda _rows: Plan(writes, None), can_wait=True)
        )

    async def note_attempt(self, record: DeliveryRecord, entry: Entry) -> None:
        """Keep what became of an attempt that was made beside the ladder."""
        writes = Writes()
        writes.entries += entry_rows(record.run_id, (entry,), record.id)
        touches = frozenset((f"run {record.run_id}",))
        await self._engine.settle(Unit(select="", key=(), touches=touches, plan=lambda _rows: Plan(writes, None)))

    async def deliveries(self, wanted: DeliveryFilter) -> list[DeliveryRecord]:
        """List deliveries, newest first."""
        return [_record(row) for row in await self._engine.read(_listing(wanted), **msgspec.structs.asdict(wanted))]

    async def delivery(self, workspace: str, delivery_id: str) -> DeliveryRecord | None:
        """Return a delivery."""
        rows = await self._engine.read("delivery_get", workspace=workspace, id=delivery_id)
        return _record(rows[0]) if rows else None

    async def attempts(self, delivery_id: str) -> list[Entry]:
        """Return what became of each attempt of a delivery, oldest first."""
        rows = await self._engine.read("delivery_attempts", id=delivery_id, limit=_ATTEMPTS_LIMIT)
        return [entry_of(row) for row in rows]

    async def send_again(self, delivery_ids: Sequence[str], now: float) -> int:
        """Make deliveries due now, from the bottom of their ladders; returns how many there are."""
        return await self._engine.count("deliveries_again", ids=list(delivery_ids), now=now)

    async def replay(self, workspace: str, event_id: str, endpoint_id: str | None, now: float) -> int:
        """Send an event again: to all that it went to, or to one endpoint, whether it had it or not."""
        values = {"workspace": workspace, "event": event_id, "endpoint": endpoint_id, "now": now}
        again = await self._engine.count("event_replay", **values)
        return again or (await self._engine.count("event_send", **values) if endpoint_id is not None else 0)

    async def recover(self, endpoint_id: str, since: float, now: float) -> int:
        """Send an endpoint all that it should have got since a moment and has not; returns how many deliveries."""
        return sum(
            await self._engine.count_each(
                ("endpoint_recover", "endpoint_catch_up"),
                endpoint=endpoint_id,
                since=since,
                first_delivery=first_id("dlv", since),
                first_event=first_id("evt", since),
                now=now,
            )
        )

    async def body_of(self, workspace: str, event_id: str) -> tuple[str, bytes] | None:
        """Return the type and the body of an event."""
        rows = await self._engine.read("event_body", workspace=workspace, id=event_id)
        return (rows[0][0], rows[0][1]) if rows else None


def _listing(wanted: DeliveryFilter) -> str:
    """Return the statement that finds its rows by the word that few deliveries share."""
    undelivered = None if wanted.state == "delivered" else wanted.state
    narrow = (("event", wanted.event), ("run", wanted.run), ("state", undelivered), ("endpoint", wanted.endpoint))
    return next((f"deliveries_list_of_{name}" for name, value in narrow if value is not None), "deliveries_list")


def _record(row: Row) -> DeliveryRecord:
    return DeliveryRecord(**dict(zip(DeliveryRecord.__struct_fields__, row, strict=True)))
