"""URLs of sinks: the words of each broker, faults named without secrets, clients loaded only when needed."""

import subprocess
import sys
from typing import Any

import pytest

from service.delivery.sinks.base import Message, filled
from service.delivery.sinks.owner import Sinks
from service.delivery.sinks.urls import SinkUrl, read_sinks
from service.errors import SettingsError
from service.settings import Secret, load_settings


def read(*urls: str) -> tuple[SinkUrl[Any], ...]:
    """Read URLs as the setting gives them."""
    return read_sinks(load_settings({"HALLEY_SINKS": "  ".join(urls)}).sinks)


@pytest.mark.parametrize(
    ("url", "name", "places"),
    [
        (
            "nats://127.0.0.1:4222",
            "nats://127.0.0.1:4222/halley.{workspace}.{type}",
            ("halley.{workspace}.{type}",),
        ),
        (
            "tls://u:p@a.example,b.example:4223?subject=x.{type}",
            "nats://a.example,b.example:4223/x.{type}",
            ("x.{type}",),
        ),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0/halley.events", ("halley.events",)),
        ("rediss://:p@[::1]:6380?stream=s.{node}", "redis://[::1]:6380/s.{node}", ("s.{node}",)),
        ("kafka://k1:9092,k2:9092", "kafka://k1:9092,k2:9092/halley.events", ("halley.events",)),
        ("amqp://u:p@mq/vhost", "amqp://mq/vhost/halley.events", ("", "halley.events")),
        ("amqps://u:p@mq?queue=q", "amqp://mq/q", ("", "q")),
        ("amqp://mq/?exchange=e", "amqp://mq/e/{type}", ("e", "{type}")),
        ("amqp://mq?exchange=e&routing_key=", "amqp://mq/e", ("e", "")),
    ],
)
def test_a_url_says_where_events_go(url: str, name: str, places: tuple[str, ...]) -> None:
    """Every word has a default that is worth having, and the name is made of the place alone."""
    (sink,) = read(url)

    assert (sink.name, sink.words.places) == (name, places)


def test_credentials_reach_the_client_and_nobody_else() -> None:
    """They are passed on as they were written, and stand in no name and no representation."""
    (sink,) = read("nats://halley:se%2Fcret@a:4222,b:4222?subject=x")

    assert sink.servers == ["nats://halley:se%2Fcret@a:4222", "nats://halley:se%2Fcret@b:4222"]
    assert (sink.user, sink.password.reveal()) == ("halley", "se/cret")
    assert "cret" not in repr(sink) + sink.name
    assert "canary" not in repr(load_settings({"HALLEY_SINKS": "nats://halley:canary@a"}))


def test_the_same_place_has_the_same_name_whatever_the_login() -> None:
    """What waits for a sink in the outbox finds it after a password was changed."""
    assert read("redis://:old@h/0?types=*")[0].name == read("redis://u:new@h/0")[0].name


def test_types_choose_what_is_told() -> None:
    """Ends of runs and groups by default; progress only where it is asked for, or everything."""
    default, chosen, everything = read(
        "redis://h", "redis://h?stream=b&types=run.progressed,run.failed", "redis://h?stream=c&types=*"
    )

    assert ("run.succeeded" in default.types, "group.completed" in default.types) == (True, True)
    assert ("run.running" in default.types, "run.progressed" in default.types) == (False, False)
    assert ("run.progressed" in chosen.types, "run.succeeded" in chosen.types) == (True, False)
    assert ("run.queued" in everything.types, everything.words.envelope) == (True, "halley")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mqtt://127.0.0.1", "begins with none of nats://, tls://, redis://"),
        ("127.0.0.1:4222", "begins with none of"),
        ("nats://", "has no host"),
        ("nats://h:port", "has no host"),
        ("redis://a,b", "has no host"),
        ("nats://[::1", "is no URL"),
        ("nats://h?topic=x", "there is no word 'topic' for nats; there are envelope, stream, subject, types"),
        ("redis://h?stream=a&stream=b", "says stream twice"),
        ("kafka://h?subject=x", "there is no word 'subject' for kafka; there are envelope, sasl_mechanism"),
        ("nats://h?subject=x.{tenant}", "may hold the slots {workspace}, {type} and {node}"),
        ("redis://h?stream=x{type", "no other braces"),
        ("nats://h?subject=x.>", "without blanks, * and >"),
        ("nats://h?subject=x..y", "words between dots"),
        ("nats://h?stream=a.b", "stream: "),
        ("kafka://h?topic=a/b", "topic may hold"),
        ("kafka://h?security_protocol=TLS", "security_protocol: "),
        ("redis://h?maxlen=0", "maxlen: "),
        ("redis://h?envelope=xml", "envelope: "),
        ("redis://h?types=run.done", "types=run.done is no event type; there are run.queued"),
        ("amqp://h?exchange=e&queue=q", "an exchange or a queue, not both"),
        ("amqp://h?routing_key=k", "routing_key needs an exchange"),
        ("redis://h redis://h?types=*", "redis://h/halley.events stands there twice"),
        ("nats://h?subject=a nats://h?subject=b", "a JetStream stream keeps an event once"),
    ],
)
def test_a_wrong_url_is_told_in_one_line(url: str, said: str) -> None:
    """The line begins with the setting and says what would be right."""
    with pytest.raises(SettingsError) as caught:
        read(url)

    assert str(caught.value).startswith("HALLEY_SINKS: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "nats://halley:sec/ret@h",
        "nats://halley:sec?ret@h",
        "nats://halley:12/34@h",
        "nats://halley:sec#ret@h",
        "mqtt://halley:secret@h",
        "nats://halley:secret@h:port",
        "nats://halley:secret@h?unknown=1",
        "kafka://:secret@h",
        "amqp://halley:secret@h?exchange=e&queue=q",
    ],
)
def test_no_fault_repeats_a_password(url: str) -> None:
    """Not even one that was not percent-encoded and falls apart in the wrong place."""
    with pytest.raises(SettingsError) as caught:
        read(url)

    assert not {"secret", "sec", "ret", "12", "34"} & set(str(caught.value).replace("/", " ").replace(":", " ").split())


def test_slots_are_filled_with_what_every_broker_takes() -> None:
    """A workspace is one word, whatever it is called; what is about no node says so."""
    about = Message(
        event_id="evt_1",
        event_type="run.succeeded",
        workspace="Zoë & co.",
        subject_id="run_1",
        node="kling.text_to_video",
        body=b"",
        content_type="",
    )

    assert filled("{workspace}/{type}/{node}", about) == "Zo____co_/run.succeeded/kling.text_to_video"


def test_clients_are_loaded_only_for_a_sink_of_their_kind() -> None:
    """Whoever names no sink pays for none: FastStream is not even imported."""
    program = (
        "import sys, service.app, service.cli\n"
        "from service.delivery.sinks.owner import Sinks\n"
        "assert Sinks(()).get('x') is None\n"
        "sys.exit(any(name in sys.modules for name in ('faststream', 'nats', 'redis', 'aiokafka', 'aio_pika')))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603 - our own words


def test_a_sink_without_its_packages_is_refused_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that installs them stands in the line."""
    monkeypatch.setitem(sys.modules, "service.delivery.sinks.kafka", None)

    with pytest.raises(SettingsError, match=r"^HALLEY_SINKS: kafka://h/halley.events .*pip install 'halley\[sinks\]'$"):
        Sinks(read("kafka://halley:secret@h"))


async def test_sinks_are_found_by_name() -> None:
    """One that the setting names no more is not there; closing those that never connected is nothing."""
    urls = read("redis://h", "nats://h?types=run.failed")
    sinks = Sinks(urls)
    nats = urls[1]

    found = sinks.get(nats.name)
    assert found is not None
    assert (found.name, nats.types) == (nats.name, ("run.failed",))
    assert sinks.get("nats://elsewhere/x") is None
    await sinks.close()


def test_secrets_in_a_url_are_secret() -> None:
    """The setting keeps each URL in a form that prints as stars."""
    assert [str(url) for url in load_settings({"HALLEY_SINKS": "nats://a:b@c redis://d"}).sinks] == ["********"] * 2
    assert read_sinks([Secret("redis://d")])[0].hosts == ("d",)
