"""Checked inputs become the request that upstream wants."""

from collections.abc import Callable
from typing import Any

import pytest

from service.definitions.compiler import CompiledNode
from service.definitions.request import OutgoingRequest, address, fill

Build = Callable[..., CompiledNode]


@pytest.mark.parametrize(
    ("endpoint", "value", "path"),
    [
        ("GET /a/{x}", "b c", "/a/b%20c"),
        ("GET /a/{x}", "b/c?d#e", "/a/b%2Fc%3Fd%23e"),
        ("GET /a/{x}", "ü%", "/a/%C3%BC%25"),
        ("GET /a/{x}", "..", "/a/%2E%2E"),
        ("GET /a/{+x}", "b/c", "/a/b/c"),
        ("GET /a/{+x}", "b/../c?d", "/a/b/%2E%2E/c%3Fd"),
        ("GET {path}/{x}", "b/c", "/p/q/b%2Fc"),
    ],
)
def test_slots_are_escaped(endpoint: str, value: str, path: str) -> None:
    """A value never leaves its part of the path; `{+slot}` may span several parts and climb out of none."""
    assert fill(endpoint, {"x": value, "path": "/p/q"}) == ("GET", path)


def test_values_find_their_places(build: Build) -> None:
    """Inputs go to body, query, header and path, under one name or several, as they are or converted."""
    node = build(
        """\
inputs:
  prompt: {to: input.text}
  size: {type: string, to: [width, height], convert: number, default: "5"}
  mode: {type: string, values: {fast: 1, good: 2}, place: query}
  lang: {type: string, place: header, to: X-Lang}
constants: {input: {kind: draw}}
"""
    )

    request = node.plan.build({"prompt": "a", "mode": "good", "lang": "de"})

    assert (request.method, request.path) == ("POST", "/draw?mode=2")
    assert node.plan.path({"prompt": "a", "mode": "good"}) == request.path
    assert request.headers == {"X-Lang": "de"}
    assert request.body == {"input": {"kind": "draw", "text": "a"}, "width": 5, "height": 5}


def test_constants_are_never_shared(build: Build) -> None:
    """What one run sends does not stay in the definition for the next."""
    node = build("inputs: {prompt: {to: input.text}}\nconstants: {input: {kind: draw}}\n")

    node.plan.build({"prompt": "a"})
    second = node.plan.build({})

    assert second.body == {"input": {"kind": "draw"}}


def test_a_default_may_have_a_condition(build: Build) -> None:
    """A conditional default is sent only when its condition holds, a user's own value always."""
    when = "{a: {any_of: [x, y]}}"
    node = build(
        f"inputs:\n  a: {{type: string, assumed: x}}\n  b: {{type: string, default: z, default_when: {when}}}\n"
    )

    sent = [node.plan.build(inputs).body for inputs in ({}, {"a": "y"}, {"a": "q"}, {"a": "q", "b": "w"})]

    assert sent == [{"b": "z"}, {"a": "y", "b": "z"}, {"a": "q"}, {"a": "q", "b": "w"}]


def test_own_ids_are_sent_where_the_operation_takes_them(build: Build) -> None:
    """Callback URL and external id go out only where the node takes them."""
    keeps = "external_id: {field: ours, query: 'GET /find/{external_id}'}\n"

    def body(rest: str) -> dict[str, Any] | None:
        node = build("inputs: {}\n" + rest, provider=keeps)
        return node.plan.build({}, callback_url="u", external_id="e").body

    assert body("") == {"notify": "u", "ours": "e"}
    assert body("callback: false\nexternal_id: false\n") == {}
    assert body("external_id: {field: other}\n") == {"notify": "u", "other": "e"}
    assert body("kind: direct\n") == {}


def test_a_task_may_be_asked_for_by_our_id(build: Build) -> None:
    """Where the provider keeps our id, a request looks for it; a node may keep it and not look."""
    keeps = "external_id: {field: ours, query: 'GET {path}/by/{external_id}'}\n"

    found = build("inputs: {}\n", provider=keeps).plan.query_by_external_id("/draw", "a b")
    none = build("inputs: {}\nexternal_id: {field: ours}\n", provider=keeps).plan.query_by_external_id("/draw", "a")

    assert found is not None
    assert found.path == "/draw/by/a%20b"
    assert none is None


def test_asking_stays_on_the_path_of_the_submission(build: Build) -> None:
    """A task is asked about where it was submitted, its id escaped."""
    node = build("inputs: {}\n")

    request = node.plan.query("/draw?mode=2", "a/b")

    assert request is not None
    assert (request.method, request.path, request.body) == ("GET", "/draw/a%2Fb", None)


def test_inputs_of_a_get_go_to_the_query(build: Build) -> None:
    """Without a body, inputs that are no part of the path are query pairs."""
    inputs = "inputs: {id: {type: string, required: true}, full: {type: string}}\n"
    node = build(inputs, submit="GET /draw/{id}")

    request = node.plan.build({"id": "1", "full": "a&b"})

    assert (request.method, request.path, request.body) == ("GET", "/draw/1?full=a%26b", None)


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://api.example.com", "https://query.example.com/user/quota"),
        ("https://api.example.com:8443", "https://query.example.com:8443/user/quota"),
        ("http://127.0.0.1:2062", "http://127.0.0.1:2062/user/quota"),
        ("http://localhost:2062", "http://localhost:2062/user/quota"),
        ("http://[::1]:2062", "http://[::1]:2062/user/quota"),
    ],
)
def test_another_host_is_the_aggregators_own(base_url: str, expected: str) -> None:
    """A first label is changed where there is one to change; a machine's own address serves all hosts."""
    request = OutgoingRequest(method="GET", path="/user/quota", host="query")

    assert address(base_url, request) == expected
