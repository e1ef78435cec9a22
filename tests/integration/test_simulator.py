"""The simulator against the reference page, over real sockets: answers, refusals, callbacks, broken wires."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.simulator import Simulator, SimulatorOptions

Json = dict[str, Any]

T2V = "/kling/v1/videos/text2video"
T2I = "/kling/v1/images/generations"
ELEMENTS = "/kling/v1/videos/multi-elements"
AUTH = {"Authorization": "Bearer sk-test"}
PICTURE = "iVBORw0KGgo="
URL = "https://files.example/a.mp4"
FACE = {"face_id": "0", "audio_id": "1", "sound_insert_time": 0, "sound_start_time": "0"}

TASKS: dict[str, tuple[str, Json, list[str]]] = {
    "multi_elements_create_task": (
        "videos/multi-elements",
        {"session_id": "s", "edit_mode": "removal", "prompt": "p"},
        ["videos"],
    ),
    "image_generation": ("images/generations", {"prompt": "p"}, ["images"]),
    "image_expand": (
        "images/editing/expand",
        {
            "image": PICTURE,
            "up_expansion_ratio": 0.1,
            "down_expansion_ratio": 0,
            "bottom_expansion_ratio": 0,
            "left_expansion_ratio": 0,
            "right_expansion_ratio": 0.5,
        },
        ["images"],
    ),
    "text_to_video": ("videos/text2video", {"prompt": "p", "duration": "5"}, ["videos"]),
    "image_to_video": ("videos/image2video", {"image": PICTURE}, ["videos"]),
    "multi_image_to_video": ("videos/multi-image2video", {"image_list": [{"image": URL}]}, ["videos"]),
    "multi_image_to_image": (
        "images/multi-image2image",
        {"subject_image_list": [{"subject_image": URL}, {"subject_image": PICTURE}]},
        ["images"],
    ),
    "video_extend": ("videos/video-extend", {"video_id": "1"}, ["videos"]),
    "virtual_try_on": (
        "images/kolors-virtual-try-on",
        {"human_image": URL, "cloth_image": URL},
        ["images"],
    ),
    "lip_sync": (
        "videos/lip-sync",
        {"input": {"video_id": "1", "mode": "text2video", "text": "hi", "voice_id": "v"}},
        ["videos"],
    ),
    "effects": ("videos/effects", {"effect_scene": "squish", "input": {"image": URL}}, ["videos"]),
    "video_to_audio": ("audio/video-to-audio", {"video_url": URL}, ["videos", "audios"]),
    "text_to_audio": ("audio/text-to-audio", {"prompt": "rain", "duration": 4.5}, ["audios"]),
    "advanced_lip_sync": (
        "videos/advanced-lip-sync",
        {"session_id": "s", "face_choose": [FACE | {"sound_end_time": 2000}]},
        ["videos"],
    ),
    "avatar": ("videos/avatar/image2video", {"image": URL, "audio_id": "1"}, ["videos"]),
    "omni_video": ("videos/omni-video", {"prompt": "p", "aspect_ratio": "16:9"}, ["videos"]),
}


class SteppedClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.time = 1_790_000_000.0

    def now(self) -> float:
        """Return the time."""
        return self.time


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that tells nobody when it comes."""
    async with asyncio.timeout(5):
        while True:
            if holds():
                return
            await asyncio.sleep(0.005)


class Client:
    """Talks to one simulator."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def post(self, path: str, body: Json) -> tuple[int, Json]:
        """Send a create and return status and decoded body."""
        async with self.session.post(self.simulator.url + path, json=body, headers=AUTH) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str) -> tuple[int, Json]:
        """Ask and return status and decoded body."""
        async with self.session.get(self.simulator.url + path, headers=AUTH) as answer:
            return answer.status, await answer.json()

    async def submitted(self, path: str, body: Json) -> str:
        """Send a create that must be accepted and return its task id."""
        status, answer = await self.post(path, body)
        assert status == 200, answer
        return str(answer["data"]["task_id"])

    async def ended(self, path: str, task_id: str) -> Json:
        """Ask until the task has ended and return its data."""
        while True:
            _, answer = await self.get(f"{path}/{task_id}")
            if answer["data"]["task_status"] in ("succeed", "failed"):
                return dict(answer["data"])
            await asyncio.sleep(0.005)


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start simulators with options and stop them all at the end."""
    running: list[Simulator] = []
    session = aiohttp.ClientSession()

    async def begin(clock: SteppedClock | None = None, **options: Any) -> Client:
        simulator = Simulator(SimulatorOptions(**({"duration_s": 0.0} | options)), clock)
        await simulator.start()
        running.append(simulator)
        return Client(simulator, session)

    yield begin
    for simulator in running:
        await simulator.stop()
    await session.close()


class Receiver:
    """Keeps the callbacks that it gets, in the order in which they come."""

    def __init__(self, server: TestServer, received: "asyncio.Queue[Json]") -> None:
        self.url = str(server.make_url("/callback"))
        self.received = received

    async def take(self, count: int) -> list[Json]:
        """Wait for so many callbacks."""
        return [await self.received.get() for _ in range(count)]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Listen for callbacks."""
    received: asyncio.Queue[Json] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        received.put_nowait(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/callback", take)
    async with TestServer(app) as server:
        yield Receiver(server, received)


@pytest.mark.parametrize("name", TASKS)
async def test_each_task_operation_makes_its_results(start: Start, name: str) -> None:
    """Each async row takes its smallest body, answers on its own pair and gives its arrays in order."""
    client = await start(strict_sessions=False)
    path, body, arrays = TASKS[name]

    task_id = await client.submitted(f"/kling/v1/{path}", body)
    task = await client.ended(f"/kling/v1/{path}", task_id)

    assert task["task_status"] == "succeed"
    assert list(task["task_result"]) == arrays
    assert client.simulator.requests[0].operation == name
    assert client.simulator.requests[0].unknown_keys == ()


async def test_the_shared_image_path_is_told_by_its_body(start: Start) -> None:
    """`subject_image_list` on the generations path is the multi-image operation, and asked for there."""
    client = await start()
    body = TASKS["multi_image_to_image"][1] | {"n": 2}

    task_id = await client.submitted(T2I, body)
    task = await client.ended(T2I, task_id)

    assert client.simulator.tasks[0].operation == "multi_image_to_image"
    assert [image["index"] for image in task["task_result"]["images"]] == [0, 1]


async def test_a_task_lives_by_the_usual_duration_and_the_speed(start: Start) -> None:
    """Two minutes at speed 60 are two seconds: submitted, processing with `{}`, succeed with a video."""
    clock = SteppedClock()
    client = await start(clock, duration_s=None, speed=60.0)
    _, submitted = await client.post(T2V, {"prompt": "p", "external_task_id": "order-1"})
    task_id = submitted["data"]["task_id"]

    seen = []
    for _ in range(3):
        seen.append((await client.get(f"{T2V}/{task_id}"))[1]["data"])
        clock.time += 1.0

    assert submitted["code"] == 0
    assert submitted["data"]["task_info"] == {"external_task_id": "order-1"}
    assert [task["task_status"] for task in seen] == ["submitted", "processing", "succeed"]
    assert "task_result" not in seen[0]
    assert seen[1]["task_result"] == {}
    assert seen[2]["task_result"]["videos"][0]["duration"] == "5.1"
    assert seen[2]["updated_at"] - seen[2]["created_at"] == 2000


async def test_wrapped_answers_hold_the_task_one_level_down(start: Start) -> None:
    """Outside stand action, status and percentage, inside the provider's object."""
    clock = SteppedClock()
    client = await start(clock, duration_s=10.0, envelope="wrapped")
    _, submitted = await client.post("/kling/v1/videos/omni-video", TASKS["omni_video"][1])
    clock.time += 5

    _, running = await client.get(f"/kling/v1/videos/omni-video/{submitted['data']['task_id']}")

    assert submitted["data"]["data"]["task_status"] == "submitted"
    assert running["data"]["action"] == "OMNI_VIDEO"
    assert (running["data"]["status"], running["data"]["progress"]) == ("IN_PROGRESS", "50%")
    assert running["data"]["data"]["task_status"] == "processing"


async def test_doubly_wrapped_answers_hold_the_provider_answer_two_levels_down(start: Start) -> None:
    """`code` is a word, the state lies three levels down, and `fail_reason` can be the result's URL."""
    client = await start()
    _, submitted = await client.post(T2V, {"prompt": "[[envelope:double]]"})

    _, ended = await client.get(f"{T2V}/{submitted['data']['task_id']}")

    inner = ended["data"]["data"]["data"]
    assert ended["code"] == "success"
    assert (ended["data"]["status"], ended["data"]["progress"]) == ("SUCCESS", "100%")
    assert inner["task_status"] == "succeed"
    assert ended["data"]["fail_reason"] == inner["task_result"]["videos"][0]["url"]


async def test_the_openai_submit_shape_has_no_data(start: Start) -> None:
    """The id stands at the top, the status is empty, and a query by it works."""
    client = await start(envelope="openai")

    _, submitted = await client.post(T2V, {"prompt": "p", "model_name": "kling-v3"})
    status, _ = await client.get(f"{T2V}/{submitted['task_id']}")

    assert "data" not in submitted
    assert submitted["id"] == submitted["task_id"]
    assert (submitted["object"], submitted["status"], submitted["model"]) == ("video", "", "kling-v3")
    assert status == 200


async def test_a_relay_may_give_up_over_a_running_task(start: Start) -> None:
    """Outside stands FAILURE with its reason, inside the task is processing still."""
    client = await start(envelope="wrapped")
    task_id = await client.submitted(T2V, {"prompt": "[[gave_up]]"})

    _, ended = await client.get(f"{T2V}/{task_id}")

    assert ended["data"]["status"] == "FAILURE"
    assert ended["data"]["fail_reason"]
    assert ended["data"]["data"]["task_status"] == "processing"


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("[[fail]]", "The generation failed, please try again"),
        ("[[fail:no cat]]", "no cat"),
        ("[[moderation]]", "Failure to pass the risk control system"),
    ],
)
async def test_failures_come_with_their_reason(start: Start, mark: str, message: str) -> None:
    """The task is accepted, then fails and says why."""
    client = await start()
    task_id = await client.submitted(T2V, {"prompt": mark})

    task = await client.ended(T2V, task_id)

    assert (task["task_status"], task["task_status_msg"]) == ("failed", message)


async def test_queries_need_the_path_of_the_create(start: Start) -> None:
    """Another operation's path, an unknown id and another simulator's id are all unknown tasks."""
    client, other = await start(), await start()
    task_id = await client.submitted(T2V, {"prompt": "p"})

    answers = [
        await client.get(f"/kling/v1/videos/image2video/{task_id}"),
        await client.get(f"{T2V}/123"),
        await other.get(f"{T2V}/{task_id}"),
    ]

    unknown = {"code": "task_not_exist", "message": "task_not_exist", "data": None}
    assert answers == [(400, unknown)] * 3


async def test_a_task_can_be_asked_for_by_the_external_id(start: Start) -> None:
    """The caller's own id stands in for the task id, except for advanced lip-sync."""
    client = await start(strict_sessions=False)
    lip_path, lip_body, _ = TASKS["advanced_lip_sync"]
    task_id = await client.submitted(T2V, {"prompt": "p", "external_task_id": "order-1"})
    await client.submitted(f"/kling/v1/{lip_path}", lip_body | {"external_task_id": "order-2"})

    _, found = await client.get(f"{T2V}/order-1")
    status, _ = await client.get(f"/kling/v1/{lip_path}/order-2")

    assert found["data"]["task_id"] == task_id
    assert status == 400


@pytest.mark.parametrize("headers", [{}, {"Authorization": "sk-test"}, {"Authorization": "Bearer other"}])
async def test_a_missing_or_wrong_key_is_refused_by_the_aggregator(start: Start, headers: dict[str, str]) -> None:
    """The answer is 401 in the aggregator's own envelope, with a request id in its message."""
    client = await start(api_key="sk-test")

    async with client.session.post(client.simulator.url + T2V, json={"prompt": "p"}, headers=headers) as sent:
        status, body = sent.status, await sent.json()

    assert status == 401
    assert body["error"]["type"] == "comet_api_error"
    assert "(request id: " in body["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("videos/text2video", {}, "prompt is required"),
        ("videos/text2video", {"prompt": "p", "duration": 5}, "Expected `str`, got `int` - at `$.duration`"),
        ("videos/text2video", {"prompt": "p", "duration": "7"}, "duration 7 is not allowed"),
        ("videos/text2video", {"prompt": "p", "mode": "best"}, "$.mode"),
        ("videos/text2video", {"prompt": "p", "negative_prompt": None}, "$.negative_prompt"),
        ("videos/text2video", {"prompt": "p" * 2501}, "$.prompt"),
        ("videos/text2video", {"prompt": "p", "multi_shot": True}, "multi_shot requires shot_type"),
        (
            "videos/text2video",
            {"prompt": "p", "camera_control": {"type": "simple", "config": {"pan": 1, "zoom": 1}}},
            "exactly one value",
        ),
        ("videos/image2video", {"image": "data:image/png;base64," + PICTURE}, "raw Base64"),
        ("videos/image2video", {}, "at least one of image, image_tail"),
        (
            "videos/image2video",
            {"image": URL, "image_tail": URL, "static_mask": URL},
            "exclude each other",
        ),
        ("videos/effects", {"effect_scene": "hug", "input": {"images": [URL]}}, "$.input.images"),
        ("videos/lip-sync", {"input": {"mode": "text2video", "video_id": "1"}}, "text and voice_id"),
        ("videos/video-extend", {"prompt": "p"}, "`video_id`"),
        ("images/generations", {"prompt": "p", "n": 10}, "$.n"),
        ("images/generations", {"prompt": "p", "image_reference": "face"}, "requires image"),
        ("images/multi-image2image", {"subject_image_list": [{"subject_image": URL}]}, "at least 2"),
        (
            "images/editing/expand",
            TASKS["image_expand"][1] | {"up_expansion_ratio": 2},
            "exceeds 3 times",
        ),
        ("audio/text-to-audio", {"prompt": "p", "duration": "5"}, "$.duration"),
        ("audio/text-to-audio", {"prompt": "p", "duration": 5.25}, "one decimal"),
        ("audio/video-to-audio", {"video_id": "1", "video_url": URL}, "exactly one of"),
        ("videos/omni-video", {"prompt": "p"}, "aspect_ratio is required"),
        ("videos/avatar/image2video", {"image": URL}, "exactly one of audio_id, sound_file"),
    ],
)
async def test_a_body_against_the_tables_is_refused(start: Start, path: str, body: Json, said: str) -> None:
    """Missing, mistyped, too long, unlisted or excluded values answer 1201 with HTTP 400 and say which."""
    client = await start()

    status, answer = await client.post(f"/kling/v1/{path}", body)

    assert (status, answer["code"]) == (400, 1201)
    assert said in answer["message"]
    assert "data" not in answer
    assert client.simulator.tasks == []


@pytest.mark.parametrize(
    ("mark", "status", "code"),
    [
        ("[[refuse:1301]]", 400, 1301),
        ("[[refuse:1102]]", 429, 1102),
        ("[[refuse:5002]]", 504, 5002),
        ("[[refuse200:1201]]", 200, 1201),
        ("[[rate_limited]]", 429, 1302),
        ("[[refuse:9999]]", 400, 1201),
        ("[[surprise]]", 400, 1201),
        ("[[not_mounted]]", 404, None),
    ],
)
async def test_refusals_carry_their_code(start: Start, mark: str, status: int, code: int | None) -> None:
    """A refusal has the HTTP status of its code, or 200, and creates nothing."""
    client = await start()

    answer = await client.post(T2V, {"prompt": mark})

    assert (answer[0], answer[1]["code"]) == (status, code)
    assert client.simulator.tasks == []


async def test_a_nested_refusal_has_its_code_two_levels_down(start: Start) -> None:
    """The speech refusal looks as its page shows it."""
    client = await start()

    _, answer = await client.post("/kling/v1/audio/tts", {"text": "[[nested_refusal]]", "voice_id": "v"})

    assert "code" not in answer
    assert answer["data"]["data"]["code"] == 1201
    assert answer["message"] == answer["data"]["message"] == "Voice id not found"


async def test_an_unknown_mark_is_answered_with_the_known_ones(start: Start) -> None:
    """A misspelt mark never passes for an ordinary prompt."""
    client = await start()

    _, answer = await client.post(T2V, {"prompt": "[[fial]]"})

    assert "unknown mark [[fial]]" in answer["message"]
    assert "[[busy:N]]" in answer["message"]


async def test_busy_counts_per_external_id(start: Start) -> None:
    """Two submissions of one order find no slot, the third is accepted, another order starts anew."""
    client = await start()
    body = {"prompt": "[[busy:2]]", "external_task_id": "order-1"}

    statuses = [(await client.post(T2V, body))[0] for _ in range(3)]
    other = await client.post(T2V, body | {"external_task_id": "order-2"})

    assert statuses == [429, 429, 200]
    assert (other[0], other[1]["code"]) == (429, 1303)
    assert client.simulator.submissions("order-1") == 1


@pytest.mark.parametrize(
    ("mark", "status", "content_type", "created"),
    [
        ("[[http:503]]", 503, "text/html", 0),
        ("[[http:524]]", 524, "text/plain", 0),
        ("[[http:403]]", 403, "application/json", 0),
        ("[[http_after:504]]", 504, "text/html", 1),
        ("[[html]]", 200, "text/html", 0),
        ("[[redirect]]", 301, "application/octet-stream", 0),
        ("[[quota]]", 403, "application/json", 0),
    ],
)
async def test_proxies_answer_in_their_own_ways(
    start: Start, mark: str, status: int, content_type: str, created: int
) -> None:
    """Whether the task exists behind such an answer depends on the mark alone."""
    client = await start()
    body = {"prompt": mark, "external_task_id": "order-1"}

    async with client.session.post(
        client.simulator.url + T2V, json=body, headers=AUTH, allow_redirects=False
    ) as answer:
        seen = (answer.status, answer.content_type)

    assert seen == (status, content_type)
    assert client.simulator.submissions("order-1") == created


async def raw_post(client: Client, prompt: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a create over a bare socket."""
    host, _, port = client.simulator.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"prompt": prompt, "external_task_id": "order-1"})
    head = f"POST {T2V} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return reader, writer


@pytest.mark.parametrize(("mark", "created"), [("[[reset_before]]", 0), ("[[reset_after]]", 1)])
async def test_a_reset_connection_is_reset(start: Start, mark: str, created: int) -> None:
    """The client sees RST, not an orderly end, after its request was read."""
    client = await start()
    reader, writer = await raw_post(client, mark)

    with pytest.raises(ConnectionResetError):
        await reader.read()

    writer.close()
    assert client.simulator.submissions("order-1") == created
    assert client.simulator.requests[0].status == 499


async def test_a_closed_connection_ends_without_a_byte(start: Start) -> None:
    """The client sees an orderly end instead of an answer, and the task exists."""
    client = await start()
    reader, writer = await raw_post(client, "[[close_after]]")

    seen = await reader.read()

    writer.close()
    assert seen == b""
    assert client.simulator.submissions("order-1") == 1


async def test_garbage_is_not_http(start: Start) -> None:
    """The client cannot read a status line, and the task exists."""
    client = await start()

    with pytest.raises(aiohttp.ClientError):
        await client.post(T2V, {"prompt": "[[garbage]]", "external_task_id": "order-1"})

    assert client.simulator.submissions("order-1") == 1


async def test_a_truncated_answer_breaks_its_promise(start: Start) -> None:
    """The headers promise more than comes, and the task exists."""
    client = await start()
    reader, writer = await raw_post(client, "[[truncated]]")

    head, _, body = (await reader.read()).partition(b"\r\n\r\n")

    writer.close()
    promised = int(head.rpartition(b"Content-Length: ")[2])
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert 0 < len(body) < promised
    assert client.simulator.submissions("order-1") == 1


@pytest.mark.parametrize(("mark", "created"), [("[[hang_before]]", 0), ("[[hang]]", 1)])
async def test_a_hanging_answer_ends_only_with_the_simulator(start: Start, mark: str, created: int) -> None:
    """Nothing is answered until the simulator stops, which then cuts the connection at once."""
    client = await start()
    reader, writer = await raw_post(client, mark)
    await until(lambda: any(request.operation for request in client.simulator.requests))
    waiting = asyncio.create_task(reader.read())

    ended_before_the_stop, _ = await asyncio.wait([waiting], timeout=0.05)
    await client.simulator.stop()

    with pytest.raises(ConnectionResetError):
        await waiting
    writer.close()
    assert not ended_before_the_stop
    assert client.simulator.submissions("order-1") == created


async def test_a_client_that_gives_up_leaves_its_task_behind(start: Start) -> None:
    """A slow answer comes after the creation: whoever does not wait has still bought the task."""
    client = await start()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.post(T2V, {"prompt": "[[slow:30]]", "external_task_id": "order-1"}), timeout=0.1)

    assert client.simulator.submissions("order-1") == 1


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("", ["submitted", "processing", "succeed"]),
        ("[[callback:last]]", ["succeed"]),
        ("[[callback:twice]]", ["submitted", "processing", "succeed", "succeed"]),
        ("[[callback:reordered]]", ["succeed", "processing", "submitted"]),
        ("[[fail]]", ["submitted", "processing", "failed"]),
    ],
)
async def test_callbacks_carry_the_bare_task(start: Start, receiver: Receiver, mark: str, words: list[str]) -> None:
    """Each change is posted once, bare, in the order of its mode."""
    client = await start(duration_s=0.03)
    body = {"prompt": f"p {mark}", "callback_url": receiver.url, "external_task_id": "order-1"}

    task_id = await client.submitted(T2V, body)
    callbacks = await receiver.take(len(words))

    assert [callback["task_status"] for callback in callbacks] == words
    assert {callback["task_id"] for callback in callbacks} == {task_id}
    assert callbacks[0]["task_info"] == {"external_task_id": "order-1"}
    assert receiver.received.empty()


async def test_an_early_callback_comes_before_the_submit_answer(start: Start, receiver: Receiver) -> None:
    """The end has been posted by the time the answer arrives, and a query agrees with it."""
    client = await start(duration_s=30.0)

    task_id = await client.submitted(T2V, {"prompt": "[[callback:early]]", "callback_url": receiver.url})
    callback = receiver.received.get_nowait()
    task = await client.ended(T2V, task_id)

    assert (callback["task_id"], callback["task_status"]) == (task_id, "succeed")
    assert task["task_status"] == "succeed"


async def test_a_lying_callback_runs_ahead_of_the_queries(start: Start, receiver: Receiver) -> None:
    """The callback tells of success while a query does not yet."""
    client = await start(duration_s=0.03, lie_s=0.3)
    body = {"prompt": "[[callback:lying]]", "callback_url": receiver.url}

    task_id = await client.submitted(T2V, body)
    callbacks = await receiver.take(3)
    _, meanwhile = await client.get(f"{T2V}/{task_id}")
    task = await client.ended(T2V, task_id)

    assert callbacks[-1]["task_status"] == "succeed"
    assert meanwhile["data"]["task_status"] == "processing"
    assert task["task_status"] == "succeed"


async def test_no_callback_is_posted_when_none_is_wanted(start: Start, receiver: Receiver) -> None:
    """`never` leaves the task to the queries."""
    client = await start()
    silent = {"prompt": "[[callback:never]]", "callback_url": receiver.url}
    loud = {"prompt": "[[callback:last]]", "callback_url": receiver.url}

    await client.submitted(T2V, silent)
    spoken_of = await client.submitted(T2V, loud)

    assert [callback["task_id"] for callback in await receiver.take(1)] == [spoken_of]
    assert receiver.received.empty()


@pytest.mark.parametrize(
    ("operation", "outputs"),
    [("text_to_video", ["video"]), ("image_generation", ["image"]), ("text_to_audio", ["audio"])],
)
async def test_the_new_callback_shape_has_outputs(
    start: Start, receiver: Receiver, operation: str, outputs: list[str]
) -> None:
    """The shape of 2026 says `id`, `succeeded` and typed outputs."""
    client = await start(callbacks="last", callback_shape="new")
    path, body, _ = TASKS[operation]

    task_id = await client.submitted(f"/kling/v1/{path}", body | {"callback_url": receiver.url})
    (callback,) = await receiver.take(1)

    assert (callback["id"], callback["status"]) == (task_id, "succeeded")
    assert [output["type"] for output in callback["outputs"]] == outputs
    assert "task_id" not in callback


async def test_a_callback_may_be_wrapped_and_never_names_audios(start: Start, receiver: Receiver) -> None:
    """The wrapped shape holds the object under `data`; sound must be asked for."""
    client = await start(callbacks="last", callback_shape="wrapped")
    path, body, _ = TASKS["video_to_audio"]

    await client.submitted(f"/kling/v1/{path}", body | {"callback_url": receiver.url})
    (callback,) = await receiver.take(1)

    assert callback["data"]["task_status"] == "succeed"
    assert list(callback["data"]["task_result"]) == ["videos"]


async def test_a_relay_mints_ids_of_its_own(start: Start, receiver: Receiver) -> None:
    """Queries know the id of the submit answer, the callback carries another that no query knows."""
    client = await start(relay_ids=True, callbacks="last")

    relay_id = await client.submitted(T2V, {"prompt": "p", "callback_url": receiver.url})
    (callback,) = await receiver.take(1)
    by_relay_id, _ = await client.get(f"{T2V}/{relay_id}")
    by_native_id, _ = await client.get(f"{T2V}/{callback['task_id']}")

    assert callback["task_id"] != relay_id
    assert (by_relay_id, by_native_id) == (200, 400)


async def test_a_callback_to_another_host_is_refused_and_recorded(start: Start) -> None:
    """The task goes on, nothing is posted, and the task says why."""
    client = await start()

    await client.submitted(T2V, {"prompt": "p", "callback_url": "https://halley.example/callback"})

    (task,) = client.simulator.tasks
    assert "loopback" in task.callback_refused
    assert task.callbacks == []


async def test_an_unreachable_receiver_is_noted_and_not_tried_again(start: Start) -> None:
    """One attempt per change, its error kept with the task."""
    client = await start(callbacks="last")
    async with TestServer(web.Application()) as gone:
        url = str(gone.make_url("/callback"))

    await client.submitted(T2V, {"prompt": "p", "callback_url": url})
    (task,) = client.simulator.tasks
    await until(lambda: bool(task.callbacks))

    assert [posted.outcome for posted in task.callbacks] == ["ClientConnectorError"]


async def test_queries_can_go_wrong_before_they_go_right(start: Start) -> None:
    """Counted marks are played one after the other, then the truth is told."""
    client = await start()
    prompt = "[[not_found:1]] [[poll_error:2]] [[unknown_status:1]] [[empty:3]]"
    task_id = await client.submitted(T2V, {"prompt": prompt})

    answers = [await client.get(f"{T2V}/{task_id}") for _ in range(8)]

    assert [status for status, _ in answers] == [400, 500, 429, 200, 200, 200, 200, 200]
    assert [answer["code"] for _, answer in answers[:3]] == ["task_not_exist", 5000, 1302]
    told = [answer["data"] for _, answer in answers[3:]]
    assert [task["task_status"] for task in told] == ["reviewing"] + ["succeed"] * 4
    assert [task.get("task_result", "missing") for task in told[1:4]] == [None, {}, "missing"]
    assert told[4]["task_result"]["videos"]


async def test_a_throttled_query_says_when_to_come_back(start: Start) -> None:
    """The 429 of a query carries Retry-After."""
    client = await start()
    task_id = await client.submitted(T2V, {"prompt": "[[poll_error:2]]"})
    url = f"{client.simulator.url}{T2V}/{task_id}"

    await client.get(f"{T2V}/{task_id}")
    async with client.session.get(url, headers=AUTH) as answer:
        retry_after = answer.headers["Retry-After"]

    assert retry_after == "1"


async def test_a_query_can_hang(start: Start) -> None:
    """The first query is never answered, the second is."""
    client = await start()
    task_id = await client.submitted(T2V, {"prompt": "[[poll_hang:1]]"})

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.get(f"{T2V}/{task_id}"), timeout=0.1)
    status, _ = await client.get(f"{T2V}/{task_id}")

    assert status == 200


@pytest.mark.parametrize(
    ("operation", "pick", "content_type", "magic"),
    [
        ("text_to_video", ("videos", "url"), "video/mp4", (4, b"ftyp")),
        ("image_generation", ("images", "url"), "image/png", (0, b"\x89PNG\r\n")),
        ("text_to_audio", ("audios", "url_mp3"), "audio/mpeg", (0, b"ID3")),
        ("text_to_audio", ("audios", "url_wav"), "audio/wav", (0, b"RIFF")),
    ],
)
async def test_results_link_to_real_files(
    start: Start, operation: str, pick: tuple[str, str], content_type: str, magic: tuple[int, bytes]
) -> None:
    """The link serves bytes of the right kind, whole and in ranges, without a key."""
    client = await start()
    path, body, _ = TASKS[operation]
    task = await client.ended(f"/kling/v1/{path}", await client.submitted(f"/kling/v1/{path}", body))
    url = task["task_result"][pick[0]][0][pick[1]]

    async with client.session.get(url) as whole:
        data, seen_type = await whole.read(), whole.headers["Content-Type"]
    async with client.session.get(url, headers={"Range": "bytes=4-7"}) as part:
        partial = (part.status, await part.read())

    assert "?ksTime=" in url
    assert seen_type == content_type
    assert data[magic[0] :].startswith(magic[1])
    assert partial == (206, data[4:8])


async def test_the_picture_is_large_enough_for_every_limit(start: Start) -> None:
    """Its sides are 320 pixels, above the 300 that inputs need, so that results can be inputs."""
    client = await start()

    async with client.session.get(f"{client.simulator.url}/media/sample.png") as answer:
        data = await answer.read()

    assert struct.unpack(">II", data[16:24]) == (320, 320)


async def test_stale_links_are_refused_and_renewed(start: Start) -> None:
    """The first query hands out an expired link, the next a fresh one."""
    client = await start()
    task_id = await client.submitted(T2V, {"prompt": "[[stale_links]]"})
    urls = [(await client.ended(T2V, task_id))["task_result"]["videos"][0]["url"] for _ in range(2)]

    statuses = []
    for url in urls:
        async with client.session.get(url) as answer:
            statuses.append(answer.status)

    assert statuses == [403, 200]


async def test_watermarks_parents_and_sessions_show_in_answers(start: Start) -> None:
    """Twins come when asked for, a parent video is named, an edited video repeats its session."""
    client = await start(strict_sessions=False)
    extend = {"video_id": "77", "watermark_info": {"enabled": True}}
    path, edit, _ = TASKS["multi_elements_create_task"]

    extended = await client.ended(
        "/kling/v1/videos/video-extend", await client.submitted("/kling/v1/videos/video-extend", extend)
    )
    edited = await client.ended(f"/kling/v1/{path}", await client.submitted(f"/kling/v1/{path}", edit))

    assert extended["task_info"]["parent_video"]["id"] == "77"
    assert "watermark" in extended["task_result"]["videos"][0]["watermark_url"]
    assert edited["task_result"]["videos"][0]["session_id"] == "s"
    assert "watermark_url" not in edited["task_result"]["videos"][0]


async def test_an_editing_session_goes_from_init_to_task(start: Start) -> None:
    """Init, add, preview, delete, clear and create hang together by the session id."""
    client = await start()
    _, begun = await client.post(f"{ELEMENTS}/init-selection", {"video_url": URL})
    session = {"session_id": begun["data"]["session_id"]}
    points = session | {"frame_index": 3, "points": [{"x": 0.5, "y": 0.25}]}

    empty = (await client.post(f"{ELEMENTS}/preview-selection", session))[1]["data"]
    added = (await client.post(f"{ELEMENTS}/add-selection", points))[1]["data"]
    preview = (await client.post(f"{ELEMENTS}/preview-selection", session))[1]["data"]
    deleted = (await client.post(f"{ELEMENTS}/delete-selection", points))[1]["data"]
    again = (await client.post(f"{ELEMENTS}/delete-selection", points))[1]["data"]
    cleared = (await client.post(f"{ELEMENTS}/clear-selection", session))[1]["data"]
    edit = {"edit_mode": "swap", "prompt": "p", "image_list": [{"image": URL}]}
    created, _ = await client.post(ELEMENTS, session | edit)

    assert begun["data"]["normalized_video"].startswith(client.simulator.url)
    assert added["res"]["rle_mask_list"][0]["png_mask"]["base64"].startswith("iVBOR")
    assert list(preview["res"]) == ["video", "video_cover", "tracking_output"]
    assert [data["status"] for data in (added, preview, deleted, cleared)] == [0] * 4
    assert [data["status"] for data in (empty, again)] == [4, 3]
    assert "res" not in cleared
    assert created == 200


async def test_a_session_takes_ten_marked_frames(start: Start) -> None:
    """The eleventh frame is a refusal inside an accepted answer."""
    client = await start()
    _, begun = await client.post(f"{ELEMENTS}/init-selection", {"video_id": "1"})
    points = {"session_id": begun["data"]["session_id"], "points": [{"x": 0, "y": 1}]}

    answers = [await client.post(f"{ELEMENTS}/add-selection", points | {"frame_index": index}) for index in range(11)]

    assert {answer["code"] for _, answer in answers} == {0}
    assert [answer["data"]["status"] for _, answer in answers] == [0] * 10 + [2]


async def test_an_unknown_session_does_not_exist(start: Start) -> None:
    """A made-up session is refused by every call that names one."""
    client = await start()
    advanced = TASKS["advanced_lip_sync"]

    answers = [
        await client.post(f"{ELEMENTS}/clear-selection", {"session_id": "s"}),
        await client.post(ELEMENTS, TASKS["multi_elements_create_task"][1]),
        await client.post(f"/kling/v1/{advanced[0]}", advanced[1]),
    ]

    assert [(status, answer["code"]) for status, answer in answers] == [(404, 1203)] * 3


async def test_recognition_can_fail_inside_an_accepted_answer(start: Start) -> None:
    """Code 0 with a status that is not, and an empty list of faces."""
    client = await start()
    marked = {"video_url": f"{URL}?[[unrecognized:1001]]"}

    _, begun = await client.post(f"{ELEMENTS}/init-selection", marked)
    _, faces = await client.post("/kling/v1/videos/identify-face", marked)

    assert (begun["code"], begun["data"]["status"]) == (0, 1001)
    assert (faces["code"], faces["data"]["face_data"]) == (0, [])


async def test_faces_lead_to_an_advanced_lip_sync(start: Start) -> None:
    """The session of the recognised faces is good for the task."""
    client = await start()
    path, body, _ = TASKS["advanced_lip_sync"]

    _, faces = await client.post("/kling/v1/videos/identify-face", {"video_id": "1"})
    status, _ = await client.post(f"/kling/v1/{path}", body | {"session_id": faces["data"]["session_id"]})

    assert faces["data"]["face_data"][0]["face_image"].startswith(client.simulator.url)
    assert status == 200


async def test_speech_is_answered_at_once_in_either_shape(start: Start) -> None:
    """The provider tells of a finished task, a relay of an audio file in milliseconds."""
    client = await start()

    _, own = await client.post("/kling/v1/audio/tts", {"text": "hello", "voice_id": "v"})
    _, relay = await client.post("/kling/v1/audio/tts", {"text": "hello [[envelope:double]]", "voice_id": "v"})

    assert own["data"]["task_status"] == "succeed"
    assert own["data"]["task_result"]["audios"][0]["url"].startswith(client.simulator.url)
    assert sorted(relay["data"]) == ["audio_id", "audio_url", "duration"]
    assert relay["data"]["duration"] >= 1000


async def test_the_first_model_can_be_discontinued(start: Start) -> None:
    """Naming it is refused, and so is naming none where it is the default."""
    client = await start(discontinue_v1=True)

    answers = [
        await client.post(T2V, {"prompt": "p"} | model)
        for model in ({"model_name": "kling-v1"}, {}, {"model_name": "kling-v1-6"})
    ]

    assert [status for status, _ in answers] == [404, 404, 200]
    assert answers[0][1]["code"] == 1203
    assert "has been discontinued" in answers[0][1]["message"]


async def test_the_journal_shows_what_was_sent(start: Start) -> None:
    """Unknown keys, a missing model and shortened pictures stand under `/_simulator/requests`."""
    client = await start()
    body = {"image": "A" * 4000, "model": "kling-v3", "external_task_id": "order-1", "seed": 3}
    task_id = await client.submitted("/kling/v1/videos/image2video", body)
    await client.submitted(T2V, {"prompt": "p", "model_name": "kling-v3"})
    await client.get(f"/kling/v1/videos/image2video/{task_id}")

    _, entries = await client.get("/_simulator/requests")
    _, of_order = await client.get("/_simulator/requests?external_task_id=order-1")

    assert [(entry["method"], entry["status"]) for entry in entries] == [
        ("POST", 200),
        ("POST", 200),
        ("GET", 200),
    ]
    assert entries[0]["unknown_keys"] == ["model", "seed"]
    assert [entry["model_name_missing"] for entry in entries] == [True, False, False]
    assert len(entries[0]["body"]["image"]) < 100
    assert len(of_order) == 2


async def test_submissions_are_counted_and_a_reset_forgets(start: Start) -> None:
    """Creations under one external id are counted until everything is reset."""
    client = await start()
    for _ in range(2):
        await client.submitted(T2V, {"prompt": "p", "external_task_id": "order-1"})

    _, before = await client.get("/_simulator/submissions?external_task_id=order-1")
    _, tasks = await client.get("/_simulator/tasks")
    await client.post("/_simulator/reset", {})
    _, after = await client.get("/_simulator/submissions?external_task_id=order-1")

    assert (before["submissions"], len(tasks), after["submissions"]) == (2, 2, 0)
    assert client.simulator.requests == []


async def test_wrong_paths_methods_and_formats_are_told_apart(start: Start) -> None:
    """A page stands where nothing is, a wrong method is 1202, and broken JSON is the aggregator's matter."""
    client = await start()
    url = client.simulator.url

    async with client.session.post(f"{url}/v1/videos/text2video", json={}, headers=AUTH) as nowhere:
        page = (nowhere.status, nowhere.content_type)
    wrong_method = await client.get(T2V)
    async with client.session.post(f"{url}{T2V}", data=b"prompt=p", headers=AUTH) as form:
        form_status = form.status
    async with client.session.post(
        f"{url}{T2V}", data=b"{", headers=AUTH | {"Content-Type": "application/json"}
    ) as broken:
        broken_body = (broken.status, (await broken.json())["error"]["type"])

    assert page == (200, "text/html")
    assert (wrong_method[0], wrong_method[1]["code"]) == (404, 1202)
    assert form_status == 400
    assert broken_body == (400, "comet_api_error")


async def test_a_stopped_simulator_comes_back_with_its_tasks(start: Start) -> None:
    """An outage loses nothing; only a new simulator has forgotten."""
    client = await start()
    task_id = await client.submitted(T2V, {"prompt": "p"})

    await client.simulator.stop()
    await client.simulator.start()
    status, _ = await client.get(f"{T2V}/{task_id}")

    assert status == 200


def test_faults_and_life_are_the_same_on_uvloop() -> None:
    """The service runs on uvloop: a reset is a reset there, and a task ends."""

    async def play() -> tuple[int, str]:
        async with (
            Simulator(SimulatorOptions(duration_s=0.0)) as simulator,
            aiohttp.ClientSession() as session,
        ):
            client = Client(simulator, session)
            reader, writer = await raw_post(client, "[[reset_after]]")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            task_id = await client.submitted(T2V, {"prompt": "p"})
            task = await client.ended(T2V, task_id)
            return simulator.submissions("order-1"), task["task_status"]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(play())

    assert seen == (1, "succeed")
