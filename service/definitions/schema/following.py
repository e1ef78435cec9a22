"""How a task is followed: questions, callbacks, pace, and what all runs of a provider share."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from service.definitions.schema.words import ArtifactKind, Duration, Endpoint, Name, Path, Word


class Callback(Word, frozen=True, kw_only=True):
    """The provider can call back.

    Attributes:
        field: Body field that takes our URL.
        also: Sent besides it.
        otherwise: Sent in its place when upstream insists on an address and Halley has none that it could reach.
        challenge: Key of a first call that must be answered with the same key and value, before anything else.
        confirm: `query`: a final callback is a hint, confirmed by asking about the task.
        min_interval: Least time between two confirming queries of one run.
    """

    field: str
    also: dict[str, Any] = {}
    otherwise: str | None = None
    challenge: str | None = None
    confirm: Literal["query"] = "query"
    min_interval: Duration = "1s"


class Ask(Word, frozen=True, kw_only=True):
    """A question about a task that needs more than an address.

    Attributes:
        request: Method and path.
        body: JSON body; `{task_id}` in a value is the task's id.
    """

    request: Endpoint
    body: dict[str, Any] = {}


class AskMany(Word, frozen=True, kw_only=True):
    """One question about many tasks.

    Attributes:
        request: Method and path; `{task_ids}` are the ids with commas between.
        body: JSON body; the value `{task_ids}` is the list of ids.
        at_most: Tasks in one question.
        each: Path to the list of tasks in the answer.
        id: Key of a task's id in its entry.
        wrap: Key under which an entry stands in the answer to a question about that task alone.
        parts: A task's id is several ids with commas between, and its answer the list of their entries.
    """

    request: Endpoint
    body: dict[str, Any] = {}
    at_most: Annotated[int, Meta(ge=1)] = 50
    each: Path = "@"
    id: str = "id"
    wrap: str | None = None
    parts: bool = False


class Collect(Word, frozen=True, kw_only=True):
    """One more request that brings the result of a task which succeeded without one.

    Attributes:
        request: Method and path; `{task_id}` and the names in `slots` may be used.
        slots: Places in the answer that told of the success.
        raw: The answer is the result itself, of this kind, and is kept by Halley.
    """

    request: Endpoint
    slots: dict[Name, list[Path]] = {}
    raw: ArtifactKind | None = None


class ExternalId(Word, frozen=True, kw_only=True):
    """The provider keeps an id of ours with the task.

    Attributes:
        field: Body field that takes it.
        query: How to ask for the task by it; `{external_id}` is the slot.
    """

    field: str
    query: Endpoint | None = None


class Pace(Word, frozen=True, kw_only=True):
    """When a task is asked about.

    Attributes:
        first: After the submission.
        every: Between looks at first.
        growth: Each wait is so many times the one before.
        at_least: Shortest wait, once it is known how long such tasks take.
        at_most: Longest wait.
        looks: Looks that a run may take on average, once it is known how long such tasks take.
        by: Inputs that such tasks are told apart by; those that a node does not have do not count.
        deadline: The run is given up after this time.
        with_callback: Waits are so many times longer while a callback is expected.
    """

    first: Duration = "5s"
    every: Duration = "5s"
    growth: Annotated[float, Meta(ge=1)] = 1.2
    at_least: Duration = "1s"
    at_most: Duration = "60s"
    looks: Annotated[float, Meta(ge=1)] = 4.0
    by: tuple[Name, ...] = ("model", "model_name", "mode", "duration", "seconds", "quality", "resolution")
    deadline: Duration = "60m"
    with_callback: Annotated[float, Meta(ge=1)] = 2.0


class Budget(Word, frozen=True, kw_only=True):
    """What all runs of a provider share, per process.

    Attributes:
        concurrency: Requests in flight at once.
        queries_per_s: Polls started per second.
        open_tasks: Tasks that may be open upstream at once; more runs wait in `queued`.
    """

    concurrency: Annotated[int, Meta(ge=1)] = 32
    queries_per_s: Annotated[float, Meta(gt=0)] = 50.0
    open_tasks: Annotated[int, Meta(ge=1)] | None = None
