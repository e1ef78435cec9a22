"""A real process that is told to stop: balancers hear of it first, nothing accepted is lost, it takes ten seconds."""

import asyncio
import contextlib
import signal
import time
from pathlib import Path

from tests.fakes.house import quick_simulator
from tests.fakes.replicas import replica

NODE = "kling.text_to_video"


async def test_readiness_turns_before_the_door_closes(tmp_path: Path) -> None:
    """In the second after SIGTERM `/readyz` says 503, and a start that still comes is kept and carried out later."""
    async with quick_simulator() as sim:
        async with replica(tmp_path, sim.url) as one:
            one.send(signal.SIGTERM)
            await one.ready(503)
            late = await one.start(NODE, {"prompt": "just in time"})
            code = await one.ended()
        async with replica(tmp_path, sim.url) as one:
            run = await one.end(late["id"])

    assert code == 0
    assert run["state"] == "succeeded"
    assert len(sim.tasks) == 1


async def test_a_stop_takes_ten_seconds_at_most_and_counts_no_attempt_twice(tmp_path: Path) -> None:
    """An upstream that never answers holds up no stop; its submission is of unknown outcome and is not sent again."""
    heard: list[bytes] = []
    is_sent = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            if heard[-1].startswith(b"POST /kling"):
                is_sent.set()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with replica(tmp_path, url) as one:
            run = await one.start(NODE, {"prompt": "x"})
            async with asyncio.timeout(10):
                await is_sent.wait()
            waiting = asyncio.create_task(one.client.get(f"/v1/runs/{run['id']}", params={"wait": 25}))
            await asyncio.sleep(0.1)
            begun = time.monotonic()
            one.send(signal.SIGTERM)
            code = await one.ended()
            took_s = time.monotonic() - begun
            answer = await waiting
        async with replica(tmp_path, url) as one:
            after = await one.rest(run["id"])

    assert code == 0
    assert took_s < 10
    assert (answer.status_code, answer.json()["state"]) == (200, "submitting")
    assert after["state"] == "submit_unknown"
    assert sum(b"POST /kling" in each for each in heard) == 1
