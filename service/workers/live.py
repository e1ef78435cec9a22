"""Answers that are heard while they come: who waits for a run's stream is handed its pieces.

Only this process' own submissions can be heard; the run itself is told in full by the store, as ever.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class Hearing:
    """What one listener has not taken yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._has_turned = False
        self._news = asyncio.Event()

    def hear(self, piece: bytes) -> None:
        """Take a piece of the stream."""
        self._pieces.append(piece)
        self._news.set()

    def turn(self) -> None:
        """Say that the run has come further than its pieces tell."""
        self._has_turned = True
        self._news.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when there is something to take, or after the time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def take(self) -> tuple[bytes, bool]:
        """Return the pieces that came, and whether the run came further after them."""
        pieces, turned = b"".join(self._pieces), self._has_turned
        self._pieces.clear()
        self._has_turned = False
        self._news.clear()
        return pieces, turned


class LiveAnswers:
    """The listeners of this process, by run."""

    def __init__(self) -> None:
        self._hearings: dict[str, Hearing] = {}

    @contextlib.contextmanager
    def listening(self, run_id: str) -> Iterator[Hearing]:
        """Hear a run's answer until the block ends; begin before the run is stored."""
        hearing = self._hearings[run_id] = Hearing()
        try:
            yield hearing
        finally:
            self._hearings.pop(run_id, None)

    def of(self, run_id: str) -> Hearing | None:
        """Return who listens to a run, if anybody does."""
        return self._hearings.get(run_id)
