"""Identifiers: a prefix that names the kind, then a ULID, so ids of one kind sort by time."""

import secrets

from ulid import ULID


def new_id(prefix: str, epoch_s: float) -> str:
    """Make an id such as `run_01k…`, ordered by the given time.

    Args:
        prefix: `run`, `evt`, `art`, `dlv` ….
        epoch_s: Moment of creation in epoch seconds.
    """
    return f"{prefix}_{str(ULID.from_timestamp(epoch_s)).lower()}"


def new_token() -> str:
    """Make an unguessable, URL-safe token of 256 bits."""
    return secrets.token_urlsafe(32)
