"""Fixtures against readers: which nodes a recorded answer proves, and in what a reading differs from its fixture.

How an answer is read is in `reader`; where fixtures stand, and that their nodes exist, is checked by `lint`.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from service.definitions.catalog import Catalog, CompiledNode
from service.definitions.loader import Definitions
from service.definitions.reader import Answer, Reading
from service.definitions.schema import Case

FAMILY = "family"


class Proof(Struct, frozen=True, kw_only=True):
    """The recorded answers of one file that a node must read.

    Attributes:
        node: The node.
        place: `<provider>/<file>` of the fixtures.
        cases: The answers, each with its place in the file.
    """

    node: CompiledNode
    place: str
    cases: tuple[tuple[int, Case], ...]


class Difference(Struct, frozen=True, kw_only=True):
    """What was read otherwise than a fixture says.

    Attributes:
        key: Word of the reading.
        expected: What the fixture says.
        found: What was read.
    """

    key: str
    expected: Any
    found: Any


def proofs(definitions: Definitions, catalog: Catalog) -> Iterator[Proof]:
    """Yield what proves each node, file by file; a family's file proves each operation that its cases are for."""
    for place, fixtures in definitions.fixtures.items():
        provider, _, file = place.removesuffix(".yaml").partition("/")
        cases = tuple(enumerate(fixtures.value))
        if file != FAMILY:
            if f"{provider}.{file}" in catalog.nodes:
                yield Proof(node=catalog.nodes[f"{provider}.{file}"], place=place, cases=cases)
            continue
        for node in catalog.nodes.values():
            concerned = tuple((index, case) for index, case in cases if _is_for(case, node))
            if node.provider.provider == provider and concerned:
                yield Proof(node=node, place=place, cases=concerned)


def _is_for(case: Case, node: CompiledNode) -> bool:
    return node.id.partition(".")[2] in case.nodes if case.nodes else node.node.kind == "task"


def differences(node: CompiledNode, case: Case) -> list[Difference]:
    """Let a node read a fixture's answer; returns where the reading is not what the fixture says.

    An object is compared in the keys that the fixture names, so `error: {}` and `data: {}` mean some error and some
    data. What the fixture leaves out is not compared.
    """
    status = None if case.as_ == "callback" else case.status
    reading = node.reader.read(case.as_, Answer(status=status, body=case.body))
    found = {key: _told(reading, key, expected) for key, expected in case.reads.items()}
    return [
        Difference(key=key, expected=expected, found=found[key])
        for key, expected in case.reads.items()
        if found[key] != expected
    ]


def _told(reading: Reading, key: str, expected: Any) -> Any:
    """Return a word of a reading in the shape that fixtures write it in."""
    if key not in Reading.__struct_fields__:
        return "(there is no such word in a reading)"
    if key == "artifacts":
        results = [artifact for artifact in reading.artifacts if artifact.role == "output"]
        return [{"kind": each.kind, "url": each.url} for each in results]
    value = getattr(reading, key)
    if not isinstance(expected, dict) or value is None:
        return value
    if key == "error":
        return {name: getattr(value, name, None) for name in expected}
    return {name: value.get(name) for name in expected} if isinstance(value, dict) else value
