"""The demo: it ends well only when both runs succeeded and both events came, signed as they should be."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.demo import stage
from service.demo.outcome import Played, faults_of
from service.demo.play import play
from service.demo.receiver import ReceivedEvent
from service.demo.stage import staged
from service.simulator.showcase import scenes
from tests.integration.test_cli import Command, clean_environ

NODES = ("kling.text_to_video", "kling.image_to_video")
QUICK = ("--mark", "duration:0.1")


def demo(*words: str) -> Result:
    """Run the demo once in this process."""
    return CliRunner().invoke(main, ["demo", "--once", "--port", "0", *words])


def test_it_shows_two_runs_from_start_to_signed_event(tmp_path: Path) -> None:
    """As on a fresh machine: both runs are watched, one is called back about, one is only polled."""
    words = [sys.executable, "-m", "service", "demo", "--once", "--port", "0"]

    ended = subprocess.run(  # noqa: S603 - our own command
        words,
        env=clean_environ(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("signature verified") == 2
    assert all(re.search(rf"{node}  running [1-9]\d? %", ended.stdout) for node in NODES)
    assert all(f"{node} succeeded" in ended.stdout for node in NODES)
    callbacks = [int(count) for count in re.findall(r"callbacks: (\d+)", ended.stdout)]
    assert callbacks[0] > 0
    assert callbacks[1] == 0
    assert not list(tmp_path.iterdir())


def test_a_signature_that_does_not_verify_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver with another secret believes nothing, and the demo says so and exits with 1."""
    monkeypatch.setattr(stage, "derive_secret", lambda _key, _workspace: "whsec_bm90IHRoZSBzZWNyZXQ=")

    result = demo(*QUICK)

    assert result.exit_code == 1
    assert result.stdout.count("NOT verified") == 2
    assert all(f"{node}: the signature of its event did not verify" in result.stderr for node in NODES)


def test_a_run_that_fails_fails_it() -> None:
    """Its reason is told, its event verified all the same, and the exit code is 1."""
    result = demo(*QUICK, "--mark", "fail:the cat ran away")

    assert result.exit_code == 1
    assert result.stdout.count("signature verified") == 2
    assert all(f"{node}: the run failed: the cat ran away" in result.stderr for node in NODES)
    assert "All went well" not in result.stdout


def test_a_callback_that_does_not_come_is_a_fault() -> None:
    """Where a callback was to be shown, polling is not enough; and the other way round."""
    run = {"state": "succeeded", "artifacts": [{"url": "https://f.test/a.mp4"}]}
    event = ReceivedEvent(received_at=0, headers={}, body={"type": "run.succeeded"}, fault="")

    faults = [
        faults_of(Played(scene=scene, run=run, callbacks=callbacks, questions=3, event=event, told_after_s=None))
        for scene, callbacks in zip(scenes("http://127.0.0.1:1"), (0, 1), strict=True)
    ]

    assert faults == [["kling.text_to_video: no callback came"], ["kling.image_to_video: a callback came"]]


async def test_a_run_that_does_not_end_in_time_is_told() -> None:
    """Nothing is waited for beyond the limit."""
    async with staged(0, ("duration:60",)) as ready:
        failures = await play(ready, time_limit_s=0.5)

    assert all("did not end within 0.5 s" in failure for failure in failures)
    assert len(failures) == 2


def test_it_goes_on_serving_until_it_is_stopped(tmp_path: Path) -> None:
    """With its port taken it names another; the lines that it prints work; Ctrl-C ends it with 0."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with Command(clean_environ(tmp_path), "demo", "--port", port, *QUICK) as command:
            command.line_with("Signing secret")
            key = re.findall(r"hly_[\w-]+", command.line_with("curl -s -H"))[0]
            url = re.findall(r"http://[0-9.:]+", command.line_with("/v1/runs"))[0]
            listed = httpx.get(f"{url}/v1/runs", headers={"X-API-Key": key}, trust_env=False).json()
            command.signal(signal.SIGINT)
            code = command.end()

    assert code == 0
    assert f"Port {port} cannot be used" in command.lines[0]
    assert [run["state"] for run in listed["data"]] == ["succeeded", "succeeded"]
