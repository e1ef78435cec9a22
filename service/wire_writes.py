"""What is written to a connection within one turn of the event loop leaves together.

An ASGI server writes the head of an answer as soon as it knows it, and the body after it: two calls into the kernel and
two packets, where one does.
"""

import asyncio
from typing import Any

_MOST_BYTES = 64 * 1024  # so much waits for the end of the turn; more leaves at once


class JoinedWrites:
    """A transport's writing half.

    Args:
        transport: What is written to.
        loop: Its event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Write, by the end of this turn of the loop."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _MOST_BYTES:
            self._flush()

    def is_closing(self) -> bool:
        """Tell whether it is closed or about to be; asked twice for each request."""
        return self.transport.is_closing()

    def close(self) -> None:
        """Write what waits, then close."""
        self._flush()
        self.transport.close()

    def _flush(self) -> None:
        if self._held and not self.transport.is_closing():
            self.transport.writelines(self._held)
        self._held, self._held_bytes = [], 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
