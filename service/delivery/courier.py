"""One event to one receiver: addressed, put into its envelope, signed, sent. Whether and when is decided elsewhere."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from service.clock import Clock
from service.delivery.envelopes import Enveloped, enveloped, source_of, tags
from service.delivery.profiles import Profile, profile_of
from service.delivery.sender import Exchange, Handshake, Sender
from service.delivery.signer import SigningKey, signed_headers
from service.delivery.sinks.base import Message
from service.delivery.sinks.owner import Sinks
from service.lifecycle.endpoint import EVERYWHERE, Endpoint, Envelope, active_secrets
from service.lifecycle.run import WebhookMethod
from service.sealing import CannotOpen, Sealer
from service.store.outbox import Delivery, DeliveryRecord

_decode_headers = msgspec.json.Decoder(dict[str, str]).decode


class _Data(Struct):
    node: str | None = None


class _Event(Struct):
    data: _Data


_decode_node = msgspec.json.Decoder(_Event).decode


class Letter(Struct, frozen=True, kw_only=True):
    """An event that is to be sent.

    Attributes:
        event_id: Id of the event, the same on every attempt.
        event_type: Its type.
        told_of: The run, group or endpoint that it tells of.
        workspace: Whose it is.
        body: The event as it stands in the outbox.
    """

    event_id: str
    event_type: str
    told_of: str
    workspace: str
    body: bytes


def letter_of(delivery: Delivery | DeliveryRecord, body: bytes) -> Letter:
    """Return the letter of a delivery."""
    return Letter(
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        told_of=delivery.run_id,
        workspace=delivery.workspace,
        body=body,
    )


class Address(Struct, frozen=True, kw_only=True):
    """A receiver, and how it is served. What is secret is sealed.

    Attributes:
        url: Where it is.
        profile: How its answers are understood.
        method: How it is called.
        envelope: What it is sent of an event.
        sealed_headers: JSON object of headers that it wants besides.
        request_origin: What it gave permission to, by the rules of CloudEvents.
        sink: Name of the sink that it is, if it is one.
        secrets: What is signed with; None for the secrets of the workspace.
    """

    url: str
    profile: Profile
    method: WebhookMethod = "POST"
    envelope: Envelope = "halley"
    sealed_headers: str | None = None
    request_origin: str | None = None
    sink: str | None = None
    secrets: tuple[str, ...] | None = None


def address_of(endpoint: Endpoint, now: float) -> Address:
    """Return the address of an endpoint."""
    return Address(
        url=endpoint.url,
        profile=profile_of(endpoint.profile),
        envelope=endpoint.envelope,
        sealed_headers=endpoint.sealed_headers,
        request_origin=endpoint.request_origin,
        sink=endpoint.id if endpoint.workspace == EVERYWHERE else None,
        secrets=active_secrets(endpoint, now),
    )


class Courier:
    """Sends events.

    Args:
        sender: Makes one exchange.
        sinks: The brokers that the operator has named.
        sealer: Opens what is sealed of an address.
        secrets_of: Signing secrets of a workspace.
        keys_of: Its ed25519 keys, which sign beside whatever secrets.
        public_url: Where the outside knows this Halley, for CloudEvents.
        clock: The time.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        sinks: Sinks,
        sealer: Sealer,
        secrets_of: Callable[[str], Sequence[str]],
        keys_of: Callable[[str], Sequence[SigningKey]],
        public_url: str | None,
        clock: Clock,
    ) -> None:
        self._sender = sender
        self._sinks = sinks
        self._sealer = sealer
        self._secrets_of = secrets_of
        self._keys_of = keys_of
        self._public_url = public_url
        self._clock = clock

    async def send(self, letter: Letter, address: Address) -> Exchange:
        """Make one attempt; failures are outcomes, not exceptions."""
        if address.sink is not None:
            return await self._publish(letter, address, address.sink)
        try:
            url, secrets, headers = self._opened(letter, address)
        except CannotOpen as exc:  # the right key may be there after the next start
            return Exchange(outcome="failed", reason=f"The receiver's URL, headers or secret cannot be read: {exc}.")
        sent = self._enveloped(letter, address)
        moment = datetime.fromtimestamp(self._clock.wall(), UTC)
        signed = signed_headers(secrets, letter.event_id, moment, sent.body, self._keys_of(letter.workspace))
        if sent.body:
            signed["content-type"] = sent.content_type
        return await self._sender.send(
            url, sent.body, headers | sent.headers | signed, method=address.method, profile=address.profile
        )

    async def _publish(self, letter: Letter, address: Address, name: str) -> Exchange:
        sink = self._sinks.get(name)
        if sink is None:  # another process was started with another setting
            return Exchange(outcome="failed", reason=f"HALLEY_SINKS of this process does not name {name}.")
        sent = self._enveloped(letter, address)
        return await sink.publish(
            Message(
                event_id=letter.event_id,
                event_type=letter.event_type,
                workspace=letter.workspace,
                subject_id=letter.told_of,
                node=_decode_node(letter.body).data.node,
                body=sent.body,
                content_type=sent.content_type,
                headers=sent.headers,
            )
        )

    async def ask(self, url: str, origin: str, *, rate_per_s: float | None = None) -> Handshake:
        """Ask a receiver for its permission, by the rules of CloudEvents."""
        return await self._sender.handshake(url, origin, rate_per_s=rate_per_s)

    def _opened(self, letter: Letter, address: Address) -> tuple[str, Sequence[str], dict[str, str]]:
        own, sealed = address.secrets, address.sealed_headers
        secrets = self._secrets_of(letter.workspace) if own is None else [self._sealer.open(each) for each in own]
        headers = {} if sealed is None else _decode_headers(self._sealer.open(sealed))
        if address.request_origin is not None:
            headers["WebHook-Request-Origin"] = address.request_origin
        return self._sealer.open(address.url), secrets, headers

    def _enveloped(self, letter: Letter, address: Address) -> Enveloped:
        if address.method == "GET":
            return Enveloped(body=b"", headers=tags(letter.event_type, letter.told_of))
        source = source_of(self._public_url, letter.workspace)
        return enveloped(address.envelope, letter.body, source=source)
