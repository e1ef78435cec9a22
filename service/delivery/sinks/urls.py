"""What stands in `HALLEY_SINKS`: URLs of brokers, and what each query word means.

A broker client cannot be led through the egress guard, so sinks are the operator's to name, never an API caller's. The
words are the brokers' own terms. All of it is checked at start, and no error repeats what may be a password.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Generic, Literal, TypeVar, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec
from msgspec import Meta, Struct

from service.errors import SettingsError
from service.lifecycle.run import END_EVENTS, EventType
from service.settings import Secret

Kind = Literal["nats", "redis", "kafka", "amqp"]

EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
_DEFAULT_TYPES: tuple[EventType, ...] = (*END_EVENTS, "group.completed", "endpoint.disabled")

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_SLOT = re.compile(r"\{([^{}]*)\}")
_SLOTS = ("workspace", "type", "node")


class Words(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query words of every sink.

    Attributes:
        envelope: The form of an event.
        types: Event types that are told, separated by commas; `*` is all of them.
    """

    envelope: Literal["halley", "cloudevents"] = "halley"
    types: str = ",".join(_DEFAULT_TYPES)

    @property
    def places(self) -> tuple[str, ...]:
        """The templates that say where a message goes."""
        raise NotImplementedError

    def fault(self) -> str | None:
        """Return what is wrong with the words together, or None."""
        for place in self.places:
            unknown = [slot for slot in _SLOT.findall(place) if slot not in _SLOTS]
            if unknown or re.search("[{}]", _SLOT.sub("", place)):
                return f"{place!r} may hold the slots {{workspace}}, {{type}} and {{node}}, and no other braces"
        wrong = next((each for each in self.types.split(",") if each not in (*EVENT_TYPES, "*")), None)
        return None if wrong is None else f"types={wrong} is no event type; there are {', '.join(EVENT_TYPES)}, and *"


class NatsWords(Words, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an event goes in NATS.

    Attributes:
        subject: Subject of the message.
        stream: JetStream stream that must take it.
    """

    subject: str = "halley.{workspace}.{type}"
    stream: Annotated[str, Meta(pattern=r"^[^\s.*>/\\]+$")] = "HALLEY"

    @property
    def places(self) -> tuple[str, ...]:
        """The subject."""
        return (self.subject,)

    def fault(self) -> str | None:
        """Return what is wrong, or None."""
        if not re.fullmatch(r"[^\s*>.]+(\.[^\s*>.]+)*", _SLOT.sub("x", self.subject)):
            return "subject must be words between dots, without blanks, * and >"
        return super().fault()


class RedisWords(Words, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an event goes in Redis.

    Attributes:
        stream: Key of the stream.
        maxlen: The stream is cut to about so many entries; without it, it grows.
    """

    stream: Annotated[str, Meta(min_length=1)] = "halley.events"
    maxlen: Annotated[int, Meta(ge=1)] | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """The key."""
        return (self.stream,)


class KafkaWords(Words, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an event goes in Kafka, and how to log in there.

    Attributes:
        topic: The topic.
        security_protocol: As in Kafka's own settings.
        sasl_mechanism: As in Kafka's own settings; user and password stand in the URL.
    """

    topic: str = "halley.events"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"

    @property
    def places(self) -> tuple[str, ...]:
        """The topic."""
        return (self.topic,)

    def fault(self) -> str | None:
        """Return what is wrong, or None."""
        if not re.fullmatch(r"[A-Za-z0-9._-]+", _SLOT.sub("x", self.topic)):
            return "topic may hold letters, digits, dots, - and _"
        return super().fault()


class AmqpWords(Words, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an event goes in RabbitMQ: to an exchange, or right into a queue.

    Attributes:
        exchange: Name of an exchange that exists.
        routing_key: What the exchange routes by.
        queue: Name of a queue that exists.
    """

    exchange: str | None = None
    routing_key: str | None = None
    queue: str | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Exchange and routing key; the default exchange has no name and routes by the queue's."""
        if self.exchange:
            return self.exchange, "{type}" if self.routing_key is None else self.routing_key
        return "", self.queue or "halley.events"

    def fault(self) -> str | None:
        """Return what is wrong, or None."""
        if self.exchange and self.queue:
            return "name an exchange or a queue, not both"
        if self.routing_key and not self.exchange:
            return "routing_key needs an exchange"
        return super().fault()


_SCHEMES: dict[str, tuple[Kind, type[Words]]] = {
    "nats": ("nats", NatsWords),
    "tls": ("nats", NatsWords),
    "redis": ("redis", RedisWords),
    "rediss": ("redis", RedisWords),
    "kafka": ("kafka", KafkaWords),
    "amqp": ("amqp", AmqpWords),
    "amqps": ("amqp", AmqpWords),
}
# These clients find the rest of a cluster themselves and take several doors to it.
_MANY_HOSTS = ("nats", "kafka")


WordsT_co = TypeVar("WordsT_co", bound=Words, covariant=True)


class SinkUrl(Struct, Generic[WordsT_co], frozen=True, kw_only=True):
    """One sink, as the operator wrote it.

    Attributes:
        kind: Kind of broker.
        scheme: How it is spoken to; some kinds have one with TLS.
        hosts: `host:port`, one or several.
        path: Database or virtual host, with its slash, or nothing.
        login: `user:password@` as it stood in the URL, or nothing.
        words: The query.
    """

    kind: Kind
    scheme: str
    hosts: tuple[str, ...]
    path: str
    login: Secret
    words: WordsT_co

    @property
    def name(self) -> str:
        """What the sink is called, the same as long as it leads to the same place; holds no credentials."""
        place = "/".join(part for part in self.words.places if part)
        return f"{self.kind}://{','.join(self.hosts)}{self.path.rstrip('/')}/{place}"

    @property
    def servers(self) -> list[str]:
        """URLs with credentials, for the client."""
        return [f"{self.scheme}://{self.login.reveal()}{host}{self.path}" for host in self.hosts]

    @property
    def user(self) -> str:
        """The decoded user."""
        return unquote(self.login.reveal().removesuffix("@").partition(":")[0])

    @property
    def password(self) -> Secret:
        """The decoded password."""
        return Secret(unquote(self.login.reveal().removesuffix("@").partition(":")[2]))

    @property
    def types(self) -> tuple[EventType, ...]:
        """The types of events that go there."""
        wanted = self.words.types.split(",")
        return tuple(each for each in EVENT_TYPES if each in wanted or "*" in wanted)


def read_sinks(urls: Sequence[Secret]) -> tuple[SinkUrl[Words], ...]:
    """Read the URLs of `HALLEY_SINKS`.

    Raises:
        SettingsError: Naming the first one that is wrong by its place and host, never by its credentials.
    """
    sinks = tuple(_read(place, url.reveal()) for place, url in enumerate(urls, 1))
    names = [sink.name for sink in sinks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f"HALLEY_SINKS: {twice} stands there twice; join their types with commas")
    streams = [(sink.hosts, sink.words.stream) for sink in sinks if isinstance(sink.words, NatsWords)]
    if len(set(streams)) < len(streams):
        raise SettingsError("HALLEY_SINKS: a JetStream stream keeps an event once, so name each stream in one URL only")
    return sinks


def _read(place: int, text: str) -> SinkUrl[Words]:
    named = f"HALLEY_SINKS: URL {place}"
    parts = _parts(named, text)
    kind, words = _SCHEMES[parts.scheme]
    userinfo, at, host_text = parts.netloc.rpartition("@")
    hosts = tuple(host_text.split(","))
    if not all(_HOST.fullmatch(host) for host in hosts) or (len(hosts) > 1 and kind not in _MANY_HOSTS):
        raise SettingsError(f"{named}: has no host such as 127.0.0.1:4222")
    sink = SinkUrl(
        kind=kind,
        scheme=parts.scheme,
        hosts=hosts,
        path=parts.path,
        login=Secret(userinfo + at),
        words=_words(f"{named} ({kind}://{host_text})", words, kind, parts.query),
    )
    if sink.password.reveal() and not sink.user and kind in ("kafka", "amqp"):
        raise SettingsError(f"{named}: has a password and no user")
    return sink


def _parts(named: str, text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise SettingsError(f"{named}: is no URL such as nats://127.0.0.1:4222") from None
    if parts.scheme not in _SCHEMES:
        raise SettingsError(f"{named}: begins with none of {', '.join(f'{each}://' for each in _SCHEMES)}")
    # An unencoded / or ? in a password ends the authority early: the rest would pass for a path, and be shown as one.
    if "@" in parts.path + parts.query or parts.fragment:
        raise SettingsError(f"{named}: percent-encode @, /, ? and # in user, password and words")
    return parts


def _words(named: str, words: type[Words], kind: Kind, query: str) -> Words:
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    twice = next((word for word in given if sum(word == each for each, _ in pairs) > 1), None)
    if twice is not None:
        raise SettingsError(f"{named}: says {twice} twice")
    known = sorted(words.__struct_fields__)
    unknown = next((word for word in given if word not in known), None)
    if unknown is not None:
        raise SettingsError(f"{named}: there is no word {unknown!r} for {kind}; there are {', '.join(known)}")
    try:
        read = msgspec.convert(given, words, strict=False)
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).partition(" - at ")
        raise SettingsError(f"{named}: {path.strip('`$.')}: {message}") from None
    fault = read.fault()
    if fault is not None:
        raise SettingsError(f"{named}: {fault}")
    return read
