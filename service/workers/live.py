"""Answers that are heard while they come: who waits for a run's stream is handed its pieces.

Only this process' own submissions can be heard; the run itself is told in full by the store, as ever.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class Hearing:
    """One listener's queue of pieces; None ends it."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.heard = False

    def hear(self, piece: bytes) -> None:
        """Take a piece of the stream."""
        self.heard = True
        self.pieces.put_nowait(piece)

    def end(self) -> None:
        """Say that no more will come."""
        self.pieces.put_nowait(None)


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
