"""`halley nodes new`: a first draft of an operation, whose fixtures pass at once."""

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec

from service.cli.definitions import told
from service.definitions.lint import lint
from service.definitions.loader import DefinitionFault, DefinitionFaults, Definitions, load, shipped
from service.definitions.scaffold import Draft, drafted
from service.definitions.schema import NodeId
from service.settings import Settings, load_settings

_RESULTS = ("video", "image", "audio", "model3d", "file", "text", "data")


@click.command("new")
@click.argument("node", metavar="PROVIDER.OPERATION")
@click.option("--submit", help='The request that starts it, such as "POST /v1/images".')
@click.option("--query", help='The request that asks about a task, such as "GET /v1/images/{task_id}".')
@click.option("--result", type=click.Choice(_RESULTS), default="image", show_default=True, help="What it makes.")
@click.option("--direct", "is_direct", is_flag=True, help="The answer to the request is the result.")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path),
              help="Folder of definitions; default: the first of HALLEY_NODES_PATH, else ./nodes.")  # fmt: skip
def command(
    node: str, submit: str | None, query: str | None, result: str, into: Path | None, *, is_direct: bool
) -> None:
    """Write a first draft of an operation and its fixtures, with comments that say what to change."""
    settings = load_settings()
    draft = Draft(node=_checked(node), result=result, is_direct=is_direct, submit=submit, query=query)
    folder = into or next(iter(settings.nodes_path), Path("nodes"))
    known = _known(settings, folder)
    if node in known.nodes:
        file = known.nodes[node].document.file
        raise click.ClickException(f"there is a node {node} already: {file}; copy it to change it")
    provider = known.providers.get(draft.provider)
    files = drafted(draft, provider.value if provider else None)
    _require_sound(settings, folder, files)
    _write(folder, files)
    _tell(settings, folder, draft, files)


def _checked(node: str) -> str:
    try:
        return msgspec.convert(node, NodeId)
    except msgspec.ValidationError:
        raise click.ClickException(f"{node!r} is no name of a node; write one such as acme.text_to_image") from None


def _known(settings: Settings, folder: Path) -> Definitions:
    try:
        return _loaded(settings, folder)
    except DefinitionFaults as exc:
        raise click.ClickException(told(exc.faults)) from exc


def _loaded(settings: Settings, *folders: Path) -> Definitions:
    paths = [*settings.nodes_path, *(folder for folder in folders if folder.is_dir())]
    return load([shipped(), *paths], fixtures=True)


def _require_sound(settings: Settings, folder: Path, files: Mapping[str, str]) -> None:
    """Check the drafted files together with all others before any is written."""
    taken = [str(folder / place) for place in files if (folder / place).exists()]
    if taken:
        raise click.ClickException(f"nothing was written, for this would be overwritten: {', '.join(taken)}")
    with tempfile.TemporaryDirectory() as draft:
        _write(Path(draft), files)
        faults = [fault for fault in _faults(settings, folder, Path(draft)) if fault.file.startswith(draft)]
    if faults:
        raise click.ClickException("nothing was written: " + told(faults).replace(f"{draft}/", ""))


def _faults(settings: Settings, *folders: Path) -> Sequence[DefinitionFault]:
    try:
        return lint(_loaded(settings, *folders))
    except DefinitionFaults as exc:
        return exc.faults


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for place, text in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        with (folder / place).open("x", encoding="utf-8") as file:
            file.write(text)


def _tell(settings: Settings, folder: Path, draft: Draft, files: Mapping[str, str]) -> None:
    click.echo("Written; each says what to change:")
    for place in files:
        click.echo(f"  {folder / place}")
    click.echo("Then:")
    if folder.resolve() not in {path.resolve() for path in (*settings.nodes_path, Path(str(shipped())))}:
        click.echo(f"  export HALLEY_NODES_PATH={shlex.quote(str(folder))}")
    click.echo(f"  halley nodes lint\n  halley nodes test {draft.node}")
