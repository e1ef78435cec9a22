"""API keys: made, hashed, recognised. A key is shown once; only its hash is kept."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from msgspec import Struct

from service.clock import Clock
from service.errors import Unauthorized
from service.ids import new_id
from service.settings import Secret
from service.store.base import KeyRecord, Store

_PREFIX = "hly_"
_HINT_LENGTH = 8
_CACHE_S = 30.0
_CACHE_SIZE = 10_000
DEFAULT_WORKSPACE = "default"


class Caller(Struct, frozen=True, kw_only=True):
    """Who calls: the key's id (idempotency is scoped by it) and its workspace."""

    key_id: str
    workspace: str


def make_key() -> str:
    """Make an API key: a prefix that says what it is, and 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """Return what is stored of a key. Keys are random, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode()).hexdigest()


async def add_key(store: Store, clock: Clock, name: str, workspace: str) -> str | None:
    """Make and keep a key; returns it, or None when the name is taken."""
    key = make_key()
    record = KeyRecord(
        id=new_id("key", clock.now()),
        name=name,
        workspace=workspace,
        hint=key[:_HINT_LENGTH],
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
        caller = Caller(key_id=record.id, workspace=record.workspace)
        self._known[key_hash] = (now, caller)
        return caller


def _sent_key(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    other = headers.get("x-api-key", "").strip()
    if bearer and other and bearer != other:
        raise Unauthorized("`Authorization` and `X-API-Key` hold different keys; send one of them.")
    return bearer or other
