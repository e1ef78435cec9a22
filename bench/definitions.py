"""What it takes to read an answer of upstream, and to load and compile all definitions."""

import statistics
import time
from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable

import msgspec
import yaml

from bench.parts.ground import Ground
from bench.parts.table import Line
from service.definitions.catalog import compile_catalog, load_catalog
from service.definitions.loader import Definitions, load, shipped
from service.definitions.paths import decode_body
from service.definitions.proof import proofs
from service.definitions.reader import Answer, AnswerReader, As

_ROUNDS = 5

Given = tuple[AnswerReader, As, int | None, bytes]


async def lines(_: Ground) -> list[Line]:
    """Measure over all nodes that Halley brings, and all answers in their fixtures."""
    definitions = load([shipped()], fixtures=True)
    answers = list(_answers(definitions))
    texts = [entry.read_text(encoding="utf-8") for entry in _files()]
    return [
        Line(
            what="read one answer of upstream",
            unit="us",
            measured=1e6 * _took_s(lambda: _read(answers)) / len(answers),
            floor=1e6 * _took_s(lambda: [msgspec.json.decode(body) for *_, body in answers]) / len(answers),
            floor_is="msgspec decodes its JSON",
        ),
        Line(
            what=f"load, check and compile {len(definitions.nodes)} nodes",
            unit="ms",
            measured=1000 * _took_s(load_catalog),
            floor=1000 * _took_s(lambda: [yaml.load(text, yaml.CSafeLoader) for text in texts]),
            floor_is="libyaml reads the files",
        ),
    ]


def _answers(definitions: Definitions) -> Iterator[Given]:
    for proof in proofs(definitions, compile_catalog(definitions)):
        for _, case in proof.cases:
            status = None if case.as_ == "callback" else case.status
            yield proof.node.reader, case.as_, status, msgspec.json.encode(case.body)


def _read(answers: list[Given]) -> None:
    for reader, as_, status, body in answers:
        reader.read(as_, Answer(status=status, body=decode_body(body)))


def _files() -> Iterator[Traversable]:
    for family in shipped().iterdir():
        if family.is_dir():
            yield from (entry for entry in family.iterdir() if entry.name.endswith(".yaml"))


def _took_s(work: Callable[[], object]) -> float:
    """Return how much processor time some work takes."""
    times = []
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        work()
        times.append(time.process_time() - began_s)
    return statistics.median(times)
