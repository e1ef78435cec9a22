"""One definition into one compiled node: everything that serving its runs needs, made once at start."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import asdict

from service.definitions.conditions import holds
from service.definitions.inputs import InputCheck
from service.definitions.loader import Definitions, Loaded
from service.definitions.reader import AnswerReader
from service.definitions.request import RequestPlan, callback_of
from service.definitions.schema import Advice, Field, Node, Pace, Provider, Reads, seconds


class CompiledPace(Struct, frozen=True, kw_only=True):
    """`Pace` in numbers; all times in seconds."""

    first_s: float
    every_s: float
    growth: float
    at_most_s: float
    deadline_s: float
    with_callback: float
    at_least_s: float = 1.0
    looks: float = 4.0
    by: tuple[str, ...] = ()


class CompiledNode(Struct, frozen=True, kw_only=True):
    """A node, ready to serve.

    Attributes:
        node: Its definition.
        provider: Its provider's definition.
        fields: Its inputs with the provider's words filled in.
        inputs: Checks what a user sent.
        plan: Makes requests.
        reader: Reads answers.
        pace: When its tasks are asked about.
        advice: What to warn of.
        chain: How its answers are read: its own words first, then those of its dialects.
    """

    node: Node
    provider: Provider
    fields: dict[str, Field]
    inputs: InputCheck
    plan: RequestPlan
    reader: AnswerReader
    pace: CompiledPace
    advice: tuple[Advice, ...]
    chain: tuple[Reads, ...]

    @property
    def id(self) -> str:
        """The node's id."""
        return self.node.node

    @property
    def is_free(self) -> bool:
        """Whether it starts and costs nothing, so that it may be sent again whatever became of it."""
        return self.node.free or self.node.repeat or self.node.kind in ("query", "local")

    def warnings(self, values: Mapping[str, Any]) -> list[str]:
        """Return advice for a checked input that is let through."""
        return [each.say for each in self.advice if holds(each.when, self.fields, values)]

    def example(self) -> dict[str, Any]:
        """Return an input that can be sent as it is."""
        return example_input(self.node, self.fields)


def compile_node(loaded: Loaded[Node], definitions: Definitions) -> CompiledNode:
    """Compile one node."""
    node = loaded.value
    provider = definitions.providers[node.node.partition(".")[0]].value
    fields = node_fields(node, provider)
    answers = provider.answers if node.answers is None else node.answers
    chain: tuple[Reads, ...] = (node.reads, *(definitions.dialects[name].value for name in answers))
    return CompiledNode(
        node=node,
        provider=provider,
        fields=fields,
        inputs=InputCheck(fields, node.rules, _reserved(node, provider)),
        plan=RequestPlan(node, provider, fields),
        reader=AnswerReader(
            node.kind,
            chain,
            repeat=node.repeat,
            collect=node.collect or provider.collect,
            may_be_empty=node.result == "data",
        ),
        pace=_pace(provider.pace if node.pace is UNSET else node.pace, fields),
        advice=(*_standing(node), *node.warn, *(w for w in provider.warn if w.when.keys() <= fields.keys())),
        chain=chain,
    )


def node_fields(node: Node, provider: Provider) -> dict[str, Field]:
    """Return a node's inputs with the provider's words filled in."""
    return {name: resolved(name, field, provider.fields) for name, field in node.inputs.items()}


def resolved(name: str, field: Field | None, shared: Mapping[str, Field]) -> Field:
    """Return one input with the shared words that it starts from filled in, down to its members."""
    words = {} if field is None else _given(field)
    source: str = words.pop("like", None) or ("" if "type" in words else name)
    base = shared.get(source)
    if base is not None and base.like is None and base.items is None and base.fields is None:
        words = {**_given(base), **words}
    elif base is not None:
        others = {key: value for key, value in shared.items() if key != source}
        words = {**_given(resolved("", base, others)), **words}
    if words.get("items"):
        words["items"] = resolved("", words["items"], shared)
    if words.get("fields"):
        words["fields"] = {key: resolved(key, member, shared) for key, member in words["fields"].items()}
    return Field(**words)


def _given(field: Field) -> dict[str, Any]:
    return {name: value for name, value in asdict(field).items() if value is not None and value is not UNSET}


def _standing(node: Node) -> list[Advice]:
    """Say what holds for every run of a node that upstream gave up or replaced."""
    gone = [Advice(when={}, say=node.withdrawn)] if node.withdrawn else []
    newer = [Advice(when={}, say=f"{node.replaced_by} takes the place of this node.")] if node.replaced_by else []
    return gone + newer


def _reserved(node: Node, provider: Provider) -> dict[str, str]:
    words = {}
    if callback := callback_of(node, provider):
        words[callback.field] = "Halley sets it; give `webhook_url` in the query to be told of the end"
    if provider.external_id:
        words[provider.external_id.field] = "Halley sets it; give your own id as `reference` in the query"
    if any(part in node.inputs for part in ("messages", "prompt")) and node.kind == "direct":
        words["stream"] = "ask with the header `Accept: text/event-stream` to be answered piece by piece"
    return words


def _pace(pace: Pace, fields: Mapping[str, Field]) -> CompiledPace:
    return CompiledPace(
        first_s=seconds(pace.first),
        every_s=seconds(pace.every),
        growth=pace.growth,
        at_most_s=seconds(pace.at_most),
        deadline_s=seconds(pace.deadline),
        with_callback=pace.with_callback,
        at_least_s=seconds(pace.at_least),
        looks=pace.looks,
        by=tuple(name for name in pace.by if name in fields),
    )


def example_input(node: Node, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the node's own example, or one of the examples of its required inputs."""
    if node.example is not None:
        return dict(node.example)
    return {name: example_of(field) for name, field in fields.items() if field.required}


def example_of(field: Field) -> Any:
    """Return an example value of a field."""
    for value in (field.example, field.default, field.assumed):
        if value is not UNSET:
            return value
    if field.enum:
        return field.enum[0]
    if field.items:
        return [example_of(field.items)] * (field.min_items or 1)
    if field.fields:
        return {name: example_of(member) for name, member in field.fields.items() if member and member.required}
    return _EXAMPLES.get(field.type or "")


_EXAMPLES: dict[str, Any] = {
    "string": "text",
    "any": "text",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
}
