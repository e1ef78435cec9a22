"""Endpoints: who subscribes to events, and what may happen to a subscription. Values and rules, no I/O."""

import hashlib
from typing import Any, Literal

import msgspec
from msgspec import Struct

from service.lifecycle.run import EventType

DisabledReason = Literal["manual", "gone", "failing", "expired"]
Envelope = Literal["halley", "run", "cloudevents", "cloudevents-binary"]

EVERYWHERE = "*"  # the workspace of those who hear of all workspaces: the operator's own sinks

_DAY_S = 86400.0
_FAILING_S = 5 * _DAY_S
_FIRST_PROBE_S = 3600.0
_MOST_PROBE_S = _DAY_S
_PROBED_FOR_S = 30 * _DAY_S


class SigningSecret(Struct, frozen=True, kw_only=True):
    """A secret that an endpoint's events are signed with.

    Attributes:
        sealed: `whsec_…`, sealed.
        expires_at: When it is made use of no more; None for the newest.
    """

    sealed: str
    expires_at: float | None = None


class Endpoint(Struct, frozen=True, kw_only=True):
    """A subscription: where events go, and which of them. Times are epoch seconds.

    Attributes:
        id: `ep_…`, or the name of a sink.
        workspace: Whose events; `*` for all of them.
        url: Where they go, sealed; "" for a sink, whose address the settings tell.
        url_hash: Finds it by its URL.
        origin: Scheme and host of the URL, which tell people which one it is.
        types: The types that are wanted.
        nodes: Patterns of nodes whose runs are told of, such as `text.*`; empty for all.
        reference_prefix: Only runs whose reference begins so.
        group: Only runs of this group, and the group itself.
        description: For people.
        sealed_headers: JSON object of the headers that are sent besides, sealed.
        header_names: Their names.
        request_origin: What it gave permission to, when it was asked for it; told with every delivery.
        profile: How its answers are understood.
        guessed: Nobody named the profile: the URL looked like it.
        envelope: What is sent of an event.
        rate_per_s: Most attempts a second; None for any number.
        concurrency: Most attempts at a time; None for the usual number.
        secrets: What its events are signed with, the newest first.
        created_at: When it was made.
        expires_at: When it ends by itself.
        state: Whether events are sent to it.
        disabled_reason: Why they are not.
        disabled_at: Since when.
        failing_since: Since when every attempt has failed.
        probes: How often it was tried since it was disabled.
        sequence: Number of its last event.
        due_at: When a sweep must look at it: a probe, or its end.
    """

    id: str
    workspace: str
    url: str
    url_hash: str
    origin: str
    types: tuple[EventType, ...]
    nodes: tuple[str, ...] = ()
    reference_prefix: str | None = None
    group: str | None = None
    description: str | None = None
    sealed_headers: str | None = None
    header_names: tuple[str, ...] = ()
    request_origin: str | None = None
    profile: str = "standard"
    guessed: bool = False
    envelope: Envelope = "halley"
    rate_per_s: float | None = None
    concurrency: int | None = None
    secrets: tuple[SigningSecret, ...] = ()
    created_at: float
    expires_at: float | None = None
    state: Literal["enabled", "disabled"] = "enabled"
    disabled_reason: DisabledReason | None = None
    disabled_at: float | None = None
    failing_since: float | None = None
    probes: int = 0
    sequence: int = 0
    due_at: float | None = None

    @property
    def identity(self) -> str:
        """The same for endpoints that would be told the same at the same place."""
        told = [self.types, self.nodes, self.reference_prefix, self.group, self.envelope]
        return hashlib.sha256(msgspec.json.encode([self.url_hash, told])).hexdigest()

    def is_open(self, now: float) -> bool:
        """Whether events are sent to it."""
        return self.state == "enabled" and (self.expires_at is None or self.expires_at > now)


class EndpointChange(Struct, frozen=True, kw_only=True):
    """An endpoint after a fact, with the events that tell of it."""

    endpoint: Endpoint
    events: tuple[EventType, ...] = ()


def attempted(endpoint: Endpoint, now: float, *, is_delivered: bool, is_gone: bool) -> EndpointChange | None:
    """Note how an attempt ended: who is gone, or has only failed for five days, is not tried again and again."""
    if endpoint.state != "enabled" or endpoint.workspace == EVERYWHERE:  # sinks are the operator's to name
        return None
    if is_gone:
        return disabled(endpoint, now, "gone")
    if is_delivered:
        return None if endpoint.failing_since is None else _changed(endpoint, failing_since=None)
    if endpoint.failing_since is None:
        return _changed(endpoint, failing_since=now)
    return disabled(endpoint, now, "failing") if now - endpoint.failing_since >= _FAILING_S else None


def disabled(endpoint: Endpoint, now: float, reason: DisabledReason) -> EndpointChange | None:
    """Send it no more events; one that fails is probed now and then."""
    if endpoint.state == "disabled":
        return None
    change = _changed(
        endpoint,
        state="disabled",
        disabled_reason=reason,
        disabled_at=now,
        probes=0,
        sequence=endpoint.sequence + 1,
        due_at=now + _FIRST_PROBE_S if reason == "failing" else None,
    )
    return msgspec.structs.replace(change, events=("endpoint.disabled",))


def enabled(endpoint: Endpoint, now: float) -> EndpointChange | None:
    """Send it events again; an end that has passed is taken back."""
    expires_at = endpoint.expires_at if endpoint.expires_at is None or endpoint.expires_at > now else None
    change = _changed(
        endpoint,
        state="enabled",
        disabled_reason=None,
        disabled_at=None,
        failing_since=None,
        probes=0,
        expires_at=expires_at,
        due_at=expires_at,
    )
    return None if change.endpoint == endpoint else change


def probed(endpoint: Endpoint, now: float) -> EndpointChange | None:
    """Note that a failing endpoint is being tried, and when it is tried next: later each time, for a month."""
    if endpoint.disabled_reason != "failing" or endpoint.disabled_at is None:
        return None
    wait_s = min(_FIRST_PROBE_S * 2.0 ** (endpoint.probes + 1), _MOST_PROBE_S)
    is_last = now + wait_s - endpoint.disabled_at > _PROBED_FOR_S
    return _changed(endpoint, probes=endpoint.probes + 1, due_at=None if is_last else now + wait_s)


def expired(endpoint: Endpoint, now: float) -> EndpointChange | None:
    """End an endpoint whose time is over."""
    if endpoint.expires_at is None or now < endpoint.expires_at:
        return None
    return disabled(endpoint, now, "expired")


def rotated(endpoint: Endpoint, sealed: str, now: float, overlap_s: float) -> EndpointChange:
    """Sign with a new secret, and with those before it for a while, so that no receiver meets an unknown one."""
    until = now + overlap_s
    old = (
        msgspec.structs.replace(each, expires_at=until if each.expires_at is None else min(each.expires_at, until))
        for each in endpoint.secrets
    )
    kept = tuple(each for each in old if each.expires_at is not None and each.expires_at > now)
    return _changed(endpoint, secrets=(SigningSecret(sealed=sealed), *kept))


def active_secrets(endpoint: Endpoint, now: float) -> tuple[str, ...]:
    """Return the sealed secrets that events are signed with now, the newest first."""
    return tuple(each.sealed for each in endpoint.secrets if each.expires_at is None or each.expires_at > now)


def _changed(endpoint: Endpoint, **words: Any) -> EndpointChange:
    return EndpointChange(endpoint=msgspec.structs.replace(endpoint, **words))
