"""Sora's reverse route over real sockets: an id as the whole of `data`, variants, failures, the callback."""

from typing import Any

from service.simulator.sora import Sora
from tests.fakes.caller import Caller, playing
from tests.fakes.receiver import Receiver

PATH = "/sora/v1/videos"


async def _ended(caller: Caller, **body: Any) -> Any:
    _, accepted = await caller.post(PATH, {"prompt": "a paper boat"} | body)
    _, told = await caller.get(f"{PATH}/{accepted['data']}")
    return told["data"]


async def test_data_of_the_submission_is_the_id() -> None:
    """The submission's `data` is a text, and the query finds the task under it."""
    async with playing(Sora) as caller:
        status, accepted = await caller.post(PATH, {"prompt": "p"})
        _, told = await caller.get(f"{PATH}/{accepted['data']}")

    assert (status, accepted["code"]) == (200, "success")
    assert told["data"]["task_id"] == accepted["data"]
    assert told["data"]["data"]["generations"] == []


async def test_each_variant_is_a_generation() -> None:
    """`n_variants` decides how many generations a success has."""
    async with playing(Sora, duration_s=0.0) as caller:
        told = await _ended(caller, n_variants=3)

    links = [generation["url"] for generation in told["data"]["generations"]]
    assert (told["status"], len(set(links))) == ("SUCCESS", 3)


async def test_failures_give_their_reason_outside() -> None:
    """A failed task has its reason as `fail_reason`; a relay that gave up wraps a task that goes on."""
    async with playing(Sora, duration_s=0.0) as caller:
        failed = await _ended(caller, prompt="[[fail:lost]]")
        given_up = await _ended(caller, prompt="[[gave_up]]")

    assert (failed["status"], failed["fail_reason"]) == ("FAILURE", "lost")
    assert (given_up["status"], given_up["data"]["status"]) == ("FAILURE", "running")


async def test_wrong_bodies_and_unknown_tasks() -> None:
    """Too many variants and a task that there is not are refused by the relay."""
    async with playing(Sora) as caller:
        wrong = await caller.post(PATH, {"prompt": "p", "n_variants": 5})
        unknown = await caller.get(f"{PATH}/task_0")

    assert (wrong[0], wrong[1]["code"]) == (400, "invalid_request")
    assert (unknown[0], unknown[1]["code"]) == (400, "task_not_exist")


async def test_the_hook_gets_what_the_query_holds() -> None:
    """`notify_hook` is posted the query's `data` at each change."""
    async with Receiver() as receiver, playing(Sora, duration_s=0.05) as caller:
        await caller.post(PATH, {"prompt": "p", "notify_hook": receiver.url})
        posts = [got.event for got in await receiver.wait_for(3)]

    assert [post["status"] for post in posts] == ["QUEUED", "IN_PROGRESS", "SUCCESS"]
    assert posts[-1]["data"]["generations"]
