"""What the demo says, in the order in which it is said."""

import shlex
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import click
import msgspec

from service.demo.outcome import Played
from service.demo.stage import Stage


def opening(stage: Stage, *, wanted_port: int) -> None:
    """Say what was put up, and what is to be seen."""
    if wanted_port not in (0, urlsplit(stage.url).port):
        click.echo(f"Port {wanted_port} cannot be used, so a free one is.")
    click.echo(f"Halley               {stage.url}")
    click.echo(f"Simulated upstream   {stage.simulator.url}")
    click.echo(f"Receiver of events   {stage.receiver.url}")
    click.echo("Nothing leaves this machine, and no key is needed.\n")
    for scene in stage.scenes:
        click.echo(f"{scene.node}: {scene.about}.")
    click.echo()


def played(outcome: Played) -> None:
    """Say what came of a scene: the run, how its end was found, and the event as the receiver got it."""
    run, event = outcome.run, outcome.event
    click.echo(f"\n{run['node']} {run['state']}")
    for artifact in run["artifacts"]:
        click.echo(f"  {artifact['kind']}: {artifact['url']}")
    click.echo(f"  callbacks: {outcome.callbacks}, questions to upstream: {outcome.questions}")
    if outcome.told_after_s is not None:
        click.echo(f"  the receiver knew {outcome.told_after_s:.2f} s after upstream was done")
    click.echo("  event at the receiver:")
    for name, value in event.headers.items():
        click.echo(f"    {name}: {value}")
    for line in msgspec.json.format(msgspec.json.encode(event.body), indent=2).decode().splitlines():
        click.echo(f"    {line}")
    click.echo("  signature " + (f"NOT verified: {event.fault}" if event.fault else "verified"))


def verdict(failures: Sequence[str]) -> None:
    """Say whether all of it happened."""
    if not failures:
        click.echo("\nAll went well: both runs succeeded, both events came and their signatures verified.")


def what_next(stage: Stage) -> None:
    """Give lines to copy, and say how to end."""
    scene = stage.scenes[0]
    key = shlex.quote(f"X-API-Key: {stage.key}")
    body = shlex.quote(msgspec.json.encode(scene.input).decode())
    start = f"'{stage.url}/v1/nodes/{scene.node}/runs?mode=mock&wait=20'"
    lines = {
        "start a run and wait for it": f"-H {key} -H 'Content-Type: application/json' -d {body} {start}",
        "list runs; each has its own address": f"-H {key} {stage.url}/v1/runs",
        "list nodes": f"-H {key} {stage.url}/v1/nodes",
        "open the API document": f"{stage.url}/openapi.json",
    }
    click.echo("\nHalley goes on serving; Ctrl-C ends it. Try:")
    for what, line in lines.items():
        click.echo(f"  # {what}\n  curl -s {line}")
    click.echo(f"  # watch a run\n  {_command(stage)}")
    click.echo(f"\nSigning secret of the events: {stage.secret}")


def _command(stage: Stage) -> str:
    scene = stage.scenes[0]
    words = " ".join(shlex.quote(f"{name}={value}") for name, value in scene.input.items())
    # As it was called: right after the first set-up, `halley` alone is not on the PATH.
    halley = sys.argv[0] if sys.argv[0].endswith("halley") else "halley"
    return f"{halley} run {scene.node} {words} --mode mock --url {stage.url} --key {stage.key}"


def closing() -> None:
    """Say goodbye."""
    click.echo("The demo is over; its data folder is gone.")
