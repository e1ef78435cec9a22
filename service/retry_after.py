"""`Retry-After`, as upstream and receivers send it."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{1,9})?")


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Read a `Retry-After` header as seconds from now; None when it is absent or not understood.

    Args:
        value: Seconds or an HTTP date; a moment in the past is 0.
        now: Epoch seconds.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return max(0.0, float(text))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # HTTP dates are always in GMT, also in the old notation that does not say so.
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, aware.timestamp() - now)
