"""Loading node definitions for a command: its errors say all that is wrong, or which node was meant."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import click

from service.definitions.catalog import Catalog, CompiledNode, load_catalog
from service.definitions.loader import DefinitionFault, DefinitionFaults


def all_nodes(folders: Sequence[Path]) -> Catalog:
    """Return the shipped nodes and those of more folders.

    Raises:
        click.ClickException: Definitions are wrong; every fault is listed.
    """
    try:
        return load_catalog(folders)
    except DefinitionFaults as exc:
        raise click.ClickException(told(exc.faults)) from exc


def told(faults: Sequence[DefinitionFault]) -> str:
    """Write faults, one on each line."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return "\n  ".join([f"{count} in the node definitions:", *map(str, faults)])


def node_named(catalog: Catalog, name: str) -> CompiledNode:
    """Return a node.

    Raises:
        click.ClickException: There is none of that id; says which is like it.
    """
    if name not in catalog.nodes:
        raise click.ClickException(no_such_node(catalog, name))
    return catalog.nodes[name]


def no_such_node(catalog: Catalog, name: str) -> str:
    """Say that there is no such node, and which is like it."""
    near = difflib.get_close_matches(name, catalog.nodes, n=1)
    hint = f"did you mean {near[0]}?" if near else "`halley nodes list` shows all."
    return f"there is no node {name!r}; {hint}"
