"""`halley runs`: the runs of a running Halley, and what an operator may do about one."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import click

from service.cli.client import HalleyClient, default_url
from service.lifecycle.states import FINAL, OPEN
from service.terminal import print_json, print_table, said

_Reached = Callable[..., None]


def _reaching(function: _Reached) -> _Reached:
    """Give a command the options that say which Halley is meant."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--key", envvar="HALLEY_API_KEY", help="API key; HALLEY_API_KEY."),
        click.option("--url", help="Where Halley is; default: HALLEY_HOST and HALLEY_PORT on this machine."),
    ):
        function = option(function)
    return function


@click.group("runs")
def command() -> None:
    """See runs, and decide about those that Halley cannot decide about."""


@command.command("list")
@click.option("--state", type=click.Choice(sorted(OPEN | FINAL)), help="Only runs in this state.")
@click.option("--node", help="Only runs of this node.")
@click.option("--reference", help="Only runs with this reference.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="The newest so many.")
@_reaching
def list_runs(*, url: str | None, key: str | None, as_json: bool, **words: Any) -> None:
    """List runs, newest first."""
    wanted = {name: value for name, value in words.items() if value is not None}
    with HalleyClient(url or default_url(), key) as client:
        runs = client.get("/v1/runs", wanted)["data"]
    if as_json:
        print_json(runs)
        return
    columns = ("run", "node", "state", "reference", "created")
    rows = [(r["id"], r["node"], said(r["state"], r["progress"]), r["reference"] or "", r["created_at"]) for r in runs]
    print_table(columns, rows)


@command.command("show")
@click.argument("run")
@_reaching
def show(run: str, *, url: str | None, key: str | None, as_json: bool) -> None:
    """Show a run with its timeline."""
    with HalleyClient(url or default_url(), key) as client:
        found, lines = client.read(run, 0), client.get(f"/v1/runs/{run}/timeline", {})["data"]
    if as_json:
        print_json({**found, "timeline": lines})
        return
    print_json(found)
    print_table(("at", "what", "detail"), [(line["at"], line["kind"], _detail(line["detail"])) for line in lines])


def _detail(detail: dict[str, Any]) -> str:
    return "  ".join(f"{name}: {value}" for name, value in detail.items() if value not in (None, ""))


@command.command("adopt")
@click.argument("run")
@click.argument("task_id")
@_reaching
def adopt(run: str, task_id: str, *, url: str | None, key: str | None, as_json: bool) -> None:
    """Tell which upstream task a run in submit_unknown led to; Halley follows it from there."""
    _move(run, "adopt", {"task_id": task_id}, url=url, key=key, as_json=as_json)


@command.command("abandon")
@click.argument("run")
@_reaching
def abandon(run: str, *, url: str | None, key: str | None, as_json: bool) -> None:
    """Give up a run in submit_unknown: it ends as failed, and may have been billed."""
    _move(run, "abandon", {}, url=url, key=key, as_json=as_json)


@command.command("cancel")
@click.argument("run")
@_reaching
def cancel(run: str, *, url: str | None, key: str | None, as_json: bool) -> None:
    """End a run that is no longer wanted; what upstream has begun goes on there and may be billed."""
    _move(run, "cancel", {}, url=url, key=key, as_json=as_json)


@command.command("retry")
@click.argument("run")
@_reaching
def retry(run: str, *, url: str | None, key: str | None, as_json: bool) -> None:
    """Start a new run with the input of one that has ended; it is paid for like any other."""
    _move(run, "retry", {}, url=url, key=key, as_json=as_json)


def _move(run: str, move: str, body: dict[str, Any], *, url: str | None, key: str | None, as_json: bool) -> None:
    with HalleyClient(url or default_url(), key) as client:
        found = client.move(run, move, body, str(uuid4()))
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found['id']} is {found['state']}: {found['status_url']}")
