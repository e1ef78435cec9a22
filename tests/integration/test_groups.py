"""Groups over HTTP: many runs, and one event when they have come far enough."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook

from service.api.auth import add_key
from service.delivery.signer import derive_secrets
from service.secret_key import load_secret_keys
from service.simulator import Simulator
from service.store.base import Store
from tests.fakes.house import TUNING, House, house
from tests.fakes.receiver import Receiver

VIDEO = "kling.text_to_video"
MANY = [
    {"node": VIDEO, "input": {"prompt": f"comet {number}"}, "reference": f"order-{number}"} for number in range(6)
] + [
    {"node": "veo.generate", "input": {"prompt": "a tail", "model": "veo3-fast"}},
    {"node": "text.chat", "input": {"prompt": "Name a comet.", "model": "gpt-5.4"}, "metadata": {"kind": "name"}},
    {"node": VIDEO, "input": {"prompt": "x", "cfg_scale": 7}},
    {"node": "veo.generate", "input": {"prompt": "another tail", "model": "veo3-fast"}, "deadline": 50},
    {"node": "text.chat", "input": {"prompt": "Name another.", "model": "gpt-5.4"}},
    {"node": VIDEO, "input": {"prompt": "last"}},
]


def film(words: str = "x") -> dict[str, Any]:
    """Return a run of a task whose prompt tells the simulator how it goes."""
    return {"node": VIDEO, "input": {"prompt": words}}


async def made(halley: House, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Make a group and return it."""
    answer = await halley.client.post("/v1/groups", json=body, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return dict(answer.json())


async def completed(halley: House, key: str, timeout_s: float = 20.0) -> dict[str, Any]:
    """Return a group once it has completed."""
    async with asyncio.timeout(timeout_s):
        while True:
            group = (await halley.client.get(f"/v1/groups/{key}", params={"wait": 10})).json()
            if group["state"] == "completed":
                return dict(group)


async def settled(halley: House, key: str) -> dict[str, Any]:
    """Return a group once all its runs have ended."""
    async with asyncio.timeout(20):
        while True:
            group = (await halley.client.get(f"/v1/groups/{key}")).json()
            if all(run["finished_at"] for run in group["runs"]):
                return dict(group)
            await asyncio.sleep(0.05)


async def events_of(halley: House, group_id: str) -> list[dict[str, Any]]:
    """Return the events of a group."""
    listed = (await halley.client.get("/v1/events", params={"type": "group.completed"})).json()["data"]
    return [event for event in listed if event["data"]["id"] == group_id]


async def test_many_runs_and_one_signed_event(halley: House, receiver: Receiver, tmp_path: Path) -> None:
    """Twelve runs of three nodes, one of them wrong, start in one call; when the last has ended one event tells all."""
    body = {"runs": MANY, "mode": "mock", "reference": "album", "metadata": {"a": 1}, "webhook_url": receiver.url}
    answer = await halley.client.post("/v1/groups", json=body)
    group = answer.json()
    done = await completed(halley, group["id"])
    (got,) = await receiver.wait_for(1)
    await asyncio.sleep(0.3)

    assert answer.status_code == 202
    assert answer.headers["location"] == group["status_url"] == f"{halley.url}/v1/groups/{group['id']}"
    assert (group["size"], len(group["runs"])) == (11, 11)
    assert [each["status"] for each in group["results"]] == [202] * 8 + [422] + [202] * 3
    assert [each["run"] for each in group["results"] if "run" in each] == [run["id"] for run in group["runs"]]
    (fault,) = group["results"][8]["error"]["errors"]
    assert fault["pointer"] == "/runs/8/input/cfg_scale"
    assert [run["reference"] for run in group["runs"][:6]] == [f"order-{number}" for number in range(6)]
    assert {run["group"] for run in group["runs"]} == {group["id"]}
    assert (done["reason"], done["states"]) == ("all_ended", {"succeeded": 11})
    assert len(receiver.got) == 1
    secret = derive_secrets(load_secret_keys(None, tmp_path), "default")[0]
    event = dict(Webhook(secret).verify(got.body, got.headers))
    assert (event["type"], event["sequence"], event["data"]["reference"]) == ("group.completed", 1, "album")
    assert [run["id"] for run in event["data"]["runs"]] == [run["id"] for run in group["runs"]]
    assert all(run["state"] == "succeeded" for run in event["data"]["runs"])
    assert [each["id"] for each in await events_of(halley, group["id"])] == [event["id"]]


async def test_nothing_starts_when_nothing_can_or_all_must(halley: House) -> None:
    """Faults name the run and the input; unknown nodes and foreign files are faults of their run."""
    bad = [film(), {"node": "no.node"}, {"input": {}}, {"node": VIDEO, "input": {"prompt": "x", "mode": "?"}}]
    atomic = await halley.client.post("/v1/groups", json={"runs": bad, "atomic": True})
    none = await halley.client.post("/v1/groups", json={"runs": bad[1:]})
    some = await made(halley, {"runs": bad})

    for answer, first in ((atomic, 1), (none, 0)):
        pointers = [each["pointer"] for each in answer.json()["errors"]]
        assert answer.status_code == 422
        assert pointers == [f"/runs/{first}/node", f"/runs/{first + 1}/node", f"/runs/{first + 2}/input/mode"]
    assert [each["status"] for each in some["results"]] == [202, 404, 422, 422]
    assert len((await halley.client.get("/v1/runs")).json()["data"]) == 1


@pytest.mark.parametrize(("complete_on", "reason"), [("any", "enough_succeeded"), (2, "enough_succeeded")])
async def test_the_first_that_succeed_complete_a_group(
    halley: House, receiver: Receiver, complete_on: str | int, reason: str
) -> None:
    """The event comes with the one that was needed last; what is still open then is canceled."""
    quick = [film("x"), film("x [[fail]]"), film("x")]
    slow = [film("x [[duration:30]]"), film("x [[duration:30]]")]
    body = {"runs": quick + slow, "complete_on": complete_on, "cancel_rest": True, "webhook_url": receiver.url}
    group = await made(halley, body)
    (got,) = await receiver.wait_for(1)
    rest = await settled(halley, group["id"])

    told = got.event["data"]
    assert told["reason"] == reason
    assert told["states"].get("succeeded", 0) >= told["needed"]
    assert [run["state"] for run in rest["runs"][3:]] == ["canceled", "canceled"]
    assert len(await events_of(halley, group["id"])) == 1


async def test_too_few_successes_complete_when_all_have_ended(halley: House) -> None:
    """A group whose number cannot be reached any more waits for the last run."""
    group = await made(halley, {"runs": [film("x [[fail]]"), film("x")], "complete_on": 2})
    done = await completed(halley, group["id"])

    assert (done["reason"], done["states"]) == ("all_ended", {"failed": 1, "succeeded": 1})


async def test_runs_that_come_by_themselves(halley: House, receiver: Receiver) -> None:
    """Runs of a label count whether they came before the group of that name or after it; full means full."""
    early = (await halley.start(VIDEO, {"prompt": "a"}, group="album 7")).json()
    await halley.end(early["id"])
    group = await made(halley, {"name": "album 7", "size": 3}, **{"Halley-Webhook-Url": receiver.url})
    again = await halley.client.post("/v1/groups", json={"name": "album 7", "size": 99})
    by_name = (await halley.start(VIDEO, {"prompt": "b"}, group="album 7")).json()
    await halley.end(by_name["id"])
    open_still = (await halley.client.get("/v1/groups/album%207")).json()
    by_id = (await halley.start(VIDEO, {"prompt": "c [[duration:1]]"}, group=group["id"])).json()
    full = await halley.start(VIDEO, {"prompt": "d"}, group="album 7")
    done = await completed(halley, "album 7")
    (got,) = await receiver.wait_for(1)
    late = await halley.start(VIDEO, {"prompt": "e"}, group=group["id"])
    free = await halley.start(VIDEO, {"prompt": "f"}, group="another")

    assert [run["id"] for run in group["runs"]] == [early["id"]]
    assert (again.status_code, again.json()["id"], again.json()["size"]) == (200, group["id"], 3)
    assert by_id["group"] == "album 7"
    assert open_still["state"] == "open"
    assert [run["id"] for run in got.event["data"]["runs"]] == [early["id"], by_name["id"], by_id["id"]]
    assert done["runs"] == (await halley.client.get(f"/v1/groups/{group['id']}")).json()["runs"]
    assert [full.status_code, late.status_code, free.status_code] == [409, 409, 202]
    assert "has all its 3 runs" in full.json()["detail"]
    assert "has completed" in late.json()["detail"]


async def test_a_repeated_start_is_answered_though_its_group_is_full(halley: House) -> None:
    """A step that is repeated gets the run of the first time, not a refusal; a retry is no member of what is over."""
    await made(halley, {"name": "one", "size": 1})
    url, words = f"/v1/nodes/{VIDEO}/runs", {"group": "one"}
    first = await halley.client.post(url, json={"prompt": "a"}, params=words, headers={"Idempotency-Key": "k"})
    await completed(halley, "one")
    again = await halley.client.post(url, json={"prompt": "a"}, params=words, headers={"Idempotency-Key": "k"})
    other = await halley.client.post(url, json={"prompt": "b"}, params=words, headers={"Idempotency-Key": "k"})
    retry = await halley.client.post(f"/v1/runs/{first.json()['id']}/retry")

    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (first.json()["id"], "true")
    assert other.status_code == 422
    assert (retry.status_code, retry.json()["group"]) == (202, None)


async def test_an_open_group_completes_once_it_is_closed(halley: House, receiver: Receiver) -> None:
    """Nobody knows how many runs come until somebody says so; closing again changes nothing."""
    group = await made(halley, {"name": "feed", "webhook_url": receiver.url})
    run = (await halley.start(VIDEO, {"prompt": "a"}, group="feed")).json()
    await halley.end(run["id"])
    before = (await halley.client.get("/v1/groups/feed", params={"wait": 0.3})).json()
    closing = await halley.client.post("/v1/groups/feed/close")
    done = await completed(halley, "feed")
    again = await halley.client.post(f"/v1/groups/{group['id']}/close")
    (got,) = await receiver.wait_for(1)

    assert (before["state"], before["size"]) == ("open", None)
    assert closing.json()["size"] == done["size"] == 1
    assert (again.status_code, again.json()["state"]) == (200, "completed")
    assert [each["id"] for each in got.event["data"]["runs"]] == [run["id"]]


async def test_a_canceled_group_ends(halley: House, receiver: Receiver) -> None:
    """Its open runs are canceled, no more may come, and the event tells of it."""
    group = await made(halley, {"runs": [film("x [[duration:30]]")] * 3, "webhook_url": receiver.url})
    canceling = await halley.client.post(f"/v1/groups/{group['id']}/cancel")
    done = await completed(halley, group["id"])
    (got,) = await receiver.wait_for(1)

    assert canceling.status_code == 200
    assert (done["reason"], done["states"]) == ("all_ended", {"canceled": 3})
    assert got.event["data"]["states"] == {"canceled": 3}


async def test_a_deadline_completes_with_what_there_is(halley: House) -> None:
    """Who waits is told in time, whatever is missing; the runs go on."""
    group = await made(halley, {"runs": [film("x"), film("x [[duration:30]]")], "deadline": 1})
    done = await completed(halley, group["id"])

    assert done["reason"] == "deadline"
    assert done["states"] == {"succeeded": 1, "running": 1}


async def test_the_same_key_is_the_same_group(halley: House) -> None:
    """However often and at once a request is sent, it starts its runs once; another request is refused."""
    bodies = ({"runs": [film("a"), {"node": "no.node"}]}, {"size": 2})
    for number, body in enumerate(bodies):
        headers = {"Idempotency-Key": f"key-{number}"}
        answers = await asyncio.gather(
            *(halley.client.post("/v1/groups", json=body, headers=headers) for _ in range(6))
        )
        other = await halley.client.post("/v1/groups", json=bodies[1 - number], headers=headers)
        assert {each.status_code for each in answers} == {202}
        assert len({each.json()["id"] for each in answers}) == 1
        assert sum("idempotency-replayed" in each.headers for each in answers) == 5
        assert len({msgspec.json.encode(each.json()["results"]) for each in answers}) == 1
        assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "key_reused")
    assert len((await halley.client.get("/v1/runs")).json()["data"]) == 1


async def test_the_day_of_a_key_counts_every_run(halley: House) -> None:
    """Over its allowance nothing starts; nodes that the key is not for are refused one by one."""
    services = halley.app.state.services
    key = await add_key(
        services.store, services.clock, "small", "default", scope="run", nodes=("kling.*",), runs_per_day=3
    )
    async with httpx.AsyncClient(base_url=halley.url, headers={"X-API-Key": str(key)}) as client:
        over = await client.post("/v1/groups", json={"runs": [film()] * 4})
        some = await client.post("/v1/groups", json={"runs": [film(), film(), {"node": "text.chat"}]})
        more = await client.post("/v1/groups", json={"runs": [film(), film()]})
        last = await client.post("/v1/groups", json={"runs": [film()]})

    assert [over.status_code, some.status_code, more.status_code, last.status_code] == [429, 202, 429, 202]
    assert [each["status"] for each in some.json()["results"]] == [202, 202, 403]
    assert len((await halley.client.get("/v1/groups")).json()["data"]) == 2


async def test_a_resume_url_is_recognised(halley: House, receiver: Receiver) -> None:
    """An n8n Wait node that is not there yet is tried densely, and the answer says what was guessed."""
    receiver.answers = [409, 404]
    body = {"runs": [film()], "webhook_url": f"{receiver.url}/webhook-waiting/17"}
    answer = await halley.client.post("/v1/groups", json=body)
    got = await receiver.wait_for(3)

    assert answer.headers["halley-webhook-profile"] == "n8n-resume; guessed"
    assert "n8n-resume" in answer.json()["warnings"][0]
    assert len({each.headers["webhook-id"] for each in got}) == 1
    assert {each.path for each in got} == {"/webhook-waiting/17"}


async def test_groups_are_listed_page_by_page_and_kept_apart(halley: House) -> None:
    """Newest first, by state, with the numbers of their runs; those of another workspace are not there."""
    names = ["a", "b", "c"]
    for name in names:
        await made(halley, {"name": name})
    await halley.client.post("/v1/groups/b/cancel")
    await completed(halley, "b")
    page = (await halley.client.get("/v1/groups", params={"limit": 2})).json()
    following = (await halley.client.get(page["next"])).json()
    still_open = (await halley.client.get("/v1/groups", params={"state": "open"})).json()
    services = halley.app.state.services
    key = await add_key(services.store, services.clock, "other", "elsewhere")
    async with httpx.AsyncClient(base_url=halley.url, headers={"X-API-Key": str(key)}) as other:
        foreign = [await other.get("/v1/groups/a"), await other.post("/v1/groups/a/close")]
        foreign.append(await other.post("/v1/groups/a/cancel"))
        theirs = (await other.get("/v1/groups")).json()["data"]

    assert [each["name"] for each in (*page["data"], *following["data"])] == ["c", "b", "a"]
    assert following["next"] is None
    assert [each["name"] for each in still_open["data"]] == ["c", "a"]
    assert [each.status_code for each in foreign] == [404, 404, 404]
    assert theirs == []


async def test_what_is_wrong_is_pointed_at(halley: House) -> None:
    """A request that is wrong as a whole makes no group."""
    wrong: dict[str, dict[str, Any]] = {
        "/runs": {"runs": []},
        "/name": {"name": "a/b"},
        "/complete_on": {"size": 1, "complete_on": "none"},
        "/mode": {"size": 1, "mode": "preview"},
        "/metadata": {"size": 1, "metadata": {"x": "x" * 4000}},
        "/webhook_url": {"size": 1, "webhook_url": "http://10.0.0.1/"},
        "/sise": {"size": 1, "sise": 1},
    }
    cases = [*wrong.items(), ("", {}), ("", {"runs": [film()], "name": "x"}), ("/runs", {"runs": [film()] * 101})]
    cases.append(("/name", {"name": "grp_01k00000000000000000000000"}))
    for pointer, body in cases:
        answer = await halley.client.post("/v1/groups", json=body)
        assert answer.status_code == 422, body
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    assert (await halley.client.get("/v1/groups")).json()["data"] == []


class Stumbling:
    """A store whose process seems to die at a verb: what it was about to do is not done, and comes again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.left = {"change_group": 1, "forget_news": 1}

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not self.left.get(name):
            return verb

        async def stumble(*args: Any, **words: Any) -> Any:
            self.left[name] -= 1
            if name == "forget_news":
                raise OSError("the process ended here")
            await verb(*args, **words)
            raise OSError("the process ended here")

        return stumble


async def test_a_pass_that_broke_off_is_made_again(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """Completed but not told to anybody, or told but not forgotten: there is one event, and the rest is canceled."""
    tuning = msgspec.structs.replace(TUNING, around_store=Stumbling, groups_s=0.1)
    async with house(tmp_path, sim, tuning=tuning) as halley:
        body = {
            "runs": [film("x"), film("x [[duration:30]]")],
            "complete_on": "any",
            "cancel_rest": True,
            "webhook_url": receiver.url,
        }
        group = await made(halley, body)
        rest = await settled(halley, group["id"])
        await receiver.wait_for(1)
        events = await events_of(halley, group["id"])

    assert rest["states"] == {"succeeded": 1, "canceled": 1}
    assert (len(events), len(receiver.got)) == (1, 1)
