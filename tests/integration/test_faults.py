"""Trouble that is no crash: a frozen process, an upstream that talks nonsense, a database in need, a clock that is set.

What the wire reports of each trouble stands in `test_transport`; here is what becomes of the run.
"""

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
import sqlite3
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import pytest

from service.artifacts.vault import FolderVault
from service.clock import SystemClock
from service.errors import StoreError
from service.simulator import Simulator
from tests.crash.load import EVENTS, client_of
from tests.crash.trial import Trial
from tests.crash.world import World, world
from tests.fakes.house import TUNING, House, house, quick_simulator
from tests.fakes.receiver import Receiver

FOUND = "kling.text_to_video"  # upstream can be asked about it by our own id
LOST = "veo.generate"  # and about this one by its own id only
FROZEN_S = 2.5


def body_of(node: str, prompt: str) -> dict[str, Any]:
    """Return an input."""
    return {"prompt": prompt, **({"model": "veo3-fast"} if node == LOST else {})}


async def begin(client: httpx.AsyncClient, node: str, prompt: str, **options: Any) -> httpx.Response:
    """Start a run."""
    return await client.post(f"/v1/nodes/{node}/runs", json=body_of(node, prompt), params={"wait": 0, **options})


async def rested(client: httpx.AsyncClient, run_id: str, timeout_s: float = 20.0) -> dict[str, Any]:
    """Return a run once it has ended, or nobody can tell its outcome."""
    async with asyncio.timeout(timeout_s):
        while True:
            run = (await client.get(f"/v1/runs/{run_id}", params={"wait": 0.05})).json()
            if run["finished_at"] or run["state"] == "submit_unknown":
                return dict(run)


async def submitted(around: World, count: int) -> None:
    """Return once upstream has received so many submissions."""
    async with asyncio.timeout(10):
        while len(around.upstream.submissions) < count:  # noqa: ASYNC110 - the simulator has no event to wait for
            await asyncio.sleep(0.01)


async def told(around: World, run_ids: set[str]) -> None:
    """Return once the receiver knows the ends of runs."""
    async with asyncio.timeout(20):
        while not run_ids <= {each.run_id for each in around.ear.told if each.type == "run.succeeded"}:
            await around.ear.news(1.0)


# -- a process that stands still


async def test_a_frozen_process_goes_on_where_it_stood(tmp_path: Path) -> None:
    """Submissions, polls, callbacks and deliveries under way at a SIGSTOP come to their one end after it.

    Seconds stand for minutes: they are longer than every interval of the quick nodes, and the time limits of requests,
    which are a minute and more, are met by the next test.
    """
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url)
        async with client_of(trial.url) as client:
            server = await trial.started()
            starts = [
                await begin(
                    client, node, f"probe-{n} [[slow:{n / 4}]]", webhook_url=around.ear.url, webhook_events=EVENTS
                )
                for n, node in enumerate((FOUND, LOST) * 3)
            ]
            await submitted(around, 6)
            server.send(signal.SIGSTOP)
            await asyncio.sleep(FROZEN_S)
            server.send(signal.SIGCONT)
            runs = [await rested(client, start.json()["id"]) for start in starts]
            await told(around, {run["id"] for run in runs})
        await trial.killed()

    assert [run["state"] for run in runs] == ["succeeded"] * 6
    assert around.upstream.repeated() == []
    assert len({(each.run_id, each.sequence) for each in around.ear.told}) == len(around.ear.told)


async def test_an_answer_that_came_while_the_process_stood_still_is_taken(tmp_path: Path) -> None:
    """A freeze that outlasts a submission's time limit is no silence of upstream's: its answer lies there, and is read.

    A time limit of a second and a half stands for the minute that it is.
    """
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url, CRASH_SUBMIT_TIMEOUT_S="1.5", HALLEY_PUBLIC_URL="")
        async with client_of(trial.url) as client:
            server = await trial.started()
            starts = [await begin(client, node, f"probe-{node[:3]} [[slow:0.5]]") for node in (FOUND, LOST)]
            await submitted(around, 2)
            server.send(signal.SIGSTOP)
            await asyncio.sleep(FROZEN_S)
            server.send(signal.SIGCONT)
            runs = [await rested(client, start.json()["id"]) for start in starts]
        await trial.killed()

    assert [run["state"] for run in runs] == ["succeeded", "succeeded"]
    assert around.upstream.repeated() == []


# -- an upstream that talks nonsense


Trouble = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Doorkeeper:
    """Stands before the simulator and, while there are troubles left, makes one in place of passing a request on.

    Attributes:
        troubles: By the method of the requests that they befall.
        met: How many have been made.
    """

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self._connections: set[asyncio.Task[None]] = set()
        self.troubles: dict[str, list[Trouble]] = {"POST": [], "GET": []}
        self.met = 0
        self.seen: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answer(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        request = head + await reader.readexactly(int(length[1]) if length else 0)
        method = head.partition(b" ")[0].decode()
        self.seen.append(method)
        if self.troubles[method]:
            self.met += 1
            await self.troubles[method].pop(0)(reader, writer)
            return
        host, port = self._sim.url.removeprefix("http://").split(":")
        upstream, upstream_writer = await asyncio.open_connection(host, int(port))
        upstream_writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        writer.write(await upstream.read())
        upstream_writer.close()
        await writer.drain()


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing."""
    await reader.read()


async def resetting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin an answer and reset the connection in the middle of it."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def saying(body: str, status: str = "200 OK", kind: str = "application/json") -> Trouble:
    """Answer with a whole HTTP message."""

    async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()

    return say


TROUBLES: dict[str, Trouble] = {
    "silence": silent,
    "reset in the middle": resetting,
    "JSON of something else": saying("[[]]"),
    "500": saying('{"error": {"message": "internal"}}', "500 Internal Server Error"),
    "502": saying("<html>Bad Gateway</html>", "502 Bad Gateway", "text/html"),
    "504": saying("", "504 Gateway Timeout"),
}
UNREADABLE: dict[str, Trouble] = {
    "half of the JSON": saying('{"id": "12'),
    "an empty answer": saying(""),
    "nothing under another type": saying("", kind="application/octet-stream"),
    "bytes that are no text": saying("\x01\x02"),
    "a web page": saying("<html>Welcome</html>", kind="text/html"),
}


@contextlib.asynccontextmanager
async def troubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[House, Doorkeeper]]:
    """Run a Halley that polls an upstream behind a doorkeeper, and waits a third of a second for answers."""
    for limit in ("_SUBMIT_TIMEOUT_S", "_QUERY_TIMEOUT_S"):
        monkeypatch.setattr(f"service.upstream.client.{limit}", 0.3)
    async with quick_simulator() as sim, Doorkeeper(sim) as door:
        environ = {"HALLEY_UPSTREAM_URL": door.url}
        async with house(tmp_path, sim, public=False, environ=environ) as halley:
            yield halley, door


async def test_a_submission_that_may_have_been_taken_is_never_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever upstream answers in place of an answer, the run says that nobody knows, and upstream saw it once."""
    outcomes: dict[str, tuple[str, str, int]] = {}
    async with troubled(tmp_path, monkeypatch) as (halley, door):
        for name, trouble in TROUBLES.items():
            before = door.seen.count("POST")
            door.troubles["POST"] = [trouble]
            run = await rested(halley.client, (await begin(halley.client, LOST, name)).json()["id"])
            await asyncio.sleep(0.1)
            outcomes[name] = (run["state"], run["error"]["billed"], door.seen.count("POST") - before)

    assert outcomes == dict.fromkeys(TROUBLES, ("submit_unknown", "unknown", 1))


async def test_a_submission_that_was_answered_unreadably_is_not_sent_again_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A success that cannot be read mostly comes from a wrong address; whatever it is taken for, it came of one try."""
    async with troubled(tmp_path, monkeypatch) as (halley, door):
        for number, (name, trouble) in enumerate(UNREADABLE.items(), start=1):
            door.troubles["POST"] = [trouble]
            run = await rested(halley.client, (await begin(halley.client, LOST, name)).json()["id"])

            assert run["state"] in ("failed", "submit_unknown"), name
            assert run["error"]["retryable"] is False, name
            assert door.seen.count("POST") == number, name


async def test_nonsense_in_answer_to_a_poll_never_ends_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trouble in turn befalls the questions about one task, and the run still comes to its result."""
    async with troubled(tmp_path, monkeypatch) as (halley, door):
        started = await begin(halley.client, LOST, "x")
        door.troubles["GET"] = [*TROUBLES.values(), *UNREADABLE.values()]
        run = await rested(halley.client, started.json()["id"], 40)

    assert run["state"] == "succeeded"
    assert door.met == len(TROUBLES) + len(UNREADABLE)
    assert door.seen.count("POST") == 1


async def test_a_refused_connection_is_tried_again_until_somebody_listens(tmp_path: Path) -> None:
    """Where nothing could be sent the run stays queued; it goes out once when upstream is back."""
    async with quick_simulator() as sim:
        port = int(sim.url.rpartition(":")[2])
        async with house(tmp_path, sim, public=False) as halley:
            await sim.stop()
            start = await begin(halley.client, LOST, "x")
            refusals = await halley.told(start.json()["id"], "state")
            async with asyncio.timeout(20):
                while not any("did not accept" in each["reason"] for each in refusals):
                    refusals = await halley.told(start.json()["id"], "state")
            waiting = (await halley.client.get(f"/v1/runs/{start.json()['id']}")).json()
            await sim.start(port=port)
            run = await rested(halley.client, start.json()["id"])

    assert waiting["state"] in ("queued", "submitting")
    assert run["state"] == "succeeded"
    assert len(sim.tasks) == 1


async def test_a_refused_connection_is_tried_no_longer_than_the_deadline(tmp_path: Path) -> None:
    """A run that could never be sent ends by itself, and says that nothing was billed."""
    async with quick_simulator() as sim, house(tmp_path, sim, public=False) as halley:
        await sim.stop()
        start = await begin(halley.client, LOST, "x", deadline=1)
        run = await rested(halley.client, start.json()["id"])

    assert run["state"] in ("failed", "timed_out")
    assert run["error"]["billed"] == "no"


# -- a database in need


def said_in_one_line(trial: Trial) -> str:
    """Return the one line that a server left behind which could not start."""
    (line,) = trial.log.read_text().splitlines()
    return line


@pytest.fixture
async def stopped(tmp_path: Path) -> Trial:
    """A data folder in which a Halley has worked, without one."""
    trial = Trial(tmp_path, "http://127.0.0.1:9")
    server = await trial.started()
    server.send(signal.SIGTERM)
    await server.wait()
    trial.server.close()
    trial.log.unlink()
    return trial


async def refusal(trial: Trial) -> tuple[int, str]:
    """Start a server that cannot work; returns its exit code and its one line."""
    server = trial.start()
    try:
        return await server.wait(15), said_in_one_line(trial)
    finally:
        server.close()


async def test_a_locked_database_is_said_at_start(stopped: Trial) -> None:
    """Another process holds the file: one line says so, and the exit is a failure."""
    with contextlib.closing(sqlite3.connect(stopped.folder / "data" / "halley.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, line = await refusal(stopped)

    assert code == 1
    assert line.startswith("Error: ")
    assert "locked" in line


@pytest.mark.parametrize("first_byte", [0, 4096])
async def test_a_corrupt_database_is_said_at_start(stopped: Trial, first_byte: int) -> None:
    """Neither a file that is no database nor one whose pages are overwritten is worked with."""
    path = stopped.folder / "data" / "halley.db"
    size_bytes = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(first_byte)
        file.write(b"\xaa" * (size_bytes - first_byte))
    code, line = await refusal(stopped)

    assert code == 1
    assert line.startswith("Error: ")
    assert "halley.db" in line


async def test_a_full_disk_is_said_at_start(tmp_path: Path) -> None:
    """Where nothing can be written, nothing is served."""
    trial = Trial(tmp_path, "http://127.0.0.1:9", CRASH_LARGEST_FILE_BYTES="8192")
    code, line = await refusal(trial)

    assert code == 1
    assert line.startswith("Error: ")


def fill_disk(pid: int) -> None:
    """Let a process write to no file from now on."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def clear_disk(pid: int) -> None:
    """Let it write again."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize("log", ["on the same disk", "elsewhere"])
async def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path, log: str) -> None:
    """Starts are refused and readiness says why; what was under way is written down when there is space again."""
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url)
        trial.log = trial.log if log == "on the same disk" else Path(os.devnull)
        async with client_of(trial.url) as client:
            server = await trial.started()
            starts = [
                await begin(
                    client, node, f"probe-{node[:3]} [[slow:0.5]]", webhook_url=around.ear.url, webhook_events=EVENTS
                )
                for node in (FOUND, LOST)
            ]
            await submitted(around, 2)
            fill_disk(server.pid)
            refused = [await begin(client, LOST, "probe-refused"), await client.get("/readyz")]
            await asyncio.sleep(1.5)  # upstream answers, calls back and ends meanwhile
            alive = await client.get("/healthz")
            clear_disk(server.pid)
            runs = [await rested(client, start.json()["id"]) for start in starts]
            await told(around, {run["id"] for run in runs})
            again = await begin(client, LOST, "probe-again")
            ready = await client.get("/readyz")
        code, said = await trial.command("db", "check")
        await trial.killed()

    assert [answer.status_code for answer in (*refused, alive, again, ready)] == [503, 503, 200, 202, 200]
    assert refused[0].headers["content-type"] == "application/problem+json"
    assert int(refused[0].headers["retry-after"]) > 0
    assert [run["state"] for run in runs] == ["succeeded", "succeeded"]
    assert [
        run for run, events in around.ear.by_run().items() if sorted(events) != list(range(1, len(events) + 1))
    ] == []
    assert around.upstream.repeated() == []
    assert code == 0, said


async def test_a_database_that_is_locked_for_a_while_loses_nothing(tmp_path: Path) -> None:
    """Another program holds the file for longer than a write waits: what was under way is written down afterwards."""
    async with world() as around:
        trial = Trial(tmp_path, around.upstream.url)
        async with client_of(trial.url) as client:
            await trial.started()
            start = await begin(client, LOST, "probe-locked [[slow:0.5]]", webhook_url=around.ear.url)
            await submitted(around, 1)
            with contextlib.closing(sqlite3.connect(tmp_path / "data" / "halley.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                refused = await begin(client, LOST, "probe-refused")
            run = await rested(client, start.json()["id"])
            await told(around, {run["id"]})
        await trial.killed()

    assert refused.status_code == 503
    assert run["state"] == "succeeded"
    assert around.upstream.repeated() == []


class Ailing:
    """Something whose verb fails a few times, as when the disk is full for a while.

    Args:
        inner: What it stands before.
        verb: Which one fails.
        times: How often.
    """

    def __init__(self, inner: Any, verb: str, times: int) -> None:
        self._inner = inner
        self._verb = verb
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._verb and self.times else getattr(self._inner, name)

    async def _fail(self, *_: Any, **__: Any) -> Any:
        self.times -= 1
        raise StoreError("no space left on device")


async def test_a_submission_whose_input_could_not_be_read_is_made_later(tmp_path: Path) -> None:
    """The database is away between the claim and the first byte: nothing was sent, so the run does not hang in it."""
    tuning = msgspec.structs.replace(TUNING, around_store=lambda store: Ailing(store, "run_input", 1))  # type: ignore[arg-type]
    async with quick_simulator() as sim, house(tmp_path, sim, tuning=tuning) as halley:
        run = await rested(halley.client, (await begin(halley.client, LOST, "x")).json()["id"], 10)

    assert run["state"] == "succeeded"
    assert len(sim.tasks) == 1


async def test_a_task_that_waits_is_woken_when_the_database_is_back(tmp_path: Path) -> None:
    """The confirmed window's task is looked at again, though that could not be written down at once."""
    tuning = msgspec.structs.replace(TUNING, around_store=lambda store: Ailing(store, "wake", 1))  # type: ignore[arg-type]
    async with quick_simulator() as sim, house(tmp_path, sim, public=False, tuning=tuning) as halley:
        parked = await window(halley)
        given = parked["data"]["next"][0]
        await halley.start(given["node"], {**given["input"], "prompt": "x --zoom 2"}, wait=10)
        run = await rested(halley.client, parked["id"], 10)

    assert run["state"] == "succeeded"


async def window(halley: House) -> dict[str, Any]:
    """Bring a run to where its task waits for the user."""
    run = (await halley.start("midjourney.imagine", {"prompt": "x"}, wait=10)).json()
    for wanted in ("upsample::1", "CustomZoom"):
        given = next(each for each in run["data"]["next"] if wanted in each["input"]["custom_id"])
        run = (await halley.start(given["node"], given["input"], wait=10)).json()
    assert run["awaits_input"]
    return dict(run)


async def test_a_result_that_could_not_be_kept_at_once_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that came as bytes in the answer is paid: it is kept as soon as there is space for it."""
    ail(monkeypatch, "keep")
    async with quick_simulator() as sim, house(tmp_path, sim) as halley:
        started = await halley.start("images.generate", {"model": "gpt-image-2", "prompt": "x"}, wait=0)
        run = await rested(halley.client, started.json()["id"], 10)

    assert run["state"] == "succeeded"
    assert run["artifacts"][0]["url"]


async def test_a_run_whose_media_could_not_be_kept_was_surely_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk while an input is fetched is before the first byte: the run is not one that may have been paid."""
    ail(monkeypatch, "spool")
    async with quick_simulator() as sim, house(tmp_path, sim) as halley:
        body = {"model": "gpt-image-2", "prompt": "x", "image": [f"{sim.url}/media/comet.png"]}
        started = await halley.start("images.edit", body, wait=0)
        assert started.status_code == 202, started.text
        run = await rested(halley.client, started.json()["id"], 10)

    assert run["state"] != "submit_unknown", run["error"]
    assert sum("edits" in each.path for each in sim.requests) <= 1


def ail(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """Let a verb of every vault fail the first time."""
    found, left = getattr(FolderVault, verb), [None]

    async def ailing(*args: Any, **words: Any) -> Any:
        if left:
            left.pop()
            raise StoreError("no space left on device")
        return await found(*args, **words)

    monkeypatch.setattr(FolderVault, verb, ailing)


# -- a clock that is set


class SetClock:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Return what it shows."""
        return time.time() + self.ahead_s


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
async def test_a_clock_that_is_set_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    """A jump of the wall clock is no passing of time; only signatures tell the new time, as receivers compare it."""
    wall = SetClock()
    monkeypatch.setattr("service.app.SystemClock", lambda: SystemClock(wall=wall))
    async with quick_simulator() as sim, Receiver() as receiver, house(tmp_path, sim, public=False) as halley:
        start = await begin(halley.client, LOST, "x [[duration:1]]", webhook_url=receiver.url, deadline=30)
        await halley.until(start.json()["id"], "running")
        wall.ahead_s = jump.total_seconds()
        run = await rested(halley.client, start.json()["id"])
        (got,) = await receiver.wait_for(1)

    passed = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["created_at"])
    assert run["state"] == "succeeded"
    assert timedelta(seconds=0.5) < passed < timedelta(seconds=20)
    assert abs(int(got.headers["webhook-timestamp"]) - wall()) < 60


async def test_sweeps_go_on_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler's own clock may jump as well: due polls are not put off until the old time comes round again."""
    wall = SetClock()
    monkeypatch.setattr("service.app.SystemClock", lambda: SystemClock(wall=wall))

    class JumpingDatetime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(wall(), tz or UTC)

    for place in ("apscheduler.schedulers.base", "service.workers.scheduler"):
        monkeypatch.setattr(f"{place}.datetime", JumpingDatetime, raising=False)
    async with quick_simulator() as sim, house(tmp_path, sim, public=False) as halley:
        start = await begin(halley.client, LOST, "x [[duration:1]]")
        await halley.until(start.json()["id"], "running")
        wall.ahead_s = -86400.0
        run = await rested(halley.client, start.json()["id"], 15)

    assert run["state"] == "succeeded"
