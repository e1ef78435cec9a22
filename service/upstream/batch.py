"""One question about many tasks, and each task's own answer out of the list that comes back."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.definitions.paths import Scope as _Scope
from service.definitions.paths import compile_path
from service.definitions.schema import AskMany


def entries(many: AskMany, body: Any, task_ids: Sequence[str]) -> dict[str, Any]:
    """Return the answer about each task as a question about it alone would have brought it; missing ones are left out.

    Args:
        many: How upstream is asked about many.
        body: The decoded answer.
        task_ids: The tasks that were asked about.
    """
    found = compile_path(many.each)(_Scope(body)) if many.each != "@" else body
    listed = found if isinstance(found, list) else []
    by_id = {str(item.get(many.id)): item for item in listed if isinstance(item, dict)}
    answers = ((task_id, _of_task(many, by_id, task_id)) for task_id in task_ids)
    return {task_id: {many.wrap: entry} if many.wrap else entry for task_id, entry in answers if entry}


def _of_task(many: AskMany, by_id: Mapping[str, Any], task_id: str) -> Any:
    if not many.parts:
        return by_id.get(task_id)
    return [by_id[part] for part in task_id.split(",") if part in by_id]
