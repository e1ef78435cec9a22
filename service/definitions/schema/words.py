"""The smallest words of the format: names, durations, sizes, addresses, and the base of all others."""

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

ErrorCode = Literal[
    "auth",
    "quota",
    "rate_limited",
    "invalid_request",
    "moderation",
    "upstream_busy",
    "not_found",
    "server",
    "generation_failed",
    "no_output",
    "timed_out",
    "canceled",
    "submit_unknown",
]

UpstreamState = Literal["queued", "running", "succeeded", "failed", "canceled"]

ArtifactKind = Literal["video", "image", "audio", "model3d", "file"]

Auth = Literal["bearer", "query", "none"]

Transport = Literal["url", "base64", "data_uri", "file"]

NodeId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*\.[a-z][a-z0-9_]*$", description="`provider.operation`")]

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$")]

Duration = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$", description="Such as `15s` or `60m`")]

Size = Annotated[str, Meta(pattern=r"^[0-9]+(B|kB|MB)$", description="Decimal units, such as `10MB`")]

Endpoint = Annotated[
    str,
    Meta(
        pattern=r"^(GET|POST|WSS) [/{]\S*$",
        description="Method and path; `{name}` is an input, escaped, `{+name}` one that may hold slashes",
    ),
]

Path = Annotated[
    str,
    Meta(
        min_length=1,
        description="Where a value stands in an answer: a dotted path or a JMESPath expression, in which "
        "`last_line(text)` is a text's last line that is not empty. "
        "`inner.…` starts at the object that `unwrap` found",
    ),
]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

_UNITS_BYTES = {"B": 1, "kB": 1_000, "MB": 1_000_000}


def seconds(duration: str) -> float:
    """Return a `Duration` in seconds."""
    number, unit = re.fullmatch(r"([0-9.]+)([a-z]+)", duration).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS_S[unit]


def size_bytes(size: str) -> int:
    """Return a `Size` in bytes."""
    number, unit = re.fullmatch(r"([0-9]+)([a-zA-Z]+)", size).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS_BYTES[unit]


class Word(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all format words: an unknown word is a fault, never ignored."""
