"""`halley nodes`: the catalogue on the command line, and the checks for who writes definitions."""

import shlex
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from service.api.input_rows import input_rows
from service.api.node_views import NodeDetail, detail, summary
from service.cli import interpret, prove, scaffold
from service.cli.definitions import all_nodes, node_named, told
from service.definitions.catalog import Catalog, CompiledNode
from service.definitions.lint import lint
from service.definitions.loader import DefinitionFault, DefinitionFaults, Definitions, load, shipped
from service.definitions.reader import NodeKind
from service.definitions.schema import Field
from service.settings import load_settings
from service.terminal import print_groups, print_json, print_table

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group("nodes")
def command() -> None:
    """Look at nodes, check definitions, read answers."""


for each in (interpret.command, prove.command, scaffold.command):
    command.add_command(each)


@command.command("list")
@click.option("--family", help="Only the nodes of this provider.")
@click.option("--kind", type=click.Choice(get_args(NodeKind)), help="Only nodes of this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_nodes(family: str | None, kind: NodeKind | None, *, as_json: bool) -> None:
    """List all nodes, family by family."""
    catalog = all_nodes(load_settings().nodes_path)
    _require_family(catalog, family)
    nodes = [
        node
        for node in catalog.nodes.values()
        if family in (None, node.provider.provider) and kind in (None, node.node.kind)
    ]
    if as_json:
        print_json([summary(node) for node in nodes])
        return
    groups: dict[str, list[tuple[str, ...]]] = {}
    for node in nodes:
        groups.setdefault(f"{node.provider.title} ({node.provider.provider})", []).append(_row(node))
    print_groups(("node", "kind", "result", "title"), groups)


def _require_family(catalog: Catalog, family: str | None) -> None:
    known = catalog.providers()
    if family is not None and family not in known:
        raise click.ClickException(f"there is no family {family!r}; there are: {', '.join(known)}")


def _row(node: CompiledNode) -> tuple[str, ...]:
    gone = " (withdrawn)" if node.node.withdrawn else ""
    return node.id, node.node.kind, node.node.result, node.node.title + gone


@command.command("show")
@click.argument("node")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(node: str, *, as_json: bool) -> None:
    """Show a node: its inputs, an example, a curl line."""
    settings = load_settings()
    found = node_named(all_nodes(settings.nodes_path), node)
    shown = detail(found, settings.public_url or f"http://{settings.host}:{settings.port}")
    if as_json:
        print_json(shown)
    else:
        _print_detail(shown, found.fields)


def _print_detail(node: NodeDetail, fields: Mapping[str, Field]) -> None:
    click.echo(f"{node.id}: {node.title}\n{node.about}")
    for note in (node.withdrawn, node.replaced_by and f"Replaced by {node.replaced_by}", node.docs):
        if note:
            click.echo(note)
    click.echo()
    rows = [(row.name, row.type, row.needed, row.values, row.about) for row in input_rows(fields)]
    print_table(("input", "type", "needed", "values", "about"), rows)
    click.echo("\nExample:")
    print_json(node.example)
    click.echo(f"\nRun it:\n  halley run {node.id} {' '.join(_words(node.example))}\n\n  {node.curl}")


def _words(example: dict[str, Any]) -> list[str]:
    return [
        shlex.quote(f"{name}={value}" if isinstance(value, str) else f"{name}:={msgspec.json.encode(value).decode()}")
        for name, value in example.items()
    ]


@command.command("lint")
@click.argument("folders", nargs=-1, type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
def lint_definitions(folders: tuple[Path, ...], *, as_json: bool) -> None:
    """Check the shipped definitions, those of HALLEY_NODES_PATH and those of FOLDERS; tell every fault.

    Fixtures are read by `halley nodes test`.
    """
    found, faults = _checked([shipped(), *load_settings().nodes_path, *folders])
    if as_json:
        print_json(faults)
    if faults:
        raise click.ClickException(told(faults))
    if not as_json:
        click.echo(f"No faults. Nodes: {len(found.nodes)}, providers: {len(found.providers)}.")


def _checked(folders: Sequence[Traversable | Path]) -> tuple[Definitions, Sequence[DefinitionFault]]:
    nothing = Definitions(dialects={}, providers={}, nodes={}, fixtures={})
    try:
        found = load(folders)
    except DefinitionFaults as exc:
        return nothing, exc.faults
    return found, lint(found)
