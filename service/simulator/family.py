"""What families are built from: a table of operations, bodies checked and noted, scenarios played, tasks found.

A family is a class with its operations and its own ways of refusing; one operation is a row and a function that
answers. What a family's answers look like, and what its bodies may hold, is the family's matter.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from aiohttp import BodyPartReader, web

from service.simulator import faults
from service.simulator.aggregator import Refused, no_such_task, platform_error
from service.simulator.journal import Received, shortened, unknown_keys
from service.simulator.marks import MarkError, scenario_of, texts_of
from service.simulator.samples import FOLDER, LINK_LIFE_S, link
from service.simulator.scenario import Scenario
from service.simulator.stage import Creation, Stage
from service.simulator.tasks import Phase, Task

Json = dict[str, Any]
Encoding = Literal["json", "form", "none"]
_HEAD_BYTES = 64


class FilePart(msgspec.Struct, frozen=True, kw_only=True):
    """A file that came in a form.

    Attributes:
        filename: As the sender named it; empty when it did not.
        head: The first bytes.
    """

    filename: str
    content_type: str
    size_bytes: int
    head: bytes


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a task.

    Attributes:
        phase: Where it is said to stand.
        percent: Progress from 0 to 100.
        unknown: The status word is to be one that nobody knows.
        empty: Success is told without results.
        expires_at: When the links of this look die; in the past for stale ones.
    """

    task: Task
    phase: Phase
    percent: int
    unknown: bool
    empty: bool
    expires_at: float

    def link(self, name: str) -> str:
        """Write a link to a result file of the task, such as `0.mp4`."""
        return link(self.task.base_url, f"{self.task.id}-{name}", self.expires_at)


Render = Callable[[Look], Any]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request on its way through a family.

    Attributes:
        sent: The body as decoded: JSON object, or the fields of a form.
        body: The body in the operation's typed form; None where it has none.
        files: File parts of a form, by field name.
        scenario: What is to be played.
    """

    request: web.Request
    received: Received
    stage: Stage
    operation: "Operation"
    scenario: Scenario
    sent: Json
    body: Any
    files: dict[str, list[FilePart]]

    @property
    def base_url(self) -> str:
        """How the caller reached the simulator."""
        return f"{self.request.scheme}://{self.request.host}"

    def link(self, name: str) -> str:
        """Write a link to a fresh result file, such as `0.png`."""
        expires_at = self.stage.clock.now() + LINK_LIFE_S
        return link(self.base_url, f"{self.stage.ids.next()}-{name}", expires_at)

    async def create(
        self,
        *,
        callback_url: str = "",
        render: Render | None = None,
        facts: Any = None,
        make_id: Callable[[str], str] | None = None,
    ) -> Task:
        """Create a task; its callbacks, if it has an address for them, hold what `render` makes of a look.

        Args:
            callback_url: Where callbacks go; none are sent without one.
            render: From a look to the callback's JSON body.
            facts: What the family wants to remember of the request.
            make_id: Writes the family's kind of id from a number of 18 digits.
        """
        creation = Creation(
            operation=self.operation.name,
            path=self.request.path,
            base_url=self.base_url,
            external_id="",
            callback_url=callback_url if render else "",
            scenario=self.scenario,
            usual_s=self.operation.usual_s,
            facts=facts,
            make_id=make_id,
        )
        return await self.stage.create(creation, self._rendered(render))

    def _rendered(self, render: Render | None) -> Callable[[Task, Phase], bytes]:
        def body(task: Task, phase: Phase) -> bytes:
            empty = task.scenario.empty > 0
            return msgspec.json.encode(render(look_at(self.stage, task, phase, empty=empty)) if render else {})

        return body


Answer = Callable[[Call], Awaitable[web.StreamResponse]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a family.

    Attributes:
        name: Its id in the reference without the family.
        path: As aiohttp's router writes it: `/x/{task_id}`, `/models/{model:.+}/run`.
        answer: Answers a checked request.
        body: Typed form of the body; None takes any.
        encoding: How the body comes; `none` for GET.
        usual_s: How long its tasks take.
        key: How the key is shown; `none` for public routes.
        asks: It is a question, though it is posted: nothing is created, so no submission's fault strikes it.
    """

    name: str
    path: str
    answer: Answer
    method: str = "POST"
    body: type[msgspec.Struct] | None = None
    encoding: tuple[Encoding, ...] = ("json",)
    usual_s: float = 60.0
    key: Literal["header", "query", "none"] = "header"
    asks: bool = False


class Family:
    """The operations of one family, played on one stage. Families override `operations` and the refusals."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        raise NotImplementedError

    def invalid(self, message: str) -> web.Response:
        """Refuse a body that the operation does not take."""
        return platform_error(HTTPStatus.BAD_REQUEST, message, "invalid_request", self.stage.ids.next())

    def refused(self, code: int) -> web.Response:
        """Refuse as the mark `refuse` asks; by default its code is an HTTP status."""
        status = code if code in {each.value for each in HTTPStatus} else HTTPStatus.BAD_REQUEST
        return platform_error(status, f"refused with {code}", str(code), self.stage.ids.next())

    def busy(self) -> web.Response:
        """Refuse for want of a free slot; nothing is created."""
        message, code = "concurrency limit reached", "rate_limit_exceeded"
        return platform_error(HTTPStatus.TOO_MANY_REQUESTS, message, code, self.stage.ids.next())

    def unknown_task(self) -> web.Response:
        """Answer a question about a task that there is not."""
        return no_such_task()

    def routes(self) -> list[web.RouteDef]:
        """List the routes of all operations."""
        return [
            web.route(each.method, each.path, self.stage.recorded(self._handler(each), key=each.key))
            for each in self.operations()
        ]

    def find(self, call: Call, task_id: str) -> Task:
        """Find the task that a query asks for, and play what its scenario has for queries.

        Raises:
            Refused: There is no such task, or the query is answered by an error.
        """
        task = self.stage.tasks.by_id(task_id)
        if task is None or task.plays("not_found"):
            raise Refused(self.unknown_task())
        call.received.operation = task.operation
        if task.plays("poll_error"):
            raise Refused(self._poll_error(task.played["poll_error"]))
        return task

    async def find_or_hang(self, call: Call, task_id: str) -> Task:
        """Find a task as `find` does; the scenario may also want the query never to be answered."""
        task = self.find(call, task_id)
        if task.plays("poll_hang"):
            raise Refused(await self.stage.strike(faults.hang, call.request, task.scenario))
        return task

    def look(self, task: Task) -> Look:
        """Look at a task as a query does."""
        phase, unknown = task.phase(self.stage.clock.now()), task.plays("unknown_status")
        succeeded = phase == "succeeded" and not unknown
        empty = succeeded and task.plays("empty")
        stale = succeeded and not empty and task.plays("stale_links")
        return look_at(self.stage, task, phase, unknown=unknown, empty=empty, stale=stale)

    def _poll_error(self, occasion: int) -> web.Response:
        if occasion % 2:
            return platform_error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", "", self.stage.ids.next())
        answer = self.busy()
        answer.headers["Retry-After"] = "1"
        return answer

    def _handler(self, operation: Operation) -> Callable[[web.Request, Received], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request, received: Received) -> web.StreamResponse:
            call = await self._call(request, received, operation)
            if operation.method == "GET" or operation.asks:
                return await operation.answer(call)
            await self.stage.strike_before(request, call.scenario)
            if call.scenario.refusal is not None:
                raise Refused(self.refused(call.scenario.refusal))
            if self.stage.finds_busy(call.scenario, str(list(texts_of(call.sent)))):
                raise Refused(self.busy())
            answer = await operation.answer(call)
            if not isinstance(answer, web.Response):
                return answer
            return await self.stage.strike_after(request, call.scenario, answer)

        return handle

    async def _call(self, request: web.Request, received: Received, operation: Operation) -> Call:
        sent, files = await self._read(request, operation)
        received.operation, received.body = operation.name, shortened(sent)
        try:
            scenario = scenario_of(self.stage.scenario, texts_of(sent))
        except MarkError as error:
            raise Refused(self.invalid(str(error))) from error
        body = self._typed(operation, sent, received, strict=request.content_type == "application/json")
        return Call(
            request=request,
            received=received,
            stage=self.stage,
            operation=operation,
            scenario=scenario,
            sent=sent,
            body=body,
            files=files,
        )

    def _typed(self, operation: Operation, sent: Json, received: Received, *, strict: bool) -> Any:
        if operation.body is None:
            return None
        try:
            body = msgspec.convert(sent, operation.body, strict=strict)
        except msgspec.ValidationError as error:
            raise Refused(self.invalid(str(error))) from error
        received.unknown_keys = tuple(unknown_keys(sent, msgspec.to_builtins(body)))
        return body

    async def _read(self, request: web.Request, operation: Operation) -> tuple[Json, dict[str, list[FilePart]]]:
        if operation.method == "GET":
            return dict(request.query), {}
        is_form = request.content_type in ("multipart/form-data", "application/x-www-form-urlencoded")
        if is_form and "form" in operation.encoding:
            return await _form(request)
        if request.content_type != "application/json" or "json" not in operation.encoding:
            raise Refused(self.invalid(f"Content-Type {request.content_type} is not taken here"))
        try:
            return msgspec.json.decode(await request.read(), type=Json), {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(self.invalid(f"invalid JSON: {error}")) from error


def look_at(
    stage: Stage, task: Task, phase: Phase, *, unknown: bool = False, empty: bool = False, stale: bool = False
) -> Look:
    """Make a look at a task in a phase."""
    now = stage.clock.now()
    expires_at = now - 1 if stale else now + LINK_LIFE_S
    percent = 100 if phase in ("succeeded", "failed") else task.percent(now)
    return Look(task=task, phase=phase, percent=percent, unknown=unknown, empty=empty, expires_at=expires_at)


def sample(suffix: str) -> bytes:
    """Return a small real file: `mp4`, `png`, `mp3` or `wav`."""
    return (FOLDER / f"sample.{suffix}").read_bytes()


async def _form(request: web.Request) -> tuple[Json, dict[str, list[FilePart]]]:
    if request.content_type != "multipart/form-data":
        return dict((await request.post()).items()), {}
    fields: Json = {}
    files: dict[str, list[FilePart]] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        data = bytes(await part.read(decode=True))
        if part.filename is None and part.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            _add(fields, part.name, data.decode("utf-8", "replace"))
        else:
            files.setdefault(part.name, []).append(_file_part(part, data))
    return fields, files


def _add(fields: Json, name: str, value: str) -> None:
    if name in fields:
        before = fields[name]
        fields[name] = [*before, value] if isinstance(before, list) else [before, value]
    else:
        fields[name] = [value] if name.endswith("[]") else value


def _file_part(part: BodyPartReader, data: bytes) -> FilePart:
    return FilePart(
        filename=part.filename or "",
        content_type=part.headers.get("Content-Type", ""),
        size_bytes=len(data),
        head=data[:_HEAD_BYTES],
    )
