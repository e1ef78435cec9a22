"""CloudEvents on the wire: a real receiver gets them, a foreign SDK reads them, a foreign library verifies them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

from service.delivery.envelopes import Envelope, enveloped
from service.delivery.sender import Sender
from service.delivery.signer import signed_headers
from service.egress import EgressGuard, parse_networks
from tests.fakes.receiver import Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = (
    b'{"id":"evt_1","type":"run.succeeded","timestamp":"2026-11-22T10:00:07.120Z","sequence":12,'
    b'"data":{"id":"run_1","text":"K\xc3\xb6ln"}}'
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with Receiver() as receiver:
        yield receiver


@pytest.mark.parametrize("envelope", ["cloudevents", "cloudevents-binary"])
async def test_a_receiver_reads_and_verifies_what_was_sent(receiver: Receiver, envelope: Envelope) -> None:
    """Attributes and data are those of the event, and the signature is over the body that came."""
    sent = enveloped(envelope, EVENT, source="urn:halley:studio")
    signed = signed_headers([SECRET], "evt_1", datetime.now(UTC), sent.body)
    sender = Sender(EgressGuard(parse_networks("127.0.0.0/8")))
    await sender.start()
    try:
        exchange = await sender.send(
            receiver.url, sent.body, {**signed, "content-type": sent.content_type, **sent.headers}
        )
    finally:
        await sender.close()

    (got,) = receiver.got
    event = from_http_event(HTTPMessage(headers=got.headers, body=got.body))
    assert exchange.outcome == "delivered"
    assert (event.get_id(), event.get_type(), event.get_subject()) == ("evt_1", "run.succeeded", "run_1")
    assert (event.get_source(), event.get_data()) == ("urn:halley:studio", {"id": "run_1", "text": "Köln"})
    Webhook(SECRET).verify(got.body, {name.lower(): value for name, value in got.headers.items()})
