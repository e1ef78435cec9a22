"""How a task is told of: its object, its results, the envelopes around it and the callback's shapes.

Everything here is written anew from a `View` each time; nothing is stored.
"""

from typing import Any

import msgspec

from service.simulator.relay import WORDS
from service.simulator.samples import LINK_LIFE_S, link
from service.simulator.scenario import Envelope
from service.simulator.tasks import Phase, Task

MODERATION_TEXT = "Failure to pass the risk control system"
FAILURE_TEXT = "The generation failed, please try again"
UNKNOWN_WORD = "reviewing"
INNER_WORDS: dict[Phase, str] = {
    "submitted": "submitted",
    "processing": "processing",
    "succeeded": "succeed",
    "failed": "failed",
}
EMPTY_KINDS = 3

Json = dict[str, Any]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What of the request shows in the answers.

    Attributes:
        makes: Arrays of the result: `videos`, `images`, `audios`.
        count: Number of images.
        seconds: Length of video and sound.
        model: Model name as sent or as by default.
        watermark: Whether watermarked twins were asked for.
        session_id: Editing session, repeated in its videos.
        parent_video: The video that this one continues or changes.
    """

    makes: tuple[str, ...]
    count: int = 1
    seconds: float = 5.0
    model: str = ""
    watermark: bool = False
    session_id: str = ""
    parent_video: Json | None = None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a task.

    Attributes:
        phase: Where the task is said to stand.
        now: Moment of the look.
        unknown: The status word is one that nobody knows.
        empty: Success is told without results.
        stale: The links have expired already.
        calls_back: The look is a callback's: the provider's own id, and no `audios`.
    """

    task: Task
    phase: Phase
    now: float
    unknown: bool = False
    empty: bool = False
    stale: bool = False
    calls_back: bool = False


def milliseconds(epoch_s: float) -> int:
    """Turn epoch seconds into the family's timestamps."""
    return int(epoch_s * 1000)


def _file(view: View, name: str) -> str:
    expires_at = view.now - 1 if view.stale else view.now + LINK_LIFE_S
    return link(view.task.base_url, f"{view.task.id}-{name}", expires_at)


def _twin(view: View, name: str) -> Json:
    return {"watermark_url": _file(view, name)} if view.task.facts.watermark else {}


def video_id(task_id: str, index: int = 0) -> str:
    """Derive the id of a result from its task's; ids made by the clock leave room between them."""
    return str(int(task_id) + (1 << 18) + index)


def _videos(view: View) -> list[Json]:
    facts: Facts = view.task.facts
    video = {
        "id": video_id(view.task.id),
        "url": _file(view, "0.mp4"),
        **_twin(view, "0-watermark.mp4"),
        "duration": f"{facts.seconds + 0.1:g}",
    }
    return [video | ({"session_id": facts.session_id} if facts.session_id else {})]


def _images(view: View) -> list[Json]:
    return [
        {"index": index, "url": _file(view, f"{index}.png"), **_twin(view, f"{index}-watermark.png")}
        for index in range(view.task.facts.count)
    ]


def _audios(view: View) -> list[Json]:
    seconds = f"{view.task.facts.seconds:g}"
    audio = {
        "id": video_id(view.task.id, 1),
        "url_mp3": _file(view, "1.mp3"),
        "url_wav": _file(view, "1.wav"),
        "duration_mp3": seconds,
        "duration_wav": seconds,
    }
    return [audio]


_MAKERS = {"videos": _videos, "images": _images, "audios": _audios}


def results(view: View) -> dict[str, list[Json]]:
    """Make the arrays of `task_result`."""
    return {kind: _MAKERS[kind](view) for kind in view.task.facts.makes}


def _told_results(view: View) -> Json:
    """Say `task_result`: absent at first, `{}` meanwhile, and at the end maybe missing."""
    if view.phase == "submitted":
        return {}
    if view.phase != "succeeded" or view.unknown:
        return {"task_result": {}}
    if view.empty:
        variants: tuple[Json, ...] = ({}, {"task_result": None}, {"task_result": {}})
        return variants[view.task.played.get("empty", 0) % EMPTY_KINDS]
    told = results(view)
    if view.calls_back:
        told.pop("audios", None)
    return {"task_result": told}


def failure_text(task: Task) -> str:
    """Give the reason of a failed task."""
    usual = MODERATION_TEXT if task.scenario.outcome == "moderation" else FAILURE_TEXT
    return task.scenario.failure_text or usual


def _task_info(task: Task) -> Json:
    info: Json = {"external_task_id": task.external_id} if task.external_id else {}
    return info | ({"parent_video": task.facts.parent_video} if task.facts.parent_video else {})


def task_object(view: View, task_id: str) -> Json:
    """Make the provider's own task object."""
    task = view.task
    ended = view.phase == "succeeded"
    return {
        "task_id": task_id,
        "task_status": UNKNOWN_WORD if view.unknown else INNER_WORDS[view.phase],
        "task_status_msg": failure_text(task) if view.phase == "failed" else "",
        "task_info": _task_info(task),
        **_told_results(view),
        **({"final_unit_deduction": "1"} if ended else {}),
        "created_at": milliseconds(task.created_at),
        "updated_at": milliseconds(task.entered_at(view.phase)),
    }


def accepted(data: Any, request_id: str) -> Json:
    """Wrap data in the provider's flat envelope."""
    return {"code": 0, "message": "SUCCEED", "request_id": request_id, "data": data}


def _flat(view: View, request_id: str) -> Json:
    return accepted(task_object(view, view.task.public_id), request_id)


def _inside(view: View) -> Json:
    """Make the inner object of a relay's answer: the provider's id, and no end where the relay gave up."""
    gave_up = view.task.scenario.outcome == "gave_up" and view.phase == "failed"
    inner = msgspec.structs.replace(view, phase="processing") if gave_up else view
    return task_object(inner, view.task.id)


def _outside(view: View) -> Json:
    return {
        "task_id": view.task.public_id,
        "action": view.task.operation.upper(),
        "status": "UNKNOWN" if view.unknown else WORDS[view.phase],
        "progress": f"{view.task.percent(view.now)}%",
    }


def _wrapped(view: View, request_id: str) -> Json:
    reason = {"fail_reason": failure_text(view.task)} if view.phase == "failed" else {}
    return accepted(_outside(view) | reason | {"data": _inside(view)}, request_id)


def _fail_reason(view: View) -> str:
    """Say what relays put there: the reason, or on success the result's URL."""
    if view.phase == "failed":
        return failure_text(view.task)
    if view.phase != "succeeded" or view.empty or view.unknown:
        return ""
    first = next(iter(results(view).values()))[0]
    return str(first.get("url") or first.get("url_mp3"))


def _double(view: View, request_id: str) -> Json:
    task = view.task
    ended = view.phase in ("succeeded", "failed")
    told = {
        "fail_reason": _fail_reason(view),
        "submit_time": int(task.created_at),
        "start_time": 0 if view.phase == "submitted" else int(task.processing_at),
        "finish_time": int(task.finished_at) if ended else 0,
        "data": accepted(_inside(view), request_id),
    }
    return {"code": "success", "message": "", "data": _outside(view) | told}


_ENVELOPES = {"flat": _flat, "wrapped": _wrapped, "double": _double, "openai": _double}


def query_answer(view: View, request_id: str) -> Json:
    """Make the answer to a query, in the envelope of the task's scenario."""
    return _ENVELOPES[view.task.scenario.envelope](view, request_id)


def submit_answer(task: Task, request_id: str) -> Json:
    """Make the answer to an accepted submission, in the envelope of the task's scenario."""
    envelope: Envelope = task.scenario.envelope
    view = View(task=task, phase="submitted", now=task.created_at)
    if envelope == "openai":
        return _openai(task)
    if envelope != "flat":
        return _ENVELOPES[envelope](view, request_id)
    told = task_object(view, task.public_id)
    kept = ("task_id", "task_status", "task_info", "created_at", "updated_at")
    return accepted({key: told[key] for key in kept}, request_id)


def _openai(task: Task) -> Json:
    return {
        "id": task.public_id,
        "task_id": task.public_id,
        "object": "video",
        "model": task.facts.model,
        "status": "",
        "progress": 0,
        "created_at": int(task.created_at),
    }


def callback_body(view: View) -> Json:
    """Make the body of a callback, in the shape of the task's scenario."""
    shape = view.task.scenario.callback_shape
    if shape == "new":
        return _new_callback(view)
    told = task_object(view, view.task.id)
    return {"data": told} if shape == "wrapped" else told


def _new_callback(view: View) -> Json:
    task = view.task
    return {
        "id": task.id,
        "status": "succeeded" if view.phase == "succeeded" else INNER_WORDS[view.phase],
        "message": failure_text(task) if view.phase == "failed" else "",
        "create_time": milliseconds(task.created_at),
        "update_time": milliseconds(task.entered_at(view.phase)),
        "external_id": task.external_id,
        "outputs": _outputs(view) if view.phase == "succeeded" and not view.empty else [],
        "billing": [],
    }


def _outputs(view: View) -> list[Json]:
    told = results(view)
    images = [
        {"type": "image", "group_id": view.task.id} | {key: image[key] for key in image if key != "index"}
        for image in told.get("images", ())
    ]
    audios = [
        {
            "type": "audio",
            "id": audio["id"],
            "mp3_url": audio["url_mp3"],
            "wav_url": audio["url_wav"],
            "mp3_duration": audio["duration_mp3"],
            "wav_duration": audio["duration_wav"],
        }
        for audio in told.get("audios", ())
    ]
    return [*({"type": "video"} | video for video in told.get("videos", ())), *images, *audios]
