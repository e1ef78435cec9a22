"""`halley nodes test`: recorded answers against the very readers that serve runs."""

from collections.abc import Iterator, Sequence

import click
import msgspec
from msgspec import Struct

from service.cli.definitions import node_named, told
from service.definitions.catalog import Catalog, compile_catalog
from service.definitions.lint import lint
from service.definitions.loader import DefinitionFaults, Definitions, load, shipped
from service.definitions.proof import Difference, Proof, differences, proofs
from service.settings import load_settings
from service.terminal import print_json


class Wrong(Struct, frozen=True, kw_only=True):
    """An answer that is read otherwise than its fixture says."""

    node: str
    file: str
    line: int
    name: str
    differences: list[Difference]


@click.command("test")
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def command(nodes: tuple[str, ...], *, as_json: bool) -> None:
    """Let nodes read their fixtures and tell the differences; without NODE all nodes, shipped and your own."""
    definitions = _definitions()
    catalog = compile_catalog(definitions)
    found = _asked(definitions, catalog, nodes)
    wrong = [each for proof in found for each in _wrong(proof, definitions)]
    answers = sum(len(proof.cases) for proof in found)
    if as_json:
        print_json(wrong)
    elif wrong:
        click.echo("\n".join(line for each in wrong for line in _lines(each)))
    if wrong:
        raise click.ClickException(f"{len(wrong)} of {answers} answers are not read as their fixtures say")
    if not as_json:
        click.echo(
            f"Answers read as their fixtures say: {answers}, of {len({proof.node.id for proof in found})} nodes."
        )


def _definitions() -> Definitions:
    try:
        definitions = load([shipped(), *load_settings().nodes_path], fixtures=True)
    except DefinitionFaults as exc:
        raise click.ClickException(told(exc.faults)) from exc
    if faults := lint(definitions):
        raise click.ClickException(told(faults))
    return definitions


def _asked(definitions: Definitions, catalog: Catalog, nodes: Sequence[str]) -> list[Proof]:
    """Return the proofs of the nodes that were named, or all."""
    found = list(proofs(definitions, catalog))
    proved = {proof.node.id for proof in found}
    for name in nodes:
        if node_named(catalog, name).id not in proved:
            place = f"{name.replace('.', '/fixtures/')}.yaml"
            raise click.ClickException(f"{name} has no fixtures; they stand in {place}")
    return [proof for proof in found if not nodes or proof.node.id in nodes]


def _wrong(proof: Proof, definitions: Definitions) -> Iterator[Wrong]:
    document = definitions.fixtures[proof.place].document
    for index, case in proof.cases:
        if found := differences(proof.node, case):
            line = document.line((index,))
            yield Wrong(node=proof.node.id, file=document.file, line=line, name=case.name, differences=found)


def _lines(wrong: Wrong) -> Iterator[str]:
    yield f"{wrong.file}:{wrong.line}: {wrong.node}: {wrong.name}"
    for each in wrong.differences:
        yield f"  {each.key}: {_json(each.expected)} is expected, {_json(each.found)} is read"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
