"""A run's whole life over HTTP against the simulated upstream: callbacks, polling, refusals, ambiguity, restart."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from service.clock import SystemClock
from service.definitions.catalog import Catalog
from service.definitions.request import OutgoingRequest
from service.lifecycle.transitions import Accepted, Refused
from service.settings import Secret
from service.simulator import Simulator
from service.upstream.client import UpstreamClient
from service.upstream.transport import Keep, Transport, WireAnswer
from tests.fakes.house import House, house, quick_catalog, quick_simulator

T2V = "kling.text_to_video"


class Hasty(Transport):
    """A wire that waits half a second for any answer."""

    async def send(self, request: OutgoingRequest, *, timeout_s: float, keep: Keep | None = None) -> WireAnswer:
        """Send a request."""
        return await super().send(request, timeout_s=min(timeout_s, 0.5), keep=keep)


def kinds(timeline: list[dict[str, Any]]) -> list[str]:
    """Return what a timeline tells of, in order."""
    return [entry["kind"] for entry in timeline]


async def test_a_run_ends_by_callback(halley: House) -> None:
    """With a public URL the callback brings the result, confirmed by one query, long before the first poll."""
    started = await halley.start(T2V, {"prompt": "a comet"}, reference="order-42", metadata='{"a": 1}')
    run = await halley.end(started.json()["id"])

    assert started.status_code == 202
    assert started.headers["location"] == started.json()["status_url"]
    assert int(started.headers["retry-after"]) == started.json()["poll_after_s"] > 0
    assert run["state"] == "succeeded"
    assert [a["kind"] for a in run["artifacts"]] == ["video"]
    assert (run["reference"], run["metadata"], run["progress"]) == ("order-42", {"a": 1}, 1.0)
    queries = [r for r in halley.sim.requests if r.method == "GET"]
    assert len(queries) == 1
    assert "callback" in kinds(await halley.timeline(run["id"]))


async def test_a_run_ends_by_polling_alone(polling: House) -> None:
    """Without a public URL no callback is asked for and polls bring the result."""
    started = await polling.start("kling.image_to_video", {"image": "https://example.com/a.png", "prompt": "x"})
    run = await polling.end(started.json()["id"])

    assert run["state"] == "succeeded"
    assert "callback" not in kinds(await polling.timeline(run["id"]))


@pytest.mark.parametrize("mode", ["early", "twice", "reordered", "last", "never", "new", "wrapped", "lying"])
async def test_callbacks_of_every_kind_end_the_run_once(tmp_path: Path, mode: str) -> None:
    """Early, repeated, reordered, lost, newer-shaped, wrapped and lying callbacks lead to one right end."""
    async with (
        quick_simulator(lie_s=0.5) as sim,
        house(tmp_path, sim, catalog=quick_catalog(first_s=0.5, with_callback=1)) as halley,
    ):
        started = await halley.start(T2V, {"prompt": f"a comet [[callback:{mode}]]"})
        run = await halley.end(started.json()["id"])

        ends = [e for e in await halley.timeline(run["id"]) if e["detail"].get("state") == "succeeded"]
        assert run["state"] == "succeeded"
        assert run["artifacts"][0]["url"].startswith(sim.url)
        assert len([e for e in ends if e["kind"] == "state"]) == 1


@pytest.mark.parametrize("envelope", ["flat", "wrapped", "double", "openai"])
async def test_every_envelope_is_understood(tmp_path: Path, envelope: str) -> None:
    """The task is followed to its result whichever way the aggregator wraps Kling's answers."""
    async with quick_simulator(envelope=envelope, relay_ids=True) as sim, house(tmp_path, sim) as halley:
        started = await halley.start("kling.video_to_audio", {"video_url": "https://example.com/a.mp4"})
        run = await halley.end(started.json()["id"])

        assert run["state"] == "succeeded"
        assert [a["kind"] for a in run["artifacts"]] == ["video", "audio", "audio"]


@pytest.mark.parametrize(
    ("mark", "code", "retryable"),
    [
        ("refuse:1301", "moderation", False),
        ("refuse:1102", "quota", False),
        ("refuse:1201", "invalid_request", False),
        ("refuse200:1201", "invalid_request", False),
        ("refuse:1000", "auth", False),
        ("nested_refusal", "invalid_request", False),
        ("not_mounted", "not_found", False),
        ("html", "not_found", False),
        ("redirect", "not_found", False),
    ],
)
async def test_a_refusal_ends_the_run_and_says_why(halley: House, mark: str, code: str, *, retryable: bool) -> None:
    """What upstream definitely did not accept fails at once, unbilled, with the contract's code."""
    started = await halley.start(T2V, {"prompt": f"x [[{mark}]]"}, wait=20)
    run = started.json()

    assert started.status_code == 200
    assert run["state"] == "failed"
    assert run["error"]["code"] == code
    assert (run["error"]["phase"], run["error"]["billed"]) == ("submit", "no")
    assert run["error"]["retryable"] is retryable


async def test_a_busy_upstream_is_waited_for(halley: House) -> None:
    """1303 was not accepted: the run waits in `queued` and is submitted again until it is."""
    started = await halley.start(T2V, {"prompt": "x [[busy:2]]"})
    run = await halley.end(started.json()["id"])

    assert run["state"] == "succeeded"
    assert len(halley.sim.tasks) == 1


@pytest.mark.parametrize(("mark", "code"), [("fail", "generation_failed"), ("moderation", "moderation")])
async def test_a_failed_generation_tells_upstreams_reason(halley: House, mark: str, code: str) -> None:
    """A task that fails after it was accepted ends the run with upstream's words."""
    started = await halley.start(T2V, {"prompt": f"x [[{mark}]]"})
    run = await halley.end(started.json()["id"])

    assert run["state"] == "failed"
    assert run["error"]["code"] == code
    assert run["error"]["message"]
    assert (run["error"]["phase"], run["error"]["billed"]) == ("generate", "unknown")


@pytest.mark.parametrize("mark", ["unknown_status:2", "not_found:2", "poll_error:2", "empty:1", "late_success:2"])
async def test_poll_troubles_never_fail_a_run(polling: House, mark: str) -> None:
    """Unknown words, answers without the task, errors and empty successes are looked through until the end."""
    started = await polling.start(T2V, {"prompt": f"x [[{mark}]]"})
    run = await polling.end(started.json()["id"])

    assert run["state"] == "succeeded"
    assert run["artifacts"]


async def test_success_without_a_result_is_told_as_such(polling: House) -> None:
    """A success that stays empty ends as `no_output`, not as a success with nothing in it."""
    started = await polling.start(T2V, {"prompt": "x [[empty:99]]"})
    run = await polling.end(started.json()["id"])

    assert (run["state"], run["error"]["code"], run["error"]["phase"]) == ("failed", "no_output", "collect")


@pytest.mark.parametrize("mark", ["reset_after", "close_after", "garbage", "truncated"])
async def test_an_ambiguous_submission_is_found_by_our_id_and_never_repeated(polling: House, mark: str) -> None:
    """When the answer is lost but the task exists, the run goes through `submit_unknown` to its result."""
    started = await polling.start(T2V, {"prompt": f"x [[{mark}]]"})
    run = await polling.end(started.json()["id"])

    states = [e["detail"]["state"] for e in await polling.timeline(run["id"]) if e["kind"] == "state"]
    assert states == ["queued", "submitting", "submit_unknown", "running", "succeeded"]
    assert len(polling.sim.tasks) == 1


async def test_our_own_id_goes_before_the_id_that_a_callback_names(
    tmp_path: Path,
) -> None:
    """A lost answer behind a relay: queries may not know the id in the callback, so ours is asked for first."""
    async with quick_simulator(relay_ids=True) as sim, house(tmp_path, sim) as halley:
        started = await halley.start(T2V, {"prompt": "x [[reset_after]]"})
        run = await halley.end(started.json()["id"])

        assert run["state"] == "succeeded"
        assert run["upstream"]["task_id"] == sim.tasks[0].public_id


async def test_an_unknown_outcome_can_be_adopted_or_abandoned(polling: House) -> None:
    """An operator may name the task or give the run up; both are told in the timeline."""
    first = (await polling.start(T2V, {"prompt": "x [[reset_before]]"}, wait=5)).json()
    second = (await polling.start(T2V, {"prompt": "y [[reset_before]]"}, wait=5)).json()
    other = await polling.end((await polling.start(T2V, {"prompt": "z"})).json()["id"])

    assert first["state"] == second["state"] == "submit_unknown"
    body = {"task_id": other["upstream"]["task_id"]}
    adopted = await polling.client.post(f"/v1/runs/{first['id']}/adopt", json=body)
    abandoned = await polling.client.post(f"/v1/runs/{second['id']}/abandon")

    assert adopted.json()["state"] == "running"
    assert (await polling.end(first["id"]))["state"] == "succeeded"
    assert (abandoned.json()["state"], abandoned.json()["error"]["billed"]) == ("failed", "unknown")


async def test_a_deadline_ends_a_run(polling: House) -> None:
    """A run that upstream does not finish in time is `timed_out` and says that it may still be billed."""
    started = await polling.start(T2V, {"prompt": "x [[duration:60]]"}, deadline=1)
    run = await polling.end(started.json()["id"])

    assert (run["state"], run["error"]["code"], run["error"]["billed"]) == (
        "timed_out",
        "timed_out",
        "unknown",
    )


async def test_cancel_tells_the_truth(polling: House) -> None:
    """Upstream cannot cancel: the run ends detached and says that it may still be billed; a second time is the same."""
    started = await polling.start(T2V, {"prompt": "x [[duration:60]]"})
    await polling.until(started.json()["id"], "running")
    url = f"/v1/runs/{started.json()['id']}/cancel"
    canceled, again = await polling.client.post(url), await polling.client.post(url)

    assert canceled.json()["state"] == again.json()["state"] == "canceled"
    assert "detached" in canceled.json()["error"]["message"]
    assert canceled.json()["error"]["billed"] == "unknown"


async def test_a_restart_takes_up_every_open_run(tmp_path: Path, sim: Simulator) -> None:
    """Runs that were running when Halley stopped are followed to their end by the next Halley."""
    async with house(tmp_path, sim, public=False) as before:
        ids = [(await before.start(T2V, {"prompt": f"{n} [[duration:1]]"})).json()["id"] for n in range(3)]
        for run_id in ids:
            await before.until(run_id, "running")
    async with house(tmp_path, sim, public=False) as after:
        runs = [await after.end(run_id) for run_id in ids]

    assert [run["state"] for run in runs] == ["succeeded"] * 3
    assert len(sim.tasks) == 3


async def test_a_run_whose_node_has_left_is_told_so_and_never_sent(tmp_path: Path, sim: Simulator) -> None:
    """A queued run whose definition is gone after a restart fails, unbilled, with the reason."""
    async with house(tmp_path, sim) as before:
        run_id = (await before.start(T2V, {"prompt": "x [[busy:99]]"})).json()["id"]
        await before.told(run_id, "state")
    rest = Catalog({name: node for name, node in quick_catalog().nodes.items() if name != T2V})
    async with house(tmp_path, sim, catalog=rest) as after:
        run = await after.end(run_id)

    assert (run["state"], run["error"]["code"], run["error"]["billed"]) == ("failed", "not_found", "no")
    assert sim.tasks == []


async def test_retry_starts_a_new_run(halley: House) -> None:
    """A retry repeats the input as a new run, linked to the old one, and only when the old one has ended."""
    failed = (await halley.start(T2V, {"prompt": "x [[refuse:1301]]"}, wait=20, reference="r")).json()
    retried = await halley.client.post(f"/v1/runs/{failed['id']}/retry")
    open_run = (await halley.start(T2V, {"prompt": "x [[duration:60]]"})).json()
    refused = await halley.client.post(f"/v1/runs/{open_run['id']}/retry")

    assert retried.status_code == 202
    assert (retried.json()["retry_of"], retried.json()["reference"]) == (failed["id"], "r")
    assert refused.status_code == 409


async def test_fifty_equal_starts_give_one_run_and_one_submission(halley: House) -> None:
    """The idempotency key makes repeated starts one run; another request with it is refused."""
    headers = {"Idempotency-Key": '"order-42"'}
    url = f"/v1/nodes/{T2V}/runs"
    answers = await asyncio.gather(*(halley.client.post(url, json={"prompt": "x"}, headers=headers) for _ in range(50)))
    other = await halley.client.post(url, json={"prompt": "y"}, headers=headers)
    run = await halley.end(answers[0].json()["id"])

    assert {answer.json()["id"] for answer in answers} == {run["id"]}
    assert sum(answer.headers.get("idempotency-replayed") == "true" for answer in answers) == 49
    assert other.status_code == 422
    assert len(halley.sim.tasks) == 1


async def test_preview_shows_the_request_and_sends_nothing(halley: House) -> None:
    """`mode=preview` gives the exact upstream request with the key masked; nothing is stored or sent."""
    shown = (await halley.start(T2V, {"prompt": "x"}, mode="preview")).json()
    runs = (await halley.client.get("/v1/runs")).json()["data"]

    assert shown["request"]["url"].endswith("/kling/v1/videos/text2video")
    assert shown["request"]["body"]["prompt"] == "x"
    assert "canary" not in str(shown)
    assert runs == []
    assert halley.sim.requests == []


async def test_preview_shows_a_callback_url_only_where_one_would_be_sent(halley: House, polling: House) -> None:
    """Without a public URL upstream is not asked to call back, and the preview says the same; the token is masked."""
    with_callback = (await halley.start(T2V, {"prompt": "x"}, mode="preview")).json()["request"]["body"]
    without = (await polling.start(T2V, {"prompt": "x"}, mode="preview")).json()["request"]["body"]

    assert with_callback["callback_url"] == f"{halley.url}/v1/callbacks/********"
    assert "callback_url" not in without


async def test_mock_runs_need_no_key_and_live_runs_say_so(tmp_path: Path, sim: Simulator) -> None:
    """Without an upstream key `live` is refused with the words that help, and `mock` lives a whole life."""
    async with house(tmp_path, sim, environ={"COMETAPI_KEY": ""}) as halley:
        live = await halley.start(T2V, {"not": "valid"})
        mock = await halley.start(T2V, {"prompt": "x"}, mode="mock", wait=20)

        assert live.status_code == 409
        assert "COMETAPI_KEY" in live.json()["detail"]
        assert "mode=mock" in live.json()["detail"]
        assert (mock.json()["state"], mock.json()["mode"]) == ("succeeded", "mock")


async def test_direct_nodes_answer_with_the_result(halley: House) -> None:
    """A direct operation waits by default and gives its result in the first answer."""
    body = {"text": "hello", "voice_id": "girlfriend_1_speech02", "voice_language": "en"}
    spoken = await halley.start("kling.tts", body)

    assert spoken.status_code == 200
    assert spoken.json()["state"] == "succeeded"
    assert spoken.json()["artifacts"][0]["kind"] == "audio"


async def test_a_query_run_succeeds_and_carries_the_tasks_state(halley: House) -> None:
    """`kling.query` tells how any task stands, failed ones too, without failing itself."""
    failed = await halley.end((await halley.start(T2V, {"prompt": "x [[fail]]"})).json()["id"])
    task = {"action": "videos", "action2": "text2video", "task_id": failed["upstream"]["task_id"]}
    asked = (await halley.start("kling.query", task)).json()
    unknown = (await halley.start("kling.query", {**task, "task_id": "404404"})).json()

    assert asked["state"] == "succeeded"
    assert asked["data"]["state"] == "failed"
    assert (unknown["state"], unknown["error"]["code"]) == ("failed", "not_found")


async def test_a_query_that_is_cut_off_is_asked_again(halley: House) -> None:
    """A lost answer to a free question is no matter of money: it is asked again, never left unknown."""
    made = await halley.start(T2V, {"prompt": "x [[duration:60]] [[callback:never]] [[poll_hang:1]]"})
    running = await halley.until(made.json()["id"], "running")
    node = halley.app.state.services.catalog.get("kling.query")
    services = halley.app.state.services
    transport = Hasty(halley.sim.url, Secret("k"))
    client = UpstreamClient(transport, SystemClock(), services.materials_of("live"), services.vault)
    asking = await services.store.run(running["id"])
    async with transport:  # a time-out of its own, so that nobody waits for minutes
        task = {"action": "videos", "action2": "text2video", "task_id": running["upstream"]["task_id"]}
        cut, answered = [await client.submit(node, asking, task, callback_url=None) for _ in range(2)]

    assert isinstance(cut, Refused)
    assert cut.error.retryable
    assert isinstance(answered, Accepted)


async def test_lists_filter_and_page(halley: House) -> None:
    """Runs are listed newest first, by state, node and reference, with an absolute URL to the next page."""
    for number in range(5):
        await halley.start(T2V, {"prompt": "x [[duration:60]]"}, reference=f"r{number % 2}")
    first = (await halley.client.get("/v1/runs", params={"reference": "r0", "limit": 2})).json()
    second = (await halley.client.get(first["next"])).json()

    assert first["next"].startswith(halley.url)
    assert [len(first["data"]), len(second["data"]), second["next"]] == [2, 1, None]
    ids = [run["id"] for run in (*first["data"], *second["data"])]
    assert ids == sorted(ids, reverse=True)
    assert (await halley.client.get("/v1/runs", params={"state": "succeeded"})).json()["data"] == []
