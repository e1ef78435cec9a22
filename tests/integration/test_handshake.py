"""The handshake of CloudEvents webhooks: a receiver is asked before anything is sent to it, and silence is a no."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from service.delivery.sender import Handshake, Sender
from service.egress import EgressGuard, parse_networks
from tests.fakes.ports import free_port
from tests.fakes.receiver import Receiver

ORIGIN = "halley.example.com"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with Receiver() as receiver:
        yield receiver


async def shake(receiver: Receiver, status: int = 200, rate_per_s: float | None = 2.0, **headers: str) -> Handshake:
    """Ask a receiver that answers with these headers."""

    async def answer(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, headers=named)

    receiver.answers.append(answer)
    return await ask(receiver.url + "/hook?a=%2F", rate_per_s=rate_per_s)


async def ask(url: str, *, timeout_s: float = 15.0, rate_per_s: float | None = None, allow: str = "127.0.0.0/8"):
    """Ask whoever is there."""
    sender = Sender(EgressGuard(parse_networks(allow)), timeout_s=timeout_s)
    await sender.start()
    try:
        return await sender.handshake(url, ORIGIN, rate_per_s=rate_per_s)
    finally:
        await sender.close()


async def test_the_receiver_is_asked_as_the_specification_says(receiver: Receiver) -> None:
    """OPTIONS goes to the very URL, names the origin, and asks for a rate in requests per minute."""
    told = await shake(receiver, WebHook_Allowed_Origin=ORIGIN, WebHook_Allowed_Rate="90")

    (got,) = receiver.got
    assert (got.method, got.path, got.body) == ("OPTIONS", "/hook?a=%2F", b"")
    assert got.headers["WebHook-Request-Origin"] == ORIGIN
    assert got.headers["WebHook-Request-Rate"] == "120"
    assert "WebHook-Request-Callback" not in got.headers
    assert (told.allowed, told.rate_per_s) == (True, 1.5)


@pytest.mark.parametrize("origin", ["*", ORIGIN, "Halley.Example.COM"])
async def test_permission_is_for_this_origin_or_for_all(receiver: Receiver, origin: str) -> None:
    """`*` is permission too, and DNS names know no case."""
    assert (await shake(receiver, WebHook_Allowed_Origin=origin, WebHook_Allowed_Rate="60")).allowed


@pytest.mark.parametrize("rate", ["*", "0", "-5", "fast", ""])
async def test_a_rate_that_is_no_number_is_no_limit(receiver: Receiver, rate: str) -> None:
    """An asterisk lifts the limit; what means nothing states none."""
    told = await shake(receiver, WebHook_Allowed_Origin="*", WebHook_Allowed_Rate=rate)

    assert (told.allowed, told.rate_per_s) == (True, None)


async def test_no_rate_is_asked_for_without_one(receiver: Receiver) -> None:
    """The header is optional."""
    await shake(receiver, rate_per_s=None, WebHook_Allowed_Origin="*")

    assert "WebHook-Request-Rate" not in receiver.got[0].headers


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (200, {}, "answered 200 without"),
        (204, {"Allow": "POST, OPTIONS", "Access-Control-Allow-Origin": "*"}, "answered 204 without"),
        (405, {}, "answered 405 without"),
        (200, {"WebHook_Allowed_Origin": "other.example.com"}, "another origin"),
        (307, {"Location": "/elsewhere", "WebHook_Allowed_Origin": "*"}, "redirects are not followed"),
    ],
)
async def test_anything_else_is_a_refusal(
    receiver: Receiver, status: int, headers: dict[str, str], reason: str
) -> None:
    """A status is no consent, nor is the consent of somewhere else, and redirects are not followed."""
    told = await shake(receiver, status, **headers)

    assert not told.allowed
    assert reason in told.reason
    assert len(receiver.got) == 1


async def test_a_receiver_that_hangs_has_not_agreed(receiver: Receiver) -> None:
    """The handshake has the deadline of a delivery."""
    release = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answers.append(hang)
    told = await ask(receiver.url, timeout_s=0.3)
    release.set()

    assert (told.allowed, "within 0.3 s" in told.reason) == (False, True)


async def test_a_receiver_that_is_down_has_not_agreed() -> None:
    """A refused connection is an answer, not an exception."""
    told = await ask(f"http://127.0.0.1:{free_port()}/")

    assert (told.allowed, "No connection" in told.reason) == (False, True)


async def test_the_guard_judges_the_handshake_too(receiver: Receiver) -> None:
    """An address that may not be posted to is not asked either."""
    told = await ask(receiver.url, allow="10.0.0.0/8")

    assert (told.allowed, "loopback" in told.reason) == (False, True)
    assert receiver.got == []
