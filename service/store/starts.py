"""What a start brings to the store and what it is told: the values, no SQL."""

from msgspec import Struct

from service.lifecycle.run import Run

KEY_KEPT_S = 7 * 86400.0


class Idempotency(Struct, frozen=True, kw_only=True):
    """What makes a repeated start the same start.

    Attributes:
        scope: API key that sent it.
        key: The caller's key.
        fingerprint: Hash of the request.
        kept_s: For how long an earlier start with the key counts.
    """

    scope: str
    key: str
    fingerprint: str
    kept_s: float = KEY_KEPT_S


class Allowance(Struct, frozen=True, kw_only=True):
    """How many runs an API key may start in a day (UTC)."""

    key_id: str
    runs_per_day: int


class Started(Struct, frozen=True, kw_only=True):
    """Outcome of a start.

    Attributes:
        run: The run: the new one, or the one that had been there before.
        replayed: It had been there before, started by the same request.
        key_reused: The idempotency key belongs to another request; `run` is that one's.
        over_allowance: The API key has started all the runs that it may start today; nothing was kept.
    """

    run: Run
    replayed: bool = False
    key_reused: bool = False
    over_allowance: bool = False
