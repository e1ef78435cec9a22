"""Sketches of durations over a database engine; see `sketches` for what is promised."""

from collections.abc import Sequence

import msgspec

from service.lifecycle.durations import Sketch
from service.store.engine import Engine
from service.store.sketches import KeptSketch

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Sketch).decode


class SqlSketches:
    """`Sketches` over an engine."""

    _engine: Engine

    async def sketches(self, kinds: Sequence[str]) -> dict[str, KeptSketch]:
        """Return what is known of kinds of tasks; those of which nothing is known are left out."""
        rows = await self._engine.read("sketches_get", kinds=list(kinds)) if kinds else []
        return {kind: KeptSketch(_decode(doc), version) for kind, doc, version in rows}

    async def keep_sketch(self, kind: str, sketch: Sketch, version: int, now: float) -> bool:
        """Write a sketch made from that version, 0 for a new one; False when somebody else was quicker."""
        doc = _encode(sketch).decode()
        return await self._engine.count("sketch_put", kind=kind, version=version, learned_at=now, doc=doc) == 1

    async def forget_sketches(self, before: float) -> int:
        """Delete sketches that nothing was added to since a moment; returns how many there were."""
        return await self._engine.count("sketches_forget", before=before)
