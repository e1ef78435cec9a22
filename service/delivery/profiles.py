"""Receiver profiles: what the answers of well-known receivers mean, as a table.

A profile says what is sent, how the answer is read and on which ladder the delivery stands. When attempts are made is
the ladder's concern, how bytes travel the sender's. What the tools' own pages do not promise is marked as inferred.
"""

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from service.delivery.ladder import OUTAGE, RESUME, SUBSCRIPTION, Ladder
from service.lifecycle.endpoint import Envelope

Meaning = Literal["delivered", "gone", "not_ready", "throttled", "failed"]

_GONE = frozenset({410})
_OVERLOADED = frozenset({429, 502, 503, 504})
# Seen in n8n 2.40: while it brings its database up to date, every path answers so, and what came is thrown away. Its
# webhooks have any path on any host, so all profiles know the words. After that no path is known for seconds.
_STARTING = MappingProxyType({200: "n8n is starting up"})
_N8N_STARTING = MappingProxyType({**_STARTING, 404: "<pre>Cannot "})
# As its last act of starting, n8n marks as crashed whatever runs, also what a webhook has begun a moment ago.
_STARTS_FOR_S = 15.0


class Place(Struct, frozen=True, kw_only=True):
    """URLs that a profile is guessed from: both patterns fit the whole of their part."""

    host: str = ".*"
    path: str = ".*"


class Profile(Struct, frozen=True, kw_only=True):
    """How one kind of receiver is served. 2xx is delivered for all of them, but for one sentence; a redirect for none.

    Attributes:
        name: What users write as `webhook_profile`.
        meant_for: The receiver, for people.
        ladder: When it is tried again.
        envelope: What is sent of an event, where an endpoint does not say it.
        gone: Statuses after which nothing is sent again.
        gone_words: Statuses that are final only when the answer holds these words.
        not_ready: Statuses of a receiver that will take the event in a while.
        starting: Statuses that, with these words in the answer, mean that the receiver is only just starting.
        slow_down: Statuses of a receiver that asks for patience.
        hints: What a status means there, for the timeline.
        places: Where it is guessed from.
    """

    name: str
    meant_for: str
    ladder: Ladder = SUBSCRIPTION
    envelope: Envelope = "halley"
    gone: frozenset[int] = _GONE
    gone_words: Mapping[int, str] = {}
    not_ready: frozenset[int] = frozenset()
    starting: Mapping[int, str] = _STARTING
    slow_down: frozenset[int] = _OVERLOADED
    hints: Mapping[int, str] = {}
    places: tuple[Place, ...] = ()


_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

_TABLE = (
    Profile(name="standard", meant_for="receivers of your own"),
    Profile(
        name="n8n-resume",
        meant_for="n8n's Wait node, `$execution.resumeUrl`",
        ladder=RESUME,
        # Seen in n8n 2.40: an execution that is over, crashed or stopped answers 409 as well, and only its words tell.
        gone_words={401: "Invalid token", 409: "has finished"},
        not_ready=frozenset({404, 409}),
        starting=_N8N_STARTING,
        hints={
            401: "the URL is not whole, it ends in the signature that n8n gave it",
            403: "the Wait node asks for a sign-in (choose None under Authentication), or its option Ignore Bots takes "
            "Halley for one (remove it)",
            404: "no Wait node listens for this method there yet; it is not reached, or its HTTP Method differs "
            "(choose POST in the node, or start runs with webhook_method=GET)",
            409: "the execution is not waiting now",
        },
        places=(Place(path="(?:/.*)?/webhook-waiting/.+"),),
    ),
    Profile(
        name="n8n-webhook",
        meant_for="n8n's Webhook node, production and test URL",
        starting=_N8N_STARTING,
        hints={
            403: "the node's Authentication and what is sent differ, or its option Ignore Bots takes Halley for one",
            404: "the workflow is not active, nobody listens for a test event, or the node's HTTP Method differs",
        },
        # Paths like /webhook/orders are common elsewhere, so the host, the id or the word for tests must say n8n.
        places=(
            Place(host=r"(?:.*[.-])?n8n(?:[.-].*)?", path="(?:/.*)?/webhook(?:-test)?/.+"),
            Place(path=f"(?:/.*)?/webhook(?:-test)?/{_UUID}(?:/.*)?"),
            Place(path="(?:/.*)?/webhook-test/.+"),
        ),
    ),
    Profile(
        name="zapier-hook",
        meant_for="Zapier's Catch Hook and REST hooks",
        hints={410: "the Zap has unsubscribed"},
        places=(Place(host=r"hooks\.zapier\.com", path="/hooks/(?:catch|standard)/.+"),),
    ),
    Profile(
        name="zapier-callback",
        meant_for="callback URLs of Zapier's developer platform",
        # Inferred: which 4xx a used callback gives is not promised, so none but 410 is final.
        hints={400: "a callback takes one answer", 404: "a callback takes one answer, and that within 30 days"},
        places=(Place(host=r"(?:hooks\.)?zapier\.com", path="/hooks/callback/.+"),),
    ),
    Profile(
        name="make",
        meant_for="Make's Custom webhook",
        # Inferred: a queue that is full is told by 400; asking less often does no harm if it means something else.
        slow_down=_OVERLOADED | {400},
        hints={
            400: "its queue is full",
            404: "there is no such webhook, or its scenario is off",
            410: "no scenario uses the webhook",
            429: "its queue is full, or too much comes at once",
        },
        places=(
            Place(host=r"hook\.(?:[a-z0-9-]+\.)?make\.(?:com|celonis\.com)"),
            Place(host=r"hook\.integromat\.com"),
        ),
    ),
    Profile(
        name="power-automate",
        meant_for="Power Automate and Logic Apps, *When an HTTP request is received*",
        hints={
            401: "the signature in the URL is not valid; copy it again, whole",
            404: "the flow is off or deleted",
        },
        places=(
            Place(host=r".+\.logic\.azure\.(?:com|us|cn)", path="/workflows/.+/triggers/.+"),
            # The newer addresses, whose path begins with the product's name.
            Place(host=r".+\.powerplatform\.com", path="/powerautomate/.+"),
            Place(host=r"(?:.+\.)?powerautomate\.com", path="(?:/.*)?/workflows/.+/triggers/.+"),
        ),
    ),
    Profile(name="plain", meant_for="receivers that want the run alone as the body", envelope="run"),
)
PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in _TABLE}
STANDARD = PROFILES["standard"]
# Of the operator's own sinks; nobody names it.
BROKER = Profile(name="broker", meant_for="message brokers that HALLEY_SINKS names", ladder=OUTAGE)


def profile_of(name: str) -> Profile:
    """Return the profile of a name; one that this version does not know is served like any receiver."""
    return BROKER if name == BROKER.name else PROFILES.get(name, STANDARD)


def guess(url: str) -> Profile:
    """Return the profile that a webhook URL looks like; the URL itself is left as it is."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return STANDARD
    fitting = (profile for profile, paths in _profiles_at(host) if paths.fullmatch(parts.path))
    return next(fitting, STANDARD)


@functools.lru_cache(maxsize=1024)  # receivers are at few hosts, at each of which every run has a path of its own
def _profiles_at(host: str) -> tuple[tuple[Profile, re.Pattern[str]], ...]:
    """Return the profiles of receivers at a host, each with the paths that it is recognised by."""
    return tuple(
        (profile, re.compile(place.path, re.IGNORECASE))
        for profile in PROFILES.values()
        for place in profile.places
        if re.fullmatch(place.host, host)
    )


def understood(profile: Profile, status: int, answer: str) -> tuple[Meaning, str]:
    """Return what an answer means to a profile, and why, in one sentence."""
    meaning = _meaning(profile, status, answer)
    sentence = f"The receiver answered {status}{_TOLD[meaning]}"
    if meaning == "failed" and status // 100 == 3:  # noqa: PLR2004 - 3xx
        sentence = f"The receiver answered {status}: redirects are not followed, give the final URL"
    hint = profile.hints.get(status)
    return meaning, f"{sentence}; {profile.name}: {hint}." if hint and meaning != "delivered" else f"{sentence}."


def patience_s(profile: Profile, status: int, answer: str) -> float | None:
    """Return how many seconds a receiver is left alone although it has not asked for it; None if it need not be."""
    return _STARTS_FOR_S if _says(profile.starting, status, answer) else None


_TOLD: Mapping[Meaning, str] = {
    "delivered": "",
    "gone": ": it wants no more deliveries",
    "not_ready": ": it is not ready yet",
    "throttled": ": it is overloaded or not ready",
    "failed": ": only 2xx counts as delivered",
}


def _meaning(profile: Profile, status: int, answer: str) -> Meaning:
    if _says(profile.starting, status, answer):
        return "not_ready"
    if status // 100 == 2:  # noqa: PLR2004 - 2xx
        return "delivered"
    if status in profile.gone or _says(profile.gone_words, status, answer):
        return "gone"
    if status in profile.not_ready:
        return "not_ready"
    return "throttled" if status in profile.slow_down else "failed"


def _says(words: Mapping[int, str], status: int, answer: str) -> bool:
    return status in words and words[status] in answer
