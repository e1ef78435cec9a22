"""Ways to answer other than by a request: tables, flows, and turns over a WebSocket."""

from typing import Any

import msgspec

from service.definitions.schema.words import Duration, Name, Path, Word


class Table(Word, frozen=True, kw_only=True):
    """The answer of a local node, which calls nothing.

    Attributes:
        data: Always in the answer.
        by: Columns that the node's only required input is looked up in, without regard to case.
        rows: The rows; the one found is in the answer.
        otherwise: In the answer when no row fits; `@` stands for the input.
    """

    data: dict[str, Any] = {}
    by: list[str] = []
    rows: list[dict[str, Any]] = []
    otherwise: dict[str, Any] = {}


class Pick(Word, frozen=True, kw_only=True):
    """One entry of a list, found by what a user would call it (without regard to case).

    Attributes:
        among: Path to the list.
        by: Keys of an entry to look in.
        is_: Path to what is looked for (`is` in the file).
        take: Key of what is taken from the entry.
    """

    among: Path
    by: list[str]
    is_: Path = msgspec.field(name="is")
    take: str


class Step(Word, frozen=True, kw_only=True):
    """One run of another node, as a part of a flow.

    Paths start at `input` (of the flow) or at `steps.<name>` (`task_id`, `state`, `awaits_input`, `text`, `data`,
    `artifacts` of that step's run).

    Attributes:
        step: Its name.
        node: What is run.
        inputs: Input of that node to a path, or to an entry that is picked; what is not there is left out.
        when: Path; the step is left out unless it holds something true.
    """

    step: Name
    node: str
    inputs: dict[str, Path | Pick] = {}
    when: Path | None = None


class Socket(Word, frozen=True, kw_only=True):
    """How one turn is held over a WebSocket.

    Attributes:
        send: Events that are sent, in order; `@name` in a value is an input (of a sound, its samples without the
            header of a wav file), and an event with one that is neither given nor has a default is left out.
        after: Type of the event that must come before anything is sent.
        until: Type of the event that ends the turn; what it holds is the answer.
        joined: Name to the types of events whose `delta` texts are joined under it in the answer.
        sound: Name to the types of events whose `delta` is Base64 sound, joined under it as a wav file in Base64.
        rate: Samples per second of sound, both ways (16 bit, one channel).
        limit: Longest time that a turn may take.
    """

    send: list[dict[str, Any]]
    after: str | None = None
    until: str
    joined: dict[str, list[str]] = {}
    sound: dict[str, list[str]] = {}
    rate: int = 24000
    limit: Duration = "120s"
