"""`halley run`: start a run at a running Halley, watch it, print what it made."""

import base64
import mimetypes
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import msgspec

from service.cli.client import HalleyClient, default_url
from service.lifecycle.states import FINAL
from service.terminal import print_json, watching

_WATCH_S = 1.0
_INTERRUPTED = 130


@click.command("run")
@click.argument("node")
@click.argument("inputs", nargs=-1, metavar="[NAME=VALUE | NAME=@FILE | NAME:=JSON]...")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Watch the run until it ends.")
@click.option("--mode", type=click.Choice(["live", "mock", "preview"]),
              help="mock: simulated upstream, free; preview: show the request, send nothing.")  # fmt: skip
@click.option("--webhook-url", help="Where the run's events are posted, signed.")
@click.option("--reference", help="Your own id of the run.")
@click.option("--url", help="Where Halley is; default: HALLEY_HOST and HALLEY_PORT on this machine.")
@click.option("--key", envvar="HALLEY_API_KEY", help="API key; HALLEY_API_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as JSON.")
def command(
    node: str,
    inputs: tuple[str, ...],
    *,
    wait: bool,
    url: str | None,
    key: str | None,
    as_json: bool,
    **words: Any,
) -> None:
    """Start a run of NODE and print its results.

    The exit code is 0 only when it succeeded, or was accepted with --no-wait.
    """
    options = {name: value for name, value in words.items() if value is not None}
    with HalleyClient(url or default_url(), key) as client:
        run = client.start(node, values_of(inputs), {**options, "wait": 0}, str(uuid4()))
        if options.get("mode") == "preview":
            print_json(run)
            return
        if wait:
            run = _watch(client, run)
    _show(run, waited=wait, as_json=as_json)


def values_of(words: tuple[str, ...]) -> dict[str, Any]:
    """Read inputs as they stand on a command line; a name that stands twice gives a list.

    Raises:
        click.ClickException: A word is no `name=value`, a file cannot be read, a JSON value is none.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.strip(":"):
            raise click.ClickException(f"{word!r}: write NAME=VALUE, NAME=@FILE or NAME:=JSON")
        value = _value(name, text)
        name = name.removesuffix(":")
        values[name] = [*_listed(values[name]), value] if name in values else value
    return values


def _value(name: str, text: str) -> Any:
    if name.endswith(":"):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as exc:
            raise click.ClickException(f"{name}={text}: this is not JSON: {exc}") from exc
    return _data_uri(Path(text[1:])) if text.startswith("@") else text


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _data_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _watch(client: HalleyClient, run: dict[str, Any]) -> dict[str, Any]:
    try:
        with watching(sys.stderr) as watch:
            watch.show(run["node"], run["state"], run["progress"])
            while run["state"] not in FINAL:
                if run["state"] == "submit_unknown":
                    time.sleep(run["poll_after_s"])  # Halley does not hold the answer back in this state
                run = client.read(run["id"], _WATCH_S)
                watch.show(run["node"], run["state"], run["progress"])
    except KeyboardInterrupt:
        click.echo(f"The run goes on: {run['status_url']}", err=True)
        raise SystemExit(_INTERRUPTED) from None
    return run


def _show(run: dict[str, Any], *, waited: bool, as_json: bool) -> None:
    if as_json:
        print_json(run)
    else:
        _print_results(run)
    for warning in run["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
    if run["state"] in FINAL - {"succeeded"}:
        raise click.ClickException(_why(run))
    if not waited and not as_json:
        click.echo(f"{run['id']} is {run['state']}: {run['status_url']}")


def _print_results(run: dict[str, Any]) -> None:
    for artifact in run["artifacts"]:
        kind = artifact["kind"] if artifact["role"] == "output" else f"{artifact['kind']} ({artifact['role']})"
        click.echo(f"{kind}  {artifact['url'] or artifact['id']}")
    if run["text"] is not None:
        click.echo(run["text"])
    if run["data"] is not None:
        print_json(run["data"])


def _why(run: dict[str, Any]) -> str:
    state, error = run["state"].replace("_", " "), run["error"]
    if error is None:
        return f"{run['id']} {state}"
    return f"{run['id']} {state}: {error['message']} ({error['code']}, billed: {error['billed']})"
