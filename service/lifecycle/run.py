"""A run, what belongs to it, and what a change of it consists of: values only.

What may happen to a run stands in `transitions`.
"""

from typing import Any, Literal

from msgspec import Struct

from service.definitions.schema import ErrorCode
from service.lifecycle.durations import Span
from service.lifecycle.states import FINAL, RunState

RunEventType = Literal[
    "run.queued",
    "run.running",
    "run.progressed",
    "run.succeeded",
    "run.failed",
    "run.canceled",
    "run.timed_out",
    "run.submit_unknown",
    "run.recovered",
]
EventType = Literal[RunEventType, "group.completed", "endpoint.disabled"]
Mode = Literal["live", "mock"]
WebhookMethod = Literal["POST", "GET"]
Billed = Literal["yes", "no", "unknown"]
Phase = Literal["submit", "generate", "collect", "deadline"]

END_EVENTS: tuple[RunEventType, ...] = (
    "run.succeeded",
    "run.failed",
    "run.canceled",
    "run.timed_out",
    "run.submit_unknown",
    "run.recovered",
)


class Artifact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of a run, as it is kept; users see an `ArtifactView` of it.

    Attributes:
        id: `art_…`.
        kind: video, image, audio, model3d or file.
        role: `output`, or what else it is.
        index: Place among the artifacts of its role.
        url: Where it can be fetched.
        mime: Media type, where known.
        seconds: Length, where known.
        expires_at: When the URL dies, where known.
        upstream_id: The provider's id of it, which other nodes may ask for.
        size_bytes: Its size, where known.
        stored: Halley itself keeps its bytes, under its id.
    """

    id: str
    kind: str
    role: str
    index: int
    url: str | None
    mime: str | None = None
    seconds: float | None = None
    expires_at: str | None = None
    upstream_id: str | None = None
    size_bytes: int | None = None
    stored: bool = False


class UpstreamRef(Struct, frozen=True, kw_only=True):
    """Status and code of the upstream answer behind an error."""

    status: int | None = None
    code: str | None = None


class RunError(Struct, frozen=True, kw_only=True):
    """Why a run did not succeed.

    Attributes:
        code: Stable word, the same for all providers.
        message: For people, in upstream's words where it has any.
        phase: Where it happened.
        retryable: A new run with the same input may succeed.
        billed: Whether upstream charges for it.
        upstream: What upstream said.
    """

    code: ErrorCode
    message: str
    phase: Phase
    retryable: bool
    billed: Billed
    upstream: UpstreamRef = UpstreamRef()


class Webhook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the run's events go, and which of them.

    Attributes:
        url: An opaque URL; sealed, since whoever knows it can act as Halley (see `sealing`).
        target: Names the receiver without telling who it is: what goes to the same one shares its limits.
        events: The types that are wanted.
        profile: How its answers are understood; the profiles stand in `delivery`.
        guessed: Nobody named the profile: the URL looked like it.
        method: How the URL is called.
    """

    url: str
    target: str = ""
    events: tuple[EventType, ...] = END_EVENTS
    profile: str = "standard"
    guessed: bool = False
    method: WebhookMethod = "POST"


class FlowState(Struct, frozen=True, kw_only=True):
    """Where a flow stands.

    Attributes:
        steps: The runs of its steps so far, in order: name of the step and id of the run.
        left_out: Names of the steps that were left out.
    """

    steps: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


class Run(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One execution of a node. Times are epoch seconds.

    What has its default is not written down, which saves a third of what is kept of a run; so a default never changes.

    Attributes:
        id: `run_…`.
        workspace: Whose it is.
        node: Node id.
        lane: Runs of one lane share a budget: the provider's name, mock runs apart.
        state: See `states`.
        mode: `mock` runs go to the simulated upstream.
        input: What the user gave, media shortened.
        status_url: Where the run can be read.
        callback_token: Capability of the inbound callback URL.
        external_id: Our id at upstream.
        created_at: When it was accepted.
        deadline_at: When it is given up.
        due_at: When a sweep must look at it again.
        sequence: Number of its last event.
        attempts: Submissions begun.
        looks: Polls made.
        empty_looks: Polls that said success without results.
        confirms: Polls made since an unconfirmed final callback.
        hinted: A final callback waits to be confirmed.
        open_at: When its task was last known to be at work; None where its age says nothing about its end. The callback
            that tells of the end moves it up, since that moment is the end as exactly as it can be known.
        hinted_task_id: The task that a callback named while the answer to the submission was not there.
        upstream_path: Path that the submission went to.
        awaits_input: Its task waits until the user calls another node.
        flow: Where a flow stands; None for all other runs.
        parent: The flow's run that this one is a step of.
    """

    id: str
    workspace: str
    node: str
    lane: str
    state: RunState
    mode: Mode
    input: dict[str, Any]
    status_url: str
    callback_token: str
    external_id: str
    created_at: float
    deadline_at: float
    due_at: float | None
    sequence: int = 0
    attempts: int = 0
    looks: int = 0
    empty_looks: int = 0
    confirms: int = 0
    hinted: bool = False
    hinted_task_id: str | None = None
    looked_at: float | None = None
    open_at: float | None = None
    progressed_at: float | None = None
    upstream_path: str | None = None
    upstream_task_id: str | None = None
    upstream_status: str | None = None
    progress: float | None = None
    artifacts: tuple[Artifact, ...] = ()
    text: str | None = None
    data: dict[str, Any] | None = None
    error: RunError | None = None
    warnings: tuple[str, ...] = ()
    reference: str | None = None
    metadata: dict[str, Any] = {}
    group: str | None = None
    retry_of: str | None = None
    webhook: Webhook | None = None
    submitted_at: float | None = None
    finished_at: float | None = None
    awaits_input: bool = False
    flow: FlowState | None = None
    parent: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.state in FINAL

    @property
    def rests(self) -> bool:
        """Whether it goes on by itself no more: it has ended, its outcome is unknown, or it waits for the user."""
        return self.is_final or self.state == "submit_unknown" or self.awaits_input


class Entry(Struct, frozen=True, kw_only=True):
    """A line of a run's timeline: what happened and why."""

    at: float
    kind: Literal["state", "submission", "poll", "callback", "delivery"]
    detail: dict[str, Any]


class Change(Struct, frozen=True, kw_only=True):
    """A run after a fact, with what is told of it; `took` is how long its task took, where that has been seen."""

    run: Run
    events: tuple[EventType, ...] = ()
    entries: tuple[Entry, ...] = ()
    took: Span | None = None
