"""The first draft of an operation: definition files without faults, whose fixtures pass, and that say what to change.

Texts only; writing them where nothing is overwritten is the command's.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from service.definitions.request import slots
from service.definitions.schema import Provider

_SAMPLES = {"video": "mp4", "image": "png", "audio": "mp3", "model3d": "glb", "file": "bin"}
_QUERY = "GET {path}/{task_id}"
_FREE_PATH = "^[A-Za-z0-9/_.-]+$"


class Draft(Struct, frozen=True, kw_only=True):
    """What is known of an operation before anything is written.

    Attributes:
        node: Its id.
        result: Kind of its result.
        is_direct: The answer is the result.
        submit: The request that starts it, if known.
        query: The request that asks about a task, if known.
    """

    node: str
    result: str
    is_direct: bool = False
    submit: str | None = None
    query: str | None = None

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.node.partition(".")[0]

    @property
    def operation(self) -> str:
        """The operation's name."""
        return self.node.partition(".")[2]


def drafted(draft: Draft, provider: Provider | None) -> Mapping[str, str]:
    """Return the files of an operation by their place in a folder of definitions.

    Args:
        draft: What is known of it.
        provider: Its provider's definition; without one, that is drafted too.
    """
    files = {} if provider else {f"{draft.provider}/provider.yaml": _lines(_provider(draft))}
    return {
        **files,
        f"{draft.provider}/{draft.operation}.yaml": _lines(_operation(draft, provider)),
        f"{draft.provider}/fixtures/{draft.operation}.yaml": _lines(_fixtures(draft)),
    }


def _lines(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _provider(draft: Draft) -> Iterator[str]:
    yield f"# What all operations of {draft.provider} have in common. The words are explained in docs/definitions.md."
    yield f"provider: {draft.provider}"
    yield f"title: {_title(draft.provider)}   # change: the name that people know"
    yield "about: What it makes.   # change: one sentence for people"
    yield "# docs: https://…   # the page of its API"
    yield "auth: bearer   # requests carry the key; none: they do not"
    yield "answers: [relay]   # reads the aggregator's errors; more dialects go in front of it"
    if not draft.is_direct:
        yield f"query: {draft.query or _QUERY}   # change: how a task is asked about; {{path}}: where it was sent"
        yield "pace: {first: 5s, every: 5s, at_most: 30s, deadline: 30m}   # change: when it is looked at"
        yield "# callback: {field: callback_url}   # the field that takes our address, when the API can call back"


def _operation(draft: Draft, provider: Provider | None) -> Iterator[str]:
    yield f"node: {draft.node}"
    yield f"title: {_title(draft.operation)}   # change: a label for people"
    yield "about: What it makes.   # change: one sentence for people"
    if draft.is_direct:
        yield "kind: direct   # the answer to the request is the result"
    yield f"submit: {_submit(draft)}" + ("" if draft.submit else "   # change: method and path, as the API says")
    if not draft.is_direct and provider and (draft.query or provider.query is None):
        yield f"query: {draft.query or _QUERY}   # how a task is asked about"
    if provider and draft.is_direct:
        yield "answers: [relay]   # change: leave out, with `reads`, when it answers as others do"
    yield f"result: {draft.result}"
    yield "inputs:   # change: what the user gives, in the order shown"
    yield from _inputs(draft)
    yield "reads:   # change: where things stand in the answers; see the fixtures"
    yield from _reads(draft)


def _submit(draft: Draft) -> str:
    return draft.submit or f"POST /{draft.provider}/v1/{draft.operation}"


def _inputs(draft: Draft) -> Iterator[str]:
    for name, holds_slashes in slots(_submit(draft)):
        pattern = f', pattern: "{_FREE_PATH}"' if holds_slashes else ""
        yield f'  {name}: {{type: string, required: true, example: "123"{pattern}, about: Stands in the path.}}'
    yield "  prompt: {type: string, title: Prompt, required: true, max_length: 2000, about: What to make.,"
    yield "           example: A comet over a winter sea}"
    yield "  count: {type: integer, title: Number, minimum: 1, maximum: 4, assumed: 1, about: How many are made.}"


def _reads(draft: Draft) -> Iterator[str]:
    if not draft.is_direct:
        yield "  id: [job_id]"
        yield "  state:"
        yield "    at: [status]"
        yield "    words: {queued: [queued], running: [running], succeeded: [succeeded], failed: [failed]}"
        yield "  progress: [progress]"
        yield "  failure: {message: [reason]}"
    if draft.result == "text":
        yield "  text: [results]"
    elif draft.result == "data":
        yield "  data: {results: results}   # name in the run's data: place in the answer"
    else:
        yield f"  artifacts: [{{kind: {draft.result}, each: results, url: url}}]"
    yield "  errors:"
    yield "    code: [error.code]"
    yield "    message: [error.message]"
    yield "    rules: [{is: invalid_request, codes: [bad_request]}]"


def _fixtures(draft: Draft) -> Iterator[str]:
    yield "# Answers of upstream and what must be read in them. Change: put in real ones, and correct `reads`."
    sent, read = _result(draft)
    if draft.is_direct:
        yield from _case("made", "submit", f'{{"results": {sent}}}', f"{{state: succeeded, {read}, error: null}}")
        if draft.result != "data":
            yield from _case("nothing made", "submit", '{"results": []}', "{state: failed, error: {code: no_output}}")
    else:
        yield from _task_cases(sent, read)
    yield from _case(
        "refused",
        "submit",
        '{"error": {"code": "bad_request", "message": "prompt is too long"}}',
        "{state: failed, error: {code: invalid_request, message: prompt is too long, retryable: false}}",
        status=400,
    )


def _task_cases(sent: str, read: str) -> Iterator[str]:
    yield from _case(
        "accepted", "submit", '{"job_id": "t-1", "status": "queued"}', "{task_id: t-1, state: queued, error: null}"
    )
    yield from _case(
        "running", "poll", '{"job_id": "t-1", "status": "running", "progress": 40}', "{state: running, progress: 0.4}"
    )
    yield from _case(
        "succeeded",
        "poll",
        f'{{"job_id": "t-1", "status": "succeeded", "results": {sent}}}',
        f"{{state: succeeded, {read}, error: null}}",
    )
    yield from _case(
        "failed",
        "poll",
        '{"job_id": "t-1", "status": "failed", "reason": "nothing came of it"}',
        "{state: failed, error: {code: generation_failed, message: nothing came of it}}",
    )


def _result(draft: Draft) -> tuple[str, str]:
    """Return a result as upstream sends it, and as it is read."""
    if draft.result == "text":
        return '"A comet is a snowball."', "text: A comet is a snowball."
    if draft.result == "data":
        return '[{"score": 7}]', "data: {results: [{score: 7}]}"
    url = f"https://example.com/result.{_SAMPLES[draft.result]}"
    return f'[{{"url": "{url}"}}]', f'artifacts: [{{kind: {draft.result}, url: "{url}"}}]'


def _case(name: str, as_: str, body: str, reads: str, *, status: int = 200) -> Iterator[str]:
    yield f"- name: {name}"
    yield f"  as: {as_}"
    yield f"  status: {status}"
    yield f"  body: {body}"
    yield f"  reads: {reads}"
