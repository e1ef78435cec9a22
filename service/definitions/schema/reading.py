"""How answers are read: states, results, errors, streams, and the dialects that many nodes share."""

from typing import Any, Literal

from service.definitions.schema.words import ArtifactKind, Endpoint, ErrorCode, Name, Path, UpstreamState, Word


class Unwrap(Word, frozen=True, kw_only=True):
    """Finds the object that paths call `inner`: the innermost that has one of certain keys.

    Attributes:
        through: Key to step down through, from the whole answer on, while it leads to an object.
        holds: Keys of which the object has one.
    """

    through: str
    holds: list[str]


class Verdict(Word, frozen=True, kw_only=True):
    """A value that says whether the request was accepted, under HTTP 200 too; without it, it was.

    Attributes:
        at: Where it stands (a plain dotted path).
        accepted: Its values that mean acceptance; case does not matter.
    """

    at: Path
    accepted: list[str | int | bool | None]


class States(Word, frozen=True, kw_only=True):
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


class Links(Word, frozen=True, kw_only=True):
    """Addresses of results inside a text: pictures that markdown shows, or else the addresses that end so.

    Attributes:
        ends: File extensions of addresses that are results.
        anchors: Addresses behind markdown links (`[text](address)`) count too. Of one file name only the shortest does.
    """

    ends: list[str]
    anchors: bool = False


class ArtifactRule(Word, frozen=True, kw_only=True):
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


class ErrorRule(Word, frozen=True, kw_only=True, rename={"code": "is"}):
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


class Errors(Word, frozen=True, kw_only=True):
    """Where an error answer keeps its code and message, and what they mean.

    Attributes:
        code: Places of upstream's code; all that are there count.
        message: Places of the message, best first.
        rules: Tried in order; the first that fits wins.
    """

    code: list[Path] = []
    message: list[Path] = []
    rules: list[ErrorRule] = []


class Failure(Word, frozen=True, kw_only=True):
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


class Next(Word, frozen=True, kw_only=True):
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


class StreamStep(Word, frozen=True, kw_only=True):
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


class Stream(Word, frozen=True, kw_only=True):
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


class Reads(Word, frozen=True, kw_only=True):
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
