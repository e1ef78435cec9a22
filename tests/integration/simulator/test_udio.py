"""The simulated Udio family against its reference page, over real sockets."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator, SimulatorOptions
from service.simulator.udio import Udio

AUTH = {"Authorization": "Bearer sk-test"}


def generation(prompt: str, **params: Any) -> dict[str, Any]:
    """Write the body of a submission."""
    return {"gen_params": {"prompt": prompt, "config": {"mode": "regular"}, **params}}


class Client:
    """Talks to one simulator."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def generate(self, body: Any) -> tuple[int, Any]:
        """Send a submission; return status and decoded answer."""
        async with self.session.post(f"{self.simulator.url}/udio/generate-proxy", json=body) as answer:
            return answer.status, await answer.json()

    async def ask(self, *ids: str) -> Any:
        """Ask for songs, or for a task."""
        async with self.session.get(f"{self.simulator.url}/udio/query", params={"ids": ",".join(ids)}) as answer:
            return await answer.json()


@pytest.fixture
async def udio() -> AsyncIterator[Client]:
    """A client of a simulator whose tasks end at once."""
    simulator = Simulator(SimulatorOptions(duration_s=0.0), families=lambda stage: Udio(stage).routes())
    async with simulator, aiohttp.ClientSession(headers=AUTH) as session:
        yield Client(simulator, session)


async def test_two_songs_are_asked_for_by_their_ids(udio: Client):
    """A submission names its two songs; both are finished with a link that may be fetched as it is written."""
    _, accepted = await udio.generate(generation("folk"))

    songs = (await udio.ask(*accepted["track_ids"]))["songs"]
    async with udio.session.get(songs[0]["song_path"]) as file:
        kind = file.content_type

    assert [song["id"] for song in songs] == accepted["track_ids"]
    assert {song["generation_id"] for song in songs} == {accepted["generation_id"]}
    assert (all(song["finished"] for song in songs), kind) == (True, "audio/mpeg")
    assert "%2520" in songs[0]["song_path"]


async def test_before_the_end_nothing_is_finished(udio: Client):
    """A song on its way has neither link nor length; unknown songs are not there at all."""
    _, accepted = await udio.generate(generation("folk [[duration:1000]]"))

    songs = (await udio.ask(accepted["track_ids"][1]))["songs"]
    unknown = await udio.ask("x")

    assert [(song["finished"], song["song_path"], song["duration"]) for song in songs] == [(False, None, None)]
    assert unknown == {"songs": []}


@pytest.mark.parametrize(
    ("mark", "errors"),
    [
        ("fail:no luck", ["no luck", "no luck"]),
        ("moderation", ["The lyrics violate the content policy"] * 2),
        ("gave_up", [None, "The song could not be generated"]),
    ],
)
async def test_failures_stand_in_the_songs(udio: Client, mark: str, errors: list[str | None]):
    """A failed song tells why; the other may be finished all the same."""
    _, accepted = await udio.generate(generation(f"folk [[{mark}]]"))

    songs = (await udio.ask(*accepted["track_ids"]))["songs"]

    assert [song["error_detail"] for song in songs] == errors
    assert [bool(song["song_path"]) for song in songs] == [error is None for error in errors]


async def test_an_enveloped_task_is_asked_for_by_its_own_id(udio: Client):
    """The relays' shape: an id in `data`, then a record with status word, progress and songs."""
    _, accepted = await udio.generate(generation("folk [[envelope:wrapped]]"))

    told = await udio.ask(accepted["data"])

    assert accepted["code"] == "success"
    assert (told["data"]["status"], told["data"]["progress"]) == ("SUCCESS", "100%")
    assert len(told["data"]["data"]["songs"]) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prompt": "folk"}, 400),
        (generation(""), 400),
        (generation("folk", lyrics_type="user"), 400),
        (generation("folk", config={"mode": "continuation"}), 400),
        (generation("folk", clarity_strength=2), 400),
        (generation("folk [[busy]]"), 429),
    ],
)
async def test_bad_bodies_are_refused_in_the_relays_envelope(udio: Client, body: Any, status: int):
    """What cannot be made is refused with code and message; nothing is created."""
    got, answer = await udio.generate(body)

    assert (got, answer["data"]) == (status, None)
    assert answer["code"] == ("invalid_request" if status == 400 else "fail_to_fetch_task")
    assert udio.simulator.tasks == []
