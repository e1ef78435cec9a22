"""Signatures by the Standard Webhooks rules, and the secrets and keys that they are made with.

Here are no endpoints and no storage: whoever calls knows the secrets, or derives them from the instance's keys.

Who shares a secret checks `v1` (5 µs to make), who only knows a public key checks `v1a` (36 µs). Both are over the same
content and stand side by side in one header. A workspace has keys of its own: with one for all, whoever may start a
run could have Halley sign its events for somebody else's receiver.
"""

import base64
import functools
import hashlib
import hmac
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

from service.secret_key import SecretKeys

_KNOWN = 4096

SigningKey = Ed25519PrivateKey


def signed_headers(
    secrets: Sequence[str], message_id: str, timestamp: datetime, body: bytes, keys: Sequence[SigningKey] = ()
) -> dict[str, str]:
    """Return the headers that go out with a body, among them a signature under each secret and each key.

    A receiver takes the body when it can verify one of them, so it may know the old secret or the new one.

    Args:
        secrets: Each `whsec_` and base64.
        message_id: The same on every attempt, so that receivers can tell repetitions.
        timestamp: Moment of this attempt, with a time zone; receivers refuse old ones.
        body: UTF-8, exactly as it will be sent; empty when none is.
        keys: Keys whose public halves receivers may know.
    """
    # The library reads the wall-clock fields as UTC whatever the zone, so they have to be UTC.
    moment, text = timestamp.astimezone(UTC), body.decode()
    seconds = str(math.floor(moment.timestamp()))
    signatures = [_webhook(each).sign(message_id, moment, text) for each in secrets]
    signatures += [_signed(each, f"{message_id}.{seconds}.".encode() + body) for each in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(signatures),
        **({"content-type": "application/json"} if body else {}),
    }


@functools.lru_cache(_KNOWN)  # the library decodes a secret whenever it is given one
def _webhook(secret: str) -> Webhook:
    return Webhook(secret)


def _signed(key: SigningKey, content: bytes) -> str:
    return f"v1a,{base64.b64encode(key.sign(content)).decode()}"


def derive_secrets(keys: SecretKeys, workspace: str) -> tuple[str, ...]:
    """Return the signing secrets of a workspace, one for each key, the current one first."""
    return tuple(derive_secret(key, workspace) for key in keys.all)


def derive_secret(master: bytes, workspace: str) -> str:
    """Return the signing secret of a workspace, which is the same as long as the master key is."""
    key = hmac.digest(master, b"webhook-signing:" + workspace.encode(), hashlib.sha256)
    return f"whsec_{base64.b64encode(key).decode()}"


def derive_keys(keys: SecretKeys, workspace: str) -> tuple[SigningKey, ...]:
    """Return the ed25519 keys of a workspace, one for each key, the current one first; each takes 30 µs to make."""
    return tuple(derive_key(key, workspace) for key in keys.all)


def derive_key(master: bytes, workspace: str) -> SigningKey:
    """Return the ed25519 key of a workspace, which is the same as long as the master key is."""
    seed = hmac.digest(master, b"webhook-signing-ed25519:" + workspace.encode(), hashlib.sha256)
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_key(key: SigningKey) -> bytes:
    """Return the 32 bytes with which anybody verifies what a key has signed."""
    return key.public_key().public_bytes_raw()


def written_public_key(key: bytes) -> str:
    """Write a public key as Standard Webhooks does: `whpk_` and base64."""
    return f"whpk_{base64.b64encode(key).decode()}"
