"""`halley serve`: the service with the settings of the environment, and what it says when it is up."""

import asyncio
import socket

import click
import msgspec
import uvloop

from service.app import Mock, create_app
from service.cli.definitions import all_nodes
from service.definitions.catalog import Catalog
from service.log import configure_log
from service.serving import local_url, open_socket, serving, signals_set
from service.settings import Settings, load_settings
from service.simulator import Simulator, SimulatorOptions

# Quick enough to try a workflow with, slow enough to see it wait; the wrapped envelope tells of progress. Ids of
# anybody are taken, so that documented examples run as they stand.
_MOCK = SimulatorOptions(speed=12.0, envelope="wrapped", strict_sessions=False)

# `/readyz` says so before the door closes: a balancer that asks every second sends nobody to a closed door.
_NOTICE_S = 1.0


@click.command("serve")
@click.option("--host", help="Address to listen on; HALLEY_HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="HALLEY_PORT, else 2061; 0 takes a free one.")
def command(host: str | None, port: int | None) -> None:
    """Serve the API with the settings of the environment until SIGTERM or Ctrl-C."""
    settings = load_settings()
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = msgspec.structs.replace(settings, **given)
    nodes = all_nodes(settings.nodes_path)
    with open_socket(settings.host, settings.port) as listener:
        uvloop.run(_serve(settings, nodes, listener))


async def _serve(settings: Settings, nodes: Catalog, listener: socket.socket) -> None:
    stop, url, keys = asyncio.Event(), local_url(listener), list[str]()
    with signals_set(stop):
        async with Simulator(_MOCK) as simulator:
            app = create_app(
                settings,
                configure_log(settings.log),
                mock=Mock(url=simulator.url, callback_base=url),
                catalog=nodes,
                announce_key=keys.append,
                is_stopping=stop.is_set,
            )
            async with serving(app, listener):
                for line in _greeting(settings, url, keys):
                    click.echo(line)
                await stop.wait()
                click.echo("Halley finishes what is under way and stops.")
                await asyncio.sleep(_NOTICE_S)


def _greeting(settings: Settings, url: str, keys: list[str]) -> list[str]:
    return [
        f"Halley listens on {url}" + ("" if settings.host in url else f" (address {settings.host})"),
        "Live runs: possible, COMETAPI_KEY is set"
        if settings.upstream_key
        else "Live runs: not possible, COMETAPI_KEY is not set; mode=mock needs no key and costs nothing",
        f"Callbacks: upstream calls back to {settings.public_url}"
        if settings.public_url
        else "Callbacks: off, HALLEY_PUBLIC_URL is not set; runs are polled",
        _key_line(settings, keys),
        f"Data folder: {settings.data_dir.resolve()}",
        "Webhook signing secret: `halley keys signing-secret` prints it",
    ]


def _key_line(settings: Settings, keys: list[str]) -> str:
    if keys:
        return f"API key, shown this once: {keys[0]}"
    if settings.api_key is not None:
        return "API key: the one in HALLEY_API_KEY, and those of `halley keys list`"
    return "API key: one of `halley keys list`; `halley keys create NAME` makes another"
