"""`halley serve`: the service with the settings of the environment, and what it says when it is up.

One process, or several that take connections from one socket: the first one then only looks after them, and another one
plays the upstream of `mode=mock` for all, since a task that one worker started is asked about by any.
"""

import asyncio
import functools
import gc
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import uvloop
from msgspec import Struct

from service.api.limits import InboundLimits
from service.app import Mock, Team, Tuning, create_app
from service.cli.definitions import all_nodes
from service.cli.understudy import understudy
from service.clock import SystemClock
from service.definitions.catalog import Catalog
from service.ids import new_id
from service.log import Log, configure_log
from service.metrics import CountedTogether
from service.serving import local_url, open_socket, serving, signals_set
from service.settings import MOST_WORKERS, Settings, load_settings, require_shared_database
from service.supervisor import Line, Post, Report, Supervisor
from service.workers.siblings import Inbox, Siblings, inboxes

_HERE = "127.0.0.1"

# `/readyz` says so before the door closes: a balancer that asks every second sends nobody to a closed door.
_NOTICE_S = 1.0
_STOPPING = "Halley finishes what is under way and stops."


@click.command("serve")
@click.option("--host", help="Address to listen on; HALLEY_HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="HALLEY_PORT, else 2061; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS),
              help="Processes that serve together, one for each core at most; HALLEY_WORKERS, else 1. More than one "
              "need a PostgreSQL database.")  # fmt: skip
def command(**given: object) -> None:
    """Serve the API with the settings of the environment until SIGTERM or Ctrl-C."""
    gc.disable()  # until it serves: what a start makes stays
    words = {name: word for name, word in given.items() if word is not None}
    settings = msgspec.structs.replace(load_settings(), **words)
    require_shared_database(settings)
    nodes = all_nodes(settings.nodes_path)
    with open_socket(settings.host, settings.port) as listener:
        if settings.workers == 1:
            uvloop.run(_serve(settings, nodes, listener))
        else:
            _serve_together(settings, nodes, listener)


async def _serve(settings: Settings, nodes: Catalog, listener: socket.socket) -> None:
    stop, url, keys = asyncio.Event(), local_url(listener), list[str]()
    with signals_set(stop), open_socket(_HERE, 0) as upstream:
        async with understudy(upstream):
            app = create_app(
                settings,
                configure_log(settings.log),
                mock=Mock(url=local_url(upstream), callback_base=url),
                catalog=nodes,
                announce_key=keys.append,
                is_stopping=stop.is_set,
            )
            async with serving(app, listener):
                for line in _greeting(settings, url, keys):
                    click.echo(line)
                await stop.wait()
                click.echo(_STOPPING)
                await asyncio.sleep(_NOTICE_S)


def _greeting(settings: Settings, url: str, keys: Sequence[str]) -> list[str]:
    return [
        f"Halley listens on {url}" + ("" if settings.host in url else f" (address {settings.host})"),
        *([f"Workers: {settings.workers} processes"] if settings.workers > 1 else []),
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


def _key_line(settings: Settings, keys: Sequence[str]) -> str:
    if keys:
        return f"API key, shown this once: {keys[0]}"
    if settings.api_key is not None:
        return "API key: the one in HALLEY_API_KEY, and those of `halley keys list`"
    return "API key: one of `halley keys list`; `halley keys create NAME` makes another"


# -- several workers


class _Shared(Struct, frozen=True, kw_only=True):
    """What is there before the fork, and so is the same for all workers."""

    settings: Settings
    nodes: Catalog
    listener: socket.socket
    upstream: socket.socket
    inboxes: list[Inbox]
    counted: Path


def _serve_together(settings: Settings, nodes: Catalog, listener: socket.socket) -> None:
    url = local_url(listener)

    def up(reports: Sequence[Report]) -> None:
        keys = [report.facts["key"] for report in reports if "key" in report.facts]
        click.echo("\n".join(_greeting(settings, url, keys)))

    def stopping() -> None:
        click.echo(_STOPPING)
        listener.close()  # whose door closes is the workers' business now

    gc.freeze()  # pages that no worker's collector touches are shared by all
    gc.enable()
    with open_socket(_HERE, 0) as upstream, tempfile.TemporaryDirectory(prefix="halley-counted-") as folder:
        shared = _Shared(
            settings=settings,
            nodes=nodes,
            listener=listener,
            upstream=upstream,
            inboxes=inboxes(settings.workers),
            counted=Path(folder),
        )
        posts = [
            Post(name=f"worker {number}", work=functools.partial(_work, shared, number))
            for number in range(1, settings.workers + 1)
        ]
        played = Post(name="mock upstream", work=functools.partial(_play, shared), is_last=True)
        Supervisor([*posts, played], configure_log(settings.log)).run(up, stopping)


def _work(shared: _Shared, number: int, line: Line, before: Report | None) -> None:
    """Be a worker."""
    url = local_url(shared.upstream)
    shared.upstream.close()
    own = shared.inboxes[number - 1]
    team = Team(
        owner=new_id("own", SystemClock().now()),
        before=before.facts["owner"] if before else None,
        siblings=Siblings(own, [each for each in shared.inboxes if each is not own]),
        counted=CountedTogether(folder=shared.counted, number=number),
    )
    log = configure_log(shared.settings.log).bind(worker=number)
    mock = Mock(url=url, callback_base=local_url(shared.listener))
    uvloop.run(_serve_as_worker(shared, line, team, mock, log))


async def _serve_as_worker(shared: _Shared, line: Line, team: Team, mock: Mock, log: Log) -> None:
    settings, stop, keys = shared.settings, asyncio.Event(), list[str]()
    limits = InboundLimits().shared_by(settings.workers)
    with signals_set(stop, (signal.SIGTERM,)), line.telling(stop):
        app = create_app(
            settings,
            log,
            mock=mock,
            catalog=shared.nodes,
            tuning=Tuning(inbound=limits, team=team),
            announce_key=keys.append,
            is_stopping=stop.is_set,
        )
        async with serving(app, shared.listener):
            line.report(Report(facts={"owner": team.owner, **({"key": keys[0]} if keys else {})}))
            await stop.wait()
            # Nobody looks after a worker without the first process: it makes room for what is started in its place.
            await asyncio.sleep(0 if line.is_orphaned else _NOTICE_S)


def _play(shared: _Shared, line: Line, _before: Report | None) -> None:
    """Be the upstream of `mode=mock`."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to all at once, it would come before the workers have ended
    shared.listener.close()
    uvloop.run(_play_upstream(shared.upstream, line))


async def _play_upstream(listener: socket.socket, line: Line) -> None:
    stop = asyncio.Event()
    async with understudy(listener):
        line.report(Report())
        with line.telling(stop):
            await stop.wait()
