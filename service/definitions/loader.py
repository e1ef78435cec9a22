"""Definition files into Structs, with every fault found: file, line, path in the file, code and hint.

Reads folders of YAML and checks each file by itself. What can only be seen across files is in `lint`;
compiling is in `catalog`.
"""

import difflib
import importlib.resources
import types
import typing
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Struct

from service.definitions.schema import Case, Dialect, Node, Provider
from service.errors import HalleyError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
T = TypeVar("T")

_PLACES = {"dialect": "dialects/{}.yaml", "provider": "{}/provider.yaml", "node": "{}.yaml"}
_WORDS_YAML_CHANGES = "quote it: YAML reads yes, no, on and off as true and false"


class DefinitionFault(Struct, frozen=True, kw_only=True):
    """One thing wrong in a definition file, and where."""

    file: str
    line: int
    path: str
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Write the fault as one line for a terminal."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}: {self.path or '.'}: {self.code}: {self.message}{hint}"


class DefinitionFaults(HalleyError):
    """Node definitions are wrong; carries every fault."""

    def __init__(self, faults: Sequence[DefinitionFault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class Document:
    """A parsed YAML file that knows on which line each value stands, and which keys stand twice.

    The tree that tells lines is parsed anew for a file that has faults: kept for all, trees were a tenth of the memory.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._text = text
        loader = _Loader(text)
        try:
            tree = loader.get_single_node()
            self.data = loader.construct_document(tree) if tree else None
        finally:
            loader.dispose()
        self._repeated = tuple(_repeated_keys(tree))

    @cached_property
    def _tree(self) -> Any:
        loader = _Loader(self._text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line of the value at `path`, or of the nearest one above it that exists."""
        node, line = self._tree, 1
        for step in (*path, None):
            if node is None:
                break
            line = node.start_mark.line + 1
            if step is not None:
                node, line = _child(node, step, line)
        return line

    def fault(self, path: Sequence[str | int], code: str, message: str, hint: str = "") -> DefinitionFault:
        """Make a fault at a place in this file."""
        return DefinitionFault(
            file=self.file,
            line=self.line(path),
            path=".".join(map(str, path)),
            code=code,
            message=message,
            hint=hint,
        )

    def repeated_keys(self) -> Iterator[DefinitionFault]:
        """Find keys that stand twice in one mapping, of which YAML would silently keep the last."""
        for path in self._repeated:
            yield self.fault(path, "repeated", f"{path[-1]!r} stands twice")


def _repeated_keys(tree: Any) -> Iterator[tuple[str | int, ...]]:
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(tree, ())]
    visited: set[int] = set()
    while waiting:
        node, path = waiting.pop()
        if id(node) in visited:
            continue  # an alias, which may even stand within its own anchor
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                if key.value in seen:
                    yield (*path, key.value)
                seen.add(key.value)
                waiting.append((value, (*path, key.value)))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, (*path, index)) for index, item in enumerate(node.value)]


def _child(node: Any, step: str | int, line: int) -> tuple[Any, int]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line + 1
    return None, line


class Loaded(Struct, Generic[T], frozen=True):
    """A definition together with the document that it came from."""

    value: T
    document: Document


class Definitions(Struct, frozen=True, kw_only=True):
    """All definitions of one or several folders, by name; later folders replace earlier ones."""

    dialects: dict[str, Loaded[Dialect]]
    providers: dict[str, Loaded[Provider]]
    nodes: dict[str, Loaded[Node]]
    fixtures: dict[str, Loaded[list[Case]]]


def shipped() -> Traversable:
    """Return the folder of definitions that Halley brings."""
    return importlib.resources.files("nodes")


def load(folders: Sequence[Traversable | Path], *, fixtures: bool = False) -> Definitions:
    """Read every definition below the folders.

    Args:
        folders: Each with `dialects/*.yaml` and `<provider>/*.yaml`; a later one adds or replaces.
        fixtures: Read the fixtures too, keyed `<provider>/<file name>`.

    Raises:
        DefinitionFaults: Some files are wrong; all faults of all files are listed.
    """
    found = Definitions(dialects={}, providers={}, nodes={}, fixtures={})
    faults: list[DefinitionFault] = []
    for folder in folders:
        for place, entry in _files(folder, fixtures=fixtures):
            faults += _load_file(f"{_label(folder)}/{place}", place, entry, found)
    if faults:
        raise DefinitionFaults(faults)
    return found


def _files(folder: Traversable | Path, *, fixtures: bool) -> Iterator[tuple[str, Traversable | Path]]:
    if not folder.is_dir():
        fault = DefinitionFault(file=str(folder), line=1, path="", code="missing", message="there is no such folder")
        raise DefinitionFaults([fault])
    for family in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not family.is_dir() or family.name.startswith((".", "_")):
            continue
        for entry in sorted(family.iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".yaml"):
                yield f"{family.name}/{entry.name}", entry
            elif fixtures and entry.name == "fixtures":
                cases = [case for case in entry.iterdir() if case.name.endswith(".yaml")]
                for case in sorted(cases, key=lambda case: case.name):
                    yield f"{family.name}/fixtures/{case.name}", case


def _label(folder: Traversable | Path) -> str:
    return "nodes" if folder == shipped() else str(folder)


def _load_file(file: str, place: str, entry: Traversable | Path, found: Definitions) -> list[DefinitionFault]:
    try:
        document = Document(file, entry.read_text(encoding="utf-8"))
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        message = str(getattr(exc, "problem", None) or "this is not YAML")
        line = mark.line + 1 if mark else 1
        return [DefinitionFault(file=file, line=line, path="", code="yaml", message=message)]
    except (ValueError, RecursionError) as exc:
        return [DefinitionFault(file=file, line=1, path="", code="yaml", message=str(exc))]
    return _load_document(document, place, found)


def _load_document(document: Document, place: str, found: Definitions) -> list[DefinitionFault]:
    kind, shelf, key = _kind_of(place, document, found)
    faults = list(document.repeated_keys())
    try:
        value = msgspec.convert(document.data, kind)
    except msgspec.ValidationError as exc:
        each = [*_faults(document, (), document.data, kind)]
        return faults + (each or [document.fault((), "value", _plain(str(exc)))])
    except RecursionError:
        return [*faults, document.fault((), "yaml", "an alias stands within its own anchor")]
    name = getattr(value, key) if key else place.replace("fixtures/", "")
    shelf[name] = Loaded(value, document)
    expected = _PLACES[key].format(name.replace(".", "/")) if key else place
    if place != expected:
        faults.append(document.fault((key,), "name", f"{name!r} must stand in {expected}"))
    return faults


def _kind_of(place: str, document: Document, found: Definitions) -> tuple[Any, dict[str, Any], str]:
    if "/fixtures/" in place:
        return list[Case], found.fixtures, ""
    if place.startswith("dialects/"):
        return Dialect, found.dialects, "dialect"
    if isinstance(document.data, dict) and "provider" in document.data:
        return Provider, found.providers, "provider"
    return Node, found.nodes, "node"


def _faults(document: Document, path: tuple[str | int, ...], value: Any, kind: Any) -> Iterator[DefinitionFault]:
    """Yield every fault of a value against a type, where msgspec itself stops at the first."""
    kind = _without_none(kind, value)
    if get_origin(kind) in (list, dict) and isinstance(value, get_origin(kind)):
        inner = get_args(kind)[-1]
        for step, item in enumerate(value) if isinstance(value, list) else value.items():
            yield from _faults(document, (*path, step), item, inner)
    elif isinstance(kind, type) and issubclass(kind, Struct) and isinstance(value, dict):
        yield from _struct_faults(document, path, value, kind)
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as exc:
            hint = _WORDS_YAML_CHANGES if "`bool`" in str(exc) else ""
            yield document.fault(path, "value", _plain(str(exc)), hint)


def _struct_faults(
    document: Document, path: tuple[str | int, ...], value: dict[str, Any], kind: type[Struct]
) -> Iterator[DefinitionFault]:
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in value.keys() - fields.keys():
        near = difflib.get_close_matches(str(name), fields, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(fields))}"
        yield document.fault((*path, name), "unknown_word", f"{name!r} is not a word of the format", hint)
    for name, field in fields.items():
        if name in value:
            yield from _faults(document, (*path, name), value[name], hints[field.name])
        elif field.required:
            yield document.fault(path, "missing_word", f"{name!r} is missing")


def _without_none(kind: Any, value: Any) -> Any:
    """Reduce a union to the member that the value was most likely meant for."""
    if get_origin(kind) is Annotated or get_origin(kind) not in (Union, types.UnionType):
        return kind
    members = [member for member in get_args(kind) if member is not type(None)]
    if value is None and len(members) < len(get_args(kind)):
        return None
    shape = (dict, Struct) if isinstance(value, dict) else (list,) if isinstance(value, list) else None
    if shape:
        fitting = [member for member in members if _is_one_of(member, shape)]
        members = fitting or members
    return members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007 - built at run time


def _is_one_of(kind: Any, shapes: tuple[type, ...]) -> bool:
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, shapes)


def _plain(message: str) -> str:
    return message.removesuffix(" - at `$`").replace("`", "'")
