"""Rules across words and files: what no file can show by itself, checked before anything is compiled.

`lint` is the whole of it. What concerns a single input is in `lint_fields`. Every rule yields all its faults,
each where it stands in its file; nothing here raises.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.definitions.compiler import example_input, node_fields
from service.definitions.inputs import InputCheck
from service.definitions.lint_fields import condition_faults, fields_faults, rules_faults
from service.definitions.lint_reads import reads_faults
from service.definitions.loader import DefinitionFault, Definitions, Document, Loaded
from service.definitions.request import callback_of, slots
from service.definitions.schema import Ask, AskMany, Collect, Field, Node, Provider
from service.errors import InvalidInput

_Query = str | Ask | bool | None

_FAMILY = "family"
_Path = tuple[str | int, ...]


def lint(definitions: Definitions) -> list[DefinitionFault]:
    """Return everything that is wrong with definitions that were read without a fault, by file and line."""
    faults: list[DefinitionFault] = []
    for dialect in definitions.dialects.values():
        faults += reads_faults(dialect.document, (), dialect.value)
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
    yield from _following_words(document, provider.query, provider.query_many, provider.collect)
    if provider.external_id:
        path: _Path = ("external_id", "query")
        yield from _query_faults(document, path, provider.external_id.query, "external_id")


def _following_words(
    document: Document, query: _Query, many: AskMany | None, collect: Collect | None
) -> Iterator[DefinitionFault]:
    yield from _query_faults(document, ("query",), query, "task_id")
    if many is not None:
        yield from _query_faults(document, ("query_many",), Ask(request=many.request, body=many.body), "task_ids")
    if collect is not None:
        known = {"task_id", *collect.slots}
        for name in sorted({name for name, _ in slots(collect.request)} - known):
            yield document.fault(("collect",), "slot", f"{{{name}}} cannot be filled here", f"known: {sorted(known)}")


def _query_faults(document: Document, path: _Path, query: _Query, needed: str) -> Iterator[DefinitionFault]:
    if query is None or isinstance(query, bool):
        return
    endpoint, body = (query, {}) if isinstance(query, str) else (query.request, query.body)
    names = {name for name, _ in slots(f"{endpoint} {body}")}
    known = {"path", needed}
    for name in sorted(names - known):
        yield document.fault(path, "slot", f"{{{name}}} cannot be filled here", f"known: {sorted(known)}")
    if needed not in names:
        yield document.fault(path, "slot", f"{{{needed}}} is missing")


def _advice_faults(loaded: Loaded[Provider], definitions: Definitions) -> Iterator[DefinitionFault]:
    provider = loaded.value
    nodes = [each.value for each in definitions.nodes.values() if _provider_of(each.value) == provider.provider]
    inputs = [node_fields(node, provider) for node in nodes] if provider.warn else []
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
    yield from reads_faults(document, ("reads",), node.reads)
    yield from _kind_faults(loaded, definitions)
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
    for name, holds_slashes in slots(node.submit or ""):
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
    asks = node.query if node.query is not None else provider.query
    if node.kind == "task" and asks is None and not node.repeat:
        hint = "say `query: false` where upstream has no way to ask"
        yield document.fault((), "no_query", "a task needs a query, here or in the provider", hint)
    yield from _following_words(document, node.query, node.query_many, node.collect)
    callback = callback_of(node, provider)
    own = {callback.field} if callback else set()
    own |= {provider.external_id.field} if provider.external_id and node.external_id is True else set()
    for name in sorted(own & node.inputs.keys()):
        yield document.fault(("inputs", name), "reserved", f"{name} is sent by Halley itself")


def _kind_faults(loaded: Loaded[Node], definitions: Definitions) -> Iterator[DefinitionFault]:
    """Find words that the node's kind needs, and nodes named in it that there are not."""
    node, document = loaded.value, loaded.document
    needed = {"local": ("table", node.table), "flow": ("steps", node.steps)}.get(node.kind, ("submit", node.submit))
    if not needed[1]:
        yield document.fault((), "missing_word", f"a {node.kind} node needs {needed[0]!r}")
    if node.checks_key and (node.kind != "direct" or not node.free or _needs_input(node)):
        yield document.fault(("checks_key",), "checks_key", "what checks the key is direct, free and needs no input")
    if node.continues and node.continues not in node.inputs:
        yield document.fault(("continues",), "unknown_input", f"{node.continues!r} is no input here")
    named: list[tuple[_Path, str]] = [(("steps", index, "node"), step.node) for index, step in enumerate(node.steps)]
    named += [(("reads", "next", index, "node"), offer.node) for index, offer in enumerate(node.reads.next)]
    named += [(("replaced_by",), node.replaced_by)] if node.replaced_by else []
    for path, name in named:
        if name not in definitions.nodes:
            yield document.fault(path, "unknown_node", f"there is no node {name!r}")


def _needs_input(node: Node) -> bool:
    return bool(node.rules) or any(field is not None and field.required for field in node.inputs.values())


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


def _fixture_faults(place: str, loaded: Loaded[Any], definitions: Definitions) -> Iterator[DefinitionFault]:
    provider, _, file = place.removesuffix(".yaml").partition("/")
    document = loaded.document
    is_family = file == _FAMILY and provider in definitions.providers
    if not is_family and f"{provider}.{file}" not in definitions.nodes:
        message = f"there is no node {provider}.{file}"
        yield document.fault((), "unknown_node", message, "name it after its operation, or family.yaml")
    for index, case in enumerate(loaded.value):
        for name in case.nodes:
            if f"{provider}.{name}" not in definitions.nodes:
                yield document.fault((index, "nodes"), "unknown_node", f"there is no node {provider}.{name}")
    names = [case.name for case in loaded.value]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield document.fault((index, "name"), "repeated", f"{name!r} names another fixture of this file")


def _provider_of(node: Node) -> str:
    return node.node.partition(".")[0]
