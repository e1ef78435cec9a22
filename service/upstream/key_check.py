"""Whether the upstream key is good: the free question that a definition describes, and the last answer to it.

Knows no provider: the node is the one that says `checks_key`.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from service.clock import Clock
from service.definitions.catalog import Catalog, CompiledNode
from service.definitions.paths import decode_body
from service.definitions.reader import Answer
from service.errors import NotSent, Unconfirmed
from service.upstream.transport import Transport

_TIMEOUT_S = 10.0
_INTERVAL_S = 300.0


class KeyState(Struct, frozen=True, kw_only=True):
    """What is known of the upstream key.

    Attributes:
        is_good: Upstream takes it; None when nobody knows.
        said: What is known, for people.
        asked_at: When upstream was asked, in seconds since 1970; None when it was not.
    """

    is_good: bool | None
    said: str
    asked_at: float | None = None


_REFUSED = ("auth", "quota")  # all else says something about the way to upstream, not about the key
_NO_KEY = KeyState(is_good=False, said="missing: only mode=mock and mode=preview work")
_NOT_ASKED = KeyState(is_good=None, said="set; not asked yet whether it is good")
_NO_QUESTION = KeyState(is_good=None, said="set; no definition says how it is checked")


def checking_node(catalog: Catalog) -> CompiledNode | None:
    """Return the node that tells whether the key is good, if there is one."""
    return next((node for node in catalog.nodes.values() if node.node.checks_key), None)


async def ask_about_key(transport: Transport, node: CompiledNode, clock: Clock) -> KeyState:
    """Ask upstream once whether the key is good; never raises for what upstream does."""
    try:
        answer = await transport.send(node.plan.build({}), timeout_s=_TIMEOUT_S)
    except (NotSent, Unconfirmed) as exc:
        return KeyState(is_good=None, said=str(exc), asked_at=clock.now())
    error = node.reader.read("submit", Answer(status=answer.status, body=decode_body(answer.body))).error
    if error is None:
        return KeyState(is_good=True, said="upstream takes it", asked_at=clock.now())
    said = f"upstream answered HTTP {answer.status} ({error.code}): {error.message}"
    is_good = False if error.code in _REFUSED else None
    return KeyState(is_good=is_good, said=said, asked_at=clock.now())


class KeyWatch:
    """Knows the last answer to the question about the key; who looks never waits for upstream.

    Args:
        transport: The wire.
        node: Describes the question, if a definition does.
        has_key: Whether there is a key at all.
        clock: The time; upstream is asked once in five minutes at most, and only when somebody looks.
        start: Starts work in the background.
    """

    def __init__(
        self,
        transport: Transport,
        node: CompiledNode | None,
        *,
        has_key: bool,
        clock: Clock,
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._transport = transport
        self._node = node
        self._has_key = has_key
        self._clock = clock
        self._start = start
        self._asked_at: float | None = None
        self._state = _NOT_ASKED

    def look(self) -> KeyState:
        """Return what is known now, and have upstream asked when that is old."""
        if not self._has_key:
            return _NO_KEY
        if self._node is None:
            return _NO_QUESTION
        now = self._clock.now()
        if self._asked_at is None or not 0 <= now - self._asked_at < _INTERVAL_S:
            self._asked_at = now
            self._start(self._ask(self._node))
        return self._state

    async def _ask(self, node: CompiledNode) -> None:
        self._state = await ask_about_key(self._transport, node, self._clock)
