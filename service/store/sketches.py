"""What has been learned of durations, as the store keeps it: the verbs, no SQL."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from service.lifecycle.durations import Sketch


class KeptSketch(NamedTuple):
    """A sketch as it was read; `version` tells whether somebody has written it since."""

    sketch: Sketch
    version: int


class Sketches(Protocol):
    """Durations by kind of task, whatever a kind is."""

    async def sketches(self, kinds: Sequence[str]) -> dict[str, KeptSketch]:
        """Return what is known of kinds of tasks; those of which nothing is known are left out."""

    async def keep_sketch(self, kind: str, sketch: Sketch, version: int, now: float) -> bool:
        """Write a sketch made from that version, 0 for a new one; False when somebody else was quicker."""

    async def forget_sketches(self, before: float) -> int:
        """Delete sketches that nothing was added to since a moment; returns how many there were."""
