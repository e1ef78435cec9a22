"""Subscriptions: made and removed as no-code tools do it, told what they want and no more, ended when they are gone."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from aiohttp import web
from msgspec import structs
from standardwebhooks import Webhook, WebhookVerificationError

from service.api.auth import add_key
from service.simulator import Simulator
from tests.fakes.house import TUNING, House, house
from tests.fakes.receiver import Got, Receiver

VIDEO = {"prompt": "a comet"}
IMAGINE = "midjourney.imagine"
NODE, OTHER = "kling.text_to_video", "suno.generate_music"


async def subscribed(halley: House, url: str, **words: Any) -> dict[str, Any]:
    """Make an endpoint."""
    made = await halley.client.post("/v1/endpoints", json={"url": url, **words})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"{halley.url}/v1/endpoints/{made.json()['id']}"
    return dict(made.json())


async def ended(halley: House, node: str = NODE, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
    """Carry out a run."""
    started = await halley.start(node, body or VIDEO, **query)
    assert started.status_code in (200, 202), started.text
    return await halley.end(started.json()["id"])


def verified(got: Got, secret: str) -> dict[str, Any]:
    """Check a signature with the foreign library and return the event."""
    return dict(Webhook(secret).verify(got.body, got.headers))


async def of_endpoint(halley: House, endpoint: str, count: int = 1, **wanted: str) -> list[dict[str, Any]]:
    """Return the deliveries of an endpoint, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            answer = await halley.client.get("/v1/deliveries", params={"endpoint": endpoint, **wanted})
            found = list(answer.json()["data"])
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def in_state(halley: House, endpoint: str, state: str) -> dict[str, Any]:
    """Return an endpoint once it is in a state."""
    async with asyncio.timeout(20):
        while True:
            found = (await halley.client.get(f"/v1/endpoints/{endpoint}")).json()
            if found["state"] == state:
                return dict(found)
            await asyncio.sleep(0.02)


async def test_an_endpoint_hears_of_every_run_that_it_wants(halley: House, receiver: Receiver) -> None:
    """Without a webhook URL in the start the end of a run comes, signed with the endpoint's own secret."""
    endpoint = await subscribed(halley, f"{receiver.url}/all?x=%7e")
    run = await ended(halley)
    (got,) = await receiver.wait_for(1)

    event = verified(got, endpoint["secret"])
    assert got.path == "/all?x=%7e"
    assert event["type"] == "run.succeeded"
    assert event["data"]["id"] == run["id"]
    assert event["data"]["artifacts"][0]["url"] == run["artifacts"][0]["url"]


async def test_filters_let_through_what_fits_all_of_them(halley: House, receiver: Receiver) -> None:
    """Type, node, reference and group choose; what does not fit is not even written down."""
    filters: dict[str, dict[str, Any]] = {
        "everything": {},
        "started": {"types": ["run.running"]},
        "nodes": {"nodes": ["suno.*", "kling.text_to_image"]},
        "order": {"reference_prefix": "order-"},
        "group": {"group": "g1"},
        "none": {"nodes": ["kling.*"], "reference_prefix": "x"},
    }
    ids = {name: (await subscribed(halley, f"{receiver.url}/{name}", **words))["id"] for name, words in filters.items()}
    await ended(halley, reference="order-1")
    await ended(halley, OTHER, {"prompt": "a song"}, group="g1")
    await ended(halley, reference="Order-2")

    got = [each.path[1:] for each in await receiver.wait_for(3 + 3 + 1 + 1 + 1)]
    assert {name: got.count(name) for name in filters} == {
        "everything": 3,
        "started": 3,
        "nodes": 1,
        "order": 1,
        "group": 1,
        "none": 0,
    }
    assert await of_endpoint(halley, ids["none"], 0) == []


async def test_tools_check_create_and_delete_as_often_as_they_like(halley: House, receiver: Receiver) -> None:
    """n8n's check, create and delete, each repeated: one endpoint, found by its URL, gone after the first delete."""
    url = f"{receiver.url}/trigger"
    before = (await halley.client.get("/v1/endpoints", params={"url": url})).json()
    first = await subscribed(halley, url, types=["run.succeeded"])
    again = await halley.client.post("/v1/endpoints", json={"url": url, "types": ["run.succeeded"]})
    own = "whsec_" + base64.b64encode(b"o" * 32).decode()
    renewed = await halley.client.post(
        "/v1/endpoints", json={"url": url, "types": ["run.succeeded"], "secret": own, "description": "again"}
    )
    other = await subscribed(halley, url, types=["run.failed"])
    found = (await halley.client.get("/v1/endpoints", params={"url": url})).json()
    gone = [await halley.client.delete(f"/v1/endpoints/{first['id']}") for _ in range(2)]
    left = (await halley.client.get("/v1/endpoints", params={"url": url})).json()

    assert before["data"] == []
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert again.json()["secret"] == first["secret"]
    assert (renewed.json()["id"], renewed.json()["secret"], renewed.json()["description"]) == (
        first["id"],
        own,
        "again",
    )
    assert {each["id"] for each in found["data"]} == {first["id"], other["id"]}
    assert [each.status_code for each in gone] == [204, 204]
    assert [each["id"] for each in left["data"]] == [other["id"]]
    assert (await halley.client.get(f"/v1/endpoints/{first['id']}")).status_code == 404


async def test_a_form_makes_an_endpoint_too(halley: House, receiver: Receiver) -> None:
    """Tools that only send forms can subscribe, with lists as repeated fields."""
    form = {"url": receiver.url, "types": ["run.succeeded", "run.failed"], "rate_per_s": "5"}
    made = await halley.client.post("/v1/endpoints", data=form)

    assert made.status_code == 201, made.text
    assert made.json()["types"] == ["run.succeeded", "run.failed"]
    assert made.json()["rate_per_s"] == 5


async def test_gone_ends_a_subscription(halley: House, receiver: Receiver) -> None:
    """410 disables the endpoint and is told to who wants to know; subscribing again revives it."""
    endpoint = await subscribed(halley, f"{receiver.url}/zap", types=["run.succeeded"])
    await subscribed(halley, f"{receiver.url}/ops", types=["endpoint.disabled"])
    receiver.answers = [410]
    await ended(halley)
    disabled = await in_state(halley, endpoint["id"], "disabled")
    told = (await receiver.wait_for(2))[1]
    await ended(halley)
    again = await halley.client.post("/v1/endpoints", json={"url": f"{receiver.url}/zap", "types": ["run.succeeded"]})
    await ended(halley)
    got = await receiver.wait_for(3)

    assert disabled["disabled_reason"] == "gone"
    assert (told.path, told.event["type"]) == ("/ops", "endpoint.disabled")
    assert told.event["data"]["id"] == endpoint["id"]
    assert told.event["data"]["url"] == receiver.url
    assert (again.json()["id"], again.json()["state"]) == (endpoint["id"], "enabled")
    assert [each.path for each in got] == ["/zap", "/ops", "/zap"]
    listed = (await halley.client.get("/v1/events", params={"type": "endpoint.disabled"})).json()["data"]
    assert [each["id"] for each in listed] == [told.event["id"]]


async def test_an_endpoint_can_be_changed_and_paused(halley: House, receiver: Receiver) -> None:
    """What is given changes, null takes back, the rest stays; what came while it was disabled is recovered."""
    endpoint = await subscribed(
        halley, f"{receiver.url}/old", types=["run.succeeded"], description="d", nodes=["kling.*"]
    )
    path = f"/v1/endpoints/{endpoint['id']}"
    changed = await halley.client.patch(path, json={"url": f"{receiver.url}/new", "nodes": None})
    paused = await halley.client.post(f"{path}/disable")
    refused = await halley.client.post(f"{path}/recover", json={"since": "2026-01-01"})
    run = await ended(halley)
    enabled = await halley.client.post(f"{path}/enable", json={"recover": True})
    (got,) = await receiver.wait_for(1)

    assert changed.status_code == 200, changed.text
    assert (changed.json()["nodes"], changed.json()["description"]) == ([], "d")
    assert (paused.json()["state"], paused.json()["disabled_reason"]) == ("disabled", "manual")
    assert refused.status_code == 409
    assert enabled.json()["state"] == "enabled"
    assert (got.path, got.event["data"]["id"]) == ("/new", run["id"])


async def test_headers_and_passwords_are_sent_and_kept_secret(halley: House, receiver: Receiver) -> None:
    """Custom headers and Authorization go out; neither the API nor the database shows them."""
    words = {
        "headers": {"X-Team": "canary-header"},
        "basic_auth": {"username": "u", "password": "canary-pw"},
    }
    endpoint = await subscribed(halley, f"{receiver.url}/canary-path", **words)
    shown = await halley.client.get(f"/v1/endpoints/{endpoint['id']}")
    await ended(halley)
    (got,) = await receiver.wait_for(1)

    assert got.headers["X-Team"] == "canary-header"
    assert got.headers["Authorization"] == "Basic " + base64.b64encode(b"u:canary-pw").decode()
    assert shown.json()["headers"] == ["X-Team", "Authorization"]
    assert "canary-header" not in shown.text
    kept = msgspec.json.encode(await halley.app.state.services.store.endpoint(endpoint["id"])).decode()
    assert not [each for each in ("canary", endpoint["secret"][6:], "Basic") if each in kept]


async def test_a_secret_rotates_without_a_gap(halley: House, receiver: Receiver) -> None:
    """Under load, while the secret rotates twice, a receiver that knows the old one understands each event."""
    endpoint = await subscribed(halley, receiver.url, types=["run.succeeded"])
    path = f"/v1/endpoints/{endpoint['id']}"
    secrets = [endpoint["secret"]]
    runs = [asyncio.create_task(ended(halley)) for _ in range(12)]
    for _ in range(2):
        await asyncio.sleep(0.15)
        rotated = await halley.client.post(f"{path}/rotate-secret", json={"overlap_days": 7})
        secrets.append(rotated.json()["secret"])
    await asyncio.gather(*runs)
    got = list(await receiver.wait_for(12))
    known = (await halley.client.get(f"{path}/secrets")).json()["secrets"]
    hard = await halley.client.post(f"{path}/rotate-secret", json={"overlap_days": 0})
    await ended(halley)
    last = (await receiver.wait_for(13))[12]

    assert known == secrets[::-1]
    assert all(verified(each, secrets[0]) for each in got)
    assert verified(last, hard.json()["secret"])
    with pytest.raises(WebhookVerificationError):
        verified(last, secrets[-1])


async def test_a_test_event_tells_at_once_what_became_of_it(halley: House, receiver: Receiver) -> None:
    """The answer to the test says what the receiver said; nothing of it stands in the list of events."""
    endpoint = await subscribed(halley, receiver.url, types=["run.failed"], nodes=["kling.*"])
    path = f"/v1/endpoints/{endpoint['id']}/test"
    good = (await halley.client.post(path)).json()
    receiver.answers = [500]
    bad = (await halley.client.post(path)).json()

    assert (good["outcome"], good["status"]) == ("delivered", 200)
    assert (bad["outcome"], bad["status"]) == ("failed", 500)
    event = verified(receiver.got[0], endpoint["secret"])
    assert event == good["event"]
    assert (event["type"], event["data"]["state"], event["data"]["metadata"]) == (
        "run.failed",
        "failed",
        {"test": True},
    )
    assert (await halley.client.get("/v1/events")).json()["data"] == []


async def test_the_log_shows_attempts_and_sends_again(halley: House, receiver: Receiver) -> None:
    """A failed attempt stands there with status, latency and next try; retry and replay send at once."""
    endpoint = await subscribed(halley, receiver.url, types=["run.succeeded"])
    receiver.answers = [500]
    run = await ended(halley)
    await receiver.wait_for(1)
    (waiting,) = await of_endpoint(halley, endpoint["id"], state="pending")
    await halley.told(run["id"], "delivery")
    log = (await halley.client.get(f"/v1/deliveries/{waiting['id']}")).json()
    during = (await halley.client.get(f"/v1/runs/{run['id']}")).json()["deliveries"]
    retried = await halley.client.post(f"/v1/deliveries/{waiting['id']}/retry")
    await receiver.wait_for(2)
    (delivered,) = await of_endpoint(halley, endpoint["id"], state="delivered")
    replayed = await halley.client.post(f"/v1/events/{waiting['event']}/replay")
    got = await receiver.wait_for(3)
    other = await subscribed(halley, f"{receiver.url}/later", types=["run.failed"])
    sent = await halley.client.post(f"/v1/events/{waiting['event']}/replay", json={"endpoint": other["id"]})
    late = (await receiver.wait_for(4))[3]

    detail = log["log"][0]["detail"]
    assert (detail["outcome"], detail["status"], log["attempts"]) == ("failed", 500, 1)
    assert 4 <= detail["again_in_s"] <= 6
    assert detail["latency_ms"] > 0
    assert log["next_attempt_at"] is not None
    assert [(each["state"], each["status"], each["endpoint"]) for each in during] == [("pending", 500, endpoint["id"])]
    assert retried.status_code == 200
    assert delivered["id"] == waiting["id"]
    assert replayed.json() == {"deliveries": 1}
    assert sent.json() == {"deliveries": 1}
    assert late.path == "/later"
    assert {each.headers["webhook-id"] for each in (*got, late)} == {waiting["event"]}
    timeline = [each["detail"]["outcome"] for each in await halley.timeline(run["id"]) if each["kind"] == "delivery"]
    assert timeline[:2] == ["failed", "delivered"]


async def test_an_endpoint_says_when_it_ends(halley: House, receiver: Receiver) -> None:
    """`expiration_date` is told in UTC; one in the past is refused."""
    past = await halley.client.post("/v1/endpoints", json={"url": receiver.url, "expiration_date": "2020-01-01"})
    endpoint = await subscribed(halley, receiver.url, expiration_date="2099-12-31T10:00:00+02:00")

    assert (past.status_code, "has passed" in past.json()["detail"]) == (409, True)
    assert endpoint["expiration_date"] == "2099-12-31T08:00:00.000Z"


async def test_everything_wrong_is_told_at_once(halley: House) -> None:
    """Each fault with its pointer, private addresses and reserved headers among them."""
    body = {
        "url": "http://10.0.0.1/hook",
        "basic_auth": {"username": "u"},
        "headers": {"webhook-id": "x", "X-A": 3},
        "secret": "whsec_" + "A" * 33,
    }
    refused = await halley.client.post("/v1/endpoints", json=body)
    unknown = await halley.client.post("/v1/endpoints", json={"url": "ftp://x", "typs": [], "types": ["run.won"]})

    forbidden = await halley.client.post("/v1/endpoints", json={name: body[name] for name in ("url", "headers")})

    assert {each["pointer"] for each in refused.json()["errors"]} == {"/basic_auth/password", "/secret"}
    pointers = {each["pointer"] for each in forbidden.json()["errors"]}
    assert pointers == {"/url", "/headers/webhook-id", "/headers/X-A"}
    assert {each["pointer"] for each in unknown.json()["errors"]} == {"/url", "/typs", "/types/0"}


async def test_progress_is_told_to_who_asked_for_it(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """An endpoint that wants `run.progressed` gets it; while there is none, nobody even writes it down."""
    async with house(tmp_path, sim, public=False, tuning=structs.replace(TUNING, interest_s=0.05)) as halley:
        await ended(halley, IMAGINE, {"prompt": "x [[duration:1]]"})
        silent = (await halley.client.get("/v1/events", params={"type": "run.progressed"})).json()["data"]
        await subscribed(halley, f"{receiver.url}/end")
        endpoint = await subscribed(halley, f"{receiver.url}/steps", types=["run.progressed"])
        run = await ended(halley, IMAGINE, {"prompt": "x [[duration:1]]"})
        events = (await halley.client.get("/v1/events", params={"type": "run.progressed"})).json()["data"]
        steps = await of_endpoint(halley, endpoint["id"], len(events), state="delivered")
        paths = [each.path for each in receiver.got]

    assert silent == []
    assert {each["data"]["id"] for each in events} == {run["id"]}
    assert paths.count("/steps") == len(steps) == len(events)


async def test_cloudevents_and_permission(halley: House, receiver: Receiver) -> None:
    """A CloudEvent is sent only to who agreed; who does not is refused at once."""

    async def agree(_: web.Request) -> web.Response:
        return web.Response(headers={"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "120"})

    receiver.answers = [200, agree]
    words = {"envelope": "cloudevents", "handshake": True}
    refused = await halley.client.post("/v1/endpoints", json={"url": receiver.url, **words})
    endpoint = await subscribed(halley, receiver.url, **words)
    run = await ended(halley)
    asked, got = (await receiver.wait_for(3))[1:]

    assert (refused.status_code, "does not agree" in refused.json()["detail"]) == (409, True)
    assert endpoint["rate_per_s"] == 2
    assert asked.method == "OPTIONS"
    assert got.headers["WebHook-Request-Origin"] == asked.headers["WebHook-Request-Origin"]
    assert got.headers["Content-Type"] == "application/cloudevents+json"
    assert (got.event["specversion"], got.event["subject"]) == ("1.0", run["id"])
    assert Webhook(endpoint["secret"]).verify(got.body, got.headers)


async def test_what_was_missed_is_recovered(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """Everything since a moment that an endpoint has not got comes once it asks, what it has got does not."""
    async with house(tmp_path, sim) as halley:
        before = await ended(halley)
        endpoint = await subscribed(halley, receiver.url, types=["run.succeeded"])
        first = await ended(halley)
        await receiver.wait_for(1)
        await of_endpoint(halley, endpoint["id"], state="delivered")
        recovered = await halley.client.post(f"/v1/endpoints/{endpoint['id']}/recover", json={"since": "2026-01-01"})
        got = await receiver.wait_for(2)
        nothing = await halley.client.post(f"/v1/endpoints/{endpoint['id']}/recover", json={"since": "2026-01-01"})

    assert recovered.json() == {"deliveries": 1}
    assert [each.event["data"]["id"] for each in got] == [first["id"], before["id"]]
    assert nothing.json() == {"deliveries": 0}


async def test_another_workspace_sees_nothing_of_it(halley: House, receiver: Receiver) -> None:
    """Endpoints, deliveries and events of others are not there, and removing one of them removes nothing."""
    endpoint = await subscribed(halley, receiver.url)
    await ended(halley)
    (delivery,) = await of_endpoint(halley, endpoint["id"])
    services = halley.app.state.services
    key = await add_key(services.store, services.clock, "other", "elsewhere")
    async with httpx.AsyncClient(base_url=halley.url, headers={"X-API-Key": str(key)}) as other:
        path = f"/v1/endpoints/{endpoint['id']}"
        answers = [
            await other.get(path),
            await other.patch(path, json={}),
            await other.post(f"{path}/test"),
            await other.post(f"{path}/rotate-secret"),
            await other.post(f"{path}/recover", json={"since": "2026-01-01"}),
            await other.get(f"{path}/secrets"),
            await other.get(f"/v1/deliveries/{delivery['id']}"),
            await other.post(f"/v1/deliveries/{delivery['id']}/retry"),
            await other.post(f"/v1/events/{delivery['event']}/replay"),
        ]
        removed = await other.delete(path)
        lists = [(await other.get(f"/v1/{kind}")).json()["data"] for kind in ("endpoints", "deliveries", "events")]

    assert {each.status_code for each in answers} == {404}
    assert removed.status_code == 204
    assert lists == [[], [], []]
    assert (await halley.client.get(path)).status_code == 200


async def test_endpoints_outlive_the_keys_that_sealed_them(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """Once Halley has run with the new key before the old one, the old one can go: nothing sealed is lost."""
    old, new = (base64.urlsafe_b64encode(letter * 32).decode() for letter in (b"o", b"n"))
    words = {"headers": {"X-Team": "red"}, "types": ["run.succeeded"]}
    async with house(tmp_path, sim, environ={"HALLEY_SECRET_KEY": old}) as halley:
        endpoint = await subscribed(halley, receiver.url, **words)
    async with house(tmp_path, sim, environ={"HALLEY_SECRET_KEY": f"{new},{old}"}):
        pass
    async with house(tmp_path, sim, environ={"HALLEY_SECRET_KEY": new}) as halley:
        await ended(halley)
        (got,) = await receiver.wait_for(1)

    assert verified(got, endpoint["secret"])
    assert got.headers["X-Team"] == "red"


async def test_a_group_is_named_by_its_id_or_its_name(halley: House, receiver: Receiver) -> None:
    """Either way its runs are told of, and its one event."""
    group = (await halley.client.post("/v1/groups", json={"name": "order-7", "size": 1})).json()["id"]
    for word in (group, "order-7"):
        await subscribed(halley, f"{receiver.url}/{word}", group=word, types=["run.succeeded", "group.completed"])
    await ended(halley, group="order-7")
    await ended(halley)
    got = await receiver.wait_for(4)

    told = {(each.path, each.event["type"]) for each in got}
    assert told == {
        (f"/{word}", type_) for word in (group, "order-7") for type_ in ("run.succeeded", "group.completed")
    }


async def test_a_workspace_has_only_so_many_endpoints(
    halley: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is refused with what to do instead; who is there already may subscribe again."""
    monkeypatch.setattr("service.api.endpoints.MOST_ENDPOINTS", 2)
    first, _ = [await subscribed(halley, receiver.url, description=path, nodes=[path]) for path in ("a.*", "b.*")]

    refused = await halley.client.post("/v1/endpoints", json={"url": receiver.url, "nodes": ["c.*"]})
    again = await halley.client.post("/v1/endpoints", json={"url": receiver.url, "nodes": ["a.*"]})

    assert refused.status_code == 409
    assert "webhook_url" in refused.json()["detail"]
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert len((await halley.client.get("/v1/endpoints")).json()["data"]) == 2
