"""Groups over a database engine; see `groups` for what is promised. How they start stands with other starts."""

from collections.abc import Sequence

from service.clock import Clock
from service.lifecycle.group import Group, GroupChange
from service.lifecycle.run import Run
from service.lifecycle.view import Sign
from service.store.engine import Engine, Plan, Unit
from service.store.groups import DecideGroup, News
from service.store.rows import Row, Writes, group_of, group_row, run_of
from service.store.starts import KEY_KEPT_S


class SqlGroups:
    """`Groups` over an engine."""

    _engine: Engine
    _clock: Clock
    _sign: Sign | None

    async def add_group(self, group: Group) -> Group:
        """Keep a group whose runs come by themselves; returns it, or the one of its identity or name that is there."""
        if await self._engine.count("group_insert", **group_row(group, 0)._asdict()) == 1:
            return group
        same = await self.group_of_identity(group.workspace, group.identity) if group.identity else None
        return same or await self.group(group.workspace, group.key) or group

    async def group(self, workspace: str, key: str) -> Group | None:
        """Return a group by its id or its name."""
        rows = await self._engine.read("group_get", workspace=workspace, key=key)
        return group_of(rows[0][0]) if rows else None

    async def group_of_identity(self, workspace: str, identity: str) -> Group | None:
        """Return the group that an idempotency key made, if no run holds the key."""
        rows = await self._engine.read("group_of_identity", workspace=workspace, identity=identity)
        return group_of(rows[0][0]) if rows else None

    async def groups(
        self, workspace: str, *, state: str | None = None, before: str | None = None, limit: int = 50
    ) -> list[Group]:
        """List groups, newest first; `before` is the id after which a page goes on."""
        name = "groups_list" if state is None else "groups_list_of_state"
        rows = await self._engine.read(name, workspace=workspace, state=state, before=before, limit=limit)
        return [group_of(doc) for (doc,) in rows]

    async def group_states(self, workspace: str, keys: Sequence[str]) -> dict[str, dict[str, int]]:
        """Count the runs of groups by state, for each of these keys."""
        found: dict[str, dict[str, int]] = {key: {} for key in keys}
        for key, state, count in await self._engine.read("group_states", workspace=workspace, keys=list(keys)):
            found[key][state] = int(count)
        return found

    async def group_runs(self, workspace: str, key: str, limit: int) -> list[Run]:
        """Return the runs of a group, oldest first."""
        rows = await self._engine.read("group_runs", workspace=workspace, key=key, limit=limit)
        return [run_of(*row) for row in rows]

    async def change_group(self, group_id: str, decide: DecideGroup) -> GroupChange | None:
        """Apply a fact to a group, with its events; returns what changed, or None."""

        def plan(rows: Sequence[Row]) -> Plan[GroupChange | None]:
            writes, change = Writes(), None
            for doc, version in rows:
                change = decide(group_of(doc))
                if change is not None:
                    writes.groups.append(group_row(change.group, version))
                    writes.tell_group(change, self._clock.now(), self._sign)
            return Plan(writes, change)

        touches = frozenset((f"group {group_id}",))
        return await self._engine.settle(Unit(select="group_seen", key=(group_id,), touches=touches, plan=plan))

    async def group_news(self, now: float, limit: int) -> list[News]:
        """Return the groups that must be looked at."""
        found: dict[str | None, list[int]] = {}
        for ident, doc in await self._engine.read("news_list", limit=limit):
            found.setdefault(doc, []).append(ident)
        for (doc,) in await self._engine.read("groups_due", now=now, limit=limit):
            found.setdefault(doc, [])
        return [News(group=None if doc is None else group_of(doc), ids=tuple(ids)) for doc, ids in found.items()]

    async def forget_news(self, ids: Sequence[int]) -> None:
        """Forget what told of groups that have been looked at."""
        if ids:
            await self._engine.count("news_forget", ids=list(ids))

    async def forgettable_groups(self, before: float, now: float, after: str, limit: int) -> list[str]:
        """Return the ids of groups that completed before a moment and that nobody needs any more, oldest first."""
        values = {"before": before, "now": now, "held_since": now - KEY_KEPT_S, "after": after, "limit": limit}
        return [row[0] for row in await self._engine.read("groups_forgettable", **values)]
