"""Identifiers: a prefix that names the kind, then a ULID, so ids of one kind sort by time."""

import re
import secrets

from ulid import ULID
from ulid.base32 import encode

ID_PATTERN = "_[0-7][0-9a-hjkmnp-tv-z]{25}"  # after the prefix
_DIGITS, _TIME_DIGITS = 26, 10  # of a ULID; the rest is chance
_TIME_BYTES, _CHANCE_BYTES = 6, 10


def new_id(prefix: str, epoch_s: float) -> str:
    """Make an id such as `run_01k…`, ordered by the given time.

    Args:
        prefix: `run`, `evt`, `art`, `dlv` ….
        epoch_s: Moment of creation in epoch seconds.
    """
    # The library's encoder alone: its class checks at each step what it is made from, and a run takes seven ids.
    milliseconds = int(epoch_s * 1000).to_bytes(_TIME_BYTES)
    return f"{prefix}_{encode(milliseconds + secrets.token_bytes(_CHANCE_BYTES)).lower()}"


def first_id(prefix: str, epoch_s: float) -> str:
    """Return the lowest id of a moment: ids that are made from then on are not below it."""
    return f"{prefix}_{str(ULID.from_timestamp(epoch_s)).lower()[:_TIME_DIGITS]:0<{_DIGITS}}"


def made_at(ident: str) -> float:
    """Return the moment of creation of an id, in epoch seconds.

    Raises:
        ValueError: It is no id.
    """
    return ULID.from_str(ident.rpartition("_")[2].upper()).milliseconds / 1000


def is_id(prefix: str, text: str) -> bool:
    """Tell whether a text is an id of a kind, whether or not anything has it."""
    return re.fullmatch(prefix + ID_PATTERN, text) is not None


def new_token() -> str:
    """Make an unguessable, URL-safe token of 256 bits."""
    return secrets.token_urlsafe(32)
