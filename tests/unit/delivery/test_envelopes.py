"""Envelopes: a foreign SDK reads the CloudEvents, and what is in `data` goes out byte for byte."""

import json

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from service.delivery.envelopes import Envelope, enveloped, source_of

# Spaced and ordered as no encoder would, so that one that was decoded and encoded again shows.
DATA = b'{"state" : "succeeded",  "id":"run_1", "text":"K\xc3\xb6ln \\u00e9", "n": 1.50}'
EVENT = (
    b'{"id":"evt_1","type":"run.succeeded","timestamp":"2026-11-22T10:00:07.120Z","sequence":3,"data":' + DATA + b"}"
)
SOURCE = "https://halley.example.com"


def read(envelope: Envelope, event: bytes = EVENT, source: str = SOURCE):
    """Read an event with the SDK, as a receiver would."""
    sent = enveloped(envelope, event, source=source)
    headers = {"content-type": sent.content_type, **sent.headers}
    return from_http_event(HTTPMessage(headers=headers, body=sent.body))


def test_the_event_itself_is_left_alone() -> None:
    """`halley` sends the bytes of the outbox."""
    sent = enveloped("halley", EVENT, source=SOURCE)

    assert (sent.body, sent.content_type, sent.headers) == (EVENT, "application/json", {})


def test_the_run_alone_says_beside_it_what_happened() -> None:
    """`run` cuts the run out and names type and run in headers."""
    sent = enveloped("run", EVENT, source=SOURCE)

    assert (sent.body, sent.content_type) == (DATA, "application/json")
    assert sent.headers == {"Halley-Event": "run.succeeded", "Halley-Run": "run_1"}


@pytest.mark.parametrize("envelope", ["cloudevents", "cloudevents-binary"])
def test_a_foreign_sdk_reads_every_attribute(envelope: Envelope) -> None:
    """Both modes tell the same attributes and the same data."""
    event = read(envelope)

    assert (event.get_id(), event.get_source(), event.get_type()) == ("evt_1", SOURCE, "run.succeeded")
    assert (event.get_specversion(), event.get_subject()) == ("1.0", "run_1")
    assert event.get_time().isoformat() == "2026-11-22T10:00:07.120000+00:00"
    assert event.get_datacontenttype() == "application/json"
    assert event.get_extension("sequence") == "0000000003"
    assert event.get_data() == json.loads(DATA)


@pytest.mark.parametrize("envelope", ["cloudevents", "cloudevents-binary"])
def test_data_goes_out_as_it_was_written(envelope: Envelope) -> None:
    """Nothing in it is decoded and encoded again."""
    assert DATA in enveloped(envelope, EVENT, source=SOURCE).body


def test_each_mode_says_which_it_is() -> None:
    """Structured mode is told by its content type, binary mode by `ce-` headers."""
    structured = enveloped("cloudevents", EVENT, source=SOURCE)
    binary = enveloped("cloudevents-binary", EVENT, source=SOURCE)

    assert (structured.content_type, structured.headers) == ("application/cloudevents+json", {})
    assert (binary.content_type, binary.body) == ("application/json", DATA)
    assert binary.headers["ce-id"] == "evt_1"
    assert "ce-datacontenttype" not in binary.headers


def test_the_source_is_where_halley_is_or_whose_it_is() -> None:
    """Without a public URL the workspace is named, in characters that a URN may hold."""
    assert source_of("https://halley.example.com", "studio") == "https://halley.example.com"
    assert source_of(None, "Zoë's & co") == "urn:halley:Zo%C3%AB%27s%20%26%20co"
    assert read("cloudevents-binary", source=source_of(None, "Zoë")).get_source() == "urn:halley:Zo%C3%AB"


@pytest.mark.parametrize("envelope", ["cloudevents", "cloudevents-binary"])
def test_what_has_no_subject_and_no_number_has_none(envelope: Envelope) -> None:
    """An event about something else leaves out what it does not know, rather than send an empty text."""
    event = read(envelope, b'{"id":"evt_2","type":"x.y","timestamp":"2026-11-22T10:00:07Z","data":{"a":1}}')

    assert (event.get_subject(), event.get_extension("sequence"), event.get_data()) == (None, None, {"a": 1})
