"""The simulated Suno family against its reference page, over real sockets."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.simulator import Simulator, SimulatorOptions
from service.simulator.suno import Suno

AUTH = {"Authorization": "Bearer sk-test"}
SONG = {"gpt_description_prompt": "a slow song about a comet", "mv": "chirp-crow"}
STEM: dict[str, Any] = {
    "task": "gen_stem",
    "generation_type": "TEXT",
    "title": "Sea",
    "mv": "chirp-auk",
    "prompt": "",
    "make_instrumental": True,
    "continue_at": None,
    "stem_type_id": 91,
}


class SteppedClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.time = 1_790_000_000.0

    def now(self) -> float:
        """Return the time."""
        return self.time


class Client:
    """Talks to one simulator."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession, clock: SteppedClock) -> None:
        self.simulator = simulator
        self.session = session
        self.clock = clock

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Send a body; return status and decoded answer."""
        async with self.session.post(f"{self.simulator.url}/suno/{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str) -> tuple[int, Any]:
        """Ask; return status and decoded answer."""
        async with self.session.get(f"{self.simulator.url}/suno/{path}") as answer:
            return answer.status, await answer.json()

    async def ended(self, path: str, body: Any) -> Any:
        """Submit what must be accepted, let it end and return its record."""
        status, answer = await self.post(path, body)
        assert status == 200, answer
        self.clock.time += 1000
        return (await self.get(f"fetch/{answer.get('data') or answer['id']}"))[1]["data"]


@pytest.fixture
async def suno() -> AsyncIterator[Client]:
    """A client of a simulator whose clock moves when told."""
    clock = SteppedClock()
    simulator = Simulator(SimulatorOptions(), clock, families=lambda stage: Suno(stage).routes())
    async with simulator, aiohttp.ClientSession(headers=AUTH) as session:
        yield Client(simulator, session, clock)


async def test_a_song_is_queued_streams_and_ends(suno: Client):
    """Before the end an audio link is only a stream; at the end there are two complete clips."""
    _, accepted = await suno.post("submit/music", SONG)
    path = f"fetch/{accepted['data']}"

    told = []
    for pause_s in (1, 100, 100):
        suno.clock.time += pause_s
        told.append((await suno.get(path))[1]["data"])

    assert [each["status"] for each in told] == ["SUBMITTED", "IN_PROGRESS", "SUCCESS"]
    assert [[clip["status"] for clip in each["data"] or []] for each in told] == [
        [], ["streaming", "streaming"], ["complete", "complete"],
    ]  # fmt: skip
    assert all(clip["audio_url"] for clip in told[2]["data"])


async def test_other_tasks_have_their_own_results(suno: Client):
    """Lyrics come as text, an upload as a clip id, a concatenation as one clip."""
    lyrics = await suno.ended("submit/lyrics", {"prompt": "snow"})
    uploaded = await suno.ended("uploads/audio-url", {"url": "https://files.example/a.mp3"})
    joined = await suno.ended("submit/concat", {"clip_id": uploaded["data"][0]["clip_id"]})

    assert "[Verse]" in lyrics["data"]["text"]
    assert uploaded["data"][0]["status"] == "complete"
    assert [clip["metadata"]["type"] for clip in joined["data"]] == ["concat"]


@pytest.mark.parametrize(("group", "task", "count"), [("Two", "two", 2), ("Twelve", "twelve", 12)])
async def test_stems_are_taken_from_a_finished_clip(suno: Client, group: str, task: str, count: int):
    """The two-stem call answers without an envelope, both end with their clips; a wrong pair is refused."""
    song = await suno.ended("submit/music", SONG)
    body = STEM | {"task_id": song["task_id"], "continue_clip_id": song["data"][0]["id"]}

    stems = await suno.ended("submit/music", body | {"stem_type_group_name": group, "stem_task": task})
    status, refused = await suno.post("submit/music", body | {"stem_type_group_name": group, "stem_task": "four"})

    assert len(stems["data"]) == count
    assert (status, refused["code"]) == (400, "invalid_request")


async def test_what_is_made_on_demand_is_not_ready_at_once(suno: Client):
    """A wav, a video and the notes of a clip come some time after they were first asked for."""
    song = await suno.ended("submit/music", SONG)
    clip_id = song["data"][0]["id"]

    async def ask() -> list[Any]:
        return [(await suno.get(f"act/{what}/{clip_id}"))[1] for what in ("wav", "mp4", "midi")]

    first = await ask()
    suno.clock.time += 30
    wav, video, notes = await ask()
    _, words = await suno.get(f"act/timing/{clip_id}")

    assert first == [{}, {"video_url": ""}, {"state": "running"}]
    assert (".wav" in wav["wav_file_url"], ".mp4" in video["video_url"], notes["state"]) == (True, True, "complete")
    assert words["aligned_words"][0]["word"].startswith("[Verse]")


async def test_a_persona_is_no_envelope_and_a_batch_knows_what_it_knows(suno: Client):
    """The persona's id stands on top; a batch leaves out unknown tasks, and is null when none is known."""
    song = await suno.ended("submit/music", SONG)
    clip_id = song["data"][0]["id"]
    persona = {"root_clip_id": clip_id, "name": "Frost", "description": "cold", "clips": [clip_id], "is_public": True}

    _, made = await suno.post("persona/create", persona)
    _, some = await suno.post("fetch", {"ids": [song["task_id"], "x"], "action": "MUSIC"})
    _, none = await suno.post("fetch", {"ids": ["x"]})
    _, clips = await suno.get(f"feed/{clip_id}")

    assert made["name"] == "Frost"
    assert [task["task_id"] for task in some["data"]] == [song["task_id"]]
    assert none["data"] is None
    assert [clip["id"] for clip in clips] == [clip_id]


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({}, 400, "invalid_request", "prompt_empty"),
        (SONG | {"task": "sing"}, 400, "invalid_request", "invalid_action"),
        ({"continue_clip_id": "c", "task": "extend", "continue_at": 3}, 400, "invalid_request", "task id is empty"),
        (SONG | {"task_id": "unknown"}, 400, "task_not_exist", "task_origin_not_exist"),
        ({"prompt": "la [[busy]]"}, 429, "fail_to_fetch_task", "Too many requests"),
    ],
)  # fmt: skip
async def test_refusals_come_in_the_relays_words(suno: Client, body: Any, status: int, code: str, message: str):
    """What the relay does not take is refused with its code and message; nothing is created."""
    got, answer = await suno.post("submit/music", body)

    assert (got, answer["code"], answer["message"]) == (status, code, message)
    assert suno.simulator.tasks == []


async def test_one_lost_clip_fails_the_task_and_leaves_the_other(suno: Client):
    """A task that gave up over one clip still shows the other clip's file."""
    lost = await suno.ended("submit/music", {"prompt": "la [[gave_up]]", "mv": "chirp-auk"})

    assert (lost["status"], [clip["status"] for clip in lost["data"]]) == ("FAILURE", ["complete", "error"])
    assert lost["data"][0]["audio_url"]


async def test_another_familys_task_is_unknown() -> None:
    """The family answers about a task of another one as about any task that it does not know."""
    clock = SteppedClock()
    async with Simulator(SimulatorOptions(), clock) as simulator, aiohttp.ClientSession(headers=AUTH) as session:
        asked = Client(simulator, session, clock)
        kling = f"{simulator.url}/kling/v1/videos/text2video"
        async with session.post(kling, json={"prompt": "a comet"}) as answer:
            task_id = (await answer.json())["data"]["task_id"]

        assert await asked.get(f"fetch/{task_id}") == await asked.get("fetch/nothing")
        assert await asked.post("fetch", {"ids": [task_id], "action": "MUSIC"}) == (
            200,
            {"code": "success", "message": "", "data": None},
        )
