"""What a user sends becomes a checked input, or every fault of it with its pointer."""

from collections.abc import Callable
from typing import Any

import pytest

from service.definitions.compiler import CompiledNode
from service.errors import InvalidInput

Build = Callable[..., CompiledNode]


def faults(node: Any, raw: dict[str, Any]) -> list[tuple[str, str]]:
    """Return pointer and code of every fault in an input."""
    with pytest.raises(InvalidInput) as caught:
        node.inputs.check(raw)
    return sorted((fault.pointer, fault.code) for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("integer", "3", 3),
        ("number", "0.5", 0.5),
        ("number", "3", 3),
        ("boolean", "true", True),
        ("boolean", " False ", False),
        ("object", '{"a": 1}', {"a": 1}),
    ],
)
def test_text_stands_for_a_value(build: Build, kind: str, given: str, expected: object) -> None:
    """Text from forms becomes the value that it plainly stands for."""
    node = build(f"inputs: {{value: {{type: {kind}}}}}\n")

    checked = node.inputs.check({"value": given})

    assert checked == {"value": expected}
    assert type(checked["value"]) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given"),
    [("integer", "3.5"), ("integer", "true"), ("number", "many"), ("boolean", "1"), ("object", "[1]")],
)
def test_text_that_stands_for_nothing_is_refused(build: Build, kind: str, given: str) -> None:
    """Text that does not plainly stand for the type is left alone and refused as what it is."""
    node = build(f"inputs: {{value: {{type: {kind}}}}}\n")

    found = faults(node, {"value": given})

    assert found == [("/value", "type")]


def test_a_lone_value_stands_for_a_list_of_one(build: Build) -> None:
    """A lone text becomes a list of one object with its only required member; JSON text becomes the list."""
    item = "{type: object, fields: {image: {type: string, required: true}}}"
    node = build(f"inputs: {{list: {{type: array, items: {item}}}}}\n")

    lone = node.inputs.check({"list": "a"})
    several = node.inputs.check({"list": '["a", {"image": "b"}]'})

    assert lone == {"list": [{"image": "a"}]}
    assert several == {"list": [{"image": "a"}, {"image": "b"}]}


def test_a_number_stands_for_a_text_of_an_enum(build: Build) -> None:
    """A number is taken for one of an enum's texts, yet for no other text."""
    node = build('inputs: {length: {type: string, enum: ["5", "10"]}, name: {type: string}}\n')

    checked = node.inputs.check({"length": 5})

    assert checked == {"length": "5"}
    assert faults(node, {"length": 7, "name": 5}) == [
        ("/length", "enum"),
        ("/length", "type"),
        ("/name", "type"),
    ]


@pytest.mark.parametrize("native", [{"input": {"mode": "a"}}, {"input.mode": "a"}, {"mode": "a"}])
def test_native_names_are_accepted(build: Build, native: dict[str, Any]) -> None:
    """Upstream's own nesting is as good as the flat name."""
    node = build("inputs: {mode: {type: string, to: input.mode}}\n")

    checked = node.inputs.check(native)

    assert checked == {"mode": "a"}


def test_a_value_given_twice_differently_is_refused(build: Build) -> None:
    """The flat and the native name may be given together only when they agree."""
    node = build("inputs: {mode: {type: string, to: input.mode}}\n")

    agreeing = node.inputs.check({"mode": "a", "input": {"mode": "a"}})

    assert agreeing == {"mode": "a"}
    assert faults(node, {"mode": "a", "input": {"mode": "b"}}) == [("/input.mode", "unknown_field")]


def test_every_fault_is_told_at_once(build: Build) -> None:
    """One answer tells all faults, each with its JSON pointer."""
    node = build(
        """\
inputs:
  prompt: {required: true}
  n: {type: integer, minimum: 1, maximum: 9}
  mode: {type: string, enum: [std, pro]}
  points:
    {type: array, items: {type: object, fields: {x: {type: number, required: true, maximum: 1}}}}
"""
    )

    found = faults(node, {"n": 10, "mode": "max", "points": [{"x": 2}, {}], "promt": "x"})

    assert found == [
        ("/mode", "enum"),
        ("/n", "maximum"),
        ("/points/0/x", "maximum"),
        ("/points/1/x", "required"),
        ("/prompt", "required"),
        ("/promt", "unknown_field"),
    ]


def test_an_unknown_field_is_told_what_was_meant(build: Build) -> None:
    """A wrong name gets the nearest right one; a name that Halley sets itself gets its replacement."""
    node = build("inputs: {prompt: {type: string}}\n")

    with pytest.raises(InvalidInput) as caught:
        node.inputs.check({"promt": "a", "notify": "http://example.com"})

    messages = {fault.pointer: fault.message for fault in caught.value.faults}
    assert "did you mean prompt?" in messages["/promt"]
    assert "webhook_url" in messages["/notify"]


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("exactly_one: [a, b]", [{"a": 1}, {"b": 1}], [{}, {"a": 1, "b": 1}]),
        ("at_least_one: [a, b]", [{"a": 1}, {"a": 1, "b": 1}], [{}, {"c": 1}]),
        ("at_most_one: [a, [b, c]]", [{}, {"b": 1, "c": 1}], [{"a": 1, "b": 1}, {"a": 1, "c": 1}]),
        ("require: [b], when: {a: 1}", [{}, {"a": 2}, {"a": 1, "b": 1}], [{"a": 1}]),
        ("require: [b], when: {a: {given: true}}", [{}, {"a": 5, "b": 1}], [{"a": 5}]),
        ("require: [b], when: {a: {given: false}}", [{"a": 1}, {"b": 1}], [{}]),
        ("require: [b], when: {d: 7}", [{"b": 1}, {"d": 8}], [{}, {"d": 7}]),
        ("require: [b], when: {a: {any_of: [1, 2]}}", [{"a": 3}, {"a": 1, "b": 1}], [{"a": 2}]),
        ("forbid: [b], when: {a: 1}", [{"a": 1}, {"b": 1}], [{"a": 1, "b": 1}]),
        (
            "exactly_one_nonzero: [a, b]",
            [{"a": 1}, {"a": 0, "b": 2}],
            [{}, {"a": 1, "b": 2}, {"a": 0, "b": 0}],
        ),
    ],
)
def test_rules(build: Build, rule: str, good: list[dict[str, int]], bad: list[dict[str, int]]) -> None:
    """A rule lets through what fits it and refuses the rest in one sentence."""
    fields = ", ".join(f"{name}: {{type: integer}}" for name in "abc")
    node = build(f"inputs: {{{fields}, d: {{type: integer, assumed: 7}}}}\nrules: [{{{rule}, because: Wrong.}}]\n")

    for raw in good:
        assert node.inputs.check(raw) == raw
    for raw in bad:
        with pytest.raises(InvalidInput) as caught:
            node.inputs.check(raw)
        assert {fault.message for fault in caught.value.faults} == {"Wrong."}


def test_members_have_rules_of_their_own(build: Build) -> None:
    """A rule within an object points into it."""
    members = "x: {type: integer}, y: {type: integer}"
    node = build(
        "inputs: {list: {type: array, items: {type: object, fields: {"
        + members
        + "}, rules: [{exactly_one: [x, y]}]}}}\n"
    )

    found = faults(node, {"list": [{"x": 1}, {"x": 1, "y": 2}]})

    assert found == [("/list/1", "rule")]


@pytest.mark.parametrize("is_json", [False, True])
def test_no_value_makes_the_check_raise_otherwise(build: Build, *, is_json: bool) -> None:
    """Endless numbers and endless nesting are refused like anything else that does not fit."""
    item = "{type: object, fields: {b: {type: string}}}"
    node = build(f"inputs: {{n: {{type: integer, maximum: 9}}, list: {{type: array, items: {item}}}}}\n")
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"a": deep}

    for raw in (
        {"n": 10**400},
        {"n": float("nan")},
        {"n": "9" * 5000},
        {"list": "[" * 100_000},
        {"list": [deep]},
        {"x": deep},
    ):
        with pytest.raises(InvalidInput):
            node.inputs.check(raw, is_json=is_json)
