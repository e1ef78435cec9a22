"""`halley simulate`: the simulated upstream by itself, for a Halley in another process."""

import asyncio
from typing import get_args

import click
import msgspec

from service.serving import signals_set
from service.simulator import MARKS, MarkError, Simulator, SimulatorOptions
from service.simulator.scenario import CallbackMode, CallbackShape, Envelope


class _WithMarks(click.Command):
    """Lists the marks at the end of the help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Marks, in any text of a request, or as --mark without brackets"):
            formatter.write_dl([(mark.usage, mark.meaning) for mark in MARKS])


@click.command("simulate", cls=_WithMarks)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=2062, show_default=True, help="0 takes a free one.")
@click.option("--envelope", type=click.Choice(get_args(Envelope)), default="flat", show_default=True,
              help="How answers are wrapped.")  # fmt: skip
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
              help="Divides the usual durations.")  # fmt: skip
@click.option("--duration", "duration_s", type=click.FloatRange(min=0), help="Seconds of every task, instead.")
@click.option("--callbacks", type=click.Choice(get_args(CallbackMode)), default="changes", show_default=True,
              help="When callbacks are posted.")  # fmt: skip
@click.option("--callback-shape", type=click.Choice(get_args(CallbackShape)), default="bare",
              show_default=True, help="What their body looks like.")  # fmt: skip
@click.option("--relay-ids", is_flag=True, help="The submit answer carries an id of the relay's own.")
@click.option("--discontinue-v1", is_flag=True, help="The oldest model is refused.")
@click.option("--strict-sessions", is_flag=True, help="Refuse ids of tasks and sessions that were not made here.")
@click.option("--api-key", help="The only key that is accepted; default: any.")
@click.option("--mark", "marks", multiple=True, metavar="MARK", help="Play this for every request: `fail`, `slow:3`.")
def command(host: str, port: int, **words: object) -> None:
    """Play the upstream: point Halley at it, no key and no money needed."""
    try:
        options = msgspec.convert(words, SimulatorOptions)
        simulator = Simulator(options)
    except (MarkError, msgspec.ValidationError) as exc:
        raise click.ClickException(str(exc)) from exc
    asyncio.run(_play(simulator, host, port))


async def _play(simulator: Simulator, host: str, port: int) -> None:
    stop = asyncio.Event()
    with signals_set(stop):
        try:
            await simulator.start(host, port)
        except OSError as exc:
            raise click.ClickException(f"cannot listen on {host} port {port}: {exc.strerror}") from exc
        try:
            click.echo(_greeting(simulator.url))
            await stop.wait()
        finally:
            await simulator.stop()


def _greeting(url: str) -> str:
    return (
        f"The simulated upstream listens on {url}\n"
        f"Point Halley at it: HALLEY_UPSTREAM_URL={url} COMETAPI_KEY=any halley serve\n"
        "It calls back to this machine only; HALLEY_PUBLIC_URL=http://127.0.0.1:2061 asks it to.\n"
        f"What it has received: {url}/_simulator/requests"
    )
