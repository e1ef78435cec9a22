"""Looks follow what was learned: fewer of them, close to the end, after a restart too."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.fakes.house import TUNING, House, house, quick_catalog, quick_simulator

NODE = "kling.text_to_video"
TAKES_S = 1.5
EAGER = msgspec.structs.replace(TUNING, learn_s=0.1)


async def looks_of(halley: House, count: int) -> list[Sequence[float]]:
    """Run tasks together; returns for each when it was looked at, in seconds since its submission."""
    started = [await halley.start(NODE, {"prompt": "a comet"}) for _ in range(count)]
    ends = await asyncio.gather(*(halley.end(each.json()["id"]) for each in started))
    assert [run["state"] for run in ends] == ["succeeded"] * count
    return [await looked_at(halley, run["id"]) for run in ends]


async def looked_at(halley: House, run_id: str) -> list[float]:
    """Return when a run was looked at, in seconds since its submission began; the last look saw its end."""
    run = await halley.app.state.services.store.run(run_id)
    polls = [e.at for e in await halley.app.state.services.store.timeline(run_id) if e.kind == "poll"]
    return [at - run.submitted_at for at in (*polls, run.finished_at)]


async def known(halley: House) -> dict[str, float]:
    """Return how long tasks of the node typically take, once that is known."""
    async with asyncio.timeout(10):
        while True:
            typical = (await halley.client.get(f"/v1/nodes/{NODE}")).json()["typical_s"]
            if typical is not None:
                return dict(typical)
            await asyncio.sleep(0.05)


@pytest.mark.timeout(60)
async def test_looks_gather_around_the_end(tmp_path: Path) -> None:
    """After some runs a task is looked at when it may end, at the same lag with a third of the looks."""
    catalog = quick_catalog(growth=1.0, at_most_s=5.0, looks=3.0)
    async with quick_simulator(duration_s=TAKES_S) as sim:
        async with house(tmp_path, sim, public=False, catalog=catalog, tuning=EAGER) as halley:
            assert (await halley.client.get(f"/v1/nodes/{NODE}")).json()["typical_s"] is None
            before = await looks_of(halley, 10)
            typical = await known(halley)
            await looks_of(halley, 2)  # the first ones that ask for a plan
            after = await looks_of(halley, 6)

        async with house(tmp_path, sim, public=False, catalog=catalog, tuning=EAGER) as again:
            restarted = await looks_of(again, 3)

    assert all(len(looks) > 6 for looks in before)
    assert TAKES_S - 0.3 < typical["median"] <= typical["p90"] < TAKES_S + 3
    assert all(looks[0] > TAKES_S / 2 for looks in after)
    # The very first look after a restart may come before what was learned has been read.
    assert all(len(looks) <= 6 for looks in (*after, *restarted))
