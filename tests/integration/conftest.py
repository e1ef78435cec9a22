"""A simulator, a receiver and a Halley for each test that asks for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.simulator import Simulator
from tests.fakes.house import House, house, quick_simulator
from tests.fakes.receiver import Receiver


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulated upstream."""
    async with quick_simulator() as simulator:
        yield simulator


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of events."""
    async with Receiver() as running:
        yield running


@pytest.fixture
async def halley(tmp_path: Path, sim: Simulator) -> AsyncIterator[House]:
    """A Halley that upstream can call back."""
    async with house(tmp_path, sim) as running:
        yield running


@pytest.fixture
async def polling(tmp_path: Path, sim: Simulator) -> AsyncIterator[House]:
    """A Halley without a public URL, which has to poll."""
    async with house(tmp_path / "polling", sim, public=False) as running:
        yield running
