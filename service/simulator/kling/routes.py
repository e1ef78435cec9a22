"""The family's HTTP face: from a request through its checks and its scenario to a task and an answer."""

from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from service.simulator import faults
from service.simulator.aggregator import Refused, json_answer, no_such_task, platform_error
from service.simulator.journal import Received, shortened, unknown_keys
from service.simulator.kling import answers, direct
from service.simulator.kling.answers import Facts, Json, View
from service.simulator.kling.bodies import FILE_PATTERN, Called
from service.simulator.kling.operations import BY_NAME, BY_PATH, Operation, operation_of
from service.simulator.kling.refusals import (
    CODES,
    INTERNAL_ERROR,
    INVALID_PARAMETER,
    NO_FREE_SLOT,
    NO_SUCH_RESOURCE,
    TOO_FAST,
    WRONG_METHOD,
    Refusal,
)
from service.simulator.marks import MarkError, scenario_of, texts_of
from service.simulator.samples import LINK_LIFE_S, link
from service.simulator.scenario import Scenario
from service.simulator.stage import Creation, Stage
from service.simulator.tasks import Phase, Task

NOT_A_FILE = "must be a URL or raw Base64 without a data: prefix"
DISCONTINUED = "The model 'kling-v1' has been discontinued and is no longer available."


class Kling:
    """The family, played on one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def routes(self) -> list[web.RouteDef]:
        """List create routes, query routes where tasks are made, and refusals of other methods."""
        create, query = self._stage.recorded(self._create), self._stage.recorded(self._query)
        wrong_method = self._stage.recorded(self._wrong_method)
        makers = [path for path, operation in BY_PATH.items() if operation.makes]
        return [
            *(web.post(path, create) for path in BY_PATH),
            *(web.route("*", path, wrong_method) for path in BY_PATH),
            *(web.get(f"{path}/{{task_id}}", query) for path in makers),
        ]

    def _refusal(self, code: int, message: str = "") -> Refused:
        return Refusal(code=code, message=message).raised(self._stage.ids.next())

    async def _wrong_method(self, _request: web.Request, _received: Received) -> web.Response:
        raise self._refusal(WRONG_METHOD)

    async def _create(self, request: web.Request, received: Received) -> web.Response:
        sent = await self._json(request)
        operation = operation_of(request.path, sent)
        _note(received, operation, sent)
        scenario = self._scenario(sent)
        body = self._checked(operation, sent)
        received.unknown_keys = tuple(unknown_keys(sent, msgspec.to_builtins(body)))
        await self._stage.strike_before(request, scenario)
        self._refuse_as_told(scenario, received.external_task_id or str(list(texts_of(sent))))
        answer = await self._answer(request, operation, scenario, body)
        return await self._stage.strike_after(request, scenario, json_answer(answer))

    async def _json(self, request: web.Request) -> Json:
        if request.content_type != "application/json":
            raise self._malformed("Content-Type must be application/json")
        try:
            return msgspec.json.decode(await request.read(), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._malformed(f"invalid JSON: {error}") from error

    def _malformed(self, message: str) -> Refused:
        return Refused(platform_error(HTTPStatus.BAD_REQUEST, message, "", self._stage.ids.next()))

    def _scenario(self, sent: Json) -> Scenario:
        try:
            scenario = scenario_of(self._stage.scenario, texts_of(sent))
        except MarkError as error:
            raise self._refusal(INVALID_PARAMETER, str(error)) from error
        if scenario.refusal is not None and scenario.refusal not in CODES:
            known = ", ".join(str(code) for code in CODES)
            raise self._refusal(INVALID_PARAMETER, f"no service code {scenario.refusal}; known: {known}")
        return scenario

    def _checked(self, operation: Operation, sent: Json) -> msgspec.Struct:
        try:
            body = msgspec.convert(sent, operation.body)
        except msgspec.ValidationError as error:
            message = str(error).replace(f"matching regex {FILE_PATTERN!r}", f": {NOT_A_FILE}")
            raise self._refusal(INVALID_PARAMETER, message) from error
        if self._stage.options.discontinue_v1 and getattr(body, "model_name", "") == "kling-v1":
            raise self._refusal(NO_SUCH_RESOURCE, DISCONTINUED)
        session_id = getattr(body, "session_id", "")
        if session_id:
            direct.session_of(self._stage, session_id)
        return body

    def _refuse_as_told(self, scenario: Scenario, key: str) -> None:
        if scenario.refusal is not None:
            nested = scenario.refusal_shape == "nested"
            refusal = Refusal(
                code=scenario.refusal,
                message="Voice id not found" if nested else "",
                shape=scenario.refusal_shape,
            )
            raise refusal.raised(self._stage.ids.next())
        if self._stage.finds_busy(scenario, key):
            raise self._refusal(NO_FREE_SLOT)

    async def _answer(
        self, request: web.Request, operation: Operation, scenario: Scenario, body: msgspec.Struct
    ) -> Json:
        base_url, request_id = f"{request.scheme}://{request.host}", self._stage.ids.next()
        if operation.answer is not None:
            desk = direct.Desk(stage=self._stage, base_url=base_url, scenario=scenario)
            return answers.accepted(operation.answer(desk, body), request_id)
        if not isinstance(body, Called):
            raise TypeError(f"{operation.name} makes tasks and takes no callback_url")
        creation = Creation(
            operation=operation.name,
            path=request.path,
            base_url=base_url,
            external_id=body.external_task_id,
            callback_url=body.callback_url,
            scenario=scenario,
            usual_s=operation.usual_s,
            facts=self._facts(operation, body, base_url),
        )
        return answers.submit_answer(await self._stage.create(creation, self._callback), request_id)

    def _facts(self, operation: Operation, body: Called, base_url: str) -> Facts:
        parent_id, seconds = getattr(body, "video_id", ""), float(getattr(body, "duration", 5.0))
        expires_at = self._stage.clock.now() + LINK_LIFE_S
        url = getattr(body, "video_url", "") or link(base_url, f"{parent_id}-0.mp4", expires_at)
        watermark = getattr(body, "watermark_info", None)
        return Facts(
            makes=operation.makes,
            count=getattr(body, "n", 1),
            seconds=seconds,
            model=getattr(body, "model_name", ""),
            watermark=watermark is not None and watermark.enabled,
            session_id=getattr(body, "session_id", "") if operation.name.startswith("multi_elements") else "",
            parent_video={"id": parent_id, "url": url, "duration": "5"} if parent_id else None,
        )

    def _callback(self, task: Task, phase: Phase) -> bytes:
        view = View(
            task=task,
            phase=phase,
            now=self._stage.clock.now(),
            empty=task.scenario.empty > 0,
            calls_back=True,
        )
        return msgspec.json.encode(answers.callback_body(view))

    async def _query(self, request: web.Request, received: Received) -> web.Response:
        task = self._find(request)
        if task is None or task.plays("not_found"):
            return no_such_task()
        received.operation, received.external_task_id = task.operation, task.external_id
        if task.plays("poll_error"):
            return self._poll_error(task.played["poll_error"])
        if task.plays("poll_hang"):
            return await self._stage.strike(faults.hang, request, task.scenario)
        return json_answer(answers.query_answer(self._look(task), self._stage.ids.next()))

    def _find(self, request: web.Request) -> Task | None:
        asked = request.match_info["task_id"]
        create_path = request.path.rpartition("/")[0]
        candidates = self._stage.tasks.by_external_id(asked)[-1:]
        found = self._stage.tasks.by_id(asked) or next(
            (task for task in candidates if BY_NAME[task.operation].by_external_id), None
        )
        return found if found is not None and found.path == create_path else None

    def _poll_error(self, occasion: int) -> web.Response:
        if occasion % 2:
            return Refusal(code=INTERNAL_ERROR).answer(self._stage.ids.next())
        answer = Refusal(code=TOO_FAST).answer(self._stage.ids.next())
        answer.headers["Retry-After"] = "1"
        return answer

    def _look(self, task: Task) -> View:
        now = self._stage.clock.now()
        phase, unknown = task.phase(now), task.plays("unknown_status")
        succeeded = phase == "succeeded" and not unknown
        empty = succeeded and task.plays("empty")
        stale = succeeded and not empty and task.plays("stale_links")
        return View(task=task, phase=phase, now=now, unknown=unknown, empty=empty, stale=stale)


def _note(received: Received, operation: Operation, sent: Json) -> None:
    """Write into the journal what the body shows before it is checked."""
    external_id = sent.get("external_task_id")
    received.operation = operation.name
    received.external_task_id = external_id if isinstance(external_id, str) else ""
    received.model_name_missing = "model_name" in operation.body.__struct_fields__ and "model_name" not in sent
    received.body = shortened(sent)
