"""Results in an answer: artifacts by URL, inside a text or as bytes, structured data, and what may be called next."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from service.definitions.paths import Lookup, Scope, as_text, compile_item_path, compile_path, finite_number
from service.definitions.schema import ArtifactRule, Links, Next, Reads

_MARKDOWN_IMAGE = re.compile(r"!\[[^\]]*\]\(\s*<?([^\s)>]+)")
_MARKDOWN_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(\s*<?[^\s)>]+>?[^)]*\)")
_ADDRESS = re.compile(r"https?://[^\s\"'<>`\\)\]|]+")
_DATA_URI = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,([A-Za-z0-9+/=\s]{8,})")
_DATA_PREFIX = re.compile(r"^data:([^,;]*)[^,]*,", re.IGNORECASE)


class ReadArtifact(Struct, frozen=True, kw_only=True):
    """A result found in an answer.

    Attributes:
        kind: video, image, audio, model3d or file.
        url: Where it can be fetched; None when the answer held its bytes.
        role: `output`, or what else it is.
        upstream_id: The provider's id of it.
        seconds: Its length.
        mime: Its media type, where the answer says so.
        content: Its bytes, until they are kept.
        size_bytes: How many bytes were kept.
    """

    kind: str
    url: str | None
    role: str = "output"
    upstream_id: str | None = None
    seconds: float | None = None
    mime: str | None = None
    content: bytes | None = None
    size_bytes: int | None = None


class ResultReader:
    """Finds the results in accepted answers, as a chain of dialects says."""

    def __init__(self, chain: Sequence[Reads]) -> None:
        rules = [(rule, _compile_artifacts(rule)) for part in chain for rule in part.artifacts]
        self._all = [find for _, find in rules]
        self._partial = [find for rule, find in rules if rule.also_failed]
        self._texts = [compile_path(path) for part in chain for path in part.text]
        self._data = _named(part.data for part in chain)
        self._details = _named(part.details for part in chain)
        self._next = [_compile_next(offer) for part in chain for offer in part.next]

    def artifacts(self, scope: Scope, *, failed: bool = False) -> tuple[ReadArtifact, ...]:
        """Return the results; of a task that failed only those that are handed out all the same."""
        finders = self._partial if failed else self._all
        return tuple(_distinct(each for find in finders for each in find(scope)))

    def text(self, scope: Scope) -> str | None:
        """Return the text result as it is; of several texts in a list, one after the other."""
        for lookup in self._texts:
            value = lookup(scope)
            found = "".join(v for v in value if isinstance(v, str)) if isinstance(value, list) else value
            if isinstance(found, str) and found.strip():
                return found
        return None

    def data(self, scope: Scope) -> dict[str, Any]:
        """Return the structured result."""
        return _looked_up(self._data, scope)

    def details(self, scope: Scope) -> dict[str, Any]:
        """Return facts about the answer that are no result by themselves."""
        return _looked_up(self._details, scope)

    def offers(self, scope: Scope, task_id: str | None, *, awaited: bool) -> dict[str, Any]:
        """Return what may be called next, under `next`; nothing when there is nothing."""
        found = [offer for make in self._next for offer in make(scope, task_id, awaited)]
        return {"next": found} if found else {}


def inline_bytes(text: str) -> tuple[bytes, str | None] | None:
    """Decode Base64, raw or as a data URI; returns the bytes and the URI's media type, or None when it is neither."""
    prefix = _DATA_PREFIX.match(text)
    body = text[prefix.end() :] if prefix else text
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return (data, (prefix[1] or None) if prefix else None) if data else None


def _named(parts: Iterator[Mapping[str, str | list[str]]]) -> dict[str, list[Lookup]]:
    found: dict[str, list[Lookup]] = {}
    for part in parts:
        for name, paths in part.items():
            found.setdefault(name, []).extend(compile_path(path) for path in _listed(paths))
    return found


def _looked_up(places: Mapping[str, list[Lookup]], scope: Scope) -> dict[str, Any]:
    values = ((name, (lookup(scope) for lookup in lookups)) for name, lookups in places.items())
    found = {name: next((v for v in each if v is not None), None) for name, each in values}
    return {name: value for name, value in found.items() if value is not None}


def _listed(paths: str | list[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else paths


Find = Callable[[Scope], Iterator[ReadArtifact]]


def _compile_artifacts(rule: ArtifactRule) -> Find:
    if rule.links is not None:
        return _compile_links(rule, rule.links)
    each = compile_path(rule.each)
    describe = _compile_facts(rule)
    urls = _compile_urls(rule)
    contents = _compile_bytes(rule.base64) if rule.base64 else None

    def values(item: Any) -> list[dict[str, Any]]:
        return [*urls(item)] or ([*contents(item)] if contents else [])

    def find(scope: Scope) -> Iterator[ReadArtifact]:
        for item in _ordered(each(scope), rule.order_by):
            for words in values(item):
                kind = _kind_of(words["url"], rule) if rule.by_ending else rule.kind
                yield ReadArtifact(**{"kind": kind, "role": rule.role, **describe(item), **words})

    return find


_ENDINGS = {
    **dict.fromkeys(("mp4", "webm", "mov"), "video"),
    **dict.fromkeys(("mp3", "wav", "flac", "ogg", "m4a", "aac", "opus"), "audio"),
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "gif", "svg", "avif"), "image"),
    **dict.fromkeys(("glb", "obj", "stl", "usdz", "fbx"), "model3d"),
}


def _kind_of(url: str | None, rule: ArtifactRule) -> str:
    return _ENDINGS.get(_path_of(url or "").rpartition(".")[2].lower(), rule.kind)


def _compile_facts(rule: ArtifactRule) -> Callable[[Any], dict[str, Any]]:
    ident = compile_item_path(rule.id) if rule.id else None
    mime = compile_item_path(rule.mime) if rule.mime else None
    length = rule.seconds or rule.milliseconds
    length_of = compile_item_path(length) if length else None
    unit = 1.0 if rule.seconds else 0.001

    def facts(item: Any) -> dict[str, Any]:
        amount = finite_number(length_of(item)) if length_of else None
        return {
            "upstream_id": (as_text(ident(item)) or None) if ident else None,
            "seconds": None if amount is None else amount * unit,
            "mime": (as_text(mime(item)) or None) if mime else None,
        }

    return facts


def _compile_urls(rule: ArtifactRule) -> Callable[[Any], Iterator[dict[str, Any]]]:
    lookups = [compile_item_path(path) for path in _listed(rule.url)]

    def urls(item: Any) -> Iterator[dict[str, Any]]:
        for url in (lookup(item) for lookup in lookups):
            if isinstance(url, str) and url.strip():
                yield _by_address(url.strip())
                if rule.first:
                    return

    return urls


def _by_address(url: str) -> dict[str, Any]:
    """Tell a result by its URL; one whose address is a data URI holds its bytes there."""
    inline = inline_bytes(url) if url[:5].lower() == "data:" else None
    return {"url": url} if inline is None else {"url": None, "content": inline[0], "mime": inline[1]}


def _compile_bytes(path: str) -> Callable[[Any], Iterator[dict[str, Any]]]:
    lookup = compile_item_path(path)

    def contents(item: Any) -> Iterator[dict[str, Any]]:
        text = lookup(item)
        found = inline_bytes(text) if isinstance(text, str) else None
        if found is not None:
            yield {"url": None, "content": found[0], **({"mime": found[1]} if found[1] else {})}

    return contents


def _compile_links(rule: ArtifactRule, links: Links) -> Find:
    each = compile_path(rule.each)
    ends = tuple(f".{end}" for end in links.ends)

    def find(scope: Scope) -> Iterator[ReadArtifact]:
        found = each(scope)
        text = "\n".join(v for v in found if isinstance(v, str)) if isinstance(found, list) else as_text(found)
        for url in _addresses(text.replace("\\/", "/"), ends, links, is_picture=rule.kind == "image"):
            yield ReadArtifact(kind=rule.kind, role=rule.role, **_by_address(url))

    return find


def _addresses(text: str, ends: tuple[str, ...], links: Links, *, is_picture: bool) -> list[str]:
    if is_picture and (shown := _MARKDOWN_IMAGE.findall(text)):
        return list(dict.fromkeys(shown))
    bare = text if links.anchors else _MARKDOWN_LINK.sub(" ", text)
    urls = [url.rstrip(".,;:!?*_") for url in _ADDRESS.findall(bare)]
    results = [url for url in urls if _path_of(url).lower().endswith(ends)]
    if results:
        by_name: dict[str, str] = {}
        for url in results:
            name = _path_of(url).rpartition("/")[2]
            by_name[name] = min(by_name.get(name, url), url, key=len)
        return list(by_name.values())
    return [f"data:{mime};base64,{''.join(data.split())}" for mime, data in _DATA_URI.findall(text)]


def _path_of(url: str) -> str:
    return url.partition("?")[0].partition("#")[0]


def _ordered(found: Any, key: str | None) -> list[Any]:
    items = found if isinstance(found, list) else [] if found is None else [found]
    if key and all(isinstance(item, dict) and finite_number(item.get(key)) is not None for item in items):
        return sorted(items, key=lambda item: finite_number(item[key]) or 0.0)
    return items


def _distinct(artifacts: Iterator[ReadArtifact]) -> Iterator[ReadArtifact]:
    """Leave out what an answer names twice; equal bytes are results of their own."""
    seen: set[str] = set()
    for artifact in artifacts:
        if artifact.url is None or artifact.url not in seen:
            seen.add(artifact.url or "")
            yield artifact


Offer = Callable[[Scope, str | None, bool], Iterator[dict[str, Any]]]


def _compile_next(offer: Next) -> Offer:
    each = compile_path(offer.each) if offer.each else lambda _scope: [{}]
    titles = [compile_item_path(path) for path in _listed(offer.title)] if offer.each else []
    inputs = {name: None if path == "task_id" else compile_item_path(path) for name, path in offer.inputs.items()}

    def make(scope: Scope, task_id: str | None, awaited: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
        if awaited != offer.awaited:
            return
        for item in _ordered(each(scope), None):
            given = {name: task_id if lookup is None else lookup(item) for name, lookup in inputs.items()}
            if all(value not in (None, "") for value in given.values()):
                label = next((t for at in titles if (t := as_text(at(item)))), "") if offer.each else offer.title
                yield {"node": offer.node, "title": label, "input": given}

    return make
