"""Names that are bound anew: public when they are looked at, forbidden when they are connected to.

Receivers and web sites listen on loopback, which nobody has allowed here. Sockets to other addresses are not made: the
guard's own are replaced by a hook that records the wish and refuses it.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from service import egress
from service.artifacts.fetch import Fetcher
from service.artifacts.vault import FolderVault
from service.delivery.sender import Sender
from service.egress import EgressGuard
from service.errors import MediaUnavailable

PUBLIC = "8.8.8.8"
Ask = Callable[[str], Awaitable[str]]


class Turncoat(dict[str, Any]):
    """An answer whose address is another one each time it is read; the last one stays."""

    def __init__(self, answer: ResolveResult, addresses: list[str]) -> None:
        super().__init__(answer)
        self._addresses = list(addresses)

    def __getitem__(self, name: str) -> Any:
        if name != "host":
            return super().__getitem__(name)
        return self._addresses.pop(0) if len(self._addresses) > 1 else self._addresses[0]


class Rebinding(AbstractResolver):
    """Gives an answer for each question, the last one for ever; asks nobody.

    Args:
        answers: The addresses of each answer: one that stays, or several that take each other's place.
    """

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the next answer."""
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        plain = ResolveResult(hostname=host, host=addresses[0], port=port, family=family, proto=0, flags=0)
        return [Turncoat(plain, addresses)]  # type: ignore[list-item]

    async def close(self) -> None:
        """Hold nothing."""


@asynccontextmanager
async def sender(resolver: AbstractResolver, _: Path) -> AsyncIterator[Ask]:
    """Ask by posting an event; the answer is the outcome and its reason."""
    made = Sender(EgressGuard(), resolver=resolver, timeout_s=10)
    await made.start()

    async def ask(url: str) -> str:
        await forget(made)
        exchange = await made.send(url, b"{}", {})
        return f"{exchange.outcome}: {exchange.reason}"

    yield ask
    await made.close()


@asynccontextmanager
async def fetcher(resolver: AbstractResolver, folder: Path) -> AsyncIterator[Ask]:
    """Ask by fetching media; the answer is why it could not be had."""
    vault = FolderVault(folder / "artifacts")
    await vault.open()
    async with Fetcher(EgressGuard(), vault, resolver=resolver, total_s=10) as made:

        async def ask(url: str) -> str:
            await forget(made)
            with pytest.raises(MediaUnavailable) as caught:
                await made.fetch(url, limit_bytes=1000)
            return str(caught.value)

        yield ask


async def forget(made: Sender | Fetcher) -> None:
    """Let the pool forget what names were bound to, as it does by itself after some seconds."""
    connector: Any = made._session.connector
    connector.clear_dns_cache()


@pytest.fixture
def wished(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address for which the guard went on to make a socket; none is made."""
    found, real = list[str](), EgressGuard.socket_factory

    def refuse(**_: object) -> NoReturn:
        raise PermissionError("this test makes no sockets")

    def recording(self: EgressGuard, info: Any) -> socket.socket:
        try:
            return real(self, info)
        except PermissionError:
            found.append(str(info[4][0]))
            raise

    monkeypatch.setattr(egress, "socket", SimpleNamespace(socket=refuse))
    monkeypatch.setattr(EgressGuard, "socket_factory", recording)
    return found


@pytest.fixture
async def inside() -> AsyncIterator[tuple[int, list[str]]]:
    """Something on this machine that nobody from outside should reach: its port, and who came."""
    came: list[str] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append("somebody")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], came


@pytest.mark.parametrize("way", [sender, fetcher])
async def test_a_name_that_is_bound_anew_between_two_requests_is_judged_anew(
    tmp_path: Path, wished: list[str], inside: tuple[int, list[str]], way: Any
) -> None:
    """The first request goes to the public address, the second one to nobody."""
    port, came = inside
    resolver = Rebinding([PUBLIC], ["127.0.0.1"])

    async with way(resolver, tmp_path) as ask:
        first, second = await ask(f"http://turn.test:{port}/"), await ask(f"http://turn.test:{port}/")

    assert "refused: it is" not in first
    assert "127.0.0.1 is refused: it is a loopback address" in second
    assert wished == [PUBLIC]
    assert came == []
    assert resolver.asked == 2


@pytest.mark.parametrize("way", [sender, fetcher])
@pytest.mark.parametrize("looks", range(1, 6))
async def test_a_name_that_is_bound_anew_before_it_is_connected_to_is_stopped_at_the_socket(
    tmp_path: Path, wished: list[str], inside: tuple[int, list[str]], way: Any, looks: int
) -> None:
    """However often the address is looked at, what counts is the one that a socket is made for."""
    port, came = inside
    resolver = Rebinding([*[PUBLIC] * looks, "127.0.0.1"])

    async with way(resolver, tmp_path) as ask:
        told = await ask(f"http://turn.test:{port}/")

    assert came == []
    assert "127.0.0.1" not in wished
    assert "127.0.0.1 is refused" in told or wished == [PUBLIC]


@pytest.mark.parametrize("way", [sender, fetcher])
async def test_an_address_that_turns_after_the_first_look_is_refused(
    tmp_path: Path, wished: list[str], inside: tuple[int, list[str]], way: Any
) -> None:
    """Once looked at and found public, then forbidden: no socket was wished for at all."""
    port, came = inside

    async with way(Rebinding([PUBLIC, "127.0.0.1"]), tmp_path) as ask:
        told = await ask(f"http://turn.test:{port}/")

    assert "127.0.0.1 is refused: it is a loopback address" in told
    assert (wished, came) == ([], [])
