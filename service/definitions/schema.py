"""The words of the definition format, as Structs.

Their JSON Schema is generated into `openapi/schemas/` for editors. What a word means stands in its docstring;
`docs/definitions.md` teaches the format by example. Rules that cross fields or files are in `lint`.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

ErrorCode = Literal[
    "auth",
    "quota",
    "rate_limited",
    "invalid_request",
    "moderation",
    "upstream_busy",
    "not_found",
    "server",
    "generation_failed",
    "no_output",
    "timed_out",
    "canceled",
    "submit_unknown",
]
UpstreamState = Literal["queued", "running", "succeeded", "failed", "canceled"]
ArtifactKind = Literal["video", "image", "audio", "model3d", "file"]
Auth = Literal["bearer", "query", "none"]
Transport = Literal["url", "base64", "data_uri", "file"]

NodeId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*\.[a-z][a-z0-9_]*$", description="`provider.operation`")]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$")]
Duration = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$", description="Such as `15s` or `60m`")]
Size = Annotated[str, Meta(pattern=r"^[0-9]+(B|kB|MB)$", description="Decimal units, such as `10MB`")]
Endpoint = Annotated[
    str,
    Meta(
        pattern=r"^(GET|POST|WSS) [/{]\S*$",
        description="Method and path; `{name}` is an input, escaped, `{+name}` one that may hold slashes",
    ),
]
Path = Annotated[
    str,
    Meta(
        min_length=1,
        description="Where a value stands in an answer: a dotted path or a JMESPath expression, in which "
        "`last_line(text)` is a text's last line that is not empty. "
        "`inner.…` starts at the object that `unwrap` found",
    ),
]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS_BYTES = {"B": 1, "kB": 1_000, "MB": 1_000_000}


def seconds(duration: str) -> float:
    """Return a `Duration` in seconds."""
    number, unit = re.fullmatch(r"([0-9.]+)([a-z]+)", duration).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS_S[unit]


def size_bytes(size: str) -> int:
    """Return a `Size` in bytes."""
    number, unit = re.fullmatch(r"([0-9]+)([a-zA-Z]+)", size).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS_BYTES[unit]


class _Word(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all format words: an unknown word is a fault, never ignored."""


class Match(_Word, frozen=True, kw_only=True):
    """What an input must be for a `when` to hold; all words must hold. Not given, it counts as its default.

    Attributes:
        given: The user gave it (`true`) or not (`false`), whatever its default.
        any_of: It is one of these values.
        like: It is like this: `*` stands for any characters, `|` between alternatives.
        unlike: It is given or has a default, and is not like this.
        longer_than: It is a text of more characters, or a list of more elements.
        shorter_than: It is a text of fewer characters, or a list of fewer elements.
    """

    given: bool | None = None
    any_of: list[str | int | float | bool] | None = None
    like: str | None = None
    unlike: str | None = None
    longer_than: int | None = None
    shorter_than: int | None = None


Condition = dict[str, str | int | float | bool | Match]


class Rule(_Word, frozen=True, kw_only=True):
    """A requirement across the inputs of one object. Exactly one of the first five words.

    Attributes:
        exactly_one: One of these inputs must be given, and only one.
        at_least_one: One or more of these must be given.
        at_most_one: No two of these may be given together; an inner list counts as one.
        require: These must be given (when `when` holds).
        forbid: These must not be given (when `when` holds).
        exactly_one_nonzero: One of these numbers must be other than zero, the rest zero or absent.
        when: Makes `require` and `forbid` conditional.
        because: Said to the user when the rule is broken.
    """

    exactly_one: list[str] | None = None
    at_least_one: list[str] | None = None
    at_most_one: list[str | list[str]] | None = None
    require: list[str] | None = None
    forbid: list[str] | None = None
    exactly_one_nonzero: list[str] | None = None
    when: Condition | None = None
    because: str | None = None


class Advice(_Word, frozen=True, kw_only=True):
    """Something the user should know although the input is let through.

    Attributes:
        when: Inputs for which it is said.
        say: The sentence.
    """

    when: Condition
    say: str


class Field(_Word, frozen=True, kw_only=True):
    """One input. It starts from the provider's field of the same name or of the one in `like`; its words win.

    An entry with a `type` and no `like` starts afresh. An empty entry takes the provider's field as it is.

    Attributes:
        like: Name of the provider's field to start from; the words given here win.
        type: JSON type; `any` for whatever upstream understands; `media` for a file in any form a user may have it.
        title: Short label for forms.
        about: One sentence for people.
        example: A value shown in the documentation.
        unit: Unit of a number, such as `s`.
        required: Must be given.
        default: Sent upstream when the user gives nothing.
        default_when: The default is sent only when this holds.
        assumed: What upstream uses when nothing is sent; for documentation and conditions.
        enum: The only values allowed.
        suggest: Known values of an open list.
        minimum: Smallest number.
        maximum: Largest number.
        min_length: Shortest text.
        max_length: Longest text.
        pattern: Regular expression the text must match.
        items: What the elements of an array are.
        min_items: Fewest elements.
        max_items: Most elements.
        fields: The members of an object; an object without them takes any.
        rules: Requirements across the members of an object.
        media: Kind of a media input.
        send: Forms that upstream takes, best first; `file` is a part of a multipart body. Halley makes them of what
            the user gives.
        max_size: Largest file.
        formats: File formats that upstream takes, as file extensions.
        min_side: Least width and height in pixels.
        max_ratio: Longest side over shortest side at most.
        place: Where it goes; slots of the path are found by name. Default: body of a POST, query of a GET.
        to: Name or dotted path in the request, when other than the input's name; several send it each time. A number
            is a place in a list, `+` appends to one (each element of a list by itself).
        convert: Sent as this type; `json` is JSON written as text.
        values: Values that are sent as others; one that stands for null is not sent.
        wrap: What the value (of a list, each element) is sent inside: `@` stands for it, `@mime` for the media type of
            a file, `@name` for another input, whose key goes when it is not given.
        local: Used by Halley alone and never sent, such as what another word refers to.
        advanced: Not shown in simple forms.
    """

    like: str | None = None
    type: Literal["string", "integer", "number", "boolean", "array", "object", "media", "any"] | None = None
    title: str | None = None
    about: str | None = None
    example: Any = UNSET
    unit: str | None = None
    required: bool | None = None
    default: Any = UNSET
    default_when: Condition | None = None
    assumed: Any = UNSET
    enum: list[str | int | float] | None = None
    suggest: list[str] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    items: "Field | None" = None
    min_items: int | None = None
    max_items: int | None = None
    fields: "dict[str, Field | None] | None" = None
    rules: list[Rule] | None = None
    media: Literal["image", "video", "audio", "file"] | None = None
    send: list[Transport] | None = None
    max_size: Size | None = None
    formats: list[str] | None = None
    min_side: int | None = None
    max_ratio: float | None = None
    place: Literal["body", "query", "header"] | None = None
    to: str | list[str] | None = None
    convert: Literal["string", "number", "json"] | None = None
    values: dict[str, Any] | None = None
    wrap: Any = UNSET
    local: bool | None = None
    advanced: bool | None = None


class Unwrap(_Word, frozen=True, kw_only=True):
    """Finds the object that paths call `inner`: the innermost that has one of certain keys.

    Attributes:
        through: Key to step down through, from the whole answer on, while it leads to an object.
        holds: Keys of which the object has one.
    """

    through: str
    holds: list[str]


class Verdict(_Word, frozen=True, kw_only=True):
    """A value that says whether the request was accepted, under HTTP 200 too; without it, it was.

    Attributes:
        at: Where it stands (a plain dotted path).
        accepted: Its values that mean acceptance; case does not matter.
    """

    at: Path
    accepted: list[str | int | bool | None]


class States(_Word, frozen=True, kw_only=True):
    """Where the raw status stands, in order of preference, and what its words mean (case does not matter).

    Attributes:
        at: First of these that holds a text that is not empty.
        overruled_by: When `at` is not final and one of these says a state that `overrules`, that one counts.
        overrules: States that count so.
        awaits: Raw words that mean running, and that nothing goes on until the user calls another node.
        words: Raw words per state.
    """

    at: list[Path] = []
    overruled_by: list[Path] = []
    overrules: tuple[UpstreamState, ...] = ("failed",)
    awaits: list[str] = []
    words: dict[UpstreamState, list[str]] = {}


class Links(_Word, frozen=True, kw_only=True):
    """Addresses of results inside a text: pictures that markdown shows, or else the addresses that end so.

    Attributes:
        ends: File extensions of addresses that are results.
        anchors: Addresses behind markdown links (`[text](address)`) count too. Of one file name only the shortest does.
    """

    ends: list[str]
    anchors: bool = False


class ArtifactRule(_Word, frozen=True, kw_only=True):
    """A place where results stand.

    Attributes:
        kind: Kind of the results found here.
        by_ending: An address whose ending tells another kind is of that kind.
        each: Path to a list of results, or to one.
        url: Path(s) inside a result, each of which may hold a URL; `@` when the result is the URL.
        first: Only the first of the paths in `url` that leads to a URL counts.
        base64: Path inside a result to its bytes in Base64 (or a data URI), where it has no URL.
        links: `each` leads to a text, and the results are addresses in it.
        mime: Path inside a result to its media type.
        also_failed: A task that failed as a whole still hands these out.
        order_by: Key of a number to sort by, where every result has it.
        id: Path to upstream's own id of the result, which later calls may ask for.
        seconds: Path to its length in seconds.
        milliseconds: Path to its length in milliseconds.
        role: `output`, or what else it is (`watermarked`, `cover`).
    """

    kind: ArtifactKind
    each: Path
    url: Path | list[Path] = "url"
    first: bool = False
    base64: Path | None = None
    by_ending: bool = False
    links: Links | None = None
    mime: Path | None = None
    also_failed: bool = False
    order_by: str | None = None
    id: Path | None = None
    seconds: Path | None = None
    milliseconds: Path | None = None
    role: Name = "output"


class ErrorRule(_Word, frozen=True, kw_only=True, rename={"code": "is"}):
    """Maps an error answer to a code of the contract.

    All rules are tried by `codes`, `words` and `whole` first; the HTTP status is asked only when none fits.

    Attributes:
        code: The contract's code (`is` in the file).
        codes: Upstream's codes, types or status strings.
        words: Parts of the message.
        whole: Whole messages.
        http: HTTP statuses.
        html: Only answers that are an HTML page (with one of `http`, where given).
        no_json: Only answers that are no JSON (with one of `http`, where given).
        retry: May the same submission be sent again later; default by code.
        submitted: `maybe` when a submission answered so may have been accepted all the same.
        not_yet: Answered to a query, it may only mean that the task is not visible yet.
        task_is: Answered to a query, it is this state of the task and no trouble with the question; together with
            `not_yet`, a failure is believed only a minute after the submission.
        say: Told in place of upstream's message, where that helps nobody.
    """

    code: ErrorCode
    codes: list[str | int] = []
    words: list[str] = []
    whole: list[str] = []
    http: list[int] = []
    html: bool = False
    no_json: bool = False
    retry: bool | None = None
    submitted: Literal["no", "maybe"] | None = None
    not_yet: bool = False
    task_is: Literal["queued", "running", "failed"] | None = None
    say: str | None = None


class Errors(_Word, frozen=True, kw_only=True):
    """Where an error answer keeps its code and message, and what they mean.

    Attributes:
        code: Places of upstream's code; all that are there count.
        message: Places of the message, best first.
        rules: Tried in order; the first that fits wins.
    """

    code: list[Path] = []
    message: list[Path] = []
    rules: list[ErrorRule] = []


class Failure(_Word, frozen=True, kw_only=True):
    """Why a task failed, or why an accepted answer holds no result.

    Attributes:
        code: Places of upstream's code for it; all that are there count.
        message: Places of the reason, best first.
        canceled: Places of the reason why a task was canceled.
        rules: Codes and words in it that mean more than `generation_failed` (or `no_output`).
    """

    code: list[Path] = []
    message: list[Path] = []
    canceled: list[Path] = []
    rules: list[ErrorRule] = []


class Next(_Word, frozen=True, kw_only=True):
    """What the user may call next with a result; offered in the run's `data.next`.

    Attributes:
        node: The node to call.
        each: Path to a list of offers (or one); without it there is one offer.
        title: Path(s) inside an offer to its label, or, without `each`, the label itself.
        inputs: Input of that node to a path inside an offer; `task_id` is the id of this run's task.
        awaited: Offered while the task waits for input, and only then.
    """

    node: str
    each: Path | None = None
    title: str | list[Path] = []
    inputs: dict[str, Path] = {}
    awaited: bool = False


class StreamStep(_Word, frozen=True, kw_only=True):
    """What events of a stream add to the answer that is put together from them.

    Attributes:
        types: The event's `type` (or name); without it, every event.
        take: Path in the event to what is added.
        into: Dotted place in the answer where it is merged; `{index}` is the event's own `index`.
        omit: Keys of it that are left out.
    """

    types: list[str] = []
    take: Path = "@"
    into: str = ""
    omit: list[str] = []


class Stream(_Word, frozen=True, kw_only=True):
    """How an answer in server-sent events is asked for and put together.

    Objects are merged; lists of objects that carry an `index` are merged by it; null changes nothing.

    Attributes:
        send: Added to the body to ask for a stream.
        submit: The request that answers with a stream, when it is another one.
        always: Asked for even when nobody listens, since a long silence would be cut on the way.
        steps: What events add; every step that fits an event is taken.
        rename: Keys that stand under another name in a whole answer.
        joined: Keys whose texts are joined together.
        extended: Keys whose lists are put one after the other.
        parsed: Keys of joined JSON texts, decoded at the end under another name.
        done: Paths in the answer of which one holds a value when the stream was whole; a line `[DONE]` says so too.
    """

    send: dict[str, Any] = {}
    submit: Endpoint | None = None
    always: bool = False
    steps: list[StreamStep] = []
    rename: dict[str, str] = {}
    joined: list[str] = []
    extended: list[str] = []
    parsed: dict[str, str] = {}
    done: list[Path] = []


class Reads(_Word, frozen=True, kw_only=True):
    """How answers are read. A dialect, or the part of it that a node says for itself (which comes first).

    Attributes:
        unwrap: Finds the object that the paths call `inner`.
        verdict: Values that tell acceptance from refusal.
        id: Places of the task id.
        state: Places and words of the status.
        progress: Places of the progress: `0.3`, `30` or `"30%"`.
        artifacts: Places of the results, in order.
        raw: What an answer is that is neither JSON nor a web page: the result itself.
        empty_fails: A task that succeeded without a result has failed, and this is why.
        text: Places of a text result.
        data: Structured result: name to place.
        details: Facts about the answer that stand in `data` too, but are no result by themselves.
        next: What the user may call next.
        stream: Reading of server-sent events.
        errors: Reading of error answers.
        failure: Reading of failed tasks.
    """

    unwrap: Unwrap | None = None
    verdict: list[Verdict] = []
    id: list[Path] = []
    state: States = States()
    progress: list[Path] = []
    artifacts: list[ArtifactRule] = []
    raw: Literal["text", "video", "image", "audio", "model3d", "file"] | None = None
    empty_fails: str | None = None
    text: list[Path] = []
    data: dict[str, Path | list[Path]] = {}
    details: dict[str, Path | list[Path]] = {}
    next: list[Next] = []
    stream: Stream | None = None
    errors: Errors = Errors()
    failure: Failure = Failure()


class Dialect(Reads, frozen=True, kw_only=True):
    """A named way of answering, shared by many nodes: `nodes/dialects/<name>.yaml`.

    Attributes:
        dialect: Its name, that of the file.
        about: What answers so, for people.
    """

    dialect: Name
    about: str


class Callback(_Word, frozen=True, kw_only=True):
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


class Ask(_Word, frozen=True, kw_only=True):
    """A question about a task that needs more than an address.

    Attributes:
        request: Method and path.
        body: JSON body; `{task_id}` in a value is the task's id.
    """

    request: Endpoint
    body: dict[str, Any] = {}


class AskMany(_Word, frozen=True, kw_only=True):
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


class Collect(_Word, frozen=True, kw_only=True):
    """One more request that brings the result of a task which succeeded without one.

    Attributes:
        request: Method and path; `{task_id}` and the names in `slots` may be used.
        slots: Places in the answer that told of the success.
        raw: The answer is the result itself, of this kind, and is kept by Halley.
    """

    request: Endpoint
    slots: dict[Name, list[Path]] = {}
    raw: ArtifactKind | None = None


class Table(_Word, frozen=True, kw_only=True):
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


class Pick(_Word, frozen=True, kw_only=True):
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


class Step(_Word, frozen=True, kw_only=True):
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


class Socket(_Word, frozen=True, kw_only=True):
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


class ExternalId(_Word, frozen=True, kw_only=True):
    """The provider keeps an id of ours with the task.

    Attributes:
        field: Body field that takes it.
        query: How to ask for the task by it; `{external_id}` is the slot.
    """

    field: str
    query: Endpoint | None = None


class Pace(_Word, frozen=True, kw_only=True):
    """When a task is asked about.

    Attributes:
        first: After the submission.
        every: Between looks at first.
        growth: Each wait is so many times the one before.
        at_most: Longest wait.
        deadline: The run is given up after this time.
        with_callback: Waits are so many times longer while a callback is expected.
    """

    first: Duration = "5s"
    every: Duration = "5s"
    growth: Annotated[float, Meta(ge=1)] = 1.2
    at_most: Duration = "60s"
    deadline: Duration = "60m"
    with_callback: Annotated[float, Meta(ge=1)] = 2.0


class Budget(_Word, frozen=True, kw_only=True):
    """What all runs of a provider share, per process.

    Attributes:
        concurrency: Requests in flight at once.
        queries_per_s: Polls started per second.
        open_tasks: Tasks that may be open upstream at once; more runs wait in `queued`.
    """

    concurrency: Annotated[int, Meta(ge=1)] = 32
    queries_per_s: Annotated[float, Meta(gt=0)] = 50.0
    open_tasks: Annotated[int, Meta(ge=1)] | None = None


class Provider(_Word, frozen=True, kw_only=True):
    """What is said once for all operations of a family: `nodes/<provider>/provider.yaml`.

    Attributes:
        provider: Its name, that of the folder.
        title: Label for people.
        about: What it is, in a sentence or two.
        docs: Page of the upstream documentation.
        auth: How requests are authenticated: with the key as a bearer token, as `key` in the query, or not at all.
        host: First label of another host of the aggregator: `query` turns api.example.com into query.example.com.
        headers: Sent with every request.
        answers: Dialects that answers are read in, tried in this order.
        query: The request that asks about a task: `{task_id}` is its id, `{path}` where it was submitted.
        query_many: The request that asks about many tasks at once.
        collect: The request that brings a result which the query does not.
        callback: How it calls back, if it does.
        external_id: How it keeps an id of ours, if it does.
        pace: When tasks are asked about.
        budget: What all its runs share.
        fields: Inputs that several operations have.
        warn: Advice for every operation that has all the inputs named in it.
    """

    provider: Name
    title: str
    about: str
    docs: str | None = None
    auth: Auth = "bearer"
    host: Name | None = None
    headers: dict[str, str] = {}
    answers: list[Name]
    query: Endpoint | Ask | None = None
    query_many: AskMany | None = None
    collect: Collect | None = None
    callback: Callback | None = None
    external_id: ExternalId | None = None
    pace: Pace = Pace()
    budget: Budget = Budget()
    fields: dict[str, Field] = {}
    warn: list[Advice] = []


class Node(_Word, frozen=True, kw_only=True):
    """One operation: `nodes/<provider>/<operation>.yaml`.

    Attributes:
        node: Its id.
        title: Label for people.
        about: What it makes, in a sentence or two.
        kind: `task` is followed until it ends, `direct` answers with the result, `query` asks about a task, `local`
            calls nothing, `flow` runs other nodes one after the other.
        answers: Dialects that its answers are read in, instead of the provider's.
        category: Group in lists; default: the result's kind.
        seed_row: Row of the provider's catalogue that it covers.
        docs: Page of the upstream documentation.
        withdrawn: Why upstream no longer offers it; it stays callable.
        replaced_by: Node to use instead.
        submit: The request that starts it.
        auth: How it is authenticated, when other than the provider says.
        host: Other host, when other than the provider says.
        headers: Sent besides the provider's.
        body: How the body is sent; in forms, objects are JSON texts and lists are repeated fields.
        timeout: Longest wait for the answer to the submission.
        free: It starts and costs nothing, so an answer that was lost is asked for again.
        checks_key: It tells whether the key is good; `halley check` and `/readyz` ask it. It is direct, free and needs
            no input.
        query: The request that asks about a task, when other than the provider's; `false` when there is none.
        query_many: The request that asks about many tasks at once, when other than the provider's.
        collect: The request that brings a result which the query does not, when other than the provider's.
        repeat: An answer without a result is not ready yet: until a task is named, the submission itself is sent again.
        continues: Input that names a task which waits for input; runs that follow it are looked at again.
        inputs: What the user gives, in the order shown.
        rules: Requirements across inputs.
        warn: Advice that does not refuse.
        constants: Sent as they are.
        table: Answer of a local node.
        steps: What a flow runs.
        socket: How its turn is held, when it is no request but a WebSocket.
        result: Kind of the main result.
        reads: Reading of answers where it differs from the provider's dialects.
        pace: When tasks are asked about, where it differs.
        callback: `false` when this operation takes no callback URL; or how, other than the provider says.
        external_id: `false` when this operation takes no id of ours; or how, other than the provider says.
        example: A whole input for the documentation; default: the examples of the required inputs.
    """

    node: NodeId
    title: str
    about: str
    kind: Literal["task", "direct", "query", "local", "flow"] = "task"
    answers: list[Name] | None = None
    category: str | None = None
    seed_row: str | None = None
    docs: str | None = None
    withdrawn: str | None = None
    replaced_by: NodeId | None = None
    submit: Endpoint | None = None
    auth: Auth | None = None
    host: Name | None = None
    headers: dict[str, str] = {}
    body: Literal["json", "form", "multipart"] = "json"
    timeout: Duration | None = None
    free: bool = False
    checks_key: bool = False
    query: Endpoint | Ask | bool | None = None
    query_many: AskMany | None = None
    collect: Collect | None = None
    repeat: bool = False
    continues: str | None = None
    inputs: dict[str, Field | None] = {}
    rules: list[Rule] = []
    warn: list[Advice] = []
    constants: dict[str, Any] = {}
    table: Table | None = None
    steps: list[Step] = []
    socket: Socket | None = None
    result: Literal["video", "image", "audio", "model3d", "file", "text", "data"]
    reads: Reads = Reads()
    pace: Pace | UnsetType = UNSET
    callback: bool | Callback = True
    external_id: bool | ExternalId = True
    example: dict[str, Any] | None = None


class Case(_Word, frozen=True, kw_only=True):
    """One fixture: an answer of upstream and what must be read in it.

    Attributes:
        name: What the answer shows; once per file.
        as_: What was asked (`as` in the file): `submit`, `poll`, or nothing (`callback`).
        status: HTTP status; a callback has none.
        body: The decoded JSON, or a text when the answer is no JSON.
        nodes: In a family's file: the only operations that read it; default: all that make tasks.
        reads: What must be read; what is not named is not compared.
    """

    name: str
    as_: Literal["submit", "poll", "callback"] = msgspec.field(name="as")
    status: int = 200
    nodes: list[str] = []
    body: Any
    reads: dict[str, Any]
