"""Signatures by the Standard Webhooks rules, and the secrets that they are made with.

Here are no endpoints and no storage: whoever calls knows the secrets, or derives them from the instance's keys.
"""

import base64
import hashlib
import hmac
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from service.secret_key import SecretKeys


def signed_headers(secrets: Sequence[str], message_id: str, timestamp: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that go out with a body, among them a signature under each secret.

    A receiver takes the body when it can verify one of them, so it may know the old secret or the new one.

    Args:
        secrets: Each `whsec_` and base64.
        message_id: The same on every attempt, so that receivers can tell repetitions.
        timestamp: Moment of this attempt, with a time zone; receivers refuse old ones.
        body: UTF-8, exactly as it will be sent; empty when none is.
    """
    # The library reads the wall-clock fields as UTC whatever the zone, so they have to be UTC.
    moment, text = timestamp.astimezone(UTC), body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(math.floor(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(each).sign(message_id, moment, text) for each in secrets),
        **({"content-type": "application/json"} if body else {}),
    }


def derive_secrets(keys: SecretKeys, workspace: str) -> tuple[str, ...]:
    """Return the signing secrets of a workspace, one for each key, the current one first."""
    return tuple(derive_secret(key, workspace) for key in keys.all)


def derive_secret(master: bytes, workspace: str) -> str:
    """Return the signing secret of a workspace, which is the same as long as the master key is."""
    key = hmac.digest(master, b"webhook-signing:" + workspace.encode(), hashlib.sha256)
    return f"whsec_{base64.b64encode(key).decode()}"
