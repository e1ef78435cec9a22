"""Identifiers: a prefix that names the kind, then a ULID, so ids of one kind sort by time."""

import functools
import os
import re
import secrets

from ulid import ULID
from ulid.base32 import ENCODE, encode_timestamp

ID_PATTERN = "_[0-7][0-9a-hjkmnp-tv-z]{25}"  # after the prefix
_DIGITS, _TIME_DIGITS = 26, 10  # of a ULID; the rest is chance
_TIME_BYTES = 6
_DIGIT_OF_BYTE = bytes(ord(ENCODE[byte % len(ENCODE)].lower()) for byte in range(256))  # five bits of chance of each


def new_id(prefix: str, epoch_s: float) -> str:
    """Make an id such as `run_01k…`, ordered by the given time.

    Args:
        prefix: `run`, `evt`, `art`, `dlv` ….
        epoch_s: Moment of creation in epoch seconds.
    """
    chance = os.urandom(_DIGITS - _TIME_DIGITS).translate(_DIGIT_OF_BYTE).decode()
    return f"{prefix}_{_time_digits(int(epoch_s * 1000))}{chance}"


@functools.lru_cache(maxsize=64)  # a run takes seven ids, most of them at moments that others have too
def _time_digits(epoch_ms: int) -> str:
    return encode_timestamp(epoch_ms.to_bytes(_TIME_BYTES)).lower()


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
