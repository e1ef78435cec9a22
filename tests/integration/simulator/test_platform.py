"""The aggregator's own questions against the reference page."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator, SimulatorOptions
from service.simulator.platform import Platform

AUTH = {"Authorization": "Bearer sk-good"}


class Client:
    """Asks one simulator that knows one key."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def ask(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Ask and return status and decoded body."""
        async with self.session.get(self.simulator.url + path, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Start a simulator with the platform's routes."""
    options = SimulatorOptions(api_key="sk-good")
    async with (
        Simulator(options, families=lambda stage: Platform(stage).routes()) as simulator,
        aiohttp.ClientSession() as session,
    ):
        yield Client(simulator, session)


@pytest.mark.parametrize("path", ["/user/quota", "/user/quota/"])
async def test_the_balance_takes_its_key_from_the_query(client: Client, path: str) -> None:
    """The key in the query is answered by numbers, in the header it is not seen."""
    status, balance = await client.ask(f"{path}?key=sk-good")
    refused, _ = await client.ask(path, AUTH)
    wrong, _ = await client.ask(f"{path}?key=sk-bad")

    assert (status, balance["keys"][0]["remain_quota"]) == (200, -1)
    assert isinstance(balance["total_quota"], float)
    assert (refused, wrong) == (401, 401)


async def test_days_come_in_pairs(client: Client) -> None:
    """Both dates add the use per day, one alone is refused."""
    _, both = await client.ask("/user/quota?key=sk-good&start_date=2026-03-01&end_date=2026-03-02")
    status, _ = await client.ask("/user/quota?key=sk-good&start_date=2026-03-01")

    assert list(both["daily_quota"]) == ["2026-03-01", "2026-03-02"]
    assert status == 400


async def test_the_catalogue_is_public_and_the_list_is_not(client: Client) -> None:
    """Both name the same models; only the list asks for a key."""
    _, catalogue = await client.ask("/api/models")
    _, listed = await client.ask("/v1/models", AUTH)
    refused, error = await client.ask("/v1/models")

    assert [row["id"] for row in catalogue["data"]] == [row["id"] for row in listed["data"]]
    assert catalogue["total"] == len(catalogue["data"])
    assert (refused, error["error"]["code"]) == (401, "invalid_api_key")


async def test_marks_of_the_options_strike(client: Client) -> None:
    """A simulator told to have no money says so to every question."""
    options = SimulatorOptions(marks=("quota",))
    async with Simulator(options, families=lambda stage: Platform(stage).routes()) as poor:
        status, error = await Client(poor, client.session).ask("/v1/models", AUTH)

    assert (status, error["error"]["code"]) == (403, "insufficient_user_quota")
