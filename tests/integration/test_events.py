"""Completion events on their way to a receiver: signed, retried, never lost, never led astray."""

from pathlib import Path

from aiohttp import web
from standardwebhooks import Webhook

from service.app import Tuning
from service.delivery.signer import derive_secret
from service.secret_key import load_secret_keys
from service.simulator import Simulator
from tests.fakes.house import House, house, quick_catalog
from tests.fakes.receiver import Receiver

T2V = "kling.text_to_video"


def secret_of(folder: Path) -> str:
    """Return the signing secret that a receiver of the default workspace has."""
    return derive_secret(load_secret_keys(None, folder).current, "default")


async def test_the_end_of_a_run_is_posted_signed(halley: House, receiver: Receiver, tmp_path: Path) -> None:
    """The receiver gets one event with the whole run, and its Standard Webhooks signature verifies."""
    url = f"{receiver.url}/hook?a=1&b=%2Fx"
    started = await halley.start(T2V, {"prompt": "x"}, webhook_url=url, reference="r-1")
    (got,) = await receiver.wait_for(1)

    verified = Webhook(secret_of(tmp_path)).verify(got.body, got.headers)
    assert got.path == "/hook?a=1&b=%2Fx"
    assert verified["type"] == "run.succeeded"
    assert verified["data"]["id"] == started.json()["id"]
    assert verified["data"]["reference"] == "r-1"
    assert verified["data"]["artifacts"][0]["url"]
    assert got.headers["webhook-id"] == verified["id"]
    (attempt,) = await halley.told(started.json()["id"], "delivery")
    assert (attempt["outcome"], attempt["status"], attempt["attempt"]) == ("delivered", 200, 1)


async def test_a_url_in_a_header_needs_no_encoding(halley: House, receiver: Receiver) -> None:
    """`Halley-Webhook-Url` carries a URL with a query of its own."""
    headers = {"Halley-Webhook-Url": f"{receiver.url}/hook?x=1&signature=a+b"}
    await halley.client.post(f"/v1/nodes/{T2V}/runs", json={"prompt": "x"}, headers=headers)
    (got,) = await receiver.wait_for(1)

    assert got.path == "/hook?x=1&signature=a+b"


async def test_chosen_events_come_in_the_order_of_their_sequence(halley: House, receiver: Receiver) -> None:
    """Every event type that was asked for arrives, numbered without gaps, the end last in number."""
    events = "run.queued,run.running,run.succeeded"
    await halley.start(T2V, {"prompt": "x"}, webhook_url=receiver.url, webhook_events=events)
    got = await receiver.wait_for(3)

    by_number = sorted((g.event["sequence"], g.event["type"]) for g in got)
    assert by_number == [(1, "run.queued"), (2, "run.running"), (3, "run.succeeded")]


async def test_a_receiver_that_fails_is_tried_again_with_the_same_id(
    tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """A 500 is followed by a second attempt, with the same `webhook-id` and a fresh signature."""
    receiver.answers = [500]
    async with house(tmp_path, sim) as halley:
        started = await halley.start(T2V, {"prompt": "x"}, webhook_url=receiver.url)
        first, second = await receiver.wait_for(2)

        Webhook(secret_of(tmp_path)).verify(second.body, second.headers)
        deliveries = await halley.told(started.json()["id"], "delivery")
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert deliveries[0]["outcome"] == "failed"
        assert 4 <= deliveries[0]["again_in_s"] <= 6


async def test_gone_ends_the_deliveries_and_redirects_are_not_followed(halley: House, receiver: Receiver) -> None:
    """410 is the last attempt; a redirect is a failed attempt, its target is never asked."""

    async def redirect(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": f"{receiver.url}/elsewhere"})

    receiver.answers = [410]
    gone = (await halley.start(T2V, {"prompt": "x"}, webhook_url=f"{receiver.url}/gone")).json()
    await receiver.wait_for(1)
    receiver.answers = [redirect]
    moved = (await halley.start(T2V, {"prompt": "x"}, webhook_url=f"{receiver.url}/moved")).json()
    await receiver.wait_for(2)
    await halley.end(moved["id"])

    details = {run["id"]: (await halley.told(run["id"], "delivery"))[0] for run in (gone, moved)}
    assert (details[gone["id"]]["outcome"], details[gone["id"]]["again_in_s"]) == ("gone", None)
    assert (details[moved["id"]]["outcome"], details[moved["id"]]["status"]) == ("failed", 307)
    assert [g.path for g in receiver.got] == ["/gone", "/moved"]


async def test_a_delivery_that_halley_did_not_live_to_make_is_made_by_the_next(
    tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """The outbox outlives the process: the event of a run that ended before the stop still arrives."""
    asleep = Tuning(submit_s=0.05, poll_s=0.05, deliver_s=3600)
    receiver.answers = [503]
    async with house(tmp_path, sim, tuning=asleep) as before:
        started = (await before.start(T2V, {"prompt": "x"}, webhook_url=receiver.url)).json()
        await before.end(started["id"])
        await receiver.wait_for(1)
    async with house(tmp_path, sim):
        got = await receiver.wait_for(2, timeout_s=30)

    assert got[1].event["data"]["id"] == started["id"]


async def test_private_addresses_are_refused_at_once_or_at_connect_time(
    tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """A literal private address is refused with the setting that helps; a name that leads to one is blocked later."""
    async with house(tmp_path, sim, environ={"HALLEY_EGRESS_ALLOW": "::1/128"}) as halley:
        literal = await halley.start(T2V, {"prompt": "x"}, webhook_url=receiver.url)
        named = receiver.url.replace("127.0.0.1", "localhost")
        started = (await halley.start(T2V, {"prompt": "x"}, webhook_url=named)).json()
        found = await halley.told(started["id"], "delivery")

    assert literal.status_code == 422
    assert literal.json()["errors"][0]["pointer"] == "query:webhook_url"
    assert "HALLEY_EGRESS_ALLOW" in literal.json()["errors"][0]["message"]
    assert found[0]["outcome"] in ("blocked", "unreachable")
    assert receiver.got == []


async def test_a_result_after_the_deadline_is_kept_and_told(polling: House, receiver: Receiver) -> None:
    """Upstream finishes what had timed out: the state stays, the result is there, and an event of its own says so."""
    started = await polling.start(T2V, {"prompt": "x [[duration:2]]"}, deadline=1, webhook_url=receiver.url)
    first, second = (await receiver.wait_for(2))[:2]

    assert [first.event["type"], second.event["type"]] == ["run.timed_out", "run.recovered"]
    assert second.event["sequence"] == first.event["sequence"] + 1
    assert second.event["data"]["state"] == "timed_out"
    assert second.event["data"]["artifacts"][0]["url"]
    run = (await polling.client.get(f"/v1/runs/{started.json()['id']}")).json()
    assert (run["state"], len(run["artifacts"])) == ("timed_out", 1)


async def test_a_callback_after_the_deadline_is_looked_into(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """The late end is known by the callback, long before the next rare look."""
    async with house(tmp_path, sim, catalog=quick_catalog(at_most_s=600)) as halley:
        await halley.start(T2V, {"prompt": "x [[duration:2]]"}, deadline=1, webhook_url=receiver.url)
        events = [got.event["type"] for got in await receiver.wait_for(2)]

        assert events == ["run.timed_out", "run.recovered"]


async def test_a_flow_that_is_not_waiting_yet_is_resumed_when_it_is(halley: House, receiver: Receiver) -> None:
    """n8n answers 409, then 404, then takes the event: the run tells its profile, and the URL stays as it was given."""
    receiver.answers = [409, 404]
    url = f"{receiver.url}/webhook-waiting/231?signature=a+b%3D"
    started = await halley.start(T2V, {"prompt": "x"}, webhook_url=url)
    got = await receiver.wait_for(3)
    run = started.json()

    attempts = await halley.told(run["id"], "delivery")
    accepted = (await halley.told(run["id"], "state"))[0]
    assert {each.path for each in got} == {"/webhook-waiting/231?signature=a+b%3D"}
    assert [attempt["outcome"] for attempt in attempts[:2]] == ["not_ready", "not_ready"]
    assert all(attempt["again_in_s"] <= 1.2 for attempt in attempts[:2])
    assert started.headers["Halley-Webhook-Profile"] == "n8n-resume; guessed"
    assert accepted["webhook"] == {"profile": "n8n-resume", "guessed": True, "method": "POST"}
    assert any("n8n-resume" in warning for warning in run["warnings"])


async def test_a_node_left_on_get_is_called_by_get(halley: House, receiver: Receiver) -> None:
    """`webhook_method=GET` sends headers alone, and the run that they name can be read."""
    url = f"{receiver.url}/webhook-waiting/231"
    started = await halley.start(T2V, {"prompt": "x"}, webhook_url=url, webhook_method="GET")
    (got,) = await receiver.wait_for(1)

    run = await halley.end(got.headers["Halley-Run"])
    assert (got.method, got.path, got.body) == ("GET", "/webhook-waiting/231", b"")
    assert run["id"] == started.json()["id"]
    assert got.headers["Halley-Event"] == "run.succeeded"


async def test_a_named_profile_is_not_guessed(halley: House, receiver: Receiver) -> None:
    """The word of the caller counts, as a header too; nothing is warned of, and a retry keeps it."""
    url = f"{receiver.url}/webhook-waiting/231"
    headers = {"Halley-Webhook-Url": url, "Halley-Webhook-Profile": "plain"}
    started = await halley.client.post(f"/v1/nodes/{T2V}/runs", json={"prompt": "x"}, headers=headers)
    (got,) = await receiver.wait_for(1)
    again = await halley.client.post(f"/v1/runs/{started.json()['id']}/retry")
    unknown = await halley.start(T2V, {"prompt": "x"}, webhook_url=url)
    elsewhere = await halley.start(T2V, {"prompt": "x"}, webhook_url=receiver.url)
    nowhere = await halley.start(T2V, {"prompt": "x"})

    assert got.event["id"] == started.json()["id"]
    assert started.json()["warnings"] == []
    assert [each.headers.get("Halley-Webhook-Profile") for each in (started, again, unknown, elsewhere, nowhere)] == [
        "plain",
        "plain",
        "n8n-resume; guessed",
        "standard; guessed",
        None,
    ]
    assert (await halley.told(again.json()["id"], "state"))[0]["webhook"]["guessed"] is False
    assert elsewhere.json()["warnings"] == []


async def test_a_live_start_says_the_profile_too(halley: House, receiver: Receiver) -> None:
    """The answer in events has the same header."""
    query = {"webhook_url": f"{receiver.url}/webhook-waiting/231"}
    headers = {"Accept": "text/event-stream"}
    answer = await halley.client.post(f"/v1/nodes/{T2V}/runs", json={"prompt": "x"}, params=query, headers=headers)

    assert answer.headers["Halley-Webhook-Profile"] == "n8n-resume; guessed"


async def test_a_profile_that_cannot_be_is_refused_before_anything_is_spent(halley: House, receiver: Receiver) -> None:
    """Unknown profiles and methods are faults."""
    wrong = await halley.start(
        T2V, {"prompt": "x"}, webhook_url=receiver.url, webhook_profile="teams", webhook_method="PUT"
    )
    runs = (await halley.client.get("/v1/runs")).json()["data"]

    assert {fault["pointer"] for fault in wrong.json()["errors"]} == {"query:webhook_profile", "query:webhook_method"}
    assert (wrong.status_code, runs) == (422, [])
