"""`halley demo`: two runs on a fresh machine, watched from start to signed event."""

import click
import uvloop

from service.demo.play import perform
from service.simulator import MarkError


@click.command("demo")
@click.option("--once", is_flag=True, help="End after the two runs, with exit code 0 only if all went well.")
@click.option("--port", type=click.IntRange(0, 65535), default=2061, show_default=True,
              help="Where Halley listens; a free port when it is taken.")  # fmt: skip
@click.option("--mark", "marks", multiple=True, metavar="MARK",
              help="Let the simulated upstream play this; `halley simulate --help` lists them.")  # fmt: skip
def command(port: int, marks: tuple[str, ...], *, once: bool) -> None:
    """Start Halley, a simulated upstream and a receiver on this machine; no key needed, nothing leaves it."""
    try:
        failures = uvloop.run(perform(port, marks, once=once))
    except MarkError as exc:
        raise click.ClickException(str(exc)) from exc
    if failures:
        raise click.ClickException("the demo did not go as it should:\n  " + "\n  ".join(failures))
