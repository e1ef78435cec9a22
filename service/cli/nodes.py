"""`halley nodes`: the catalogue on the command line, and the checks for who writes definitions."""

import shlex
from collections.abc import Sequence
from importlib.abc import Traversable
from pathlib import Path
from typing import Any

import click
import msgspec

from service.api.node_routes import NodeDetail, detail, summary
from service.cli import interpret
from service.cli.definitions import all_nodes, node_named, told
from service.definitions.lint import lint
from service.definitions.loader import DefinitionFault, DefinitionFaults, Definitions, load, shipped
from service.settings import load_settings
from service.terminal import print_json, print_table

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_SHOWN_VALUES = 8


@click.group("nodes")
def command() -> None:
    """Look at nodes, check definitions, read answers."""


command.add_command(interpret.command)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_nodes(*, as_json: bool) -> None:
    """List all nodes."""
    catalog = all_nodes(load_settings().nodes_path)
    summaries = [summary(node) for node in catalog.nodes.values()]
    if as_json:
        print_json(summaries)
        return
    rows = [(each.id, each.kind, each.result, each.title + _gone(each.withdrawn)) for each in summaries]
    print_table(("node", "kind", "result", "title"), rows)


def _gone(withdrawn: str | None) -> str:
    return " (withdrawn)" if withdrawn else ""


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
        _print_detail(shown)


def _print_detail(node: NodeDetail) -> None:
    click.echo(f"{node.id}: {node.title}\n{node.about}")
    for note in (node.withdrawn, node.replaced_by and f"Replaced by {node.replaced_by}", node.docs):
        if note:
            click.echo(note)
    click.echo()
    print_table(("input", "type", "needed", "values", "about"), input_rows(node.input_schema))
    click.echo("\nExample:")
    print_json(node.example)
    click.echo(f"\nRun it:\n  halley run {node.id} {' '.join(_words(node.example))}\n\n  {node.curl}")


def _words(example: dict[str, Any]) -> list[str]:
    return [
        shlex.quote(f"{name}={value}" if isinstance(value, str) else f"{name}:={msgspec.json.encode(value).decode()}")
        for name, value in example.items()
    ]


def input_rows(schema: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return a row for each input of a node's JSON Schema."""
    needed = schema.get("required", [])
    return [
        (name, _type(field), "yes" if name in needed else "", _values(field), _about(field))
        for name, field in schema.get("properties", {}).items()
    ]


def _type(field: dict[str, Any]) -> str:
    kind = field.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _values(field: dict[str, Any]) -> str:
    values = field.get("enum", [])
    shown = ", ".join(map(str, values[:_SHOWN_VALUES])) + (" …" if len(values) > _SHOWN_VALUES else "")
    limits = [f"{word} {field[key]}" for key, word in _LIMITS.items() if key in field]
    default = [f"default {field['default']}"] if "default" in field else []
    return "; ".join(filter(None, [shown, *limits, *default]))


_LIMITS = {
    "minimum": "from",
    "maximum": "to",
    "minLength": "characters from",
    "maxLength": "characters to",
    "minItems": "elements from",
    "maxItems": "elements to",
}


def _about(field: dict[str, Any]) -> str:
    return " ".join(str(field.get("description") or field.get("title") or "").split())


@command.command("lint")
@click.argument("folders", nargs=-1, type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
def lint_definitions(folders: tuple[Path, ...], *, as_json: bool) -> None:
    """Check the shipped definitions, those of HALLEY_NODES_PATH and those of FOLDERS; tell every fault."""
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
        found = load(folders, fixtures=True)
    except DefinitionFaults as exc:
        return nothing, exc.faults
    return found, lint(found)
