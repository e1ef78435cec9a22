"""Rules across words and files: what no file can show by itself, checked before anything is compiled.

`lint` is the whole of it. What concerns a single input is in `lint_fields`. Every rule yields all its faults,
each where it stands in its file; nothing here raises.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from service.definitions.compiler import example_input, node_fields
from service.definitions.inputs import InputCheck
from service.definitions.lint_fields import condition_faults, fields_faults, rules_faults
from service.definitions.loader import DefinitionFault, Definitions, Document, Loaded
from service.definitions.paths import compile_item_path, compile_path, compile_verdict_path
from service.definitions.request import slots
from service.definitions.schema import Field, Node, Provider, Reads
from service.errors import InvalidInput

_FAMILY = "family"
_Path = tuple[str | int, ...]


def lint(definitions: Definitions) -> list[DefinitionFault]:
    """Return everything that is wrong with definitions that were read without a fault, by file and line."""
    faults: list[DefinitionFault] = []
    for dialect in definitions.dialects.values():
        faults += _reads_faults(dialect.document, (), dialect.value)
    for provider in definitions.providers.values():
        faults += _provider_faults(provider, definitions)
    for node in definitions.nodes.values():
        faults += _node_faults(node, definitions)
    for place, fixtures in definitions.fixtures.items():
        faults += _fixture_faults(place, fixtures, definitions)
    return sorted(set(faults), key=lambda fault: (fault.file, fault.line, fault.path, fault.code))


def _provider_faults(loaded: Loaded[Provider], definitions: Definitions) -> Iterator[DefinitionFault]:
    provider, document = loaded.value, loaded.document
    yield from _dialects_known(document, provider.answers, definitions)
    yield from fields_faults(document, ("fields",), provider.fields, provider.fields)
    yield from _asking_faults(document, provider)
    yield from _advice_faults(loaded, definitions)


def _asking_faults(document: Document, provider: Provider) -> Iterator[DefinitionFault]:
    yield from _query_faults(document, ("query",), provider.query, "task_id")
    if provider.external_id:
        path: _Path = ("external_id", "query")
        yield from _query_faults(document, path, provider.external_id.query, "external_id")


def _query_faults(document: Document, path: _Path, endpoint: str | None, needed: str) -> Iterator[DefinitionFault]:
    if endpoint is None:
        return
    names = {name for name, _ in slots(endpoint)}
    known = {"path", needed}
    for name in sorted(names - known):
        yield document.fault(path, "slot", f"{{{name}}} cannot be filled here", f"known: {sorted(known)}")
    if needed not in names:
        yield document.fault(path, "slot", f"{{{needed}}} is missing")


def _advice_faults(loaded: Loaded[Provider], definitions: Definitions) -> Iterator[DefinitionFault]:
    provider = loaded.value
    nodes = [each.value for each in definitions.nodes.values() if _provider_of(each.value) == provider.provider]
    inputs = [node_fields(node, provider) for node in nodes]
    for index, advice in enumerate(provider.warn if nodes else []):
        path = ("warn", index, "when")
        concerned = [fields for fields in inputs if advice.when.keys() <= fields.keys()]
        faults = [[*condition_faults(loaded.document, path, advice.when, fields)] for fields in concerned]
        if not concerned:
            message = f"no operation has all these inputs: {', '.join(advice.when)}"
            yield loaded.document.fault(path, "unknown_input", message)
        elif all(faults):
            yield from faults[0]


def _node_faults(loaded: Loaded[Node], definitions: Definitions) -> Iterator[DefinitionFault]:
    node, document = loaded.value, loaded.document
    yield from _dialects_known(document, node.answers or [], definitions)
    yield from _reads_faults(document, ("reads",), node.reads)
    if node.replaced_by and node.replaced_by not in definitions.nodes:
        yield document.fault(("replaced_by",), "unknown_node", f"there is no node {node.replaced_by!r}")
    provider = definitions.providers.get(_provider_of(node))
    if provider is None:
        name = _provider_of(node)
        yield document.fault(("node",), "unknown_provider", f"there is no nodes/{name}/provider.yaml")
    else:
        yield from _inputs_faults(loaded, provider.value)
        yield from _following_faults(loaded, provider.value)


def _inputs_faults(loaded: Loaded[Node], provider: Provider) -> Iterator[DefinitionFault]:
    node, document = loaded.value, loaded.document
    fields = node_fields(node, provider)
    faults = [*fields_faults(document, ("inputs",), node.inputs, provider.fields)]
    faults += rules_faults(document, ("rules",), node.rules, fields)
    faults += _slot_faults(loaded, fields)
    for index, advice in enumerate(node.warn):
        faults += condition_faults(document, ("warn", index, "when"), advice.when, fields)
    yield from faults
    if not faults:
        yield from _example_faults(loaded, fields)


def _slot_faults(loaded: Loaded[Node], fields: Mapping[str, Field]) -> Iterator[DefinitionFault]:
    node, document = loaded.value, loaded.document
    for name, holds_slashes in slots(node.submit):
        field = fields.get(name)
        if field is None:
            yield document.fault(("submit",), "slot", f"{{{name}}} is no input of this node")
            continue
        if not field.required and "default" not in _said(field):
            hint = "make it required or give it a default"
            yield document.fault(("inputs", name), "slot", f"{name} may be missing from the path", hint)
        if holds_slashes and not field.enum and not field.pattern:
            hint = "close it by enum or pattern"
            yield document.fault(("inputs", name), "slot", f"{name} may lead to any path", hint)


def _said(field: Field) -> set[str]:
    is_sure = field.default is not None and not field.default_when
    return {"default"} if is_sure and isinstance(field.default, str | int | float) else set()


def _following_faults(loaded: Loaded[Node], provider: Provider) -> Iterator[DefinitionFault]:
    node, document = loaded.value, loaded.document
    if node.kind == "task" and not (node.query or provider.query):
        yield document.fault((), "no_query", "a task needs a query, here or in the provider")
    yield from _query_faults(document, ("query",), node.query, "task_id")
    own = {provider.callback.field} if provider.callback and node.callback else set()
    own |= {provider.external_id.field} if provider.external_id and node.external_id is True else set()
    for name in sorted(own & node.inputs.keys()):
        yield document.fault(("inputs", name), "reserved", f"{name} is sent by Halley itself")


def _example_faults(loaded: Loaded[Node], fields: Mapping[str, Field]) -> Iterator[DefinitionFault]:
    node, document = loaded.value, loaded.document
    try:
        InputCheck(fields, node.rules, {}).check(example_input(node, fields))
    except InvalidInput as exc:
        hint = "" if node.example else "give the node an example"
        for fault in exc.faults:
            message = f"{fault.pointer or 'the example'}: {fault.message}"
            yield document.fault(("example",), "example", message, hint)


def _dialects_known(document: Document, names: Sequence[str], definitions: Definitions) -> Iterator[DefinitionFault]:
    for index, name in enumerate(names):
        if name not in definitions.dialects:
            known = f"known: {', '.join(sorted(definitions.dialects))}"
            yield document.fault(("answers", index), "unknown_dialect", f"there is no dialect {name!r}", known)


def _reads_faults(document: Document, path: _Path, reads: Reads) -> Iterator[DefinitionFault]:
    words: dict[str, str] = {}
    for state, raws in reads.state.words.items():
        for index, raw in enumerate(raws):
            if words.setdefault(raw.strip().casefold(), state) != state:
                before = words[raw.strip().casefold()]
                message = f"{raw!r} means {before} already"
                yield document.fault((*path, "state", "words", state, index), "two_states", message)
    for place, text, compiles in _all_paths(reads):
        try:
            compiles(text)
        except ValueError as exc:
            yield document.fault((*path, *place), "path", f"{text!r} is no path: {exc}")


def _all_paths(reads: Reads) -> Iterator[tuple[_Path, str, Callable[[str], Any]]]:
    lists: dict[_Path, Sequence[str]] = {
        ("id",): reads.id,
        ("state", "at"): reads.state.at,
        ("state", "overruled_by"): reads.state.overruled_by,
        ("progress",): reads.progress,
        ("text",): reads.text,
        ("errors", "code"): reads.errors.code,
        ("errors", "message"): reads.errors.message,
        ("failure", "message"): reads.failure.message,
    }
    lists |= {("data", name): [at] if isinstance(at, str) else at for name, at in reads.data.items()}
    for place, paths in lists.items():
        yield from (((*place, index), text, compile_path) for index, text in enumerate(paths))
    for index, verdict in enumerate(reads.verdict):
        yield ("verdict", index, "at"), verdict.at, compile_verdict_path
    for index, rule in enumerate(reads.artifacts):
        yield ("artifacts", index, "each"), rule.each, compile_path
        inside = [rule.url] if isinstance(rule.url, str) else rule.url
        for text in (*inside, rule.id, rule.seconds, rule.milliseconds):
            if text is not None:
                yield ("artifacts", index), text, compile_item_path


def _fixture_faults(place: str, loaded: Loaded[Any], definitions: Definitions) -> Iterator[DefinitionFault]:
    provider, _, file = place.removesuffix(".yaml").partition("/")
    document = loaded.document
    is_family = file == _FAMILY and provider in definitions.providers
    if not is_family and f"{provider}.{file}" not in definitions.nodes:
        message = f"there is no node {provider}.{file}"
        yield document.fault((), "unknown_node", message, "name it after its operation, or family.yaml")
    names = [case.name for case in loaded.value]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield document.fault((index, "name"), "repeated", f"{name!r} names another fixture of this file")


def _provider_of(node: Node) -> str:
    return node.node.partition(".")[0]
