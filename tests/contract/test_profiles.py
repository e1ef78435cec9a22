"""Each receiver profile against a receiver on loopback that answers as the tool does, from the outbox on.

The clock is the test's own: a ladder of days is climbed in a moment, and every wait is known to the second.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook as Verifier

from service.delivery.courier import Courier
from service.delivery.dispatcher import Dispatcher
from service.delivery.profiles import PROFILES
from service.delivery.sender import Sender
from service.delivery.signer import derive_secret
from service.delivery.sinks.owner import Sinks
from service.egress import EgressGuard, parse_networks
from service.lifecycle.run import Run, Webhook
from service.lifecycle.transitions import queued
from service.log import silent_log
from service.sealing import Sealer
from service.secret_key import SecretKeys
from service.store.opening import store_of
from service.store.sql_store import SqlStore
from tests.fakes.receiver import Got, Receiver
from tests.unit.lifecycle.test_transitions import a_run

KEYS = SecretKeys(all=(b"a master key of thirty-two bytes",))
SECRET = derive_secret(KEYS.current, "default")
DAY_S = 86400.0
STARTING_S = pytest.approx(15 * 1.1)  # spread upwards
STARTED_AT = 1_795_341_600.0
RUN_ID = "run_00000000000000000000000001"

Answer = int | Callable[[web.Request], Awaitable[web.StreamResponse]]


class SetClock:
    """A clock that the test sets; the wall clock is the machine's, so that signatures are fresh."""

    def __init__(self) -> None:
        self.time = STARTED_AT

    def now(self) -> float:
        """Return the time."""
        return self.time

    def wall(self) -> float:
        """Return the time that receivers compare with their own."""
        return time.time()


class Even(random.Random):
    """Chance that always falls in the middle: no jitter."""

    def random(self) -> float:
        """Return a half."""
        return 0.5


class Stage:
    """A store, a dispatcher and a receiver, moved on by hand."""

    def __init__(self, store: SqlStore, clock: SetClock, receiver: Receiver, sender: Sender) -> None:
        self.store = store
        self.receiver = receiver
        self._clock = clock
        self._sealer = Sealer(KEYS)
        self._attempts: list[asyncio.Task[None]] = []
        self._dispatcher = Dispatcher(
            store,
            Courier(
                sender,
                sinks=Sinks(()),
                sealer=self._sealer,
                secrets_of=lambda _: (SECRET,),
                keys_of=lambda _: (),
                public_url=None,
                clock=clock,
            ),
            start=self._start,
            ring=lambda: None,
            count=lambda _: None,
            clock=clock,
            chance=Even(),
            log=silent_log(),
        )

    def _start(self, attempt: Coroutine[Any, Any, None]) -> None:
        self._attempts.append(asyncio.create_task(attempt))

    async def told(
        self,
        profile: str,
        answers: Sequence[Answer] = (),
        *,
        path: str = "/hook",
        deadline_s: float = 600,
        **words: Any,
    ) -> list[dict[str, Any]]:
        """Send one event of a run to a receiver that gives these answers; returns every attempt as the timeline has it.

        Args:
            profile: The receiver's profile.
            answers: What it answers first; 200 after that.
            path: Path and query of its URL.
            deadline_s: When the run is given up.
            words: More of the webhook.
        """
        self.receiver.answers = list(answers)
        url = self._sealer.seal(self.receiver.url + path)
        run = a_run(
            "queued",
            id=RUN_ID,
            workspace="default",
            created_at=STARTED_AT,
            due_at=STARTED_AT,
            deadline_at=STARTED_AT + deadline_s,
            webhook=Webhook(url=url, events=("run.queued",), profile=profile, **words),
        )
        await self.store.start(queued(run), {}, None)
        return await self._climb(run)

    async def _climb(self, run: Run) -> list[dict[str, Any]]:
        """Make attempts, each at its time, until there is none left to be made."""
        while True:
            await self._dispatcher.run_once()
            await asyncio.gather(*self._attempts)
            self._attempts.clear()
            attempts = [entry.detail for entry in await self.store.timeline(run.id) if entry.kind == "delivery"]
            if attempts[-1]["again_in_s"] is None or len(attempts) == 1000:
                return attempts
            self._clock.time += attempts[-1]["again_in_s"] + 0.1


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """An open stage."""
    clock = SetClock()
    async with contextlib.AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        store = store_of(tmp_path / "halley.db", clock)
        await store.open()
        stack.push_async_callback(store.close)
        sender = Sender(EgressGuard(parse_networks("127.0.0.0/8")))
        await sender.start()
        stack.push_async_callback(sender.close)
        yield Stage(store, clock, receiver, sender)


def saying(status: int, text: str = "", **headers: str) -> Answer:
    """Make an answer with a body and headers."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, headers=named)

    return answer


def outcomes(attempts: list[dict[str, Any]]) -> list[tuple[str, float | None]]:
    """Return what became of each attempt, and the wait after it."""
    return [(attempt["outcome"], attempt["again_in_s"]) for attempt in attempts]


def verified(got: Got) -> Any:
    """Return the body of a request whose signature is good."""
    return Verifier(SECRET).verify(got.body, got.headers)


def running() -> Answer:
    """Answer as n8n does while the execution has not come to its Wait node."""
    return saying(409, '{"code":409,"message":"The execution \\"231\\" is running already."}')


NOT_WAITING = saying(
    404, '{"code":404,"message":"The workflow for execution \\"231\\" does not contain a waiting webhook."}'
)


async def test_standard_receivers_get_signed_events_and_three_days(stage: Stage) -> None:
    """Whatever fails is tried eleven times; each attempt carries the same id and a signature that verifies."""
    attempts = await stage.told("standard", [500, 404, 409, 307, 503] + [500] * 20)

    waits = [wait for _, wait in outcomes(attempts)]
    assert waits == [5, 60, 300, 1800, 2 * 7200, 18000, 36000, 50400, 72000, 86400, None]
    assert [outcome for outcome, _ in outcomes(attempts)] == ["failed"] * 4 + ["throttled"] + ["failed"] * 6
    assert {verified(got)["type"] for got in stage.receiver.got} == {"run.queued"}
    assert len({got.headers["webhook-id"] for got in stage.receiver.got}) == 1


async def test_n8n_is_waited_for_until_the_execution_waits(stage: Stage) -> None:
    """409 while it runs and 404 before the node is reached are tried again within seconds; then the flow goes on."""
    path = "/webhook-waiting/231/part%2Fx?signature=a+b%3D&&x="
    attempts = await stage.told("n8n-resume", [running(), NOT_WAITING, running()], path=path)

    assert outcomes(attempts) == [("not_ready", 1), ("not_ready", 1), ("not_ready", 2), ("delivered", None)]
    assert {got.path for got in stage.receiver.got} == {path}
    assert verified(stage.receiver.got[-1])["data"]["id"] == RUN_ID
    assert "webhook_method=GET" in attempts[1]["reason"]
    assert "is running already" in attempts[0]["answer"]


async def test_n8n_is_tried_densely_and_then_every_five_minutes_to_the_deadline(stage: Stage) -> None:
    """No pause is over ten seconds for 15 minutes; after that it is five minutes until the run's deadline."""
    attempts = await stage.told("n8n-resume", [running()] * 900, deadline_s=2 * DAY_S)
    waits = [attempt["again_in_s"] for attempt in attempts]
    dense = waits.index(300)

    assert sum(waits[:dense]) == pytest.approx(900, abs=20)
    assert max(waits[:dense]) == 10
    assert set(waits[dense:-1]) == {300}
    assert sum(waits[:-1]) == pytest.approx(2 * DAY_S, abs=400)
    assert waits[-1] is None


async def test_a_resume_url_is_tried_for_a_day_when_the_deadline_is_near(stage: Stage) -> None:
    """A run that ends in its last minute does not leave a flow a minute to come to its Wait node."""
    attempts = await stage.told("n8n-resume", [NOT_WAITING] * 900, deadline_s=60)

    assert sum(attempt["again_in_s"] or 0 for attempt in attempts) == pytest.approx(DAY_S, abs=400)


@pytest.mark.parametrize("words", ["has finished already.", "has finished with error."])
async def test_n8n_executions_that_are_over_are_left_alone(stage: Stage, words: str) -> None:
    """n8n answers 409 to them too; nothing can resume them, so nothing more is sent."""
    attempts = await stage.told("n8n-resume", [running(), saying(409, f'The execution "231" {words}')])

    assert outcomes(attempts) == [("not_ready", 1), ("gone", None)]


async def test_an_n8n_url_that_was_cut_is_left_alone(stage: Stage) -> None:
    """A signature that is wrong stays wrong; the timeline says so. A proxy's 401 may pass."""
    wrong = saying(401, '{"error":"Invalid token"}')
    attempts = await stage.told("n8n-resume", [saying(401, "Unauthorized"), wrong], path="/webhook-waiting/231")

    assert outcomes(attempts) == [("failed", 1), ("gone", None)]
    assert "not whole" in attempts[1]["reason"]


@pytest.mark.parametrize("profile", ["n8n-resume", "n8n-webhook", "standard"])
async def test_n8n_that_is_starting_up_is_told_again(stage: Stage, profile: str) -> None:
    """It answers 200 to every path while its database is migrated, and keeps nothing of what came."""
    attempts = await stage.told(profile, [saying(200, "n8n is starting up. Please wait")], path="/webhook/orders")

    assert outcomes(attempts) == [("not_ready", STARTING_S), ("delivered", None)]


@pytest.mark.parametrize("profile", ["n8n-resume", "n8n-webhook"])
async def test_n8n_that_is_starting_up_is_left_alone_until_it_is_done(stage: Stage, profile: str) -> None:
    """It takes webhooks before it looks for what has crashed, and what it has just resumed would be marked so."""
    page = "<!DOCTYPE html>\n<html><body>\n<pre>Cannot POST /webhook-waiting/231</pre>\n</body></html>"
    attempts = await stage.told(profile, [saying(404, page)], path="/webhook-waiting/231")

    assert outcomes(attempts) == [("not_ready", STARTING_S), ("delivered", None)]


async def test_n8n_nodes_left_on_get_are_called_by_get(stage: Stage) -> None:
    """No body and nothing added to the URL; run and event stand in headers, the signature is over nothing."""
    path = "/webhook-waiting/231?signature=a+b%3D"
    attempts = await stage.told("n8n-resume", [NOT_WAITING], path=path, method="GET")
    first, second = stage.receiver.got

    assert outcomes(attempts) == [("not_ready", 1), ("delivered", None)]
    assert [(got.method, got.path, got.body) for got in (first, second)] == [("GET", path, b"")] * 2
    assert (second.headers["Halley-Run"], second.headers["Halley-Event"]) == (RUN_ID, "run.queued")
    assert not {"content-length", "content-type", "transfer-encoding"} & {name.lower() for name in second.headers}
    Verifier(SECRET).verify(b"", second.headers, json_parse=False)


async def test_n8n_webhooks_that_are_not_active_are_tried_like_any_receiver(stage: Stage) -> None:
    """A workflow that is off, or a test URL to which nobody listens, answers 404; the timeline says what that means."""
    attempts = await stage.told("n8n-webhook", [404], path="/webhook/orders")

    assert outcomes(attempts) == [("failed", 5), ("delivered", None)]
    assert "not active" in attempts[0]["reason"]


async def test_a_zap_that_unsubscribed_is_left_alone(stage: Stage) -> None:
    """Zapier throttles with 429 and `Retry-After`, and ends a REST hook with 410."""
    attempts = await stage.told("zapier-hook", [saying(429, Retry_After="600"), 410], path="/hooks/catch/1/abc/")

    assert outcomes(attempts) == [("throttled", 660), ("gone", None)]
    assert verified(stage.receiver.got[0])["data"]["id"] == RUN_ID


async def test_a_zapier_callback_is_answered_once(stage: Stage) -> None:
    """After the first success nothing more is sent."""
    attempts = await stage.told("zapier-callback", [500], path="/hooks/callback/abc/")

    assert outcomes(attempts) == [("failed", 5), ("delivered", None)]
    assert len(stage.receiver.got) == 2


async def test_make_is_given_time_when_its_queue_is_full(stage: Stage) -> None:
    """A full queue (400, 429) slows down, a scenario that is off (404) is tried again, a hook that is gone ends."""
    attempts = await stage.told("make", [saying(400, "Queue is full."), 429, 404, 410])

    assert outcomes(attempts) == [("throttled", 10), ("throttled", 120), ("failed", 300), ("gone", None)]


async def test_make_answers_accepted(stage: Stage) -> None:
    """200 "Accepted" is all that Make says."""
    attempts = await stage.told("make", [saying(200, "Accepted")])

    assert [(a["outcome"], a["answer"]) for a in attempts] == [("delivered", "Accepted")]


async def test_power_automate_accepts_with_202_and_names_a_date(stage: Stage) -> None:
    """429 with `Retry-After` as a date is honoured; 202 is a success."""
    later = formatdate(time.time() + 1000, usegmt=True)
    attempts = await stage.told("power-automate", [saying(429, Retry_After=later), 202])

    assert [attempt["outcome"] for attempt in attempts] == ["throttled", "delivered"]
    assert attempts[0]["again_in_s"] == pytest.approx(1100, abs=3)
    assert attempts[1]["status"] == 202


@pytest.mark.parametrize("profile", sorted(PROFILES))
async def test_a_wrong_retry_after_silences_nobody(stage: Stage, profile: str) -> None:
    """An hour is the most that a receiver can ask for, whatever its profile."""
    attempts = await stage.told(profile, [saying(503, Retry_After="999999")])

    assert outcomes(attempts) == [("throttled", 3600), ("delivered", None)]


async def test_plain_receivers_get_the_run_alone(stage: Stage) -> None:
    """The body is the run as the event would have carried it, signed; type and id stand in headers."""
    attempts = await stage.told("plain", [404])
    first, second = stage.receiver.got
    run = verified(second)

    assert outcomes(attempts) == [("failed", 5), ("delivered", None)]
    assert (run["id"], run["state"], "data" in run, "type" in run) == (RUN_ID, "queued", True, False)
    assert first.body == second.body
    assert (second.headers["Halley-Event"], second.headers["Halley-Run"]) == ("run.queued", RUN_ID)
    assert second.headers["Content-Type"] == "application/json"


async def test_a_profile_that_is_not_known_any_more_is_served_as_standard(stage: Stage) -> None:
    """A row of another version is not stuck."""
    attempts = await stage.told("teams", [404])

    assert [(attempt["outcome"], attempt["profile"]) for attempt in attempts] == [
        ("failed", "standard"),
        ("delivered", "standard"),
    ]
