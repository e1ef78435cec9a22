"""`halley listen` as its users meet it: a real process in front of a real Halley and a local port."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from service.cli import main
from service.cli.listen import cut
from service.ids import is_id
from service.simulator import Simulator
from tests.fakes.house import API_KEY, TUNING, House, free_port, house
from tests.fakes.receiver import Receiver

T2V = "kling.text_to_video"
WHOLE = ["run.queued", "run.running", "run.succeeded"]
SECRET = "whsec_c2VjcmV0LWNhbmFyeS1zZWNyZXQtY2FuYXJ5"
LASTING = msgspec.structs.replace(TUNING, stream_cap_s=3600.0)
LIMIT_S = 30.0


class Listen:
    """A `halley listen` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._lines, self._said = process.stdout, process.stderr

    async def lines(self, count: int) -> list[str]:
        """Return the next lines that it prints."""
        async with asyncio.timeout(LIMIT_S):
            return [(await self._lines.readline()).decode().rstrip() for _ in range(count)]

    async def said(self, text: str) -> str:
        """Return the next line with a text that it says beside them."""
        async with asyncio.timeout(LIMIT_S):
            while line := (await self._said.readline()).decode():
                if text in line:
                    return line
        raise AssertionError(f"it ended without a word of {text!r}")

    async def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self._process.send_signal(signal.SIGINT)
        async with asyncio.timeout(LIMIT_S):
            return await self._process.wait()


@contextlib.asynccontextmanager
async def listen(url: str, *words: str) -> AsyncIterator[Listen]:
    """Run it until the block ends; it listens when the block begins."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HALLEY_", "COMET"))}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "listen", "--url", url, *words,
        env={**kept, "HALLEY_API_KEY": API_KEY}, stdout=pipe, stderr=pipe, limit=2**20,
    )  # fmt: skip
    running = Listen(process)
    try:
        await running.said("Listening")
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture
async def lasting(tmp_path: Path, sim: Simulator) -> AsyncIterator[House]:
    """A Halley whose streams last."""
    async with house(tmp_path, sim, tuning=LASTING) as running:
        yield running


async def whole(halley: House) -> str:
    """Carry out a run; returns its id."""
    started = await halley.start(T2V, {"prompt": "a comet"})
    return str((await halley.end(started.json()["id"]))["id"])


async def test_events_reach_a_local_port_as_deliveries_would(lasting: House, receiver: Receiver) -> None:
    """Headers, signature and body are those of a delivery; each event has a line with the answer, Ctrl-C ends it."""
    receiver.answers = [200, 500]
    async with listen(lasting.url, "--forward", f"{receiver.url}/hook?a=1", "--secret", SECRET) as running:
        run_id = await whole(lasting)
        got = await receiver.wait_for(3)
        lines = await running.lines(3)
        code = await running.interrupt()

    verified = [Webhook(SECRET).verify(each.body, each.headers) for each in got]
    listed = (await lasting.client.get("/v1/events")).json()["data"]
    assert verified == listed[::-1]
    assert {each.path for each in got} == {"/hook?a=1"}
    assert [each.headers["webhook-id"] for each in got] == [event["id"] for event in verified]
    assert {name.lower(): value for name, value in got[0].headers.items()}["content-type"] == "application/json"
    assert [line.split("  ")[1:5] for line in lines] == [
        [event["type"], T2V, run_id, event["id"]] for event in verified
    ]
    assert [line.split("  ")[5].split()[0] for line in lines] == ["200", "500", "200"]
    assert code == 0


async def test_without_a_port_events_are_printed(lasting: House) -> None:
    """One line each, or one JSON object each; from now on, from an event on, or from so long ago on, as filtered."""
    old = await whole(lasting)
    first = (await lasting.client.get("/v1/events")).json()["data"][-1]["id"]
    async with (
        listen(lasting.url, "--type", "run.succeeded", "--node", "kling.*") as plain,
        listen(lasting.url, "--json", "--since", first) as since,
        listen(lasting.url, "--json", "--since", "10m", "--type", "run.queued", "--type", "run.succeeded") as ago,
    ):
        new = await whole(lasting)
        (line,) = await plain.lines(1)
        after = [json.loads(each) for each in await since.lines(5)]
        both = [json.loads(each) for each in await ago.lines(4)]
        codes = [await each.interrupt() for each in (plain, since, ago)]

    assert line.split("  ")[1:4] == ["run.succeeded", T2V, new]
    assert [event["type"] for event in after] == [*WHOLE[1:], *WHOLE]
    assert [(event["type"], event["data"]["id"]) for event in both] == [
        (kind, run) for run in (old, new) for kind in ("run.queued", "run.succeeded")
    ]
    assert codes == [0, 0, 0]


async def test_a_lost_connection_is_made_again_where_it_was(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """What came while nobody was connected is passed on as well, and nothing twice."""
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        async with house(tmp_path, sim, port=port, tuning=TUNING) as before:
            running = await stack.enter_async_context(listen(before.url, "--forward", receiver.url, "--json"))
            await whole(before)
            await running.said("again in 1 s")
        await running.said("no Halley answers")
        async with house(tmp_path, sim, port=port, tuning=LASTING) as after:
            await whole(after)
            await running.said("Listening again")
            await whole(after)
            got = await receiver.wait_for(9, timeout_s=40)
            told = [json.loads(line) for line in await running.lines(9)]
            listed = (await after.client.get("/v1/events")).json()["data"]
            code = await running.interrupt()

    assert code == 0
    assert [each.event for each in got] == listed[::-1]
    assert [event["id"] for event in told] == [event["id"] for event in listed[::-1]]
    assert {event["forwarded"]["status"] for event in told} == {200}


async def test_a_port_that_nobody_listens_on_is_told_and_passed_by(lasting: House) -> None:
    """It is tried four times, then the line says so and the next event has its turn."""
    port = free_port()
    async with listen(lasting.url, "--forward", f"http://127.0.0.1:{port}", "--type", "run.succeeded") as running:
        await whole(lasting)
        await whole(lasting)
        lines = await running.lines(2)

    assert all(f"not passed on: nobody listens at http://127.0.0.1:{port}" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--forward", "ftp://127.0.0.1/x"), "is no URL"),
        (("--forward", "127.0.0.1:3000"), "is no URL"),
        (("--secret", "secret"), "a signing secret is whsec_"),
        (("--secret", "whsec_%"), "a signing secret is whsec_"),
        (("--since", "yesterday"), "neither an event's id nor a time"),
        (("--since", "run_00000000000000000000000000"), "neither an event's id nor a time"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: tuple[str, ...], told: str) -> None:
    """Before anything is asked of Halley, in one clear line."""
    result = CliRunner().invoke(main, ["listen", "--url", "http://127.0.0.1:9", *words], prog_name="halley")

    assert result.exit_code != 0
    assert told in result.stderr


async def test_a_refusal_by_halley_ends_it(lasting: House) -> None:
    """A wrong key, a type that does not exist and a Halley that is not there are told, with an exit code."""

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(main, ["listen", *words], prog_name="halley", env={"HALLEY_API_KEY": API_KEY})

    wrong_key = await asyncio.to_thread(invoke, "--url", lasting.url, "--key", "nobody")
    wrong_type = await asyncio.to_thread(invoke, "--url", lasting.url, "--type", "run.walking")
    nobody = await asyncio.to_thread(invoke, "--url", f"http://127.0.0.1:{free_port()}")

    assert [each.exit_code for each in (wrong_key, wrong_type, nobody)] == [1, 1, 1]
    assert "HALLEY_API_KEY" in wrong_key.stderr
    assert "query:type" in wrong_type.stderr
    assert "no Halley answers" in nobody.stderr


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_stream_is_cut_alike_whatever_its_pieces(size: int) -> None:
    """Comments mean nothing, an id alone is kept, and bodies come out as they went in, odd line ends included."""
    body = '{"text":"a\u2028b\x85c"}'.encode()
    stream = b"retry: 2000\nid: evt_0\n\n: keep-alive\n\nid: evt_1\nevent: run.queued\ndata: " + body + b"\n\nid: evt_2"
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]

    events = [(event.id, event.body) for event in cut(pieces)]

    assert events == [("evt_0", b""), ("", b""), ("evt_1", body)]


def test_ids_are_told_from_other_words() -> None:
    """An id has its kind and twenty-six characters, none of which is easily taken for another."""
    assert is_id("evt", "evt_01k" + "0" * 23)
    assert not any(is_id("evt", word) for word in ("", "evt_", "run_01k" + "0" * 23, "evt_01u" + "0" * 23))
