"""What single families taught the engine: flows, waiting for input, batches, further requests, challenges, bytes."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from service.definitions.catalog import Catalog
from service.definitions.schema import Budget
from service.errors import TooLarge
from service.simulator import Simulator
from tests.fakes.house import House, house, quick_catalog, quick_simulator


async def ran(halley: House, node: str, **values: Any) -> dict[str, Any]:
    """Run a node to its end."""
    started = await halley.start(node, values, mode="mock", wait=0)
    assert started.status_code in (200, 202), started.text
    return await halley.end(started.json()["id"])


async def waiting(halley: House, run_id: str) -> dict[str, Any]:
    """Return a run once its task waits for input."""
    async with asyncio.timeout(20):
        while True:
            run = (await halley.client.get(f"/v1/runs/{run_id}", params={"wait": 0.05})).json()
            if run["awaits_input"] or run["state"] == "failed":
                return dict(run)


def asked(sim: Simulator, path: str) -> int:
    """Count the requests that a path has received."""
    return sum(path in request.path for request in sim.requests)


async def unanswered(sim: Simulator, path: str, count: int) -> None:
    """Wait until so many requests to a path have come that are not answered yet."""
    async with asyncio.timeout(20):
        while sum(path in each.path and each.status is None for each in sim.requests) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_buttons_are_offered_with_what_to_call(halley: House) -> None:
    """A grid's run says in `data.next` which node with which input makes one picture of it, and that works."""
    grid = await ran(halley, "midjourney.imagine", prompt="A comet")

    offer = next(each for each in grid["data"]["next"] if each["title"] == "U1")
    single = await ran(halley, offer["node"], **offer["input"])

    assert (grid["state"], single["state"]) == ("succeeded", "succeeded")
    assert single["artifacts"][0]["kind"] == "image"
    assert single["upstream"]["task_id"] != grid["upstream"]["task_id"]


async def test_a_window_waits_for_input_and_goes_on(halley: House) -> None:
    """A button that opens a window parks its run with the next call in it; confirming the window ends both runs."""
    single = await ran(
        halley,
        "midjourney.action",
        **(await ran(halley, "midjourney.imagine", prompt="A comet"))["data"]["next"][0]["input"],
    )
    zoom = next(each for each in single["data"]["next"] if "CustomZoom" in each["input"]["custom_id"])
    pressed = await halley.start(zoom["node"], zoom["input"], mode="mock")

    parked = await waiting(halley, pressed.json()["id"])
    looks = asked(halley.sim, "/fetch")
    confirmed = await ran(halley, "midjourney.modal", **parked["data"]["next"][0]["input"], prompt="sea --zoom 2")
    resumed = await halley.end(parked["id"])

    assert parked["data"]["next"][0]["node"] == "midjourney.modal"
    assert looks <= asked(halley.sim, "/fetch")
    assert (confirmed["state"], resumed["state"]) == ("succeeded", "succeeded")
    names = [run["artifacts"][0]["url"].partition("?")[0] for run in (confirmed, resumed)]
    assert names[0] == names[1]


@pytest.mark.parametrize(("button", "steps"), [("U1", ["imagine", "press"]), ("v1", ["imagine", "press"])])
async def test_a_flow_runs_its_steps(halley: House, button: str, steps: list[str]) -> None:
    """The composite draws, presses the button by its label, and hands out the last step's picture."""
    run = await ran(halley, "midjourney.quick_pipeline", prompt="A comet", button=button)

    assert run["state"] == "succeeded", run["error"]
    assert [step["step"] for step in run["data"]["steps"]] == steps
    assert run["artifacts"][0]["kind"] == "image"
    assert asked(halley.sim, "/submit/imagine") == 1


async def test_a_flow_says_which_buttons_there_are(halley: House) -> None:
    """A button that is not there fails the flow with the labels that are, and without a second submission."""
    run = await ran(halley, "midjourney.quick_pipeline", prompt="A comet", button="U9")

    assert (run["state"], run["error"]["code"]) == ("failed", "invalid_request")
    assert "U1" in run["error"]["message"]
    assert asked(halley.sim, "/submit/action") == 0


async def test_a_step_that_fails_fails_the_flow(halley: House) -> None:
    """The flow carries the step's own error, and names it."""
    run = await ran(halley, "midjourney.quick_pipeline", prompt="A comet [[fail]]", button="U1")

    assert run["state"] == "failed"
    assert "imagine" in run["error"]["message"]


async def test_many_tasks_are_asked_about_in_one_question(tmp_path: Path) -> None:
    """Fifty open tasks cost one question an interval, not fifty, and all of them end."""
    async with quick_simulator(duration_s=1.0) as sim, house(tmp_path, sim, public=False) as halley:
        starts = [
            halley.start("midjourney.imagine", {"prompt": f"n {n} [[callback:never]]"}, mode="mock", wait=0)
            for n in range(50)
        ]
        runs = [(await start).json() for start in starts]
        ended = await asyncio.gather(*(halley.end(run["id"]) for run in runs))

        assert Counter(run["state"] for run in ended) == {"succeeded": 50}
        # Each task is looked at several times; one by one that would be hundreds of questions.
        assert asked(sim, "/list-by-condition") > 0
        assert asked(sim, "/list-by-condition") + asked(sim, "/fetch") < 50


@pytest.mark.parametrize(
    ("node", "values", "path"),
    [
        ("suno.generate_music", {"gpt_description_prompt": "a song"}, "/suno/fetch"),
        ("udio.generate_music", {"prompt": "a song"}, "/udio/query"),
    ],
)
async def test_songs_are_asked_about_together(tmp_path: Path, node: str, values: dict[str, Any], path: str) -> None:
    """The other two that can be asked for many are."""
    async with quick_simulator(duration_s=0.8) as sim, house(tmp_path, sim, public=False) as halley:
        runs = [(await halley.start(node, values, mode="mock", wait=0)).json() for _ in range(10)]
        ended = await asyncio.gather(*(halley.end(run["id"]) for run in runs))

        assert Counter(run["state"] for run in ended) == {"succeeded": 10}
        assert all(run["artifacts"][0]["kind"] == "audio" for run in ended)
        assert asked(sim, path) < 40


async def test_a_file_not_made_yet_is_asked_for_again(halley: House) -> None:
    """A wav file that upstream makes on demand is waited for, by the same free request."""
    song = await ran(halley, "suno.generate_music", gpt_description_prompt="a song")
    clip = song["artifacts"][0]["upstream_id"]

    wav = await ran(halley, "suno.wav", clip_id=clip)

    assert wav["state"] == "succeeded", wav["error"]
    assert wav["artifacts"][0]["kind"] == "audio"


async def test_a_download_link_is_brought_by_one_more_request(halley: House) -> None:
    """A task whose answer names only a file ends with the link to it; the file can be asked for by its id as well."""
    run = await ran(halley, "minimax.video_generation", prompt="A comet")

    assert run["state"] == "succeeded", run["error"]
    assert run["artifacts"][0]["url"].startswith("http")
    assert asked(halley.sim, "/v1/files/retrieve") == 1

    told = await ran(halley, "minimax.video_query", task_id=run["upstream"]["task_id"])
    again = await ran(halley, "minimax.file_retrieve", file_id=told["data"]["data"]["file_id"])

    assert again["artifacts"][0]["kind"] == "video"


async def test_a_challenge_is_answered_at_once(halley: House) -> None:
    """The first call that tries whether the address is ours gets its own value back, and tells nothing of the run."""
    started = await halley.start("minimax.video_generation", {"prompt": "x [[duration:30]]"}, mode="mock", wait=0)
    run = await halley.until(started.json()["id"], "running")
    token = (await halley.app.state.services.store.run(run["id"])).callback_token

    async with httpx.AsyncClient() as stranger:
        answer = await stranger.post(f"{halley.url}/v1/callbacks/{token}", json={"challenge": "abc-123"})

    assert (answer.status_code, answer.json()) == (200, {"challenge": "abc-123"})
    assert (await halley.client.get(f"/v1/runs/{run['id']}")).json()["state"] == "running"


async def test_a_challenged_provider_goes_on_to_call_back(tmp_path: Path) -> None:
    """With the challenge answered, the end is known by the callback, long before the next look."""
    async with quick_simulator(duration_s=0.5) as sim, house(tmp_path, sim) as halley:
        run = await ran(halley, "minimax.video_generation", prompt="A comet")

        assert run["state"] == "succeeded"
        assert any(entry["kind"] == "callback" for entry in await halley.timeline(run["id"]))


CALLS_BACK = {
    "kling.text_to_video": {"prompt": "x"},
    "midjourney.imagine": {"prompt": "x"},
    "suno.generate_music": {"gpt_description_prompt": "x"},
    "replicate.flux_1_1_pro": {"prompt": "x"},
    "flux.generate_image": {"prompt": "x"},
    "bytedance.video": {"prompt": "x"},
    "luma.generate": {"prompt": "A comet"},
    "runway.reverse_text_to_video": {"prompt": "x"},
    "pika.text_to_video": {"prompt": "x"},
    "minimax.video_generation": {"prompt": "x"},
}


@pytest.mark.parametrize("node", sorted(CALLS_BACK))
async def test_every_provider_that_can_calls_back(halley: House, node: str) -> None:
    """The callback arrives, is kept, and one confirming question ends the run."""
    run = await ran(halley, node, **CALLS_BACK[node])

    assert run["state"] == "succeeded", run["error"]
    assert [entry for entry in await halley.timeline(run["id"]) if entry["kind"] == "callback"]


async def test_bytes_behind_a_key_are_kept_and_served(halley: House) -> None:
    """A video that upstream hands out only with the key is kept, and anybody with its signed link can have a part."""
    made = await ran(halley, "sora.create_video_openai", prompt="A comet")
    content = await ran(halley, "sora.retrieve_content", video_id=made["upstream"]["task_id"])
    url = content["artifacts"][0]["url"]

    async with httpx.AsyncClient() as stranger:
        part = await stranger.get(url, headers={"Range": "bytes=0-7"})
        forged = await stranger.get(url.replace("signature=", "signature=0"))

    assert (part.status_code, len(part.content)) == (206, 8)
    assert part.headers["content-type"].startswith("video/")
    assert forged.status_code == 403


async def test_a_remix_follows_its_source(halley: House) -> None:
    """A finished video can be remixed by its task id."""
    made = await ran(halley, "sora.create_video_openai", prompt="A comet")

    remixed = await ran(halley, "sora.remix_video", video_id=made["upstream"]["task_id"], prompt="at night")

    assert remixed["state"] == "succeeded", remixed["error"]


@pytest.mark.parametrize(
    ("node", "values", "kind"),
    [
        ("audio.create_speech", {"input": "Good morning"}, "audio"),
        ("images.generate", {"prompt": "a fox"}, "image"),
        ("images.gemini_generate", {"prompt": "a fox"}, "image"),
    ],
)
async def test_results_without_a_url_get_one(halley: House, node: str, values: dict[str, Any], kind: str) -> None:
    """Raw bytes and Base64 become an artifact with a link; nothing of them stands in the run."""
    run = await ran(halley, node, **values)

    assert run["state"] == "succeeded", run["error"]
    artifact = run["artifacts"][0]
    assert (artifact["kind"], artifact["size_bytes"] > 0) == (kind, True)
    assert (await halley.client.get(artifact["url"])).status_code == 200
    assert "base64" not in str(run)


async def test_an_artifact_is_the_input_of_another_node(halley: House) -> None:
    """A picture of one run is edited by the next, named by its artifact."""
    picture = (await ran(halley, "images.generate", prompt="a fox"))["artifacts"][0]["id"]

    edited = await ran(halley, "images.edit", image=[f"artifact://{picture}"], prompt="a blue hat")

    assert edited["state"] == "succeeded", edited["error"]


@pytest.mark.parametrize("wanted", ["json", "text", "srt", "vtt", "verbose_json"])
async def test_a_transcript_in_every_format(halley: House, wanted: str) -> None:
    """Text and subtitles arrive as text, whatever form they come in."""
    run = await ran(
        halley,
        "audio.create_transcription",
        file="https://example.com/talk.mp3",
        model="whisper-1",
        response_format=wanted,
    )

    assert run["state"] == "succeeded", run["error"]
    assert run["text"]


async def test_a_job_that_nobody_can_ask_about_ends_with_its_name(halley: House) -> None:
    """Where upstream makes a job and offers no query, the run ends and names the job instead of hanging."""
    started = await halley.start(
        "hunyuan3d.generate", {"prompt": "a chair", "path": "v1/api/3d/submit"}, mode="mock", wait=0
    )
    if started.status_code == 422:
        pytest.fail(started.text)
    run = await halley.end(started.json()["id"])

    assert (run["state"], run["error"]["code"]) == ("failed", "no_output")
    assert run["upstream"]["task_id"] in run["error"]["message"]


async def test_a_provider_that_hangs_delays_no_other(tmp_path: Path) -> None:
    """While every question to one provider is left unanswered, another's runs end as ever."""
    async with quick_simulator(duration_s=0.2) as sim, house(tmp_path, sim, public=False) as halley:
        stuck = [
            (await halley.start("luma.generate", {"prompt": "x [[poll_hang:always]]"}, mode="mock", wait=0)).json()
            for _ in range(40)
        ]
        await unanswered(sim, "/dream-machine/v1/generations/", 8)

        quick = await asyncio.gather(*(ran(halley, "replicate.flux_1_1_pro", prompt="x") for _ in range(10)))

        assert Counter(run["state"] for run in quick) == {"succeeded": 10}
        open_now = (await halley.client.get("/v1/runs", params={"node": "luma.generate"})).json()["data"]
        assert {run["id"] for run in open_now} == {run["id"] for run in stuck}
        # Questions that hang leave places free, so all have been submitted; none has ended.
        for run in stuck:
            await halley.until(run["id"], "running")


async def test_a_local_node_needs_no_key_and_no_upstream(tmp_path: Path) -> None:
    """Tables answer at once, in live mode too, whether or not there is an upstream key."""
    async with quick_simulator() as sim, house(tmp_path, sim, environ={"COMETAPI_KEY": ""}) as halley:
        answer = (await halley.start("suno.set_version", {"version": "V5"}, wait=5)).json()

        assert (answer["state"], answer["data"]["mv"]) == ("succeeded", "chirp-crow")
        assert sim.requests == []


async def test_more_runs_than_upstream_takes_wait_in_line(tmp_path: Path) -> None:
    """With a limit on open tasks, further runs wait in `queued`; none fails, and upstream never has more at once."""
    name = "luma.generate"
    nodes = {key: node for key, node in quick_catalog().nodes.items() if key.startswith("luma.")}
    provider = msgspec.structs.replace(nodes[name].provider, budget=Budget(open_tasks=2))
    limited = Catalog({key: msgspec.structs.replace(node, provider=provider) for key, node in nodes.items()})
    async with quick_simulator(duration_s=0.3) as sim, house(tmp_path, sim, catalog=limited) as halley:
        starts = [await halley.start(name, {"prompt": f"comet {n}"}, mode="mock", wait=0) for n in range(6)]
        ended = [await halley.end(start.json()["id"]) for start in starts]

        assert Counter(run["state"] for run in ended) == {"succeeded": 6}
        spans = [(task.created_at, task.finished_at) for task in sim.tasks]
        assert max(sum(a < end and start <= a for start, end in spans) for a, _ in spans) <= 2


async def test_a_result_that_cannot_be_kept_is_not_called_unpaid(
    halley: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upstream has worked and will charge, whatever becomes of the bytes here; nothing is sent again."""

    async def full(*_args: object, **_words: object) -> None:
        raise TooLarge("The file is larger than the vault takes.")

    monkeypatch.setattr(halley.app.state.services.vault, "keep", full)
    started = await halley.start("images.generate", {"prompt": "a fox"}, mode="mock", wait=0)
    run = await halley.until(started.json()["id"], "submit_unknown")

    assert run["error"]["billed"] == "unknown"
    assert asked(halley.sim, "/v1/images/generations") == 1


async def test_a_preview_shows_no_key_wherever_it_would_stand(halley: House) -> None:
    """A key in the query is masked like one in a header; a node that sends nothing itself shows no request."""
    balance = (await halley.start("platform.balance", {}, mode="preview")).json()["request"]
    table = (await halley.start("suno.set_version", {"version": "v5"}, mode="preview")).json()

    assert balance["url"].endswith("/user/quota?key=********")
    assert "Authorization" not in balance["headers"]
    assert table["request"] is None


async def test_what_waits_for_input_is_looked_at_again_after_a_restart(tmp_path: Path) -> None:
    """A window confirmed while Halley was not there to notice is found confirmed by the next one."""
    async with quick_simulator() as sim:
        async with house(tmp_path, sim) as halley:
            grid = await ran(halley, "midjourney.imagine", prompt="A comet")
            single = await ran(halley, **_offered(grid, "U1"))
            zoom = next(each for each in single["data"]["next"] if "CustomZoom" in each["input"]["custom_id"])
            pressed = await halley.start(zoom["node"], zoom["input"], mode="mock")
            parked = await waiting(halley, pressed.json()["id"])
        await _confirmed_elsewhere(sim, parked["upstream"]["task_id"])

        async with house(tmp_path, sim) as halley:
            assert (await halley.end(parked["id"]))["state"] == "succeeded"


def _offered(run: dict[str, Any], title: str) -> dict[str, Any]:
    offer = next(each for each in run["data"]["next"] if each["title"] == title)
    return {"node": offer["node"], **offer["input"]}


async def _confirmed_elsewhere(sim: Simulator, task_id: str) -> None:
    async with httpx.AsyncClient(headers={"Authorization": "Bearer sk-other"}) as other:
        body = {"taskId": task_id, "prompt": "sea --zoom 2"}
        answer = await other.post(f"{sim.url}/mj/submit/modal", json=body)
        assert answer.status_code == 200
