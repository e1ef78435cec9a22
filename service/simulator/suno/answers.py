"""How the family tells of things: its envelope, task records, clips and lyrics."""

import uuid
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from aiohttp import web

from service.simulator.aggregator import json_answer
from service.simulator.family import Json, Look
from service.simulator.tasks import Task

STREAMS_FROM_PERCENT = 40
_WORDS = {"submitted": "SUBMITTED", "processing": "IN_PROGRESS", "succeeded": "SUCCESS", "failed": "FAILURE"}
LYRICS = "[Verse]\nA comet over a winter sea\n\n[Chorus]\nBurn on, burn slow"
WORDS = [
    {"word": "[Verse]\nA ", "success": True, "start_s": 0.5, "end_s": 0.8, "p_align": 0.99},
    {"word": "comet ", "success": True, "start_s": 0.8, "end_s": 1.4, "p_align": 0.98},
]
INSTRUMENTS = [{"name": "Piano", "notes": [{"pitch": 60, "start": 0.5, "end": 1.0, "velocity": 0.8}]}]
STEM_TITLES = (
    *("Vocals", "Backing Vocals", "Drums", "Bass", "Guitar", "Keyboard"),
    *("Percussion", "Strings", "Synth", "FX", "Brass", "Woodwinds"),
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the family remembers of a submission.

    Attributes:
        action: The word in the task record.
        titles: One per clip that the task makes.
        metadata: What every clip says of its making.
        hook: Echoed in batch queries.
    """

    action: Literal["MUSIC", "LYRICS", "UPLOAD", "CONCAT"]
    titles: tuple[str, ...] = ()
    model: str = ""
    metadata: Json = {}
    hook: str = ""


def envelope(data: Any) -> Json:
    """Wrap what was asked for."""
    return {"code": "success", "message": "", "data": data}


def refusal(code: str, message: str, status: int = HTTPStatus.BAD_REQUEST) -> web.Response:
    """Make a refusal by the relay."""
    return json_answer({"code": code, "message": message, "data": None}, status)


def id_of(text: str) -> str:
    """Write an id of the family's kind."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, text))


def clip_ids(task: Task) -> list[str]:
    """List the ids of the clips that a task makes."""
    return [id_of(f"{task.id}/{index}") for index in range(len(task.facts.titles))]


def raw_submission(task: Task) -> Json:
    """Write the answer without an envelope that the separation page prints."""
    clips = [_clip(task, index, "submitted", "") for index in range(len(task.facts.titles))]
    return {
        "id": task.public_id,
        "clips": clips,
        "metadata": task.facts.metadata,
        "status": "complete",
        "created_at": int(task.created_at),
        "batch_size": len(clips),
    }


def record(look: Look) -> Json:
    """Write a task record."""
    task, ended = look.task, look.phase in ("succeeded", "failed")
    return {
        "task_id": task.public_id,
        "notify_hook": task.facts.hook,
        "action": task.facts.action,
        "status": "SHELVED" if look.unknown else _WORDS[look.phase],
        "fail_reason": _reason(look) if look.phase == "failed" else "",
        "submit_time": int(task.created_at),
        "start_time": 0 if look.phase == "submitted" else int(task.processing_at),
        "finish_time": int(task.finished_at) if ended else 0,
        "progress": f"{look.percent}%",
        "data": _data(look),
    }


def clips_of(look: Look) -> list[Json]:
    """Write the clips of a task, each in the state that the look finds."""
    return [_clip(look.task, index, *_clip_state(look, index)) for index in range(len(look.task.facts.titles))]


def posted(look: Look) -> Json:
    """Write a callback's body: the task record, bare or in its envelope."""
    told = record(look)
    return told if look.task.scenario.callback_shape == "bare" else envelope(told)


def _data(look: Look) -> Any:
    action = look.task.facts.action
    if look.phase == "submitted" or look.unknown:
        return None
    if action in ("MUSIC", "CONCAT"):
        return [] if look.empty else clips_of(look)
    if look.phase != "succeeded" or look.empty:
        return None
    if action == "LYRICS":
        return {"id": id_of(look.task.id), "text": LYRICS, "title": "Winter Sea", "status": "complete"}
    (clip_id,) = clip_ids(look.task)
    return [{"id": clip_id, "clip_id": clip_id, "status": "complete", "title": look.task.facts.titles[0]}]


def _clip_state(look: Look, index: int) -> tuple[str, str]:
    if look.phase == "succeeded" or (look.phase == "failed" and index == 0 and _lost_one(look)):
        return "complete", look.link(f"{index}.mp3")
    if look.phase == "failed":
        return "error", ""
    streams = look.percent >= STREAMS_FROM_PERCENT
    return ("streaming", look.link(f"stream-{index}.mp3")) if streams else ("queued", "")


def _lost_one(look: Look) -> bool:
    return look.task.scenario.outcome == "gave_up"


def _clip(task: Task, index: int, status: str, audio_url: str) -> Json:
    facts: Facts = task.facts
    error = "Song could not be generated" if status == "error" else ""
    return {
        "id": clip_ids(task)[index],
        "title": facts.titles[index],
        "status": status,
        "audio_url": audio_url,
        "video_url": "",
        "image_url": f"{task.base_url}/media/{task.id}-{index}.png",
        "image_large_url": f"{task.base_url}/media/{task.id}-{index}-large.png",
        "model_name": facts.model,
        "metadata": {**facts.metadata, "duration": 120.5 if status == "complete" else None, "error_message": error},
    }


def _reason(look: Look) -> str:
    scenario = look.task.scenario
    if scenario.outcome == "moderation":
        return "The lyrics contain sensitive words"
    return scenario.failure_text or "Song could not be generated"
