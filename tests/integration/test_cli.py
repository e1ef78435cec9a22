"""The command line as its users meet it: exit codes, plain lines, clear errors, no traceback."""

import asyncio
import contextlib
import json
import os
import queue
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from service.artifacts.vault import FolderVault
from service.cli import main
from service.cli.run import values_of
from service.definitions.catalog import compile_catalog
from service.definitions.loader import load, shipped
from service.definitions.reader import Answer
from service.definitions.schema import Case
from service.ids import new_id, new_token
from service.lifecycle import transitions as rules
from service.lifecycle.artifacts import artifact_id
from service.lifecycle.run import Artifact, Change, Run
from service.lifecycle.transitions import queued
from service.simulator import MARKS
from service.store.base import RunFilter
from service.store.opening import store_of
from service.store.sql_store import SqlStore
from tests.unit.lifecycle.test_transitions import a_run

Json = dict[str, Any]
Halley = Callable[..., Result]

LIMIT_S = 20.0
NODE = "kling.text_to_video"
LAST_LINE = "Webhook signing secret"


def clean_environ(folder: Path) -> dict[str, str]:
    """Return an environment with nothing of the tester's settings in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HALLEY_", "COMET"))}
    return {**kept, "HALLEY_DATA_DIR": str(folder), "HALLEY_PORT": "0"}


class Command:
    """`halley …` in a process of its own; its lines are awaited, never for longer than the limit."""

    def __init__(self, environ: Mapping[str, str], *words: str) -> None:
        self.lines: list[str] = []
        self._news: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "service", *words],
            env=dict(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # nobody reads it: a pipe would fill up and hold the command
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._news.put(line.rstrip("\n"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def line_with(self, text: str) -> str:
        """Return the first line with a text, once it is there."""
        until = time.monotonic() + LIMIT_S
        while not (found := next((line for line in self.lines if text in line), None)):
            self.lines.append(self._news.get(timeout=max(until - time.monotonic(), 0.01)))
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Return the exit code, once the process has ended."""
        code = self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        while not self._news.empty():
            self.lines.append(self._news.get())
        return code

    @property
    def url(self) -> str:
        """The URL in its greeting, once all of that is there."""
        self.line_with(LAST_LINE)
        return re.findall(r"http://[0-9.:]+", self.line_with("Halley listens on"))[0]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Settings with a data folder of their own."""
    return clean_environ(tmp_path / "data")


@pytest.fixture
def halley(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Halley:
    """Run a command in this process, with those settings and what is given in addition."""
    for name in os.environ:
        if name.startswith(("HALLEY_", "COMET")):
            monkeypatch.delenv(name)

    def run(*words: str, text: str | bytes | None = None, **more: str) -> Result:
        return CliRunner().invoke(main, words, input=text, env={**environ, **more}, prog_name="halley")

    return run


class Served:
    """A Halley that serves while the tests of this file run."""

    def __init__(self, folder: Path, key: str, command: Command) -> None:
        self.folder = folder
        self.key = key
        self.url = command.url

    @property
    def settings(self) -> dict[str, str]:
        """What a command needs to be told to talk to it."""
        host, port = self.url.removeprefix("http://").split(":")
        return {
            "HALLEY_DATA_DIR": str(self.folder),
            "HALLEY_API_KEY": self.key,
            "HALLEY_HOST": host,
            "HALLEY_PORT": port,
        }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Halley without an upstream key, which has made its first API key."""
    folder = tmp_path_factory.mktemp("served")
    with Command(clean_environ(folder), "serve") as command:
        key = command.line_with("API key").rpartition(" ")[2]
        yield Served(folder, key, command)


def assert_one_clear_error(result: Result, *words: str) -> None:
    """Assert that a command failed and said why in one line, without a traceback."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert [word for word in words if word not in result.stderr] == []


# -- serve


def test_serve_greets_once_and_stops_on_sigterm(environ: dict[str, str]) -> None:
    """The first start says what is possible and shows a key that works; the second one shows none."""
    with Command(environ, "serve") as first:
        key = first.line_with("API key, shown this once").rpartition(" ")[2]
        answer = httpx.get(f"{first.url}/v1/nodes", headers={"X-API-Key": key}, trust_env=False)
        first.signal(signal.SIGTERM)
        code = first.end()
    with Command({**environ, "COMETAPI_KEY": "sk-canary", "HALLEY_PUBLIC_URL": "https://h.test"}, "serve") as second:
        second.line_with(LAST_LINE)
        second.signal(signal.SIGINT)
        second_code = second.end()

    assert (answer.status_code, code, second_code) == (200, 0, 0)
    assert "COMETAPI_KEY is not set" in first.line_with("Live runs")
    assert "HALLEY_PUBLIC_URL is not set; runs are polled" in first.line_with("Callbacks")
    assert environ["HALLEY_DATA_DIR"] in first.line_with("Data folder")
    assert "possible, COMETAPI_KEY is set" in second.line_with("Live runs")
    assert "https://h.test" in second.line_with("Callbacks")
    assert not [line for line in second.lines if "hly_" in line or "sk-canary" in line]


def test_a_start_loads_nothing_that_may_not_be_needed() -> None:
    """A Halley on a file pays for no simulator, no client of a database server, and nothing that brokers bring."""
    names = ("service.simulator", "asyncpg", "pydantic")
    program = (
        "import sys, service.cli.serve, service.app\n"
        "service.app._Application([], openapi_config=None)\n"
        f"sys.exit(any(name in sys.modules for name in {names}))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603 - our own words


def test_a_stop_answers_who_waits(environ: dict[str, str]) -> None:
    """A start that waits is answered 202 at the stop: after a cut, it would be sent again, and paid."""
    with Command({**environ, "HALLEY_API_KEY": "k"}, "serve") as command, ThreadPoolExecutor() as pool:
        with httpx.Client(base_url=command.url, headers={"X-API-Key": "k"}, trust_env=False, timeout=LIMIT_S) as client:
            body, query = {"prompt": "a comet [[duration:60]]"}, {"mode": "mock", "wait": 20}
            start = pool.submit(client.post, f"/v1/nodes/{NODE}/runs", json=body, params=query)
            with httpx.Client(base_url=command.url, headers={"X-API-Key": "k"}, trust_env=False) as other:
                _until(lambda: other.get("/v1/runs").json()["data"])
            command.signal(signal.SIGTERM)
            answer = start.result(LIMIT_S)
        code = command.end()

    assert (answer.status_code, code) == (202, 0)
    assert answer.json()["state"] in ("queued", "submitting", "running")


def _until(check: Callable[[], object]) -> None:
    until = time.monotonic() + LIMIT_S
    while not check():
        assert time.monotonic() < until, "it did not come about in time"


def test_a_second_halley_on_the_same_folder_is_told_so(served: Served) -> None:
    """It ends at once with one clear line."""
    words = [sys.executable, "-m", "service", "serve"]

    ended = subprocess.run(  # noqa: S603 - our own command
        words, env=clean_environ(served.folder), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"Error: HALLEY_DATA_DIR: another Halley is running in {served.folder}\n"


def test_a_busy_port_is_told(halley: Halley) -> None:
    """The line names the address, and how to take another."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        result = halley("serve", "--port", port)

    assert_one_clear_error(result, "127.0.0.1", port, "--port")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HALLEY_PORT", "many"),
        ("HALLEY_HOST", "192.0.2.1"),
        ("HALLEY_PUBLIC_URL", "halley"),
        ("HALLEY_DATABASE_URL", "mysql://x"),
        ("HALLEY_NODES_PATH", "/nowhere/at/all"),
        ("HALLEY_EGRESS_ALLOW", "everything"),
        ("HALLEY_LOG", "loud"),
    ],
)
def test_a_wrong_setting_is_named(halley: Halley, name: str, value: str) -> None:
    """One line names the setting."""
    result = halley("serve", **{name: value})

    assert_one_clear_error(result, name)


def test_a_data_folder_that_cannot_be_made_is_told(halley: Halley, tmp_path: Path) -> None:
    """A file in the place of the folder gives one clear line."""
    (tmp_path / "file").write_text("in the way")

    result = halley("keys", "create", "bob", HALLEY_DATA_DIR=str(tmp_path / "file" / "data"))

    assert_one_clear_error(result, str(tmp_path / "file"))


@pytest.mark.parametrize("words", [("serve",), ("nodes", "list"), ("nodes", "lint")])
def test_every_definition_fault_is_listed(halley: Halley, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Whatever loads definitions lists all their faults, each with file and line, and fails."""
    folder = tmp_path / "nodes" / "acme"
    folder.mkdir(parents=True)
    (folder / "draw.yaml").write_text("node: acme.draw\ntitle: 3\ncolour: red\n")

    result = halley(*words, HALLEY_NODES_PATH=str(tmp_path / "nodes"))

    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert re.search(r"acme/draw\.yaml:2: title:", result.stderr)
    assert re.search(r"acme/draw\.yaml:3: colour:", result.stderr)


# -- run


def test_run_prints_what_was_made(halley: Halley, served: Served) -> None:
    """A run that succeeds shows how it came along on stderr, its results on stdout, and exits with 0."""
    words = ("run", NODE, "prompt=a comet [[duration:0.2]]", "--mode", "mock")

    result = halley(*words, **served.settings)

    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"video  http://127\.0\.0\.1:\S+\.mp4\S*\n", result.stdout)
    assert f"{NODE}  queued" in result.stderr
    assert f"{NODE}  succeeded" in result.stderr


def test_run_sends_text_json_and_files(halley: Halley, served: Served, tmp_path: Path) -> None:
    """Text is coerced by the service, JSON is sent as it is, a file as a data URI."""
    picture = tmp_path / "frame.png"
    picture.write_bytes(Path("service/simulator/media/sample.png").read_bytes())
    inputs = ("prompt=x=1", f"image=@{picture}", "cfg_scale=0.7", 'camera_control:={"type":"down_back"}')

    result = halley("run", "kling.image_to_video", *inputs, "--mode", "preview", **served.settings)

    body = json.loads(result.stdout)["request"]["body"]
    assert result.exit_code == 0
    assert (body["prompt"], body["cfg_scale"]) == ("x=1", 0.7)
    assert body["camera_control"] == {"type": "down_back"}
    assert body["image"].startswith("iVBORw0KGgo")


def test_run_without_waiting(halley: Halley, served: Served) -> None:
    """An accepted run is success for who does not wait; the words given with it are kept."""
    words = (
        "run",
        NODE,
        "prompt=a comet",
        "--mode",
        "mock",
        "--no-wait",
        "--reference",
        "order-42",
        "--json",
    )

    result = halley(*words, **served.settings)

    run = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (run["state"], run["reference"]) == ("queued", "order-42")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            (NODE, "prompt=x [[fail:the cat ran away]] [[duration:0.1]]", "--mode", "mock"),
            ["the cat ran away"],
        ),
        ((NODE, "prompt=x"), ["COMETAPI_KEY", "mode=mock"]),
        ((NODE, "prompt=x", "--mode", "mock", "--key", "wrong"), ["unknown or revoked", "HALLEY_API_KEY"]),
        (("kling.nope", "prompt=x", "--mode", "mock"), ["kling.nope"]),
        ((NODE, "prompt=x", "--url", "http://127.0.0.1:9"), ["http://127.0.0.1:9", "halley serve", "--url"]),
        ((NODE, "prompt=x", "--url", "nonsense"), ["nonsense"]),
        ((NODE, "prompt"), ["NAME=VALUE"]),
        ((NODE, "prompt:={"), ["JSON"]),
        (("kling.image_to_video", "image=@/nowhere.png"), ["/nowhere.png"]),
    ],
)
def test_run_says_why_it_failed(halley: Halley, served: Served, words: tuple[str, ...], told: list[str]) -> None:
    """Whatever keeps a run from succeeding ends in the exit code 1 and a line that says what to do."""
    result = halley("run", *words, **served.settings)

    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    error = result.stderr[result.stderr.index("Error: ") :]
    assert error.count("\n") == 1
    assert [word for word in told if word not in error] == []


def test_run_tells_every_fault_of_the_input(halley: Halley, served: Served) -> None:
    """Each fault of the problem details is a line with its pointer."""
    words = ("run", NODE, "promt=x", "cfg_scale=7", "--mode", "mock")

    result = halley(*words, **served.settings)

    assert result.exit_code == 1
    assert [each for each in ("/promt:", "/cfg_scale:", "/prompt:") if each not in result.stderr] == []


# -- runs


def test_an_operator_decides_about_runs(halley: Halley, served: Served) -> None:
    """Runs are listed, shown with their timeline, given up and started anew from the command line."""
    lost = (NODE, "prompt=a comet [[reset_before]]", "--mode", "mock")
    begun = halley("run", *lost, "--no-wait", "--reference", "lost-1", "--json", **served.settings)
    run = json.loads(begun.stdout)["id"]
    until = time.monotonic() + LIMIT_S
    listed = ""
    while run not in listed and time.monotonic() < until:
        listed = halley("runs", "list", "--state", "submit_unknown", **served.settings).stdout

    shown = halley("runs", "show", run, "--json", **served.settings)
    told = halley("runs", "show", run, **served.settings)
    adopted = halley("runs", "adopt", run, "no-such-task", **served.settings)
    canceled = halley("runs", "cancel", run, **served.settings)
    late = halley("runs", "abandon", run, **served.settings)
    again = halley("runs", "retry", run, "--json", **served.settings)

    assert run in listed
    assert [entry["detail"].get("state") for entry in json.loads(shown.stdout)["timeline"]][:2] == [
        "queued",
        "submitting",
    ]
    assert "submission 1 begins" in told.stdout
    assert f"{run} is running" in adopted.stdout
    assert f"{run} is canceled" in canceled.stdout
    assert late.exit_code == 1
    assert "Only a run in submit_unknown" in late.stderr
    assert json.loads(again.stdout)["id"] != run


def test_a_run_that_is_not_there_is_told(halley: Halley, served: Served) -> None:
    """Every command about a run says so and exits with 1."""
    for words in (("show",), ("cancel",), ("abandon",), ("retry",)):
        result = halley("runs", *words, "run_none", **served.settings)
        assert result.exit_code == 1
        assert "run_none" in result.stderr


def test_a_name_that_stands_twice_gives_a_list() -> None:
    """Inputs that take several values are written several times."""
    values = values_of(("image=a", "image=b", 'image:={"c":1}', "text=a=b", "empty="))

    assert values == {"image": ["a", "b", {"c": 1}], "text": "a=b", "empty": ""}


# -- keys and database


def test_keys_live_beside_a_running_halley(halley: Halley, served: Served) -> None:
    """A key made while Halley serves is valid at once, and one that is revoked before its use never is."""
    made = json.loads(halley("keys", "create", "amy", "--json", **served.settings).stdout)
    revoked = json.loads(halley("keys", "create", "eve", "--workspace", "w", "--json", **served.settings).stdout)
    halley("keys", "revoke", "eve", **served.settings)

    statuses = [
        httpx.get(f"{served.url}/v1/runs", headers={"X-API-Key": each["key"]}, trust_env=False).status_code
        for each in (made, revoked)
    ]

    assert statuses == [200, 401]
    assert (made["workspace"], revoked["workspace"]) == ("amy", "w")


def test_keys_are_listed_without_the_key(halley: Halley) -> None:
    """The list tells names and workspaces; the key itself is shown when it is made, and never again."""
    made = halley("keys", "create", "bob")
    key = re.findall(r"hly_\S+", made.stdout)[0]
    halley("keys", "revoke", "bob")

    listed, plain = halley("keys", "list", "--json"), halley("keys", "list")

    (record,) = json.loads(listed.stdout)
    assert (record["name"], record["workspace"]) == ("bob", "bob")
    assert record["revoked_at"] is not None
    assert "bob" in plain.stdout
    assert key not in listed.output + plain.output
    assert halley("keys", "signing-secret", "bob").stdout.strip() in made.stdout


def test_keys_that_cannot_be_made_or_revoked(halley: Halley) -> None:
    """A name that is taken, unknown or empty, and a folder without a database, each give one clear line."""
    assert_one_clear_error(halley("keys", "list"), "no database")

    halley("keys", "create", "bob")

    assert_one_clear_error(halley("keys", "create", "bob"), "bob", "another name")
    assert_one_clear_error(halley("keys", "revoke", "amy"), "amy", "keys list")
    assert_one_clear_error(halley("keys", "create", " "), "empty")


def test_the_database_is_upgraded_only_while_nobody_serves_it(halley: Halley, served: Served) -> None:
    """A new folder gets a database, a second time changes nothing, a served one is left alone."""
    first, second = halley("db", "upgrade"), halley("db", "upgrade")
    refused = halley("db", "upgrade", **served.settings)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "it was 0" in first.stdout
    assert "it was" not in second.stdout
    assert_one_clear_error(refused, "another Halley")


# -- care of the database

DAY_S = 86400.0
Stored = Callable[[SqlStore], Awaitable[Any]]


class Past:
    """A clock that stands still some days ago."""

    def __init__(self, days: float) -> None:
        self.time = time.time() - days * DAY_S

    def now(self) -> float:
        """Return the time."""
        return self.time


def with_store(environ: Mapping[str, str], work: Stored, days_ago: float = 0.0) -> Any:
    """Do something with the store of a data folder that nobody serves."""
    folder = Path(environ["HALLEY_DATA_DIR"])
    folder.mkdir(parents=True, exist_ok=True)

    async def run() -> Any:
        store = store_of(folder / "halley.db", Past(days_ago))
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def waiting_runs(count: int, days_ago: float = 0.0) -> list[Run]:
    """Return queued runs that were accepted some days ago."""
    now = Past(days_ago).now()
    words: Json = {"created_at": now, "due_at": now, "deadline_at": now + 2 * DAY_S, "workspace": "default"}
    return [
        a_run("queued", id=new_id("run", now), callback_token=new_token(), node=NODE, lane="kling", **words)
        for _ in range(count)
    ]


def fill(environ: Mapping[str, str], runs: list[Run], days_ago: float) -> None:
    """Store runs that ended at once, some days ago, the first one with a stored artifact."""
    at = Past(days_ago).now()

    def end(run: Run) -> Change:
        change = rules.canceled(run, at)
        assert change is not None
        if run.id != runs[0].id:
            return change
        kept = Artifact(id=artifact_id(run.id, 0), kind="image", role="output", index=0, url=None, stored=True)
        return msgspec.structs.replace(change, run=msgspec.structs.replace(change.run, artifacts=(kept,)))

    async def work(store: SqlStore) -> None:
        vault = FolderVault(Path(environ["HALLEY_DATA_DIR"]) / "artifacts")
        await vault.open()
        await vault.keep(artifact_id(runs[0].id, 0), b"bytes", limit_bytes=100)
        for run in runs:
            await store.start(queued(run), {"prompt": "a comet"}, None)
        await asyncio.gather(*(store.change(run.id, end) for run in runs))

    with_store(environ, work, days_ago)


def ids_in(environ: Mapping[str, str]) -> set[str]:
    """Return the ids of all runs in a data folder that nobody serves."""

    async def work(store: SqlStore) -> set[str]:
        return {run.id for run in await store.runs(RunFilter(workspace="default", limit=10_000))}

    return set(with_store(environ, work))


def artifact_files(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the artifacts that are kept."""
    return [path.name for path in (Path(environ["HALLEY_DATA_DIR"]) / "artifacts").rglob("art_*")]


def test_old_runs_are_pruned(halley: Halley, environ: dict[str, str]) -> None:
    """A dry run tells what would go and changes nothing; the real one does just that, with the files of old runs."""
    old, young = waiting_runs(3, 40), waiting_runs(2, 20)
    fill(environ, old, 40)
    fill(environ, young, 20)
    words = ("db", "prune", "--older-than", "30d")

    dry = halley(*words, "--dry-run", "--json")
    untouched, files = ids_in(environ), artifact_files(environ)
    plain = halley(*words)
    again = halley(*words, "--json")

    would, none = json.loads(dry.stdout), json.loads(again.stdout)
    assert (dry.exit_code, plain.exit_code, again.exit_code) == (0, 0, 0), plain.output
    assert would["dry_run"] is True
    assert (would["gone"]["runs"], would["gone"]["inputs"], would["gone"]["artifact_files"]) == (3, 3, 1)
    assert (untouched, len(files)) == ({run.id for run in (*old, *young)}, 2)
    assert re.search(r"^what +deleted$", plain.stdout, re.MULTILINE)
    told = dict(re.findall(r"^(\S+(?: \S+)?) +([0-9]+)$", plain.stdout, re.MULTILINE))
    assert {name.replace(" ", "_"): int(number) for name, number in told.items()} == would["gone"]
    assert set(none["gone"].values()) == {0}
    assert ids_in(environ) == {run.id for run in young}
    assert artifact_files(environ) == [artifact_id(young[0].id, 0)]


@pytest.mark.parametrize("age", ["30", "0d", "-1d", "a month"])
def test_an_age_that_is_none_is_refused(halley: Halley, age: str) -> None:
    """Nothing is deleted by guesswork."""
    result = halley("db", "prune", f"--older-than={age}")

    assert result.exit_code == 2
    assert "30d, 12h or 8w" in result.stderr


class Writing:
    """Starts mock runs one after the other at a Halley that serves, until it is left."""

    def __init__(self, url: str) -> None:
        self.ids: list[str] = []
        self._client = httpx.Client(base_url=url, headers={"X-API-Key": "k"}, trust_env=False, timeout=LIMIT_S)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self._stop.is_set():
            answer = self._client.post(f"/v1/nodes/{NODE}/runs", json={"prompt": "x"}, params={"mode": "mock"})
            self.ids.append(answer.raise_for_status().json()["id"])

    def some_more(self) -> None:
        """Wait until it has started some more runs."""
        until = len(self.ids) + 5
        _until(lambda: len(self.ids) >= until or not self._thread.is_alive())
        assert self._thread.is_alive(), "a run was not accepted"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(LIMIT_S)
        self._client.close()


def test_pruning_disturbs_nobody_who_is_served(halley: Halley, environ: dict[str, str]) -> None:
    """While Halley accepts runs, several batches of old ones go, and nothing else."""
    old = waiting_runs(450, 40)
    fill(environ, old, 40)
    with Command({**environ, "HALLEY_API_KEY": "k"}, "serve") as command, Writing(command.url) as writing:
        writing.some_more()
        result = halley("db", "prune", "--older-than", "30d", "--json")
        writing.some_more()
        checked = halley("db", "check", "--json")

    assert (result.exit_code, json.loads(result.stdout)["gone"]["runs"]) == (0, 450), result.output
    assert (checked.exit_code, json.loads(checked.stdout)["is_good"]) == (0, True), checked.output
    assert ids_in(environ) == set(writing.ids)


def test_a_backup_made_while_served_brings_the_runs_back(
    halley: Halley, environ: dict[str, str], tmp_path: Path
) -> None:
    """It holds every run that was there, is private, replaces no file; what it replaces at last is kept."""
    file, database = tmp_path / "saved.db", Path(environ["HALLEY_DATA_DIR"]) / "halley.db"
    settings = {**environ, "HALLEY_API_KEY": "k"}
    with Command(settings, "serve") as command:
        with Writing(command.url) as writing:
            writing.some_more()
            before = set(writing.ids)
            made, again = halley("db", "backup", str(file)), halley("db", "backup", str(file))
            refused = halley("db", "restore", str(file))
            writing.some_more()
        command.signal(signal.SIGTERM)
        command.end()
    database.write_bytes(b"lost " * 1000)

    restored = halley("db", "restore", str(file))

    assert (made.exit_code, restored.exit_code) == (0, 0), made.output + restored.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert_one_clear_error(again, str(file), "not overwritten")
    assert_one_clear_error(refused, "another Halley")
    (aside,) = database.parent.glob("halley.db.before-restore-*")
    assert aside.read_bytes().startswith(b"lost ")
    assert str(aside) in restored.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "saved.db"]
    with Command(settings, "serve") as command:
        client = httpx.Client(base_url=command.url, headers={"X-API-Key": "k"}, trust_env=False)
        with client:
            found = [client.get(f"/v1/runs/{run}").status_code for run in sorted(before)]
    assert set(found) == {200}
    assert before <= ids_in(environ)


@pytest.mark.parametrize("is_unused", [False, True])
def test_what_may_have_been_sent_since_the_backup_is_not_sent_again(
    halley: Halley, environ: dict[str, str], tmp_path: Path, *, is_unused: bool
) -> None:
    """A run that waited to be sent may have been paid since: it is `submit_unknown`, unless the user knows better."""
    (run,) = waiting_runs(1)
    with_store(environ, lambda store: store.start(queued(run), {"prompt": "x"}, None))
    halley("db", "backup", str(tmp_path / "saved.db"))

    restored = halley("db", "restore", str(tmp_path / "saved.db"), *(["--unused-since"] if is_unused else []))

    found = with_store(environ, lambda store: store.run(run.id))
    assert restored.exit_code == 0, restored.output
    assert found.state == ("queued" if is_unused else "submit_unknown")
    assert ("submit_unknown: 1" in restored.stdout) is not is_unused
    if not is_unused:
        assert (found.error.billed, found.attempts) == ("unknown", 0)
        assert "restored from a backup" in found.error.message


def _newer(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 9999")


def _foreign(file: Path) -> None:
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE runs (id)")


def _damaged(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(2 * 4096)
        stream.write(b"\xff" * 8 * 4096)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda file: file.write_bytes(b"no database " * 500), "saved.db cannot be copied: file is not a database"),
        (lambda file: file.write_bytes(b""), "no database of Halley"),
        (lambda file: file.unlink(), "there is no file"),
        (lambda file: file.write_bytes(file.read_bytes()[:20_000]), "saved.db"),
        (_damaged, "saved.db"),
        (_newer, "schema 9999"),
        (_foreign, "no database of Halley"),
    ],
    ids=["text", "empty", "missing", "cut", "damaged", "newer", "foreign"],
)
def test_a_backup_that_is_none_is_told_and_changes_nothing(
    halley: Halley, environ: dict[str, str], tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    """One clear line says what is wrong with the file; the database stays as it was, and nothing is left beside it."""
    file, runs = tmp_path / "saved.db", waiting_runs(3)
    fill(environ, runs, 0)
    assert halley("db", "backup", str(file)).exit_code == 0
    spoil(file)

    result = halley("db", "restore", str(file))

    assert_one_clear_error(result, told)
    assert ids_in(environ) == {run.id for run in runs}
    left = {path.name for path in Path(environ["HALLEY_DATA_DIR"]).iterdir()}
    assert left == {"artifacts", "halley.db", "halley.lock"}


def test_a_database_is_checked(halley: Halley, environ: dict[str, str]) -> None:
    """A whole one passes; rows without their counterpart and damaged pages fail the command, in one clear line."""
    database = Path(environ["HALLEY_DATA_DIR"]) / "halley.db"
    missing = halley("db", "check")
    fill(environ, waiting_runs(300), 0)
    whole = halley("db", "check")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM run_inputs WHERE rowid = 1")
    stray = halley("db", "check", "--json")
    _damaged(database)
    damaged = halley("db", "check")
    backup = halley("db", "backup", str(database.with_name("saved.db")))

    assert_one_clear_error(missing, "there is no database")
    assert (whole.exit_code, "every page is in order" in whole.stdout) == (0, True)
    assert json.loads(stray.stdout)["stray"]["runs_without_input"] == 1
    assert_one_clear_error(stray, "is damaged", "halley db restore")
    assert_one_clear_error(damaged, str(database))
    assert_one_clear_error(backup, str(database))
    assert not database.with_name("saved.db").exists()


def test_a_vacuum_gives_space_back_while_nobody_serves(halley: Halley, environ: dict[str, str], served: Served) -> None:
    """After pruning the file is smaller; a served one is left alone."""
    database = Path(environ["HALLEY_DATA_DIR"]) / "halley.db"
    fill(environ, waiting_runs(300, 40), 40)
    halley("db", "prune", "--older-than", "30d")
    before = database.stat().st_size

    result = halley("db", "vacuum")

    assert result.exit_code == 0, result.output
    assert database.stat().st_size < before / 2
    assert f"{database.stat().st_size:,} bytes, it was {before:,}" in result.stdout
    assert_one_clear_error(halley("db", "vacuum", **served.settings), "another Halley")


# -- nodes


def test_nodes_are_listed(halley: Halley) -> None:
    """The list has every shipped node, as JSON and as plain aligned lines, family by family."""
    listed, plain = halley("nodes", "list", "--json"), halley("nodes", "list")

    nodes = json.loads(listed.stdout)
    rows = re.findall(r"^  (\S+) +(\S+) +(\S+)  ", plain.stdout, re.MULTILINE)
    headings = re.findall(r"^\S.* \((\w+)\)$", plain.stdout, re.MULTILINE)
    assert NODE in [node["id"] for node in nodes]
    assert rows == [(node["id"], node["kind"], node["result"]) for node in nodes]
    assert headings == list(dict.fromkeys(node["provider"] for node in nodes))
    assert plain.stdout.count("(withdrawn)") == len([node for node in nodes if node["withdrawn"]]) > 0


def test_the_list_of_nodes_is_narrowed(halley: Halley) -> None:
    """A family and a kind narrow both forms; a family that there is not is told, with those that there are."""
    narrow = ("--family", "kling", "--kind", "query")
    listed, plain = halley("nodes", "list", "--json", *narrow), halley("nodes", "list", *narrow)

    nodes = json.loads(listed.stdout)
    assert {(node["provider"], node["kind"]) for node in nodes} == {("kling", "query")}
    assert len(plain.stdout.splitlines()) == 2 + len(nodes)
    assert_one_clear_error(halley("nodes", "list", "--family", "klong"), "klong", "kling")


def test_a_node_is_shown(halley: Halley) -> None:
    """The page of a node has its inputs, an example and a line to copy; JSON has what the API has."""
    plain, shown = halley("nodes", "show", NODE), halley("nodes", "show", NODE, "--json")
    unknown = halley("nodes", "show", "kling.text_to_vidoe")

    assert re.search(r"^aspect_ratio +string +16:9", plain.stdout, re.MULTILINE)
    assert f"halley run {NODE} 'prompt=" in plain.stdout
    assert "curl -X POST" in plain.stdout
    assert json.loads(shown.stdout)["input_schema"]["type"] == "object"
    assert_one_clear_error(unknown, f"did you mean {NODE}")


def test_shipped_nodes_have_no_faults(halley: Halley) -> None:
    """The check passes on what is shipped, and its list of faults is empty."""
    result = halley("nodes", "lint", "--json")

    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_a_draft_of_a_node_is_sound_at_once(halley: Halley, tmp_path: Path) -> None:
    """It is written where the settings say, lints, and its fixtures pass; a second draft overwrites nothing."""
    own = tmp_path / "own"
    own.mkdir()
    where = {"HALLEY_NODES_PATH": str(own)}

    made = halley("nodes", "new", "acme.draw", **where)
    beside = halley("nodes", "new", "acme.tell", "--direct", "--result", "text", "--submit", "POST /v1/{book}", **where)
    linted, proved = halley("nodes", "lint", **where), halley("nodes", "test", "acme.draw", "acme.tell", **where)
    again = halley("nodes", "new", "acme.draw", **where)

    files = sorted(str(file.relative_to(own)) for file in own.rglob("*.yaml"))
    assert (made.exit_code, beside.exit_code, linted.exit_code, proved.exit_code) == (0, 0, 0, 0), linted.stderr
    assert files == [
        "acme/draw.yaml",
        "acme/fixtures/draw.yaml",
        "acme/fixtures/tell.yaml",
        "acme/provider.yaml",
        "acme/tell.yaml",
    ]
    assert "8, of 2 nodes" in proved.stdout
    assert_one_clear_error(again, "acme.draw already")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("Acme",), ["'Acme'", "acme.text_to_image"]),
        (("acme.draw", "--submit", "draw it"), ["nothing was written", "acme/draw.yaml", "submit"]),
        (("acme.draw", "--query", "GET /x"), ["nothing was written", "acme/provider.yaml", "{task_id} is missing"]),
    ],
)
def test_a_draft_that_cannot_be_sound_is_not_written(
    halley: Halley, tmp_path: Path, words: tuple[str, ...], told: list[str]
) -> None:
    """The message says what is wrong, and the folder stays as it was."""
    result = halley("nodes", "new", *words, "--into", str(tmp_path / "own"))

    assert result.exit_code == 1
    assert [word for word in told if word not in result.stderr] == []
    assert not (tmp_path / "own").exists()


def test_a_draft_overwrites_no_file(halley: Halley, tmp_path: Path) -> None:
    """A file in the way keeps all from being written, whatever is in it."""
    (tmp_path / "acme" / "fixtures").mkdir(parents=True)
    (tmp_path / "acme" / "fixtures" / "draw.yaml").write_text("[]")

    result = halley("nodes", "new", "acme.draw", "--into", str(tmp_path))

    assert_one_clear_error(result, "overwritten", "draw.yaml")
    assert [file.name for file in tmp_path.rglob("*.yaml")] == ["draw.yaml"]


def test_differences_from_fixtures_are_told(halley: Halley, tmp_path: Path) -> None:
    """Each is told with its place, what is expected and what is read; some error may be asked for without its words."""
    where = {"HALLEY_NODES_PATH": str(tmp_path)}
    halley("nodes", "new", "acme.draw", **where)
    file = tmp_path / "acme" / "fixtures" / "draw.yaml"
    text = file.read_text().replace("progress: 0.4", "progress: 0.5, error: {}, colour: red")
    file.write_text(
        text.replace("error: {code: invalid_request, message: prompt is too long, retryable: false}", "error: {}")
    )

    plain = halley("nodes", "test", "acme.draw", **where)
    listed = halley("nodes", "test", "acme.draw", "--json", **where)

    (wrong,) = json.loads(listed.stdout)
    assert_one_clear_error(plain, "1 of 5 answers")
    assert f"{file}:{wrong['line']}: acme.draw: running" in plain.stdout
    assert "  progress: 0.5 is expected, 0.4 is read" in plain.stdout
    assert [each["key"] for each in wrong["differences"]] == ["progress", "error", "colour"]
    assert listed.exit_code == 1
    assert_one_clear_error(halley("nodes", "test", "acme.darw", **where), "did you mean acme.draw")


def test_an_answer_is_interpreted(halley: Halley, tmp_path: Path) -> None:
    """An answer in a file or on standard input is read; only results of the role `output` are told."""
    video = {
        "id": "9",
        "url": "https://f.test/a.mp4",
        "watermark_url": "https://f.test/w.mp4",
        "duration": "5",
    }
    data = {"task_id": "42", "task_status": "succeed", "task_result": {"videos": [video]}}
    (tmp_path / "body.json").write_text(json.dumps({"code": 0, "data": data}))
    asked = ("nodes", "interpret", NODE, "--as", "poll", "--body")

    result = halley(*asked, str(tmp_path / "body.json"))
    text = halley(*asked, "-", "--status", "502", text="<html>bad gateway</html>")

    assert json.loads(result.stdout) == {
        "task_id": "42",
        "state": "succeeded",
        "progress": None,
        "artifacts": [{"kind": "video", "url": "https://f.test/a.mp4"}],
        "text": None,
        "data": None,
        "error": None,
    }
    assert json.loads(text.stdout)["error"].keys() == {"code", "message", "retryable"}


def test_a_batch_reads_every_recorded_answer_as_the_service_does(halley: Halley) -> None:
    """Each line is answered by one line, in order, with what the node's own reader finds."""
    found = load([shipped()], fixtures=True)
    nodes = compile_catalog(found).nodes
    cases = [
        (nodes[place.removesuffix(".yaml").replace("/", ".")], case)
        for place, fixtures in found.fixtures.items()
        for case in fixtures.value
        if place.removesuffix(".yaml").replace("/", ".") in nodes
    ]
    lines = [
        json.dumps({"node": node.id, "as": case.as_, "http_status": case.status, "body": case.body}) + "\n"
        for node, case in cases
    ]

    result = halley("nodes", "interpret", "--batch", "-", text="".join(lines))

    told = [json.loads(line) for line in result.stdout.splitlines()]
    readings = [node.reader.read(case.as_, answer_of(case)) for node, case in cases]
    assert result.exit_code == 0
    assert len(cases) > 20
    assert [(each["task_id"], each["state"], each["text"], each["data"]) for each in told] == [
        (each.task_id, each.state, each.text, each.data) for each in readings
    ]
    assert [each["error"] and each["error"]["code"] for each in told] == [
        each.error and each.error.code for each in readings
    ]


def answer_of(case: Case) -> Answer:
    """Return the answer of a fixture; a callback has no HTTP status."""
    return Answer(status=None if case.as_ == "callback" else case.status, body=case.body)


def test_a_broken_line_stops_no_batch(halley: Halley) -> None:
    """A line that is no answer, or names no node, gives an error line; the exit code tells it in the end."""
    good = json.dumps({"node": NODE, "as": "callback", "body": {"task_status": "submitted"}})
    unknown = json.dumps({"node": "kling.nope", "as": "poll", "http_status": 200, "body": {}})
    no_role = json.dumps({"node": NODE, "as": "guess", "http_status": 200, "body": {}})
    lines = f"{good}\n{unknown}\n{{\n\n{no_role}\n{good}"

    result = halley("nodes", "interpret", "--batch", "-", text=lines)

    told = [json.loads(line) for line in result.stdout.splitlines()]
    codes = [each["error"] and each["error"]["code"] for each in told]
    assert codes == [None, "not_found", "invalid_request", "invalid_request", "invalid_request", None]
    assert [told[0]["state"], told[5]["state"]] == ["queued", "queued"]
    assert all(each.keys() == told[0].keys() for each in told)
    assert_one_clear_error(result, "4 of the lines")


# -- check


def checks_of(result: Result) -> dict[str, Json]:
    """Return the checks of `halley check --json` by name."""
    return {check["name"]: check for check in json.loads(result.stdout)}


@pytest.mark.parametrize(
    ("options", "is_good", "told"),
    [
        ((), True, "upstream takes it"),
        (("--api-key", "another"), False, "auth"),
        (("--mark", "http:503"), False, "503"),
    ],
)
def test_the_key_is_checked_for_free(
    halley: Halley, environ: dict[str, str], options: tuple[str, ...], *, is_good: bool, told: str
) -> None:
    """Everything is well with a key that upstream takes; another one, or no answer, is told and fails the command."""
    with Command(environ, "simulate", "--port", "0", *options) as simulator:
        url = simulator.line_with("listens on").rpartition(" ")[2]
        plain = halley("check", HALLEY_UPSTREAM_URL=url, COMET_API_KEY="sk-canary")
        listed = halley("check", "--json", HALLEY_UPSTREAM_URL=url, COMET_API_KEY="sk-canary")

    found = checks_of(listed)
    assert (plain.exit_code == 0, listed.exit_code == 0) == (is_good, is_good), plain.output
    assert found["upstream_key"]["is_good"] is is_good
    assert told in found["upstream_key"]["said"]
    assert all(found[name]["is_good"] for name in ("settings", "data_folder", "disk", "database", "definitions"))
    assert plain.stdout.count("\n") == len(found)
    assert "sk-canary" not in plain.output + listed.output
    assert not Path(environ["HALLEY_DATA_DIR"]).exists()


def test_what_is_wrong_is_told_with_what_to_do(halley: Halley, tmp_path: Path) -> None:
    """A setting, the data folder, the database, definitions, an upstream that is not there: each has its line."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "broken.db").write_text("no database " * 100)
    (tmp_path / "own" / "acme").mkdir(parents=True)
    (tmp_path / "own" / "acme" / "draw.yaml").write_text("node: acme.draw\n")

    setting = halley("check", HALLEY_PORT="many")
    result = halley(
        "check",
        "--json",
        HALLEY_DATA_DIR=str(tmp_path / "file"),
        HALLEY_DATABASE_URL=f"sqlite:///{tmp_path / 'broken.db'}",
        HALLEY_NODES_PATH=str(tmp_path / "own"),
        HALLEY_UPSTREAM_URL="http://127.0.0.1:9",
        COMETAPI_KEY="sk-canary",
    )

    wrong = {name: check for name, check in checks_of(result).items() if not check["is_good"]}
    assert setting.exit_code == result.exit_code == 1
    assert "HALLEY_PORT" in setting.stdout
    assert wrong.keys() == {"data_folder", "database", "definitions", "upstream_key"}
    assert all(check["todo"] for check in wrong.values())


def test_a_served_database_is_left_alone(halley: Halley, served: Served) -> None:
    """While Halley runs, its database is not opened; without a key that is told, and nothing is asked."""
    found = checks_of(halley("check", "--json", **served.settings))

    assert "running Halley" in found["database"]["said"]
    assert [name for name, check in found.items() if not check["is_good"]] == ["upstream_key"]
    assert "COMETAPI_KEY" in found["upstream_key"]["said"]


# -- export, simulate, help


def test_export_writes_or_compares(halley: Halley, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without --check files are written; with it, a file that differs is named and fails the command."""
    written: list[Path] = []
    exports = SimpleNamespace(write=written.append, stale=lambda _root: [])
    monkeypatch.setitem(sys.modules, "service.exports", exports)

    plain, same = halley("export", "--root", str(tmp_path)), halley("export", "--check")
    exports.stale = lambda _root: ["openapi/openapi.json"]
    differs = halley("export", "--check")

    assert (plain.exit_code, same.exit_code, written) == (0, 0, [tmp_path])
    assert_one_clear_error(differs, "openapi/openapi.json", "halley export")


def test_simulate_plays_until_it_is_stopped(environ: dict[str, str]) -> None:
    """It prints its address and how to point Halley at it, answers there, and ends with 0 on SIGTERM."""
    with Command(environ, "simulate", "--port", "0", "--mark", "refuse:1201") as command:
        url = command.line_with("listens on").rpartition(" ")[2]
        command.line_with("What it has received")
        headers = {"Authorization": "Bearer any"}
        refused = httpx.post(
            f"{url}/kling/v1/videos/text2video", json={"prompt": "x"}, headers=headers, trust_env=False
        )
        command.signal(signal.SIGTERM)
        code = command.end()

    assert (refused.json()["code"], code) == (1201, 0)
    assert f"HALLEY_UPSTREAM_URL={url} COMETAPI_KEY=any halley serve" in command.line_with("Point Halley at it")


def test_simulate_refuses_a_mark_that_it_does_not_know(halley: Halley) -> None:
    """The line names the mark and those that there are."""
    assert_one_clear_error(halley("simulate", "--mark", "explode"), "explode", "[[fail")


def test_simulate_helps_with_every_mark(halley: Halley) -> None:
    """The help lists the marks."""
    told = halley("simulate", "--help").stdout

    assert [mark.name for mark in MARKS if f"[[{mark.name}" not in told] == []


def test_help_names_every_command(halley: Halley) -> None:
    """The commands of the contract are there, and an unknown one is refused."""
    told = halley("--help").stdout

    commands = ("serve", "demo", "simulate", "check", "run", "nodes", "keys", "db", "export")
    assert [name for name in commands if not re.search(rf"^  {name} ", told, re.MULTILINE)] == []
    assert halley("dance").exit_code == 2
