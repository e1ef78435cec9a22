"""The Udio family as the aggregator mounts it under `/udio`, written from its reference page alone.

Answers are Udio's own, without an envelope; the scenario's envelope `wrapped` plays the relays that put one
around them. A submission makes two songs, and queries ask for songs.
"""

import uuid
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from service.simulator.aggregator import json_answer
from service.simulator.family import Call, Family, Json, Look, Operation
from service.simulator.tasks import Task

SONGS = 2
MAKES_S = {"udio32-v1.5": 32.768, "udio130-v1.5": 131.072}
_WORDS = {"submitted": "SUBMITTED", "processing": "IN_PROGRESS", "succeeded": "SUCCESS", "failed": "FAILURE"}
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The song that is made longer."""

    source_type: Literal["song"]
    song_id: str


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a new song is made or an old one is made longer."""

    mode: Literal["regular", "precede", "continuation"] = "regular"
    context_length: float | None = None
    source: Source | None = None


class GenParams(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be made."""

    prompt: Annotated[str, msgspec.Meta(min_length=1)]
    config: Config
    lyrics: str = ""
    lyrics_type: Literal["generate", "user", "instrumental"] = "generate"
    model_type: Literal["udio32-v1.5", "udio130-v1.5"] = "udio32-v1.5"
    negative_prompt: str = ""
    seed: int = -1
    bypass_prompt_optimization: bool = False
    song_section_start: Share = 0.0
    song_section_end: Share = 1.0
    lyrics_placement_start: Share = 0.0
    lyrics_placement_end: Share = 1.0
    prompt_strength: Share = 0.5
    clarity_strength: Share = 0.25
    lyrics_strength: Share = 0.5
    generation_quality: Share = 0.75


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a submission."""

    gen_params: GenParams


class Udio(Family):
    """The family on a stage."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        return (
            Operation(
                name="generate_music",
                path="/udio/generate-proxy",
                body=Generation,
                answer=self._generate,
                usual_s=120.0,
            ),
            Operation(name="query_task", path="/udio/query", method="GET", encoding=("none",), answer=self._query),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse a body in the relay's words."""
        return _refusal("invalid_request", message, HTTPStatus.BAD_REQUEST)

    def busy(self) -> web.Response:
        """Refuse as upstream does when asked too often, through the relay."""
        return _refusal("fail_to_fetch_task", "Too many requests", HTTPStatus.TOO_MANY_REQUESTS)

    def unknown_task(self) -> web.Response:
        """Answer a question about songs that there are not."""
        return json_answer({"songs": []})

    async def _generate(self, call: Call) -> web.Response:
        params: GenParams = call.body.gen_params
        fault = _fault_of(params)
        if fault:
            return self.invalid(fault)
        task = await call.create(facts=params, make_id=_id_of)
        for song_id in _song_ids(task):
            self.stage.sessions.put(f"song:{song_id}", task.public_id)
        if call.scenario.envelope != "flat":
            return json_answer({"code": "success", "message": "", "data": task.public_id})
        return json_answer({"message": "Success", "generation_id": task.public_id, "track_ids": _song_ids(task)})

    async def _query(self, call: Call) -> web.Response:
        asked = [song_id for song_id in call.request.query.get("ids", "").split(",") if song_id]
        if not asked:
            return self.invalid("ids is required")
        owners = {self.stage.sessions.get(f"song:{each}") or each for each in asked}
        looks = [self.look(await self.find_or_hang(call, task_id)) for task_id in sorted(owners)]
        if looks[0].task.scenario.envelope != "flat":
            return json_answer(_enveloped(looks[0]))
        songs = {song["id"]: song for look in looks for song in _songs_of(look)}
        return json_answer({"songs": [songs[each] for each in asked if each in songs] or list(songs.values())})


def _refusal(code: str, message: str, status: int) -> web.Response:
    return json_answer({"code": code, "message": message, "data": None}, status)


def _id_of(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, text))


def _song_ids(task: Task) -> list[str]:
    return [_id_of(f"{task.id}/{index}") for index in range(SONGS)]


def _fault_of(params: GenParams) -> str:
    if params.lyrics_type == "user" and not params.lyrics:
        return "lyrics is required"
    if params.config.mode != "regular" and params.config.source is None:
        return "config.source is required"
    return ""


def _enveloped(look: Look) -> Json:
    task, ended = look.task, look.phase in ("succeeded", "failed")
    record = {
        "task_id": task.public_id,
        "notify_hook": "",
        "action": "udio-generate",
        "status": "SHELVED" if look.unknown else _WORDS[look.phase],
        "fail_reason": _reason(look) if look.phase == "failed" else "",
        "submit_time": int(task.created_at),
        "start_time": int(task.processing_at),
        "finish_time": int(task.finished_at) if ended else 0,
        "progress": f"{look.percent}%",
        "data": {"songs": _songs_of(look)},
    }
    return {"code": "success", "message": "", "data": record}


def _songs_of(look: Look) -> list[Json]:
    return [_song(look, index, song_id) for index, song_id in enumerate(_song_ids(look.task))]


def _song(look: Look, index: int, song_id: str) -> Json:
    task, params = look.task, look.task.facts
    survives = task.scenario.outcome == "gave_up" and index == 0
    made = look.phase == "succeeded" or (look.phase == "failed" and survives)
    lost = look.phase == "failed" and not made
    return {
        "id": song_id,
        "generation_id": task.public_id,
        "title": "Winter Sea",
        "artist": "simulator",
        "prompt": params.prompt,
        "lyrics": params.lyrics,
        "tags": [],
        "created_at": int(task.created_at),
        "finished": (made or lost) and not look.unknown,
        "song_path": look.link(f"{index}%2520mix.mp3") if made and not look.empty else None,
        "video_path": None,
        "image_path": f"{task.base_url}/media/{task.id}-{index}.png",
        "duration": MAKES_S[params.model_type] if made else None,
        "error_type": "GENERATION_ERROR" if lost else None,
        "error_code": "E100" if lost else None,
        "error_detail": _reason(look) if lost else None,
        "error_id": task.public_id if lost else None,
    }


def _reason(look: Look) -> str:
    scenario = look.task.scenario
    if scenario.outcome == "moderation":
        return "The lyrics violate the content policy"
    return scenario.failure_text or "The song could not be generated"
