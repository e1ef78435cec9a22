"""What the wire to upstream reports when things break: was the request perhaps received, or surely not?"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from service.definitions.request import OutgoingRequest
from service.errors import NotSent, Unconfirmed
from service.settings import Secret
from service.upstream.transport import Transport
from tests.fakes.house import free_port

REQUEST = OutgoingRequest(method="POST", path="/x?a=%2F", body={"prompt": "x"})
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def peer(behave: Peer) -> AsyncIterator[str]:
    """Run a raw peer on loopback."""
    done: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.append(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError):
            await behave(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await asyncio.gather(*done)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Read the request and say nothing."""
    await read_request(reader)
    await reader.read()


async def closing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Read the request and close."""
    await read_request(reader)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request and reset the connection."""
    await read_request(reader)
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def garbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer what is no HTTP."""
    await read_request(reader)
    writer.write(b"\x00\x01 nonsense\r\n\r\n")
    await writer.drain()


async def truncating(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Promise more than is sent."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()


@pytest.mark.parametrize("behave", [silent, closing, resetting, garbling, truncating])
async def test_a_request_that_may_have_been_received_is_unconfirmed(behave: Peer) -> None:
    """After the first byte left, every trouble means: nobody knows."""
    async with peer(behave) as url, Transport(url, None) as transport:
        with pytest.raises(Unconfirmed):
            await transport.send(REQUEST, timeout_s=0.5)


async def test_a_refused_connection_was_never_sent() -> None:
    """Where nobody listens nothing was sent, so sending again is safe."""
    async with Transport(f"http://127.0.0.1:{free_port()}", None) as transport:
        with pytest.raises(NotSent):
            await transport.send(REQUEST, timeout_s=5)


async def test_the_key_goes_out_as_a_bearer_token_and_nowhere_else() -> None:
    """The request carries the key in its header, the path as it was built, and redirects are answers."""
    seen: list[bytes] = []

    async def redirecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with peer(redirecting) as url, Transport(url, Secret("sk-secret")) as transport:
        answer = await transport.send(REQUEST, timeout_s=5)

    assert answer.status == 301
    assert len(seen) == 1
    assert seen[0].startswith(b"POST /x?a=%2F HTTP/1.1\r\n")
    assert seen[0].count(b"sk-secret") == 1
    assert b"Authorization: Bearer sk-secret" in seen[0]
    assert "sk-secret" not in repr(Secret("sk-secret"))
