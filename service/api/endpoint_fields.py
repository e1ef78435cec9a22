"""The fields of an endpoint, as callers write them, and how they become the words of an `Endpoint`."""

import base64
import re
import secrets
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from service.api.parameters import WEBHOOK_URL_PATTERN
from service.api.receiver_urls import url_faults
from service.clock import parse_moment
from service.definitions.inputs import InputCheck
from service.definitions.schema import Field, Rule
from service.delivery.profiles import PROFILES, guess
from service.delivery.receivers import hash_url, origin_of
from service.egress import EgressGuard
from service.errors import Conflict, Fault, InvalidInput
from service.lifecycle.endpoint import Envelope
from service.lifecycle.run import END_EVENTS, EventType
from service.sealing import Sealer

# Base64 of 24 to 64 bytes, which is what Standard Webhooks allow.
_SIGN = "[A-Za-z0-9+/]"
SECRET_PATTERN = (
    f"^whsec_(?:(?:{_SIGN}{{4}}){{8,20}}(?:{_SIGN}{{2}}==|{_SIGN}{{3}}=)?|(?:{_SIGN}{{4}}){{21}}(?:{_SIGN}{{2}}==)?)$"
)
HEADER_NAME = "[A-Za-z0-9_-]{1,64}"
HEADER_VALUE = "[!-~](?:[ -~]{0,1022}[!-~])?"
MOST_HEADERS = 20
# Halley or HTTP itself writes these.
_RESERVED = re.compile(
    "connection|content-(?:encoding|length|type)|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade|user-agent"
    "|(?:webhook|ce|halley)-.*",
    re.IGNORECASE,
)

FIELDS = {
    "url": Field(
        type="string",
        required=True,
        max_length=4096,
        pattern=WEBHOOK_URL_PATTERN,
        about="Where events are posted, byte for byte as it stands here.",
        example="https://hooks.example.com/videos",
    ),
    "types": Field(
        type="array",
        items=Field(type="string", enum=list(get_args(EventType))),
        min_items=1,
        about="Which events; default: those that end a run. `run.progressed` comes every two seconds at most.",
        example=["run.succeeded", "run.failed"],
    ),
    "nodes": Field(
        type="array",
        items=Field(type="string", min_length=1, max_length=200, pattern=r"^[a-z0-9_.*-]+$"),
        max_items=50,
        about="Only runs of nodes that fit one of these, such as `text.*`.",
    ),
    "reference_prefix": Field(
        type="string", min_length=1, max_length=200, about="Only runs whose reference begins like this."
    ),
    "group": Field(type="string", min_length=1, max_length=100, about="Only runs of this group, and its own event."),
    "description": Field(type="string", max_length=500, about="For people."),
    "headers": Field(
        type="object", about="Headers that are sent besides, 20 at most. They are kept encrypted and never shown."
    ),
    "bearer_token": Field(
        type="string",
        min_length=1,
        max_length=1024,
        pattern=r"^[!-~]+$",
        about="Sent as `Authorization: Bearer …`. Kept encrypted and never shown.",
    ),
    "basic_auth": Field(
        type="object",
        fields={
            "username": Field(type="string", required=True, min_length=1, max_length=200, pattern="^[^:]*$"),
            "password": Field(type="string", required=True, max_length=500),
        },
        about="User and password, sent as `Authorization: Basic …`. Kept encrypted and never shown.",
    ),
    "profile": Field(
        type="string",
        enum=list(PROFILES),
        about="How its answers are understood and when it is tried again; default: guessed from the URL.",
    ),
    "envelope": Field(
        type="string",
        enum=list(get_args(Envelope)),
        about="What is sent: the event (`halley`), the run alone, or a CloudEvent, structured or binary.",
    ),
    "handshake": Field(
        type="boolean",
        about="Ask the receiver for its permission first, by the rules of CloudEvents (an OPTIONS request).",
    ),
    "rate_per_s": Field(type="number", minimum=0.01, maximum=1000, about="Most deliveries in a second."),
    "concurrency": Field(type="integer", minimum=1, maximum=32, about="Most deliveries at a time."),
    "secret": Field(
        type="string",
        pattern=SECRET_PATTERN,
        about="Signs the events; made for you when you send none. `whsec_` and the Base64 of 24 to 64 bytes.",
    ),
    "expiration_date": Field(
        type="string", max_length=40, about="When it ends by itself, as `2027-01-31T12:00:00Z`; in the future."
    ),
}
RULES = (Rule(at_most_one=["bearer_token", "basic_auth"]),)
NULLABLE = (
    "nodes",
    "reference_prefix",
    "group",
    "description",
    "headers",
    "bearer_token",
    "basic_auth",
    "rate_per_s",
    "concurrency",
    "expiration_date",
)
_HEADER_FIELDS = {"headers", "bearer_token", "basic_auth"}
_create = InputCheck(FIELDS, RULES, {})
_update = InputCheck(
    {name: msgspec.structs.replace(each, required=False) for name, each in FIELDS.items() if name != "secret"},
    RULES,
    {"secret": "use rotate-secret"},
)
_DEFAULTS = {
    "types": END_EVENTS,
    "nodes": (),
    "reference_prefix": None,
    "group": None,
    "description": None,
    "rate_per_s": None,
    "concurrency": None,
}


class EndpointForm:
    """What a caller wrote about an endpoint, checked.

    Args:
        raw: The body.
        is_json: It was sent with types.
        is_new: A new endpoint is made: what must be given is required, and what is not given has its default.

    Raises:
        InvalidInput: With one fault for everything that is wrong.
    """

    def __init__(self, raw: Mapping[str, Any], *, is_json: bool, is_new: bool) -> None:
        self._cleared = set() if is_new else {name for name in NULLABLE if name in raw and raw[name] is None}
        given = {name: value for name, value in raw.items() if name not in self._cleared}
        self.values = (_create if is_new else _update).check(given, is_json=is_json)
        self._is_new = is_new

    @property
    def url(self) -> str | None:
        """The URL, if one is given."""
        url = self.values.get("url")
        return None if url is None else str(url)

    @property
    def asks_first(self) -> bool:
        """Whether the receiver must agree before anything is sent."""
        return bool(self.values.get("handshake", False))

    @property
    def secret(self) -> str:
        """The secret that is given, or a new one."""
        return str(self.values.get("secret") or new_secret())

    def words(self, sealer: Sealer, guard: EgressGuard, now: float) -> dict[str, Any]:
        """Return the words of the endpoint that are given, or have their default.

        Args:
            sealer: Seals what is secret.
            guard: Judges literal addresses.
            now: The present.

        Raises:
            Conflict: Its time is over already.
            InvalidInput: With one fault for everything that is wrong.
        """
        faults = self._url_faults(guard)
        headers = self._headers(faults)
        expires_at = self._expires_at(faults, now)
        if faults:
            raise InvalidInput(tuple(faults))
        words: dict[str, Any] = dict(_DEFAULTS) if self._is_new else {n: _DEFAULTS.get(n) for n in self._cleared}
        words = {name: value for name, value in words.items() if name in _DEFAULTS}
        words |= {name: _tupled(self.values[name]) for name in _DEFAULTS if name in self.values}
        return words | self._place(sealer) | self._manner() | self._secrecy(headers, sealer) | expires_at

    def _url_faults(self, guard: EgressGuard) -> list[Fault]:
        return [] if self.url is None else url_faults(self.url, guard, "/url")

    def _headers(self, faults: list[Fault]) -> dict[str, str] | None:
        """Return the headers that are sent besides; None when nothing is said of them."""
        if not self.values.keys() & _HEADER_FIELDS:
            return {} if self._cleared & _HEADER_FIELDS else None
        headers = {str(name): value for name, value in self.values.get("headers", {}).items()}
        faults += [fault for name, value in headers.items() for fault in _header_faults(name, value)]
        if len(headers) > MOST_HEADERS:
            faults.append(Fault(pointer="/headers", code="max_items", message=f"at most {MOST_HEADERS} headers"))
        return headers | self._authorization()

    def _authorization(self) -> dict[str, str]:
        if "bearer_token" in self.values:
            return {"Authorization": f"Bearer {self.values['bearer_token']}"}
        if "basic_auth" not in self.values:
            return {}
        pair = "{username}:{password}".format(**self.values["basic_auth"])
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    def _expires_at(self, faults: list[Fault], now: float) -> dict[str, Any]:
        text = self.values.get("expiration_date")
        if text is None:
            is_cleared = self._is_new or "expiration_date" in self._cleared
            return {"expires_at": None, "due_at": None} if is_cleared else {}
        try:
            expires_at = parse_moment(str(text))
        except (ValueError, OverflowError):
            faults.append(Fault(pointer="/expiration_date", code="format", message="must be like 2027-01-31T12:00:00Z"))
            return {}
        if expires_at <= now:
            raise Conflict(f"The expiration date {text} has passed; give one in the future.")
        return {"expires_at": expires_at, "due_at": expires_at}

    def _place(self, sealer: Sealer) -> dict[str, Any]:
        if self.url is None:
            return {}
        return {"url": sealer.seal(self.url), "url_hash": hash_url(self.url), "origin": origin_of(self.url)}

    def _manner(self) -> dict[str, Any]:
        words: dict[str, Any] = {n: self.values[n] for n in ("profile", "envelope") if n in self.values}
        if "profile" in words:
            words["guessed"] = False
        elif self.url is not None:
            words |= {"profile": guess(self.url).name, "guessed": True}
        if self._is_new:
            words.setdefault("envelope", PROFILES[words["profile"]].envelope)
        return words

    @staticmethod
    def _secrecy(headers: dict[str, str] | None, sealer: Sealer) -> dict[str, Any]:
        if headers is None:
            return {}
        sealed = sealer.seal(msgspec.json.encode(headers).decode()) if headers else None
        return {"sealed_headers": sealed, "header_names": tuple(headers)}


def new_secret() -> str:
    """Make a secret that events are signed with."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _tupled(value: Any) -> Any:
    return tuple(dict.fromkeys(value)) if isinstance(value, list) else value


def _header_faults(name: str, value: Any) -> list[Fault]:
    pointer = "/headers/" + name.replace("~", "~0").replace("/", "~1")
    if not re.fullmatch(HEADER_NAME, name):
        return [Fault(pointer=pointer, code="format", message="this is not the name of a header")]
    if _RESERVED.fullmatch(name):
        return [Fault(pointer=pointer, code="reserved", message="this header is written by Halley itself")]
    if not isinstance(value, str) or not re.fullmatch(HEADER_VALUE, value):
        message = "must be a text of 1 to 1024 printable ASCII characters without blanks around it"
        return [Fault(pointer=pointer, code="format", message=message)]
    return []
