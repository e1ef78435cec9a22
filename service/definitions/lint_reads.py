"""Rules about reading: words of one meaning, and paths that are paths."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from service.definitions.loader import DefinitionFault, Document
from service.definitions.paths import compile_item_path, compile_path, compile_verdict_path
from service.definitions.schema import ArtifactRule, Next, Reads, Stream

_Path = tuple[str | int, ...]
_Placed = tuple[_Path, str, Callable[[str], Any]]


def reads_faults(document: Document, path: _Path, reads: Reads) -> Iterator[DefinitionFault]:
    """Find status words with two meanings, paths that are none, and results that are told of in two ways.

    Args:
        document: Where it stands.
        path: Place of the words in it.
        reads: The words.
    """
    yield from _word_faults(document, path, reads)
    for place, text, compiles in _all_paths(reads):
        try:
            compiles(text)
        except ValueError as exc:
            yield document.fault((*path, *place), "path", f"{text!r} is no path: {exc}")
    for index, rule in enumerate(reads.artifacts):
        if rule.base64 and rule.links:
            message = "a result is found by base64 or by links, not by both"
            yield document.fault((*path, "artifacts", index), "two_ways", message)


def _word_faults(document: Document, path: _Path, reads: Reads) -> Iterator[DefinitionFault]:
    words: dict[str, str] = {}
    for state, raws in reads.state.words.items():
        for index, raw in enumerate(raws):
            if words.setdefault(raw.strip().casefold(), state) != state:
                before = words[raw.strip().casefold()]
                message = f"{raw!r} means {before} already"
                yield document.fault((*path, "state", "words", state, index), "two_states", message)
    for index, raw in enumerate(reads.state.awaits):
        if words.get(raw.strip().casefold(), "running") != "running":
            message = f"{raw!r} cannot wait for input and be {words[raw.strip().casefold()]}"
            yield document.fault((*path, "state", "awaits", index), "two_states", message)


def _all_paths(reads: Reads) -> Iterator[_Placed]:
    lists: dict[_Path, Sequence[str]] = {
        ("id",): reads.id,
        ("state", "at"): reads.state.at,
        ("state", "overruled_by"): reads.state.overruled_by,
        ("progress",): reads.progress,
        ("text",): reads.text,
        ("errors", "code"): reads.errors.code,
        ("errors", "message"): reads.errors.message,
        ("failure", "code"): reads.failure.code,
        ("failure", "message"): reads.failure.message,
        ("failure", "canceled"): reads.failure.canceled,
    }
    lists |= _named("data", reads.data) | _named("details", reads.details)
    for place, paths in lists.items():
        yield from (((*place, index), text, compile_path) for index, text in enumerate(paths))
    for index, verdict in enumerate(reads.verdict):
        yield ("verdict", index, "at"), verdict.at, compile_verdict_path
    for index, rule in enumerate(reads.artifacts):
        yield from _artifact_paths(("artifacts", index), rule)
    for index, offer in enumerate(reads.next):
        yield from _offer_paths(("next", index), offer)
    if reads.stream is not None:
        yield from _stream_paths(reads.stream)


def _named(word: str, places: Mapping[str, str | list[str]]) -> dict[_Path, Sequence[str]]:
    return {(word, name): [at] if isinstance(at, str) else at for name, at in places.items()}


def _artifact_paths(path: _Path, rule: ArtifactRule) -> Iterator[_Placed]:
    yield (*path, "each"), rule.each, compile_path
    inside = [rule.url] if isinstance(rule.url, str) else rule.url
    for text in (*inside, rule.base64, rule.mime, rule.id, rule.seconds, rule.milliseconds):
        if text is not None:
            yield path, text, compile_item_path


def _offer_paths(path: _Path, offer: Next) -> Iterator[_Placed]:
    if offer.each is None:
        return
    yield (*path, "each"), offer.each, compile_path
    titles = [offer.title] if isinstance(offer.title, str) else offer.title
    for text in (*titles, *offer.inputs.values()):
        yield path, text, compile_item_path


def _stream_paths(stream: Stream) -> Iterator[_Placed]:
    for index, step in enumerate(stream.steps):
        yield ("stream", "steps", index, "take"), step.take, compile_item_path
    for index, text in enumerate(stream.done):
        yield ("stream", "done", index), text, compile_path
