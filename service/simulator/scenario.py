"""What the simulator is told to play: options that hold for every request, a scenario that holds for one.

Only plain values live here. How a mark in a prompt changes a scenario is said in `marks`, what a family
makes of a scenario is said in the family.
"""

from typing import Literal

import msgspec

Envelope = Literal["flat", "wrapped", "double", "openai"]
Outcome = Literal["succeed", "fail", "moderation", "gave_up"]
RefusalShape = Literal["plain", "http200", "nested"]
CallbackMode = Literal["changes", "last", "twice", "reordered", "early", "lying", "never"]
CallbackShape = Literal["bare", "wrapped", "new"]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one request and to the task that it makes.

    Attributes:
        envelope: How submit and query answers are wrapped.
        outcome: How the task ends; `gave_up` is a relay that says failure over a task that goes on.
        failure_text: Reason told by a failed task; empty for the family's usual text.
        duration_s: Seconds from creation to end, as they are; None for the operation's usual ones.
        duration_factor: Stretches the duration.
        refusal: Service code that the submission is refused with.
        refusal_shape: How that refusal is dressed.
        busy: This many submissions of the same thing find no free slot, then one is accepted.
        fault: A fault of `faults`, empty for none.
        fault_status: HTTP status for the faults that have one.
        slow_s: Pause before the submit answer; the task exists by then.
        unrecognized: Non-zero `data.status` of a direct recognition call.
        not_found: This many queries say that there is no such task.
        poll_error: This many queries end in HTTP 500 and 429 by turns.
        poll_hang: This many queries are never answered.
        unknown_status: This many queries answer a status word that nobody has documented.
        empty: This many queries tell of success without results.
        stale_links: This many queries hand out links that have expired.
        callback: When callbacks are posted, and in which order.
        callback_shape: What a callback's body looks like.
    """

    envelope: Envelope = "flat"
    outcome: Outcome = "succeed"
    failure_text: str = ""
    duration_s: float | None = None
    duration_factor: float = 1.0
    refusal: int | None = None
    refusal_shape: RefusalShape = "plain"
    busy: int = 0
    fault: str = ""
    fault_status: int = 0
    slow_s: float = 0.0
    unrecognized: int = 0
    not_found: int = 0
    poll_error: int = 0
    poll_hang: int = 0
    unknown_status: int = 0
    empty: int = 0
    stale_links: int = 0
    callback: CallbackMode = "changes"
    callback_shape: CallbackShape = "bare"


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every request, unless a mark in its text says otherwise.

    Attributes:
        envelope: How submit and query answers are wrapped.
        speed: Divides the usual durations: 60 plays an hour in a minute.
        duration_s: One duration for every task, instead of the usual ones; `speed` does not touch it.
        callbacks: When callbacks are posted, and in which order.
        callback_shape: What a callback's body looks like.
        relay_ids: The submit answer carries an id of the relay, callbacks carry the provider's own.
        discontinue_v1: Calls that name the first model, or none where it is the default, are refused.
        strict_sessions: Session ids must come from this simulator; otherwise any is taken.
        api_key: The only key that is accepted; None accepts every key.
        lie_s: How long queries lag behind a callback that lies.
        marks: Marks for every submission, without brackets (`fail`, `slow:3`); those in its text come after.
        max_tasks: Older tasks are forgotten beyond this number.
        max_requests: Older journal entries are forgotten beyond this number.
    """

    envelope: Envelope = "flat"
    speed: float = 1.0
    duration_s: float | None = None
    callbacks: CallbackMode = "changes"
    callback_shape: CallbackShape = "bare"
    relay_ids: bool = False
    discontinue_v1: bool = False
    strict_sessions: bool = True
    api_key: str | None = None
    lie_s: float = 2.0
    marks: tuple[str, ...] = ()
    max_tasks: int = 100_000
    max_requests: int = 10_000

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError("speed must be above 0")
