"""The compiled nodes, by id.

Loads folders, checks them file by file (`loader`) and together (`lint`), and compiles each node (`compiler`).
"""

from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path

from msgspec import Struct

from service.definitions.compiler import CompiledNode, CompiledPace, compile_node
from service.definitions.lint import lint
from service.definitions.loader import DefinitionFaults, Definitions, load, shipped
from service.definitions.schema import Provider
from service.errors import NotFound

__all__ = ["Catalog", "CompiledNode", "CompiledPace", "compile_catalog", "load_catalog"]


class Catalog(Struct, frozen=True):
    """All nodes by id, in order of their ids."""

    nodes: dict[str, CompiledNode]

    def get(self, node_id: str) -> CompiledNode:
        """Return a node.

        Raises:
            NotFound: There is none of that id.
        """
        try:
            return self.nodes[node_id]
        except KeyError:
            raise NotFound(f"There is no node {node_id!r}; GET /v1/nodes lists them all.") from None

    def providers(self) -> dict[str, Provider]:
        """Return the providers that have nodes."""
        return {node.provider.provider: node.provider for node in self.nodes.values()}


def load_catalog(more: Sequence[Path] = ()) -> Catalog:
    """Load, check and compile the shipped definitions and those of more folders.

    Raises:
        DefinitionFaults: Some definitions are wrong; all faults are listed.
    """
    folders: list[Traversable | Path] = [shipped(), *more]
    definitions = load(folders)
    if faults := lint(definitions):
        raise DefinitionFaults(faults)
    return compile_catalog(definitions)


def compile_catalog(definitions: Definitions) -> Catalog:
    """Compile loaded definitions, which `lint` has no faults in."""
    nodes = definitions.nodes
    return Catalog({name: compile_node(nodes[name], definitions) for name in sorted(nodes)})
