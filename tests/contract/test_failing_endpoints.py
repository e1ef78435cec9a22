"""Endpoints that fail for days: disabled, told of, tried now and then, and given all that they missed once they answer.

Days pass by setting the clock; the store, the receiver and every exchange are real.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.delivery.courier import Courier
from service.delivery.dispatcher import Dispatcher
from service.delivery.prober import Prober
from service.delivery.sender import Sender
from service.delivery.sinks.owner import Sinks
from service.egress import EgressGuard, parse_networks
from service.lifecycle.endpoint import Endpoint, EndpointChange, SigningSecret
from service.log import silent_log
from service.sealing import Sealer
from service.secret_key import SecretKeys
from service.store.opening import store_of
from service.store.outbox import DeliveryFilter
from service.store.sql_store import SqlStore
from tests.conformance.test_store import numbered, put
from tests.contract.test_profiles import SetClock
from tests.fakes.receiver import Receiver

DAY_S = 86400.0
HOUR_S = 3600.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Stage:
    """An endpoint, its store and its workers, moved on by hand."""

    def __init__(self, store: SqlStore, clock: SetClock, receiver: Receiver, sender: Sender) -> None:
        self.store, self.clock, self.receiver = store, clock, receiver
        sealer = Sealer(SecretKeys(all=(b"k" * 32,)))
        courier = Courier(
            sender,
            sinks=Sinks(()),
            sealer=sealer,
            secrets_of=lambda _: (),
            keys_of=lambda _: (),
            public_url=None,
            clock=clock,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._dispatcher = Dispatcher(
            store,
            courier,
            start=self._start,
            ring=lambda: None,
            count=lambda _: None,
            clock=clock,
            chance=random.Random(1),
            log=silent_log(),
        )
        self.prober = Prober(store, courier, clock=clock, log=silent_log())
        self.endpoint = Endpoint(
            id="ep_00000000000000000000000001",
            workspace="w",
            url=sealer.seal(receiver.url),
            url_hash="h",
            origin=receiver.url,
            types=("run.queued",),
            secrets=(SigningSecret(sealed=sealer.seal(SECRET)),),
            created_at=clock.now(),
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def pass_by(self, time_s: float) -> None:
        """Let time pass and send what is due then."""
        self.clock.time += time_s
        await self._dispatcher.run_once()
        await asyncio.gather(*self._tasks)
        self._tasks.clear()

    async def now(self) -> Endpoint:
        """Return the endpoint as it is."""
        found = await self.store.endpoint(self.endpoint.id)
        assert found is not None
        return found


@pytest.fixture
async def stage(tmp_path: Path, receiver: Receiver) -> AsyncIterator[Stage]:
    """A stage with an endpoint."""
    clock = SetClock()
    store, sender = store_of(tmp_path / "halley.db", clock), Sender(EgressGuard(parse_networks("127.0.0.0/8")))
    await store.open()
    await sender.start()
    built = Stage(store, clock, receiver, sender)
    await store.add_endpoint(built.endpoint)
    yield built
    await sender.close()
    await store.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of events."""
    async with Receiver() as running:
        yield running


async def fail_for_days(stage: Stage) -> None:
    """Let every attempt of six days fail."""
    stage.receiver.answers = [500] * 100
    for day in range(6):
        await put(stage.store, numbered(day))
        await stage.pass_by(DAY_S)


async def test_an_endpoint_that_only_fails_for_five_days_is_disabled(stage: Stage) -> None:
    """Not sooner, and with an event; what is due for it later is not sent."""
    await put(stage.store, numbered(0))
    stage.receiver.answers = [500] * 100
    await stage.pass_by(0)
    await stage.pass_by(4.9 * DAY_S)
    after_four = await stage.now()
    await put(stage.store, numbered(1))
    await stage.pass_by(0.2 * DAY_S)
    after_five = await stage.now()
    events = await stage.store.deliveries(DeliveryFilter(workspace="w"))
    attempts = len(stage.receiver.got)
    await stage.pass_by(DAY_S)

    assert (after_four.state, after_four.failing_since is not None) == ("enabled", True)
    assert (after_five.state, after_five.disabled_reason) == ("disabled", "failing")
    assert len(events) == 2
    assert len(stage.receiver.got) == attempts


async def test_one_success_in_between_keeps_it(stage: Stage) -> None:
    """Five days count anew from the next failure."""
    for day in range(8):
        stage.receiver.answers = [200] if day == 4 else [500] * 9
        await put(stage.store, numbered(day))
        await stage.pass_by(DAY_S)
        stage.receiver.answers = []

    assert (await stage.now()).state == "enabled"


async def test_a_failing_endpoint_is_probed_and_gets_all_that_it_missed(stage: Stage) -> None:
    """It is tried after an hour, then ever later; once it answers, it is enabled and everything is sent to it."""
    await fail_for_days(stage)
    assert (await stage.now()).state == "disabled"
    missed = numbered(77)
    await put(stage.store, missed)
    before, gaps = len(stage.receiver.got), []
    for _ in range(3):
        due_at = (await stage.now()).due_at
        assert due_at is not None
        gaps.append((due_at - stage.clock.now()) / HOUR_S)
        await stage.pass_by(due_at - stage.clock.now() - 1)
        await stage.prober.run_once()
        quiet = len(stage.receiver.got)
        await stage.pass_by(1)
        await stage.prober.run_once()
        assert len(stage.receiver.got) == quiet + 1
    assert gaps == pytest.approx([1, 2, 4], abs=0.01)
    assert len(stage.receiver.got) == before + 3

    stage.receiver.answers = []
    due_at = (await stage.now()).due_at
    assert due_at is not None
    await stage.pass_by(due_at - stage.clock.now())
    await stage.prober.run_once()
    await stage.pass_by(0)
    pending = await stage.store.deliveries(DeliveryFilter(workspace="w", state="pending"))
    undelivered = await stage.store.deliveries(DeliveryFilter(workspace="w", state="failed"))
    told = {each.event["data"]["id"] for each in stage.receiver.got[before + 3 :]}

    assert (await stage.now()).state == "enabled"
    assert (pending, undelivered) == ([], [])
    assert told == {numbered(day).id for day in range(6)} | {missed.id}
    probes = [each for each in await stage.store.timeline(numbered(5).id) if "probe" in each.detail]
    assert [each.detail["probe"] for each in probes] == [1, 2, 3, 4]


async def test_an_endpoint_is_ended_at_its_time(stage: Stage) -> None:
    """When the date has come it is disabled with its reason, whether or not anything was sent."""
    ends = stage.clock.now() + DAY_S
    await stage.store.change_endpoint(stage.endpoint.id, lambda current: _expiring(current, ends))
    await stage.pass_by(DAY_S + 1)
    await put(stage.store, numbered(1))
    await stage.prober.run_once()
    await stage.pass_by(0)

    assert ((await stage.now()).state, (await stage.now()).disabled_reason) == ("disabled", "expired")
    assert stage.receiver.got == []


def _expiring(current: Endpoint, ends: float) -> Any:
    return EndpointChange(endpoint=msgspec.structs.replace(current, expires_at=ends, due_at=ends))
