"""Definitions are compiled with what their provider says for them, and warn of what they know."""

from collections.abc import Callable
from typing import Any

import pytest

from service.definitions.catalog import load_catalog
from service.definitions.compiler import CompiledNode
from service.errors import NotFound

Build = Callable[..., CompiledNode]


def test_an_entry_starts_from_the_provider(build: Build) -> None:
    """Empty entries, own words, `like` and `type` each take what they should of the provider's field."""
    node = build(
        """\
inputs:
  prompt:
  second: {like: prompt, max_length: 5, required: true}
  list: {like: prompts}
  size: {type: integer}
""",
        provider="""\
  size: {type: string, enum: [a]}
  prompts: {type: array, items: {type: object, fields: {prompt: {max_length: 7}, size: {type: number}}}}
""",
    )

    members = node.fields["list"].items.fields  # type: ignore[union-attr]
    assert (node.fields["prompt"].type, node.fields["prompt"].max_length) == ("string", 100)
    assert (node.fields["second"].max_length, node.fields["second"].example) == (5, "a comet")
    assert (node.fields["size"].type, node.fields["size"].enum) == ("integer", None)
    assert members is not None
    assert members["prompt"] is not None
    assert members["size"] is not None
    assert (members["prompt"].type, members["prompt"].max_length) == ("string", 7)
    assert (members["size"].type, members["size"].enum) == ("number", None)


@pytest.mark.parametrize(
    ("when", "warned", "silent"),
    [
        ("{a: x}", [{"a": "x"}], [{}, {"a": "y"}]),
        ("{a: {given: true}}", [{"a": "y"}], [{}]),
        ("{a: {given: false}}", [{}], [{"a": "y"}]),
        ("{a: {any_of: [x, y]}}", [{"a": "y"}], [{}, {"a": "z"}]),
        ("{a: {like: 'v2*|x'}}", [{"a": "v2-6"}, {"a": "x"}], [{}, {"a": "v1"}]),
        ("{a: {unlike: 'v2*|x'}}", [{"a": "v1"}], [{}, {"a": "x"}]),
        ("{a: {longer_than: 2}}", [{"a": "xyz"}], [{}, {"a": "xy"}]),
        ("{l: {longer_than: 1}}", [{"l": ["a", "b"]}], [{}, {"l": ["abc"]}]),
        ("{l: {shorter_than: 2}}", [{"l": ["abc"]}], [{}, {"l": ["a", "b"]}]),
        ("{d: 5}", [{}, {"d": 5}], [{"d": 6}]),
        ("{d: {given: true}}", [{"d": 5}], [{}]),
        ("{e: {unlike: x}}", [{"e": "z"}, {}], [{"e": "x"}]),
        ("{b: true}", [{"b": True}], [{"b": False}, {}]),
        ("{a: x, d: 5}", [{"a": "x"}], [{"a": "x", "d": 6}, {}]),
    ],
)
def test_warnings(build: Build, when: str, warned: list[dict[str, Any]], silent: list[dict[str, Any]]) -> None:
    """Advice is given when its condition holds; what is not given counts as its default."""
    node = build(
        "inputs: {a: {type: string}, b: {type: boolean}, d: {type: integer, default: 5}, "
        "e: {type: string, assumed: y}, l: {type: array, items: {type: string}}}\n"
        f"warn: [{{when: {when}, say: Mind.}}]\n"
    )

    assert [node.warnings(values) for values in warned] == [["Mind."]] * len(warned)
    assert [node.warnings(values) for values in silent] == [[]] * len(silent)


def test_advice_of_the_provider_holds_where_its_inputs_are(build: Build) -> None:
    """What a provider advises reaches the operations that have all inputs named in it."""
    advice = "warn: [{when: {prompt: a}, say: One.}, {when: {prompt: a, none: b}, say: Two.}]\n"
    node = build("inputs: {prompt: }\n", provider=advice)

    assert node.warnings({"prompt": "a"}) == ["One."]


def test_withdrawn_nodes_say_so(build: Build) -> None:
    """Every run of a node that upstream gave up, or replaced, is told."""
    node = build("inputs: {}\nwithdrawn: It is gone.\nreplaced_by: acme.paint\n")

    assert node.warnings({}) == ["It is gone.", "acme.paint takes the place of this node."]


def test_the_pace_is_compiled_to_seconds(build: Build) -> None:
    """A node's own pace takes the place of the provider's, in seconds."""
    pace = build("inputs: {}\npace: {first: 500ms, every: 2s, at_most: 1m, deadline: 1.5h}\n").pace

    assert (pace.first_s, pace.every_s, pace.at_most_s, pace.deadline_s) == (0.5, 2.0, 60.0, 5400.0)


def test_an_unknown_node_is_told() -> None:
    """A wrong id is answered by where to find the right one."""
    with pytest.raises(NotFound, match="GET /v1/nodes"):
        load_catalog().get("kling.nothing")
