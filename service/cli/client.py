"""A running Halley over HTTP, as any other program calls it; what it refuses becomes a clear message."""

import contextlib
import ipaddress
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import click
import httpx

from service.errors import HalleyError
from service.settings import load_settings

_ATTEMPTS = 5
_PAUSE_S = 1.0
_LONGEST_WAIT_S = 25.0


class Lost(HalleyError):
    """The connection to Halley could not be made, or broke; it may work again later."""


class HalleyClient:
    """Starts and reads runs, and hears events.

    Args:
        url: Where Halley is.
        key: API key.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"X-API-Key": key} if key else {},
            timeout=httpx.Timeout(5.0, read=_LONGEST_WAIT_S + 10),
            # A proxy is of no use on the way to this machine itself.
            trust_env=not _is_local(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def start(
        self, node: str, values: Mapping[str, Any], options: Mapping[str, Any], idempotency_key: str
    ) -> dict[str, Any]:
        """Start a run; sent again under the same key when the answer is lost, so it is never paid twice."""
        path = f"/v1/nodes/{node}/runs"
        headers = {"Idempotency-Key": idempotency_key}
        request = self._request("POST", path, json=dict(values), params=dict(options), headers=headers)
        return self._send(request, gives_up_on=httpx.ConnectError)

    def read(self, run_id: str, wait_s: float) -> dict[str, Any]:
        """Read a run, after waiting for its end so long at most; a Halley that restarts is waited for."""
        return self._send(self._request("GET", f"/v1/runs/{run_id}", params={"wait": wait_s}))

    def get(self, path: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Read something else."""
        return self._send(self._request("GET", path, params=dict(wanted)))

    def move(self, run_id: str, move: str, body: Mapping[str, Any], idempotency_key: str) -> dict[str, Any]:
        """Have something done about a run; a second answer to the same move is as good as the first."""
        headers = {"Idempotency-Key": idempotency_key}
        return self._send(self._request("POST", f"/v1/runs/{run_id}/{move}", json=dict(body), headers=headers))

    @contextlib.contextmanager
    def listening(self, wanted: Mapping[str, Any], after: str | None) -> Iterator[Iterator[bytes]]:
        """Give the stream of events as it comes.

        Args:
            wanted: Which events.
            after: Id of the event after which to begin; without one it begins now.

        Raises:
            Lost: Nobody answers, or not any more; inside the block, too.
            click.ClickException: Halley refuses.
        """
        headers = {"Last-Event-ID": after} if after else {}
        request = self._request("GET", "/v1/events/stream", params=dict(wanted), headers=headers)
        try:
            response = self._http.send(request, stream=True)
        except httpx.TransportError as exc:
            raise Lost(self._unreachable(exc)) from exc
        with contextlib.closing(response):
            try:
                if not response.is_success:
                    response.read()
                    raise self._refused(response)
                yield response.iter_bytes()
            except httpx.TransportError as exc:
                raise Lost(f"the connection to {self._url} broke ({exc or type(exc).__name__})") from exc

    def _refused(self, response: httpx.Response) -> Exception:
        told = _told(response, _json(response) or {})
        is_passing = response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS
        return Lost(told) if is_passing else click.ClickException(told)

    def _request(self, method: str, path: str, **words: Any) -> httpx.Request:
        request = self._http.build_request(method, path, **words)
        if request.url.scheme not in ("http", "https") or not request.url.host:
            raise click.ClickException(f"{self._url!r} is no URL such as http://127.0.0.1:2061")
        return request

    def _send(self, request: httpx.Request, gives_up_on: type[Exception] | tuple[()] = ()) -> dict[str, Any]:
        response = self._response(request, gives_up_on)
        body = _json(response)
        if response.is_success and body is not None:
            return body
        raise click.ClickException(_told(response, body or {}))

    def _response(self, request: httpx.Request, gives_up_on: type[Exception] | tuple[()]) -> httpx.Response:
        attempt = 1
        while True:
            try:
                return self._http.send(request)
            except httpx.TransportError as exc:
                if attempt == _ATTEMPTS or isinstance(exc, gives_up_on):
                    raise click.ClickException(self._unreachable(exc)) from exc
            time.sleep(_PAUSE_S)
            attempt += 1

    def _unreachable(self, exc: httpx.TransportError) -> str:
        return (
            f"no Halley answers at {self._url} ({exc or type(exc).__name__}); "
            "start one with `halley serve`, or say where it is with --url"
        )


def default_url() -> str:
    """Return where a Halley with the settings of this environment listens."""
    settings = load_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - not bound
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _json(response: httpx.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _told(response: httpx.Response, problem: Mapping[str, Any]) -> str:
    """Write problem details: the detail, and one line for each fault."""
    if "detail" not in problem:
        return f"{response.url} answered HTTP {response.status_code} and is no Halley; see --url"
    lines = [str(problem["detail"])]
    lines += [f"  {fault['pointer'] or '/'}: {fault['message']}" for fault in problem.get("errors", ())]
    if response.status_code == httpx.codes.UNAUTHORIZED:
        lines[0] += " Here: --key or HALLEY_API_KEY."
    return "\n".join(lines)
