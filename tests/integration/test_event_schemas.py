"""Every type of event as it is delivered, against the AsyncAPI document."""

import asyncio
import json
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs

from service.api.asyncapi import build_asyncapi
from service.lifecycle.run import EventType
from service.simulator import Simulator
from tests.fakes.event_schemas import closed_validator
from tests.fakes.house import House, house, shipped_catalog
from tests.fakes.receiver import Receiver

T2V, IMAGINE = "kling.text_to_video", "midjourney.imagine"
DOCUMENT: dict[str, Any] = json.loads(build_asyncapi(shipped_catalog()))
TYPES = {name for name in get_args(EventType) if name.startswith("run.")}
# Between them these runs go through everything that can be told of a run.
STORIES = (
    (IMAGINE, "a comet [[duration:2]]", {}),
    (T2V, "a comet [[duration:2]]", {"deadline": 1}),
    (T2V, "a comet [[fail]]", {"reference": "Grüße"}),
    (T2V, "a comet [[reset_after]]", {"metadata": '{"a": 1}'}),
)


async def canceled(halley: House, hook: dict[str, str]) -> None:
    """Start a run and cancel it when it runs."""
    run = (await halley.start(T2V, {"prompt": "a comet [[duration:20]]"}, **hook)).json()
    await halley.until(run["id"], "running")
    await halley.client.post(f"/v1/runs/{run['id']}/cancel")


async def test_every_delivery_is_what_the_document_says(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """All types of a run's events, from a simulated upstream to a receiver: just the fields and headers it names."""
    hook = {"webhook_url": receiver.url, "webhook_events": ",".join(sorted(TYPES))}
    async with house(tmp_path, sim, public=False) as halley:
        await asyncio.gather(
            canceled(halley, hook),
            *(halley.start(node, {"prompt": prompt}, **words, **hook) for node, prompt, words in STORIES),
        )
        async with asyncio.timeout(20):
            while {got.event["type"] for got in receiver.got} != TYPES:
                await receiver.wait_for(len(receiver.got) + 1)

    signed = jsonschema_rs.validator_for(DOCUMENT["components"]["messageTraits"]["signed"]["headers"])
    for got in receiver.got:
        faults = [error.message for error in closed_validator(DOCUMENT, got.event["type"]).iter_errors(got.event)]
        assert faults == [], got.event
        assert signed.is_valid({name.lower(): value for name, value in got.headers.items()})
