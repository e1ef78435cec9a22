"""The MiniMax video family, written from its reference page alone: bare under `/v1`, and under a relay's prefix.

A query gives a file id and no link, so that the file must be retrieved; in the relay's envelope the link is there.
"""

from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Call, Family, Json, Look, Operation, look_at
from service.simulator.relay import gave_up, relay_answer
from service.simulator.tasks import Phase, Task

PREFIXES = ("", "/minimax")
FILE_OFFSET = 1 << 18
SENSITIVE = 1027
INTERNAL = 1024
TOO_FAST = 1002
INVALID = 2013
CODES: dict[int, str] = {
    1000: "unknown error",
    1001: "request timeout",
    TOO_FAST: "rate limit",
    1004: "not authorized",
    1008: "insufficient balance",
    INTERNAL: "internal error",
    1026: "input new_sensitive",
    SENSITIVE: "output new_sensitive",
    1033: "downstream service error",
    1039: "token limit",
    INVALID: "invalid params",
    2049: "invalid api key",
}
WORDS: dict[Phase, str] = {
    "submitted": "Queueing",
    "processing": "Processing",
    "succeeded": "Success",
    "failed": "Fail",
}
CALLBACK_WORDS: dict[Phase, str] = {
    "submitted": "processing",
    "processing": "processing",
    "succeeded": "success",
    "failed": "failed",
}

Frame = Annotated[str, Meta(pattern=r"^(https?://\S+|data:image/\w+;base64,\S+)$")]
Hook = Annotated[str, Meta(pattern=r"^https?://\S+$")]
LONG_S = 10


class Subject(msgspec.Struct, kw_only=True):
    """A face to keep."""

    type: Literal["character"]
    image: Annotated[list[Frame], Meta(min_length=1, max_length=1)]


class Generate(msgspec.Struct, kw_only=True):
    """The body of a create."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: Annotated[str, Meta(max_length=2000)] = ""
    first_frame_image: Frame | UnsetType = UNSET
    last_frame_image: Frame | UnsetType = UNSET
    subject_reference: Annotated[list[Subject], Meta(min_length=1, max_length=1)] | UnsetType = UNSET
    duration: Literal[6, 10] = 6
    resolution: Literal["512P", "720P", "768P", "1080P"] | UnsetType = UNSET
    prompt_optimizer: bool = True
    fast_pretreatment: bool = False
    callback_url: Hook | UnsetType = UNSET
    aigc_watermark: bool = False

    def __post_init__(self) -> None:
        fault = next((rule for rule, broken in self._rules() if broken), None)
        if fault:
            raise ValueError(fault)

    def _rules(self) -> list[tuple[str, bool]]:
        name = self.model.lower()
        has_image = bool(self.first_frame_image or self.last_frame_image)
        small = name.endswith("hailuo-02") and self.resolution == "512P"
        from_image = name.startswith("i2v") or name.endswith("2.3-fast") or small
        short = self.resolution in ("720P", "1080P") or "hailuo" not in name
        return [
            ("prompt is required", not self.prompt and (not has_image or name == "s2v-01")),
            ("first_frame_image is required", from_image and not self.first_frame_image),
            ("subject_reference is required", name == "s2v-01" and not self.subject_reference),
            ("last_frame_image needs Hailuo-02", bool(self.last_frame_image) and not name.endswith("hailuo-02")),
            ("duration 10 is not possible with this model and resolution", self.duration == LONG_S and short),
        ]


def base_resp(code: int = 0, message: str = "") -> Json:
    """Write a service code with its text."""
    return {"status_code": code, "status_msg": message or CODES.get(code, "success")}


def _file_id(task: Task) -> str:
    return str(int(task.public_id) + FILE_OFFSET)


def _verdict(look: Look) -> Json:
    """Write the service code of a task: none unless it failed."""
    scenario = look.task.scenario
    if look.phase != "failed":
        return base_resp()
    return base_resp(SENSITIVE if scenario.outcome == "moderation" else INTERNAL, scenario.failure_text)


def task_object(look: Look, task_id: str, words: dict[Phase, str]) -> Json:
    """Make the provider's object, as queries and, in other words, callbacks have it."""
    done = look.phase == "succeeded" and not look.unknown
    file = {"file_id": "" if look.empty else _file_id(look.task)} if done else {}
    return {
        "task_id": task_id,
        "status": "Reviewing" if look.unknown else words[look.phase],
        **file,
        "base_resp": _verdict(look),
    }


def file_object(look: Look) -> Json:
    """Make the object of a file."""
    return {
        "file_id": int(_file_id(look.task)),
        "bytes": 0,
        "created_at": int(look.task.finished_at),
        "filename": "output_aigc.mp4",
        "purpose": "video_generation",
        "download_url": look.link("0.mp4"),
        "backup_download_url": look.link("0-backup.mp4"),
    }


def _wrapped(look: Look) -> Json:
    """Wrap as relays do: the file is resolved, and its id stands where a reason would."""
    inside = msgspec.structs.replace(look, phase="processing") if gave_up(look) else look
    inner = task_object(inside, look.task.id, WORDS)
    if look.phase == "succeeded" and not look.unknown and not look.empty:
        return relay_answer(
            look, inner | {"file": file_object(look)}, action="video_generation", fail_reason=_file_id(look.task)
        )
    reason = _verdict(look)["status_msg"] if look.phase == "failed" else ""
    return relay_answer(look, inner, action="video_generation", fail_reason=reason)


class Minimax(Family):
    """Creating videos, asking for them, retrieving their files."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations under each prefix."""
        return tuple(operation for prefix in PREFIXES for operation in self._under(prefix))

    def _under(self, prefix: str) -> tuple[Operation, ...]:
        return (
            Operation(
                name="video_generation",
                path=f"{prefix}/v1/video_generation",
                answer=self._generate,
                body=Generate,
                usual_s=180.0,
            ),
            Operation(name="video_query", path=f"{prefix}/v1/query/video_generation", answer=self._query, method="GET"),
            Operation(name="file_retrieve", path=f"{prefix}/v1/files/retrieve", answer=self._retrieve, method="GET"),
        )

    def invalid(self, message: str) -> web.Response:
        """Refuse a body inside HTTP 200."""
        return _refusal(INVALID, f"invalid params, {message}")

    def refused(self, code: int) -> web.Response:
        """Refuse with a service code inside HTTP 200."""
        return _refusal(code if code in CODES else INVALID)

    def busy(self) -> web.Response:
        """Refuse as too fast, inside HTTP 200."""
        return _refusal(TOO_FAST)

    def unknown_task(self) -> web.Response:
        """Say that the id of a query is not valid; no status word comes with it."""
        return json_answer({"base_resp": base_resp(INVALID, "invalid params, task_id")})

    async def _generate(self, call: Call) -> web.Response:
        url = call.body.callback_url or ""
        wants_callbacks = bool(url) and await self._passes_challenge(url)
        task = await call.create(
            callback_url=url if wants_callbacks else "",
            render=lambda look: task_object(look, look.task.id, CALLBACK_WORDS),
        )
        return json_answer({"task_id": task.public_id, "base_resp": base_resp()})

    async def _passes_challenge(self, url: str) -> bool:
        """Ask the receiver to repeat a word; one that does not gets no updates, but its task is made."""
        challenge = {"challenge": self.stage.ids.next()}
        status, body = await self.stage.ask(url, challenge)
        try:
            return status == HTTPStatus.OK and msgspec.json.decode(body) == challenge
        except msgspec.DecodeError:
            return False

    async def _query(self, call: Call) -> web.Response:
        task = await self._video(call, call.request.query.get("task_id", ""))
        if task.scenario.envelope != "flat":
            return json_answer(_wrapped(self.look(task)))
        return json_answer(task_object(self._look_for_no_link(task), task.public_id, WORDS))

    def _look_for_no_link(self, task: Task) -> Look:
        """Look without using up a stale link, which is for the retrieval."""
        phase, unknown = task.phase(self.stage.clock.now()), task.plays("unknown_status")
        empty = phase == "succeeded" and not unknown and task.plays("empty")
        return look_at(self.stage, task, phase, unknown=unknown, empty=empty)

    async def _retrieve(self, call: Call) -> web.Response:
        file_id = call.request.query.get("file_id", "")
        missing = Refused(json_answer({"base_resp": base_resp(INVALID, "invalid params, file_id")}))
        task = self.stage.tasks.by_id(str(int(file_id) - FILE_OFFSET)) if file_id.isdecimal() else None
        if task is None and file_id.isdecimal() and not self.stage.options.strict_sessions:
            told = {"file_id": file_id, "filename": "output_aigc.mp4", "download_url": call.link("0.mp4")}
            return json_answer({"file": told, "base_resp": base_resp()})
        if task is None or task.operation != "video_generation" or task.phase(self.stage.clock.now()) != "succeeded":
            raise missing
        look = look_at(self.stage, task, "succeeded", stale=task.plays("stale_links"))
        return json_answer({"file": file_object(look), "base_resp": base_resp()})

    async def _video(self, call: Call, task_id: str) -> Task:
        task = await self.find_or_hang(call, task_id)
        if task.operation != "video_generation":
            raise Refused(self.unknown_task())
        return task


def _refusal(code: int, message: str = "") -> web.Response:
    return json_answer({"task_id": "", "base_resp": base_resp(code, message)})
