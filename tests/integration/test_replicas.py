"""Several real processes on one PostgreSQL: each run is submitted by one of them, whoever dies or is frozen."""

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from service.simulator import Simulator
from tests.fakes.house import free_port, quick_simulator
from tests.fakes.postgres import PostgresServer, postgres_server
from tests.fakes.receiver import Receiver
from tests.fakes.replicas import Replica, replica

RUNS = 30
NODE = "kling.text_to_video"


@contextlib.asynccontextmanager
async def several(count: int, tmp_path: Path, sim: Simulator, database_url: str) -> AsyncIterator[list[Replica]]:
    """Run processes on one database."""
    ports = [free_port() for _ in range(count)]
    # Upstream reaches the last one, as a balancer would lead it to whoever is well.
    public_url = f"http://127.0.0.1:{ports[-1]}"
    async with contextlib.AsyncExitStack() as stack:
        # The first one sets the empty database up while the others wait for it.
        made = [
            stack.enter_async_context(
                replica(tmp_path / str(n), sim.url, database_url, port=port, HALLEY_PUBLIC_URL=public_url)
            )
            for n, port in enumerate(ports)
        ]
        yield list(await asyncio.gather(*made))


async def all_told(receiver: Receiver, run_ids: set[str], timeout_s: float = 60.0) -> None:
    """Wait until the end of every run has reached the receiver."""
    async with asyncio.timeout(timeout_s):
        while not run_ids <= {got.event["data"]["id"] for got in receiver.got}:
            await receiver.wait_for(len(receiver.got) + 1)


def submissions(sim: Simulator) -> Counter[str]:
    """Count what upstream was given, by our own id."""
    return Counter(task.external_id for task in sim.tasks)


async def test_three_processes_share_the_work_while_one_dies_and_one_is_frozen(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """Upstream sees each run once; all end and are told, but for what died between its claim and its first byte."""
    database_url = await postgres.database()
    async with (
        quick_simulator(duration_s=2.0) as sim,
        Receiver() as receiver,
        several(3, tmp_path, sim, database_url) as (first, second, third),
    ):
        started = await asyncio.gather(
            *(
                (first, second, third)[n % 3].start(NODE, {"prompt": f"comet {n}"}, webhook_url=receiver.url)
                for n in range(RUNS)
            )
        )
        first.send(signal.SIGKILL)
        second.send(signal.SIGSTOP)
        await asyncio.gather(*(third.rest(run["id"]) for run in started))
        second.send(signal.SIGCONT)
        late = await second.start(NODE, {"prompt": "after the frost"}, webhook_url=receiver.url)
        runs = [await third.end(late["id"])]
        runs += await asyncio.gather(*(third.rest(run["id"]) for run in started))
        await all_told(receiver, {run["id"] for run in runs})

    # A process that finds on its waking that it had sent nothing says so.
    assert {(run["state"], run["error"] and run["error"]["billed"]) for run in runs} <= {
        ("succeeded", None),
        ("submit_unknown", "unknown"),
        ("failed", "no"),
    }
    assert set(submissions(sim).values()) == {1}
    # What upstream had was found there; what it never had is the only thing that nobody can know.
    assert len(sim.tasks) == sum(run["state"] == "succeeded" for run in runs) > RUNS / 2


async def test_two_processes_are_as_one_and_one_may_stop(tmp_path: Path, postgres: PostgresServer) -> None:
    """A wait hears of an end that the other saw, equal starts are one, and what one leaves the other goes on with."""
    database_url = await postgres.database()
    async with quick_simulator(duration_s=1.0) as sim, several(2, tmp_path, sim, database_url) as (first, second):
        run = await first.start(NODE, {"prompt": "comet"})
        waiting = asyncio.create_task(second.end(run["id"]))
        await first.end(run["id"])
        heard_at = time.monotonic()
        await waiting
        lag_s = time.monotonic() - heard_at

        answers = await asyncio.gather(
            *(
                each.client.post(f"/v1/nodes/{NODE}/runs", json={"prompt": "one"}, headers={"Idempotency-Key": "k"})
                for each in (first, second) * 25
            )
        )
        ids = {answer.json()["id"] for answer in answers}
        await first.end(*ids)

        started = await asyncio.gather(*(first.start(NODE, {"prompt": f"comet {n}"}) for n in range(RUNS)))
        first.send(signal.SIGTERM)
        async with asyncio.timeout(10):
            code = await first.ended()
        runs = await asyncio.gather(*(second.end(run["id"]) for run in started))

    assert lag_s < 1.0
    assert len(ids) == 1
    assert code == 0
    assert {run["state"] for run in runs} == {"succeeded"}
    assert set(submissions(sim).values()) == {1}
    assert len(sim.tasks) == 2 + RUNS


async def test_who_comes_back_at_once_looks_for_what_it_missed(tmp_path: Path, postgres: PostgresServer) -> None:
    """A task that ended while nobody was there is asked about, though the dead process still counts as alive."""
    database_url = await postgres.database()
    async with quick_simulator() as sim:
        async with replica(tmp_path, sim.url, database_url) as killed:
            run = await killed.start(NODE, {"prompt": "[[callback:never]]"})
            while (await killed.run(run["id"]))["state"] != "running":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            killed.send(signal.SIGKILL)
            await killed.ended()
        async with replica(tmp_path, sim.url, database_url) as back:
            ended = await back.end(run["id"], timeout_s=20)  # the next look was half a minute away

    assert ended["state"] == "succeeded"


async def test_nothing_is_lost_when_the_database_is_restarted(tmp_path: Path) -> None:
    """Runs under way go on and new ones are taken as soon as the database is back."""
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(postgres_server(durable=True))
        sim = await stack.enter_async_context(quick_simulator(duration_s=2.0))
        receiver = await stack.enter_async_context(Receiver())
        one = await stack.enter_async_context(replica(tmp_path / "0", sim.url, await server.database()))
        started = await asyncio.gather(
            *(one.start(NODE, {"prompt": f"comet {n}"}, webhook_url=receiver.url) for n in range(RUNS))
        )
        await asyncio.to_thread(server.stop)
        away = asyncio.create_task(one.start(NODE, {"prompt": "while it is away"}, webhook_url=receiver.url))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.start)
        runs = [await one.end(run["id"]) for run in (*started, await away)]
        await all_told(receiver, {run["id"] for run in runs})

    assert {run["state"] for run in runs} <= {"succeeded", "submit_unknown"}
    assert set(submissions(sim).values()) == {1}
    assert len(sim.tasks) == RUNS + 1
