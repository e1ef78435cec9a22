"""The reader makes the same small structure of any answer, and never raises."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.definitions.catalog import load_catalog
from service.definitions.compiler import CompiledNode
from service.definitions.paths import decode_body
from service.definitions.reader import Answer, Reading

Build = Callable[..., CompiledNode]
CATALOG = load_catalog()
DIALECT = """\
dialect: acme
about: A dialect for tests.
unwrap: {through: data, holds: [task]}
verdict: [{at: code, accepted: [0, ok, null]}]
id: [data.id, id]
state:
  at: [inner.task, status]
  overruled_by: [status]
  words: {queued: [waiting], running: [busy], succeeded: [done], failed: [broken]}
progress: [progress]
artifacts:
  - {kind: image, each: "files[]", order_by: place, id: key, seconds: length}
  - {kind: audio, each: sound, url: [a, b], milliseconds: ms}
  - {kind: image, each: "files[]", url: marked, role: watermarked}
text: [text]
data: {session: [session, data.session]}
failure: {message: [why], rules: [{is: moderation, words: [policy]}]}
errors:
  code: [code, error.code]
  message: [message, error.message]
  rules:
    - {is: quota, codes: [1102], words: [no money], http: [402]}
    - {is: not_found, whole: ["404"], http: [404], not_yet: true}
    - {is: server, codes: [5000], retry: false, submitted: maybe}
    - {is: rate_limited, http: [429]}
    - {is: invalid_request, html: true, http: [403]}
    - {is: not_found, no_json: true, http: [200]}
"""


@pytest.fixture
def node(build: Build) -> CompiledNode:
    """A task node that reads the dialect above."""
    return build("inputs: {}\n", dialect=DIALECT)


def submit(node: CompiledNode, body: Any, status: int = 200) -> Reading:
    """Read the answer to a submission."""
    return node.reader.read("submit", Answer(status=status, body=body))


def poll(node: CompiledNode, body: Any, status: int = 200) -> Reading:
    """Read the answer to a query."""
    return node.reader.read("poll", Answer(status=status, body=body))


def test_the_first_place_that_holds_something_wins(node: CompiledNode) -> None:
    """Ids and states are taken from the first place where they are; numbers become text."""
    reading = poll(node, {"data": {"id": 861309198188019719}, "id": "b", "status": "BUSY"})

    assert (reading.task_id, reading.state, reading.raw_status) == ("861309198188019719", "running", "BUSY")


def test_the_innermost_task_object_is_found(node: CompiledNode) -> None:
    """Wrappers are stepped through down to the last object with a key that tells the task."""
    reading = poll(node, {"data": {"task": "busy", "data": {"data": {"task": "done"}}}})

    assert reading.state == "succeeded"


@pytest.mark.parametrize(
    ("body", "state", "raw"),
    [
        ({"data": {"task": "busy"}, "status": "broken"}, "failed", "broken"),
        ({"data": {"task": "done"}, "status": "broken"}, "succeeded", "done"),
        ({"data": {"task": "busy"}, "status": "done"}, "running", "busy"),
        ({"data": {"task": ""}, "status": "done"}, "succeeded", "done"),
        ({"data": {"task": "odd"}}, "running", "odd"),
        ({"data": {"task": ""}}, "running", ""),
        ({}, "running", None),
    ],
)
def test_states(node: CompiledNode, body: Any, state: str, raw: str | None) -> None:
    """An outer failure overrules what is not final; an unknown word keeps the task running."""
    reading = poll(node, {"id": "1", **body})

    assert (reading.state, reading.raw_status) == (state, raw)
    assert reading.known_status == (raw not in ("odd", ""))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.3, 0.3),
        (30, 0.3),
        ("30", 0.3),
        ("30%", 0.3),
        ("0.5%", 0.005),
        ("100%", 1.0),
        (1, 1.0),
        (250, 1.0),
        (-5, 0.0),
        ("", None),
        (None, None),
        ("half", None),
        (True, None),
        ([1], None),
        ("nan", None),
    ],
)
def test_progress(node: CompiledNode, given: Any, expected: float | None) -> None:
    """Progress is a share from 0 to 1, however it is written."""
    reading = poll(node, {"id": "1", "status": "busy", "progress": given})

    assert reading.progress == expected


def test_artifacts_come_in_the_order_of_the_definition(node: CompiledNode) -> None:
    """Results are sorted by their key where all have it, told once, and carry what is known of them."""
    files = [
        {"place": 1, "url": "u1", "key": 7, "length": "5.5"},
        {"place": "0", "url": " u0 ", "marked": "m"},
    ]
    sound = [{"b": "s2", "a": "s1", "ms": 1500}, {"a": "u1"}]

    reading = poll(node, {"status": "done", "id": "1", "files": files, "sound": sound})

    assert [(a.kind, a.url, a.role) for a in reading.artifacts] == [
        ("image", "u0", "output"),
        ("image", "u1", "output"),
        ("audio", "s1", "output"),
        ("audio", "s2", "output"),
        ("image", "m", "watermarked"),
    ]
    assert [(a.upstream_id, a.seconds) for a in reading.artifacts[:3]] == [
        (None, None),
        ("7", 5.5),
        (None, 1.5),
    ]


def test_results_are_read_on_success_only(node: CompiledNode) -> None:
    """What stands in the place of results means nothing before the task has succeeded."""
    body = {"id": "1", "files": [{"url": "u"}], "text": "t", "session": 5}

    running, done = (poll(node, {"status": status, **body}) for status in ("busy", "done"))

    assert (running.artifacts, running.text, running.data) == ((), None, None)
    assert (len(done.artifacts), done.text, done.data) == (1, "t", {"session": 5})


def test_a_failed_task_tells_why(node: CompiledNode) -> None:
    """The reason is found, and its words may mean more than that the generation failed."""
    plain = poll(node, {"id": "1", "status": "broken", "why": "it rained"}).error
    moral = poll(node, {"id": "1", "status": "broken", "why": "Against our POLICY"}).error
    silent = poll(node, {"id": "1", "status": "broken"}).error

    assert plain is not None
    assert moral is not None
    assert silent is not None
    assert (plain.code, plain.message, plain.retryable) == ("generation_failed", "it rained", False)
    assert moral.code == "moderation"
    assert silent.message


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable", "submitted"),
    [
        (200, {"code": 1102, "message": "x"}, "quota", False, "no"),
        (200, {"code": "1102"}, "quota", False, "no"),
        (200, {"code": 1102.0}, "quota", False, "no"),
        (400, {"error": {"code": "x", "message": "You have NO MONEY left"}}, "quota", False, "no"),
        (402, {"message": "pay"}, "quota", False, "no"),
        (200, {"code": 7, "message": "404"}, "not_found", False, "no"),
        (200, {"code": 7, "message": "request 404 failed"}, "server", False, "maybe"),
        (404, {}, "not_found", False, "no"),
        (500, {"code": 5000}, "server", False, "maybe"),
        (429, {}, "rate_limited", True, "no"),
        (200, {"code": 429, "message": "slow down"}, "rate_limited", True, "no"),
        (418, {}, "invalid_request", False, "no"),
        (503, {}, "server", False, "maybe"),
        (200, "<html>", "not_found", False, "no"),
        (200, "hello", "not_found", False, "no"),
        (403, "<html>", "invalid_request", False, "no"),
        (200, '{"code": 1102', "not_found", False, "maybe"),  # a success that was cut off on its way
        (400, {"message": '{"error": {"code": 1102}}'}, "quota", False, "no"),
        (200, 'event: error\ndata: {"code": 1102}\n\n', "quota", False, "no"),
        (200, {"code": 0, "message": "well"}, "server", False, "maybe"),
    ],
)
def test_refused_submissions(
    node: CompiledNode, status: int, body: Any, code: str, *, retryable: bool, submitted: str
) -> None:
    """Body before status: a refusal tells its code, and whether to send again or to fear it was accepted."""
    reading = submit(node, body, status)

    assert reading.error is not None
    assert (reading.state, reading.task_id) == ("failed", None)
    assert (reading.error.code, reading.error.retryable, reading.error.submitted) == (
        code,
        retryable,
        submitted,
    )


def test_an_error_in_the_answer_to_a_query_says_nothing_of_the_task(node: CompiledNode) -> None:
    """A query that failed leaves the state open, may be repeated, and is no submission."""
    server, missing = poll(node, {"code": 5000}, 500), poll(node, {"code": 1, "message": "404"}, 404)

    assert server.error is not None
    assert missing.error is not None
    assert (server.state, server.error.code, server.error.retryable) == (None, "server", True)
    assert (missing.state, missing.error.code, missing.error.retryable) == (None, "not_found", True)
    assert server.error.submitted == "no"


def test_what_tells_a_state_is_no_refusal(node: CompiledNode) -> None:
    """An answer about a task is read as that, whatever code stands beside it."""
    reading = poll(node, {"code": 7, "id": "1", "status": "broken", "why": "rain"})

    assert reading.state == "failed"
    assert reading.error is not None
    assert reading.error.message == "rain"


@pytest.mark.parametrize("body", [None, "task done", 5, {}, [], {"other": 1}])
def test_a_callback_that_says_nothing_is_read_as_nothing(node: CompiledNode, body: Any) -> None:
    """What cannot be read in a callback is no error and no state."""
    reading = node.reader.read("callback", Answer(body=body))

    assert (reading.state, reading.task_id, reading.error) == (None, None, None)


def test_a_direct_answer_has_succeeded_unless_it_says_otherwise(build: Build) -> None:
    """An accepted direct answer is the result."""
    node = build("inputs: {}\nkind: direct\n", dialect=DIALECT)

    plain, failed = submit(node, {"text": "hello"}), submit(node, {"data": {"task": "broken"}})

    assert (plain.state, plain.text) == ("succeeded", "hello")
    assert failed.state == "failed"


def test_a_query_node_reads_alike_in_both_roles(build: Build) -> None:
    """The state is the asked task's; a query that failed is told alike."""
    node = build("inputs: {}\nkind: query\n", dialect=DIALECT)

    for status, body in ((200, {"id": "1", "status": "busy"}), (200, {"id": "1"}), (404, {"message": "404"})):
        assert submit(node, body, status) == poll(node, body, status)


def test_long_messages_are_cut(node: CompiledNode) -> None:
    """An endless message does not fill the database."""
    error = submit(node, {"message": "x" * 100_000}, 400).error

    assert error is not None
    assert len(error.message) == 1000


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"404 page", "404 page"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b"[" * 100_000, "[" * 100_000),
        (b"9" * 5000, None),
    ],
)
def test_bodies_are_decoded_whatever_they_are(raw: bytes, expected: Any) -> None:
    """JSON is JSON whatever its content type says, anything else is text, and nothing raises."""
    found = decode_body(raw)

    assert expected is None or found == expected


_KEYS = st.sampled_from(
    [
        "data",
        "code",
        "message",
        "task_id",
        "id",
        "task_status",
        "status",
        "progress",
        "task_result",
        "videos",
        "images",
        "audios",
        "url",
        "index",
        "duration",
        "error",
        "outputs",
        "type",
        "fail_reason",
        "res",
        "face_data",
        "success",
    ]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["succeed", "failed", "processing", "SUCCESS", "video", "image", 0, 10**400, -1, 1201])
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=6),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(body=_JSON, status=st.sampled_from([None, 200, 301, 400, 404, 429, 500, 524]))
def test_no_answer_makes_the_reader_raise(body: Any, status: int | None) -> None:
    """Whatever upstream says, every shipped node makes a reading of it in every role."""
    for node in CATALOG.nodes.values():
        for role in ("submit", "poll", "callback"):
            reading = node.reader.read(role, Answer(status=status, body=body))

            assert reading.progress is None or 0 <= reading.progress <= 1
            assert all(artifact.url is None or artifact.url for artifact in reading.artifacts)


def test_deep_nesting_is_read_as_nothing() -> None:
    """An answer nested deeper than Python recurses is no danger."""
    deep: Any = {}
    for _ in range(5000):
        deep = {"data": deep, "code": [deep] if deep == {} else 0}

    for node in CATALOG.nodes.values():
        assert node.reader.read("poll", Answer(status=200, body=deep)).artifacts == ()
