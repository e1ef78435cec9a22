"""The relay's generic envelope around a provider's task object, the same for every family that it wraps.

What stands inside, and which families are ever wrapped, is the family's matter.
"""

from service.simulator.family import Json, Look
from service.simulator.tasks import Phase

WORDS: dict[Phase, str] = {
    "submitted": "NOT_START",
    "processing": "IN_PROGRESS",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
}
QUEUED_WORDS: dict[Phase, str] = WORDS | {"submitted": "QUEUED"}


def gave_up(look: Look) -> bool:
    """Tell whether the relay says failure over a task that still goes on inside."""
    return look.phase == "failed" and look.task.scenario.outcome == "gave_up"


def relay_answer(look: Look, inner: object, *, action: str, fail_reason: str = "") -> Json:
    """Wrap a provider's task object.

    Args:
        look: What is told of the task.
        inner: The provider's own object, or what the relay kept of it.
        action: The relay's name for what was asked.
        fail_reason: The reason of a failure; some families have something else there on success.
    """
    task = look.task
    ended = look.phase in ("succeeded", "failed")
    told = {
        "task_id": task.public_id,
        "action": action,
        "status": "UNKNOWN" if look.unknown else WORDS[look.phase],
        "fail_reason": fail_reason,
        "progress": f"{look.percent}%",
        "submit_time": int(task.created_at),
        "start_time": 0 if look.phase == "submitted" else int(task.processing_at),
        "finish_time": int(task.finished_at) if ended else 0,
        "data": inner,
    }
    return {"code": "success", "message": "", "data": told}
