"""Endpoints over a database engine; see `subscriptions` for what is promised."""

from collections.abc import Sequence

from service.clock import Clock
from service.lifecycle.endpoint import Endpoint, EndpointChange
from service.store.engine import Engine, Plan, Unit
from service.store.rows import Row, Writes, endpoint_of, endpoint_row
from service.store.subscriptions import DecideEndpoint


class SqlSubscriptions:
    """`Subscriptions` over an engine."""

    _engine: Engine
    _clock: Clock

    async def add_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Keep an endpoint; returns it, or the one that is there already for the same events at the same URL."""
        row = endpoint_row(endpoint, 0)._asdict()
        if await self._engine.count("endpoint_insert", workspace=endpoint.workspace, **row) == 1:
            return endpoint
        rows = await self._engine.read("endpoint_same", workspace=endpoint.workspace, identity=endpoint.identity)
        return endpoint_of(rows[0][0]) if rows else endpoint

    async def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint."""
        found = await self.endpoints_by_id([endpoint_id])
        return found[0] if found else None

    async def endpoints_by_id(self, endpoint_ids: Sequence[str]) -> list[Endpoint]:
        """Return those of the endpoints that are there."""
        if not endpoint_ids:
            return []
        return [endpoint_of(doc) for (doc,) in await self._engine.read("endpoints_get", ids=list(endpoint_ids))]

    async def endpoints(
        self, workspace: str, *, url_hash: str | None = None, before: str | None = None, limit: int = 50
    ) -> list[Endpoint]:
        """List the endpoints of a workspace, newest first."""
        rows = await self._engine.read(
            "endpoints_list", workspace=workspace, url_hash=url_hash, before=before, limit=limit
        )
        return [endpoint_of(doc) for (doc,) in rows]

    async def all_endpoints(self, after: str, limit: int) -> list[Endpoint]:
        """List the endpoints of all workspaces by their ids, those after one; "" is before all of them."""
        return [endpoint_of(doc) for (doc,) in await self._engine.read("endpoints_all", after=after, limit=limit)]

    async def change_endpoint(self, endpoint_id: str, decide: DecideEndpoint) -> EndpointChange | None:
        """Apply a fact to an endpoint, with its events; returns what changed, or None."""

        def plan(rows: Sequence[Row]) -> Plan[EndpointChange | None]:
            writes, change = Writes(), None
            for doc, version in rows:
                change = decide(endpoint_of(doc))
                if change is not None:
                    writes.endpoints.append(endpoint_row(change.endpoint, version))
                    writes.tell_endpoint(change, self._clock.now())
            return Plan(writes, change)

        touches = frozenset((f"endpoint {endpoint_id}",))
        return await self._engine.settle(Unit(select="endpoint_seen", key=(endpoint_id,), touches=touches, plan=plan))

    async def delete_endpoint(self, workspace: str, endpoint_id: str) -> None:
        """Forget an endpoint, if it is there."""
        await self._engine.count("endpoint_delete", workspace=workspace, id=endpoint_id)

    async def due_endpoints(self, now: float, limit: int) -> list[Endpoint]:
        """Return the endpoints that must be looked at."""
        return [endpoint_of(doc) for (doc,) in await self._engine.read("endpoints_due", now=now, limit=limit)]

    async def progress_wanted(self) -> frozenset[str]:
        """Return the workspaces of which an endpoint wants to hear every step of a progress; `*` stands for all."""
        return frozenset(row[0] for row in await self._engine.read("endpoints_of_progress"))
