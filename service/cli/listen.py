"""`halley listen`: the events of a running Halley, printed, or passed on to a port of this machine.

For people whom no webhook can reach. Whoever is forwarded to sees the request that a delivery would be; what it answers
is told and changes nothing, since a delivery that has to arrive belongs to a `webhook_url`.
"""

import base64
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import click
import httpx
import msgspec
from msgspec import Struct

from service.cli.client import HalleyClient, Lost, default_url
from service.delivery.signer import signed_headers
from service.ids import first_id, is_id

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_REFUSED_PAUSES_S = (0.5, 1.0, 2.0)
_ANSWER_S = 15.0
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Heard(Struct, frozen=True):
    """What came: an event as it would be delivered, or only the id to go on from."""

    id: str
    body: bytes


class Forwarded(Struct, frozen=True, kw_only=True):
    """What became of an event that was passed on: a status, or why there was none."""

    status: int | None
    took_ms: float
    error: str | None = None

    def __str__(self) -> str:
        return self.error or f"{self.status} in {self.took_ms:.0f} ms"


@click.command("listen")
@click.option("--forward", metavar="URL", help="Post each event there, such as http://127.0.0.1:3000/hook.")
@click.option("--type", "types", multiple=True, help="Only events of this type; may stand several times.")
@click.option("--node", help="Only events of nodes that fit, such as 'text.*'.")
@click.option("--since", metavar="evt_…|10m", help="Begin after this event, or so long ago (s, m, h, d); default: now.")
@click.option("--secret", metavar="whsec_…", help="Sign what is passed on, as deliveries are signed.")
@click.option("--url", help="Where Halley is; default: HALLEY_HOST and HALLEY_PORT on this machine.")
@click.option("--key", envvar="HALLEY_API_KEY", help="API key; HALLEY_API_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event.")
def command(
    *,
    forward: str | None,
    types: tuple[str, ...],
    node: str | None,
    since: str | None,
    secret: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Print events as they come, or pass them on to a port of this machine; Ctrl-C ends it."""
    wanted = {name: value for name, value in (("type", ",".join(types)), ("node", node)) if value}
    place = place_of(since, time.time()) if since else None
    # A shell that starts this in the background has it ignore Ctrl-C; both signals end it in good order all the same.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
    try:
        with Target(forward, secret) as target, HalleyClient(url or default_url(), key) as client:
            for event in heard(client, wanted, place):
                forwarded = target.post(event) if forward else None
                click.echo(line(event, forwarded, as_json=as_json))
    except KeyboardInterrupt:
        return


def place_of(since: str, now: float) -> str:
    """Return the id to begin after; nothing needs to have it.

    Raises:
        click.BadParameter: It is neither an id of an event nor a time such as `10m`.
    """
    if ago := _AGO.fullmatch(since):
        return first_id("evt", max(now - int(ago[1]) * _UNITS_S[ago[2]], 0.0))
    if not is_id("evt", since):
        message = f"{since!r} is neither an event's id nor a time such as 10m"
        raise click.BadParameter(message, param_hint="--since")
    return since


def heard(client: HalleyClient, wanted: dict[str, Any], place: str | None) -> Iterator[Heard]:
    """Yield events for ever; a connection that is lost is made again, from the last event that was taken."""
    pause_s, is_known = _FIRST_PAUSE_S, False
    while True:
        why = "Halley ended the stream"
        try:
            with client.listening(wanted, place) as pieces:
                click.echo(f"{'Listening again' if is_known else 'Listening'}; Ctrl-C ends it.", err=True)
                pause_s, is_known = _FIRST_PAUSE_S, True
                for event in cut(pieces):
                    if event.body:
                        yield event
                    place = event.id or place
        except Lost as exc:
            if not is_known:
                raise click.ClickException(str(exc)) from exc
            why = str(exc)
        click.echo(f"{why}; again in {pause_s:.0f} s.", err=True)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def cut(pieces: Iterable[bytes]) -> Iterator[Heard]:
    """Cut Halley's stream into events, whatever the pieces it comes in; the bytes of an event stay as they are."""
    held = b""
    for piece in pieces:
        *blocks, held = (held + piece).split(b"\n\n")
        for block in blocks:
            words = dict(each.partition(b": ")[::2] for each in block.split(b"\n"))
            yield Heard(words.get(b"id", b"").decode(), words.get(b"data", b""))


class Target:
    """Where events are passed on to.

    Args:
        url: Any http or https URL: the machine is the user's own.
        secret: What events are signed with, if they are.

    Raises:
        click.BadParameter: The URL or the secret cannot be used.
    """

    def __init__(self, url: str | None, secret: str | None) -> None:
        if url is not None and not _is_web(url):
            raise click.BadParameter(f"{url!r} is no URL such as http://127.0.0.1:3000/hook", param_hint="--forward")
        if secret is not None and not _is_secret(secret):
            raise click.BadParameter("a signing secret is whsec_ and Base64", param_hint="--secret")
        self._url = url or ""
        self._secrets = [secret] if secret else []
        self._http = httpx.Client(timeout=_ANSWER_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def post(self, event: Heard) -> Forwarded:
        """Pass an event on; a port that nobody listens on is tried again a few times."""
        for pause_s in _REFUSED_PAUSES_S:
            try:
                return self._posted(event)
            except httpx.ConnectError:
                time.sleep(pause_s)
        try:
            return self._posted(event)
        except httpx.ConnectError:
            return Forwarded(status=None, took_ms=0.0, error=f"not passed on: nobody listens at {self._url}")

    def _posted(self, event: Heard) -> Forwarded:
        begun = time.perf_counter()
        headers = signed_headers(self._secrets, event.id, datetime.now(UTC), event.body)
        if not self._secrets:
            del headers["webhook-signature"]
        try:
            status = self._http.post(self._url, content=event.body, headers=headers).status_code
        except httpx.ConnectError:
            raise
        except httpx.HTTPError as exc:
            return Forwarded(status=None, took_ms=_ms_since(begun), error=f"no answer: {exc or type(exc).__name__}")
        return Forwarded(status=status, took_ms=_ms_since(begun))


def _ms_since(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 1)


def _is_secret(text: str) -> bool:
    try:
        return text.startswith("whsec_") and len(base64.b64decode(text.removeprefix("whsec_"), validate=True)) > 0
    except ValueError:
        return False


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def line(event: Heard, forwarded: Forwarded | None, *, as_json: bool) -> str:
    """Write an event and what became of it on one line."""
    if as_json and forwarded is None:
        return event.body.decode()
    told = msgspec.json.decode(event.body)
    if as_json:
        return msgspec.json.encode({**told, "forwarded": forwarded}).decode()
    words = (told["timestamp"], told["type"], told["data"].get("node", ""), told["data"]["id"], told["id"])
    return "  ".join(word for word in (*words, str(forwarded or "")) if word)
