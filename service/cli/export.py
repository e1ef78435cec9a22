"""`halley export`: the generated files of the checkout, written or compared."""

from pathlib import Path

import click


@click.command("export")
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is not what it should be.")
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".",
              help="The checkout; default: the current folder.")  # fmt: skip
def command(root: Path, *, check: bool) -> None:
    """Write the documents of the API and its events, the page of all nodes and the definitions' JSON Schemas."""
    # Imported here because making documents is slow to load, and `halley --help` loads this module.
    from service.exports import stale, write  # noqa: PLC0415

    if not check:
        write(root)
        click.echo("The generated files are up to date.")
    elif found := stale(root):
        names = ", ".join(map(str, found))
        raise click.ClickException(f"not what the code says: {names}; `halley export` writes them anew")
