"""The AsyncAPI document: the project's own parser reads it, and it says all that is sent."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import httpx
import jsonschema_rs
import pytest

from service.api.asyncapi import build_asyncapi
from service.api.event_types import EVENT_TYPES
from service.exports import generated_files
from service.lifecycle.run import EventType
from tests.fakes.event_schemas import closed_validator
from tests.fakes.foreign import ask
from tests.fakes.house import shipped_catalog

CONTENT = build_asyncapi(shipped_catalog())
DOCUMENT: dict[str, Any] = json.loads(CONTENT)
TYPES = get_args(EventType)
SIGNED = ["webhook-id", "webhook-timestamp", "webhook-signature"]
BROKERS = ["nats", "kafka", "rabbitmq", "redis"]


def broken(change: str) -> str:
    """Return the document with a fault that a reader has to find."""
    document = deepcopy(DOCUMENT)
    if change == "a channel that is not there":
        document["operations"]["publish_to_nats"]["channel"]["$ref"] = "#/channels/nowhere"
    else:
        document["channels"]["nats"]["address"] = "halley.{workspace}.{kind}"
    return json.dumps(document)


def test_a_foreign_parser_reads_it() -> None:
    """The parser of the AsyncAPI project finds no fault in it, finds those that were put in, and all messages."""
    ours, *faulty = ask(
        "parse.mjs", [CONTENT.decode(), broken("a channel that is not there"), broken("an unknown parameter")]
    )
    channels = ours["channels"]
    told = {name: set(channel["messages"]) for name, channel in channels.items()}

    assert {each["severity"] for each in ours["found"]} <= {"info"}  # that there is a version after 3.0
    assert all("error" in {each["severity"] for each in document["found"]} for document in faulty)
    assert told == {
        "webhook_url": {name for name in TYPES if not name.startswith("endpoint.")},
        "endpoint": set(TYPES),
        "event_stream": set(TYPES),
        **{broker: set(TYPES) for broker in BROKERS},
    }
    assert {name: channel["address"] for name, channel in channels.items()} == {
        "webhook_url": None,
        "endpoint": None,
        "event_stream": "/v1/events/stream",
        "nats": "halley.{workspace}.{type}",
        "kafka": "halley.events",
        "redis": "halley.events",
        "rabbitmq": None,
    }
    assert {name: sorted(channel["servers"]) for name, channel in channels.items()} == {
        "webhook_url": ["receiver"],
        "endpoint": ["receiver"],
        "event_stream": ["halley"],
        **{broker: [broker] for broker in BROKERS},
    }
    for name, channel in channels.items():
        assert channel["actions"] == ["send"]
        for type_, message in channel["messages"].items():
            assert message["headers"] == (SIGNED if name in ("webhook_url", "endpoint") else [])
            assert message["examples"] == [type_]
            assert message["fields"] == ["id", "type", "timestamp", "sequence", "data"]


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_an_example_of_what_it_says(name: EventType) -> None:
    """It fits the schema of its type and of no other, tells the state that the type means, and comes in order."""
    (example,) = DOCUMENT["components"]["messages"][name]["examples"]
    payload = example["payload"]
    others = [other for other in TYPES if other != name and closed_validator(DOCUMENT, other).is_valid(payload)]

    assert [error.message for error in closed_validator(DOCUMENT, name).iter_errors(payload)] == []
    assert others == []
    if name.startswith("run."):
        state = {"run.progressed": "running", "run.recovered": "timed_out"}.get(name, name.removeprefix("run."))
        assert payload["data"]["state"] == state
        assert payload["data"]["created_at"] <= payload["timestamp"]


def test_every_schema_is_valid() -> None:
    """Bodies and headers are JSON Schemas of the draft that AsyncAPI builds on."""
    schemas = [
        *DOCUMENT["components"]["schemas"].values(),
        DOCUMENT["components"]["messageTraits"]["signed"]["headers"],
    ]

    for schema in schemas:
        assert jsonschema_rs.meta.is_valid({"$schema": "http://json-schema.org/draft-07/schema#", **schema})


def test_the_table_has_a_line_for_every_type() -> None:
    """What both documents are made from knows all types, in the order in which they are declared."""
    assert tuple(EVENT_TYPES) == TYPES


def test_it_is_written_and_served(base_url: str) -> None:
    """`halley export` writes the very document that a running Halley hands out to all."""
    answer = httpx.get(f"{base_url}/asyncapi.json")

    assert answer.content == CONTENT == generated_files()["openapi/asyncapi.json"]
    assert (Path(__file__).parents[2] / "openapi/asyncapi.json").read_bytes() == CONTENT
