"""Signatures by the Standard Webhooks rules, and the secrets that they are made with.

Here are no endpoints and no storage: whoever calls knows the secret, or derives it from the master key.
"""

import base64
import hashlib
import hmac
import math
from datetime import UTC, datetime

from standardwebhooks import Webhook


def signed_headers(secret: str, message_id: str, timestamp: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that go out with a body, its signature among them.

    Args:
        secret: `whsec_` and base64.
        message_id: The same on every attempt, so that receivers can tell repetitions.
        timestamp: Moment of this attempt, with a time zone; receivers refuse old ones.
        body: UTF-8, exactly as it will be sent.
    """
    # The library reads the wall-clock fields as UTC whatever the zone, so they have to be UTC.
    moment = timestamp.astimezone(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(math.floor(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, moment, body.decode()),
        "content-type": "application/json",
    }


def derive_secret(master: bytes, workspace: str) -> str:
    """Return the signing secret of a workspace, which is the same as long as the master key is."""
    key = hmac.digest(master, b"webhook-signing:" + workspace.encode(), hashlib.sha256)
    return f"whsec_{base64.b64encode(key).decode()}"
