"""The forms in which an event goes out: whole, the run alone, or a CloudEvent.

All are made from the bytes in the outbox, and `data` goes out as it was written there: it is cut out, never decoded.
"""

from typing import Literal, cast
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from service.lifecycle.endpoint import Envelope

_JSON = "application/json"
_SEQUENCE_DIGITS = 10
# Headers of CloudEvents are percent-encoded: all but what prints in ASCII, and never a blank, " or %.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class Enveloped(Struct, frozen=True, kw_only=True):
    """What goes out.

    Attributes:
        body: The bytes that are signed and sent.
        content_type: Of the body.
        headers: What the envelope says beside the body.
    """

    body: bytes
    content_type: str = _JSON
    headers: dict[str, str] = {}


class _Event(Struct, frozen=True):
    id: str
    type: str
    timestamp: str
    data: Raw
    sequence: int | None = None


class _Subject(Struct, frozen=True):
    id: str | None = None


class _CloudEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Attributes of CloudEvents 1.0, in its own words; `sequence` is its extension of this name."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str | UnsetType = UNSET
    time: str
    sequence: str | UnsetType = UNSET
    datacontenttype: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_subject = msgspec.json.Decoder(_Subject).decode
_encode = msgspec.json.Encoder().encode


def enveloped(envelope: Envelope, event: bytes, *, source: str) -> Enveloped:
    """Return an event in the form that a receiver has chosen.

    Args:
        envelope: The form.
        event: The event as it stands in the outbox.
        source: Where it comes from, for CloudEvents; see `source_of`.
    """
    if envelope == "halley":
        return Enveloped(body=event)
    read = _decode_event(event)
    subject = _decode_subject(read.data).id
    if envelope == "run":
        return Enveloped(body=bytes(read.data), headers=tags(read.type, subject or ""))
    attributes = _CloudEvent(
        specversion="1.0",
        id=read.id,
        source=source,
        type=read.type,
        subject=subject or UNSET,
        time=read.timestamp,
        # Compared as text by those who know the extension, hence the zeros.
        sequence=UNSET if read.sequence is None else str(read.sequence).zfill(_SEQUENCE_DIGITS),
    )
    return _structured(attributes, read.data) if envelope == "cloudevents" else _binary(attributes, read.data)


def tags(event_type: str, subject: str) -> dict[str, str]:
    """Return what the event would have said, for where only the run in it goes out, or nothing."""
    return {"Halley-Event": event_type, "Halley-Run": subject}


def source_of(public_url: str | None, workspace: str) -> str:
    """Return the source of a workspace's CloudEvents: where the outside knows Halley, else a name."""
    return public_url or f"urn:halley:{quote(workspace, safe='')}"


def _structured(attributes: _CloudEvent, data: Raw) -> Enveloped:
    whole = msgspec.structs.replace(attributes, datacontenttype=_JSON, data=data)
    return Enveloped(body=_encode(whole), content_type="application/cloudevents+json")


def _binary(attributes: _CloudEvent, data: Raw) -> Enveloped:
    # In HTTP the content type stands for `datacontenttype`.
    named = cast("dict[str, str]", msgspec.to_builtins(attributes))
    return Enveloped(
        body=bytes(data), headers={f"ce-{name}": quote(value, safe=_PLAIN) for name, value in named.items()}
    )
