"""API keys: made, hashed, recognised. A key is shown once; only its hash is kept."""

import hashlib
import hmac
import secrets
import shlex
from collections.abc import Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from service.api.scopes import covers
from service.clock import Clock
from service.errors import BeyondKey, Unauthorized
from service.ids import new_id
from service.settings import Secret
from service.store.base import KeyRecord, KeyScope, Store
from service.store.starts import Allowance

_PREFIX = "hly_"
_HINT_LENGTH = 8
_CACHE_S = 30.0
_CACHE_SIZE = 10_000
DEFAULT_WORKSPACE = "default"


class Caller(Struct, frozen=True, kw_only=True):
    """Who calls, and what the key allows.

    Attributes:
        key_id: Id of the key; idempotency is scoped by it.
        workspace: Whose runs and files it may see.
        scope: What it may do with them.
        nodes: Patterns of the nodes that it may run; empty for all.
        runs_per_day: How many runs it may start in a day (UTC); None for any number.
    """

    key_id: str
    workspace: str
    scope: KeyScope = "admin"
    nodes: tuple[str, ...] = ()
    runs_per_day: int | None = None

    @property
    def allowance(self) -> Allowance | None:
        """How many runs it may start, if that is limited."""
        return None if self.runs_per_day is None else Allowance(key_id=self.key_id, runs_per_day=self.runs_per_day)

    def may_run(self, node_id: str) -> bool:
        """Tell whether the key is for a node."""
        return not self.nodes or any(fnmatchcase(node_id, pattern) for pattern in self.nodes)

    def require_scope(self, needed: KeyScope) -> None:
        """Refuse what lies beyond the key's scope.

        Raises:
            BeyondKey: With the scope that is needed and how to make such a key.
        """
        if not covers(self.scope, needed):
            raise BeyondKey(
                f"This needs an API key of the scope `{needed}`, and yours has `{self.scope}`; "
                f"`{self._new_key} --scope {needed}` makes one."
            )

    def require_node(self, node_id: str) -> None:
        """Refuse a node that the key is not for.

        Raises:
            BeyondKey: With the patterns that the key has and how to make another.
        """
        if not self.may_run(node_id):
            raise BeyondKey(
                f"This API key may run {', '.join(self.nodes)} and nothing else, so not {node_id}; "
                f"`{self._new_key} --scope run --nodes {node_id}` makes one that may."
            )

    @property
    def _new_key(self) -> str:
        return f"halley keys create NAME --workspace {shlex.quote(self.workspace)}"


def make_key() -> str:
    """Make an API key: a prefix that says what it is, and 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """Return what is stored of a key. Keys are random, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode()).hexdigest()


async def add_key(
    store: Store,
    clock: Clock,
    name: str,
    workspace: str,
    *,
    scope: KeyScope = "admin",
    nodes: tuple[str, ...] = (),
    runs_per_day: int | None = None,
) -> str | None:
    """Make and keep a key; returns it, or None when the name is taken.

    Args:
        store: Where its hash is kept.
        clock: The time.
        name: For people.
        workspace: Whose runs it sees and starts.
        scope: What it may do with them.
        nodes: Patterns of the nodes that it may run; empty for all.
        runs_per_day: How many runs it may start in a day (UTC); None for any number.
    """
    key = make_key()
    record = KeyRecord(
        id=new_id("key", clock.now()),
        name=name,
        workspace=workspace,
        hint=key[:_HINT_LENGTH],
        scope=scope,
        nodes=nodes,
        runs_per_day=runs_per_day,
        created_at=clock.now(),
    )
    return key if await store.add_key(record, hash_key(key)) else None


class KeyRing:
    """Recognises callers by `Authorization: Bearer …` or `X-API-Key`.

    Args:
        store: Where key hashes are.
        static: A key from the settings, always valid for the workspace `default`.
        clock: For the cache: a revoked key stops working within 30 s.
    """

    def __init__(self, store: Store, static: Secret | None, clock: Clock) -> None:
        self._store = store
        self._static = hash_key(static.reveal()) if static else None
        self._clock = clock
        self._known: dict[str, tuple[float, Caller]] = {}

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        """Return who calls.

        Raises:
            Unauthorized: No key, or one that is unknown or revoked.
        """
        key = _sent_key(headers)
        if not key:
            raise Unauthorized("Send an API key as `Authorization: Bearer …` or `X-API-Key: …`.")
        key_hash = hash_key(key)
        if self._static is not None and hmac.compare_digest(key_hash, self._static):
            return Caller(key_id="static", workspace=DEFAULT_WORKSPACE)
        now = self._clock.now()
        cached = self._known.get(key_hash)
        if cached is not None and 0 <= now - cached[0] < _CACHE_S:
            return cached[1]
        return await self._look_up(key_hash, now)

    async def _look_up(self, key_hash: str, now: float) -> Caller:
        record = await self._store.key_by_hash(key_hash)
        if record is None:
            self._known.pop(key_hash, None)
            raise Unauthorized("This API key is unknown or revoked; `halley keys create NAME` makes one.")
        if len(self._known) >= _CACHE_SIZE:
            self._known.clear()
        caller = _caller(record)
        self._known[key_hash] = (now, caller)
        return caller


def _caller(record: KeyRecord) -> Caller:
    return Caller(
        key_id=record.id,
        workspace=record.workspace,
        scope=record.scope,
        nodes=record.nodes,
        runs_per_day=record.runs_per_day,
    )


def _sent_key(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    other = headers.get("x-api-key", "").strip()
    if bearer and other and bearer != other:
        raise Unauthorized("`Authorization` and `X-API-Key` hold different keys; send one of them.")
    return bearer or other
