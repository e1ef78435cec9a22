"""Every error that Halley raises on purpose, by what the one who meets it can do about it.

```
HalleyError
├── CallerError          the request is wrong; change it
│   ├── InvalidInput     one fault per wrong field, each with its pointer
│   ├── Unauthorized     no API key, or one that is unknown or revoked
│   ├── Forbidden        the link is expired, or was not made here
│   ├── BeyondKey        the API key is valid, but not for this
│   ├── AllowanceSpent   the API key has started all the runs that it may start today
│   ├── NotFound         no such node, run, file or callback (for this caller)
│   ├── Conflict         the thing exists, but its state forbids what was asked
│   ├── TooLarge         the body is over the limit
│   └── UnsupportedMedia the body is in a format that is not understood
├── BlockedAddress       the egress guard refused the address behind a user's URL
├── MediaUnavailable     the media behind a user's URL could not be had
├── NotSent              the request never left: it is safe to try again
│   └── SocketRefused    upstream answered the handshake of a WebSocket with an error
├── Unconfirmed          the request may have been received: never send it again blindly
├── DefinitionFaults     node definitions are wrong; every fault is listed
├── SettingsError        a setting is wrong; named in one line
└── StoreError           the database or the data folder cannot do its work
```

`api/problems.py` is the only place that turns these into HTTP answers.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a request.

    Attributes:
        pointer: JSON pointer into the body (`/prompt`), or `query:wait`, `header:Idempotency-Key`.
        code: Stable machine word: `required`, `type`, `enum`, `max_length`, `unknown_field` ….
        message: What is wrong and what to do, for a person.
    """

    pointer: str
    code: str
    message: str


class HalleyError(Exception):
    """Base of all errors raised on purpose."""


class CallerError(HalleyError):
    """The request is wrong; the caller can change it."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_request"
    title: ClassVar[str] = "The request cannot be carried out"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class InvalidInput(CallerError):
    """Some fields are missing, unknown or out of their limits."""

    status = 422
    title = "The input does not fit the node"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        what = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{what} in the request; nothing was sent upstream.", faults)


class Unauthorized(CallerError):
    """No API key was sent, or one that is unknown or revoked."""

    status = 401
    code = "auth"
    title = "An API key is needed"


class Forbidden(CallerError):
    """The link is expired, or its signature is not ours."""

    status = 403
    code = "auth"
    title = "The link is not valid"


class BeyondKey(CallerError):
    """The API key is valid, but its scope or its nodes do not cover what was asked."""

    status = 403
    code = "auth"
    title = "This API key may not do that"


class AllowanceSpent(CallerError):
    """The API key has started all the runs that it may start today.

    Args:
        detail: What happened, and when it may go on.
        retry_after_s: Until the next day.
    """

    status = 429
    code = "rate_limited"
    title = "The API key has started all its runs of today"
    retryable = True

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotFound(CallerError):
    """There is no such thing for this caller."""

    status = 404
    code = "not_found"
    title = "Not found"


class Conflict(CallerError):
    """The thing exists, but its present state forbids what was asked."""

    status = 409
    code = "conflict"
    title = "Not possible in the present state"


class TooLarge(CallerError):
    """The body is larger than the route takes."""

    status = 413
    code = "too_large"
    title = "The body is too large"


class UnsupportedMedia(CallerError):
    """The body is in a format that the route does not understand."""

    status = 415
    code = "unsupported_media_type"
    title = "The body's format is not understood"


class BlockedAddress(HalleyError):
    """The egress guard refused the address behind a user's URL."""


class MediaUnavailable(HalleyError):
    """The media behind a URL that a user gave could not be had, so nothing was sent upstream.

    Args:
        why: What went wrong, without the URL's path and query.
        pointer: The input that holds the URL.
        retryable: The same may succeed later.
    """

    def __init__(self, why: str, *, pointer: str = "", retryable: bool = False) -> None:
        at = f" for {pointer}" if pointer else ""
        super().__init__(f"the media{at} could not be fetched: {why}; nothing was sent upstream")
        self.why = why
        self.retryable = retryable


class NotSent(HalleyError):
    """The request never left this machine, so sending it again cannot pay twice."""


class SocketRefused(NotSent):
    """Upstream refused the handshake of a WebSocket, which starts nothing.

    Args:
        status: HTTP status of its answer.
        headers: Headers of its answer, names in lower case.
    """

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"upstream refused the WebSocket (HTTP {status})")
        self.status = status
        self.headers = headers


class Unconfirmed(HalleyError):
    """The request may have been received; whether it was accepted is not known."""


class SettingsError(HalleyError):
    """A setting is missing or wrong."""


class StoreError(HalleyError):
    """The database or the data folder is missing, locked, full, corrupt or of another version."""
