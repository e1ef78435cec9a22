"""One suite for all sinks: what the outbox relies on, proved with real NATS and Redis servers.

Kafka and RabbitMQ are proved as far as FastStream's in-memory brokers go, and at sockets that refuse or stay silent.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from faststream import BaseMiddleware
from faststream.kafka import KafkaBroker, KafkaMessage, TestKafkaBroker
from faststream.rabbit import RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue, TestRabbitBroker
from faststream.rabbit.response import RabbitPublishCommand
from faststream.redis import RedisBroker, StreamSub

from service.delivery.sinks.base import Message, Sink
from service.delivery.sinks.kafka import KafkaSink
from service.delivery.sinks.owner import Sinks
from service.delivery.sinks.rabbit import RabbitSink
from service.delivery.sinks.urls import read_sinks
from service.settings import Secret
from tests.fakes.brokers import PASSWORD, NatsServer, RedisServer, Server, nats_server, redis_server
from tests.fakes.ports import free_port

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def nats() -> Iterator[NatsServer]:
    """A NATS server."""
    with nats_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis server."""
    with redis_server() as server:
        yield server


@pytest.fixture(params=["nats", "redis"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each real server in turn."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def place() -> str:
    """A place at the server that no other test uses."""
    return f"t{next(_NUMBERS)}"


@contextlib.asynccontextmanager
async def sink_at(url: str, timeout_s: float = 10.0) -> AsyncIterator[Sink[Any, Any]]:
    """Open a sink as the setting would."""
    (read,) = read_sinks([Secret(url)])
    sinks = Sinks([read])
    sink = sinks.get(read.name)
    assert sink is not None
    sink._timeout_s = timeout_s
    try:
        yield sink
    finally:
        await sinks.close()


def message(event_id: str, **other: Any) -> Message:
    """Make a message."""
    words: dict[str, Any] = {
        "event_id": event_id,
        "event_type": "run.succeeded",
        "workspace": "studio",
        "subject_id": "run_1",
        "node": "kling.text_to_video",
        "body": b'{"id": "evt_1",  "data": {"text": "K\xc3\xb6ln"}}',
        "content_type": "application/cloudevents+json",
        "headers": {"x-own": "1"},
    }
    return Message(**words | other)


async def test_a_message_arrives_as_it_is(server: Server, place: str) -> None:
    """The body is there byte for byte, with id, type and content type beside it, once the outcome says so."""
    async with sink_at(server.url(place)) as sink:
        exchange = await sink.publish(message(place))

    (arrived,) = await server.messages(place)
    assert (exchange.outcome, exchange.latency_ms > 0) == ("delivered", True)
    assert (arrived.id, arrived.body) == (place, message(place).body)
    assert arrived.headers["content-type"] == "application/cloudevents+json"
    assert arrived.headers["x-own"] == "1"
    assert "run.succeeded" in arrived.headers.values()


async def test_a_repetition_is_told_by_its_id(server: Server, place: str) -> None:
    """JetStream keeps one of them; where the broker keeps both, they have one id."""
    async with sink_at(server.url(place)) as sink:
        outcomes = [(await sink.publish(message(place))).outcome for _ in range(2)]

    ids = [arrived.id for arrived in await server.messages(place)]
    assert outcomes == ["delivered", "delivered"]
    assert ids == ([place] if isinstance(server, NatsServer) else [place, place])


async def test_many_at_once_all_arrive(server: Server, place: str) -> None:
    """More than the sink sends at once, none lost, none mixed up with another's confirmation."""
    sent = [message(f"{place}-{number}", body=str(number).encode()) for number in range(300)]
    async with sink_at(server.url(place)) as sink:
        exchanges = await asyncio.gather(*map(sink.publish, sent))

    arrived = {each.id: each.body for each in await server.messages(place)}
    assert {exchange.outcome for exchange in exchanges} == {"delivered"}
    assert arrived == {each.event_id: each.body for each in sent}


async def test_an_outage_is_told_at_once_and_over_when_it_is_over(server: Server, place: str) -> None:
    """A broker that goes away and comes back needs no restart of Halley, whatever connection was there before."""
    async with sink_at(server.url(place)) as sink:
        before = await sink.publish(message(f"{place}-1"))
        server.stop()
        try:
            exchanges = await asyncio.gather(*(sink.publish(message(f"{place}-{number}")) for number in range(2, 5)))
        finally:
            server.start()
        after = await sink.publish(message(f"{place}-5"))

    assert (before.outcome, after.outcome) == ("delivered", "delivered")
    assert {exchange.outcome for exchange in exchanges} == {"unreachable"}
    assert max(exchange.latency_ms for exchange in exchanges) < 5000
    assert [each.id for each in await server.messages(place)] == [f"{place}-1", f"{place}-5"]


async def test_a_frozen_broker_is_a_timeout_and_is_found_again(server: Server, place: str) -> None:
    """A connection that has gone silent is given up at the deadline, and the next publish makes another."""
    async with sink_at(server.url(place), timeout_s=0.5) as sink:
        await sink.publish(message(f"{place}-1"))
        with server.frozen():
            frozen = await sink.publish(message(f"{place}-2"))
        sink._timeout_s = 10.0
        thawed = await sink.publish(message(f"{place}-3"))

    assert (frozen.outcome, thawed.outcome) == ("timeout", "delivered")
    assert 400 < frozen.latency_ms < 3000


async def test_a_wrong_password_is_a_failure_that_tells_no_secret(server: Server, place: str) -> None:
    """The reason says what to look at, and holds neither password."""
    async with sink_at(server.url(place).replace(PASSWORD, "wrong-canary")) as sink:
        exchange = await sink.publish(message(place))

    assert exchange.outcome == "failed"
    assert "refused" in exchange.reason
    assert "canary" not in exchange.reason


async def test_a_password_that_is_set_right_at_the_broker_is_tried_again(nats: NatsServer, place: str) -> None:
    """A refusal is not for ever: the next publish logs in anew."""
    async with sink_at(nats.url(place)) as sink:
        outcomes = []
        for password in ("another", PASSWORD):
            nats.stop()
            nats.password = password
            nats.start()
            outcomes.append((await sink.publish(message(f"{place}-{password}"))).outcome)

    assert outcomes == ["failed", "delivered"]


KINDS = ["nats", "redis", "kafka", "amqp"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_port_that_nobody_listens_on_is_unreachable(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Long before the deadline, without the password, and without a word of the client in the log."""
    async with sink_at(f"{kind}://halley:secret-canary@127.0.0.1:{free_port()}") as sink:
        exchanges = await asyncio.gather(*(sink.publish(message(f"evt_{number}")) for number in range(3)))

    assert {exchange.outcome for exchange in exchanges} == {"unreachable"}
    assert all(exchange.latency_ms < 5000 and "canary" not in exchange.reason for exchange in exchanges)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_broker_that_says_nothing_is_a_timeout(kind: str) -> None:
    """A socket that is accepted and then silent ends at the deadline; nothing hangs, and closing is quick."""
    release = asyncio.Event()

    async def stay_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    async with await asyncio.start_server(stay_silent, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with sink_at(f"{kind}://halley:secret-canary@127.0.0.1:{port}", timeout_s=0.4) as sink:
            exchange = await sink.publish(message("evt_1"))
        release.set()

    assert exchange.outcome == "timeout"
    assert exchange.latency_ms < 2000


async def test_what_is_too_large_for_nats_is_said_so(nats: NatsServer, place: str) -> None:
    """An event over `max_payload` is a failure with the setting's name, and the connection goes on."""
    async with sink_at(nats.url(place)) as sink:
        large = await sink.publish(message(f"{place}-1", body=b"x" * 1_100_000))
        small = await sink.publish(message(f"{place}-2"))

    assert (large.outcome, "max_payload" in large.reason) == ("failed", True)
    assert small.outcome == "delivered"


async def test_a_subject_that_no_stream_takes_is_a_failure(nats: NatsServer, place: str) -> None:
    """Without a stream nothing would be kept, so it is not delivered."""
    async with sink_at(f"{nats.server}?subject=elsewhere.{{type}}") as sink:
        exchange = await sink.publish(message(f"{place}-1"))

    assert (exchange.outcome, "nats stream add" in exchange.reason) == ("failed", True)


async def test_a_stream_of_another_name_is_a_failure(nats: NatsServer, place: str) -> None:
    """The stream that was named must be the one that takes the message."""
    async with sink_at(nats.url(place).replace("stream=HALLEY", "stream=OTHER")) as sink:
        exchange = await sink.publish(message(f"{place}-1"))

    assert (exchange.outcome, await nats.messages(place)) == ("failed", [])


async def test_a_subject_is_made_of_what_an_event_is_about(nats: NatsServer, place: str) -> None:
    """Slots are filled with one token where that matters, whatever a workspace is called."""
    url = nats.url(place).replace("{workspace}.{type}", "{workspace}.{node}.{type}")
    async with sink_at(url) as sink:
        await sink.publish(message(f"{place}-1", workspace="a.b *>", node="kling.text_to_video"))
        await sink.publish(message(f"{place}-2", node=None, event_type="group.completed"))

    assert len(await nats.messages(f"{place}.a_b____.kling.text_to_video.run.succeeded")) == 0
    arrived = await nats.messages(place)
    assert [each.id for each in arrived] == [f"{place}-1", f"{place}-2"]


async def test_a_stream_of_redis_is_cut_to_its_length(redis: RedisServer, place: str) -> None:
    """`maxlen` bounds the stream; Redis cuts in pieces of a hundred, so about that much stays."""
    async with sink_at(redis.url(place) + "&maxlen=100") as sink:
        await asyncio.gather(*(sink.publish(message(f"{place}-{number}")) for number in range(400)))

    assert 100 <= len(await redis.messages(place)) < 300


async def test_faststream_reads_an_entry_of_redis(redis: RedisServer, place: str) -> None:
    """A subscriber of FastStream gets the event as its message, without knowing of our fields."""
    broker = RedisBroker(redis.server, logger=logging.getLogger("tests"))
    heard: asyncio.Queue[Any] = asyncio.Queue()

    @broker.subscriber(stream=StreamSub(f"halley.{place}", last_id="0"))
    async def hear(body: dict[str, Any]) -> None:
        await heard.put(body)

    async with sink_at(redis.url(place)) as sink, broker:
        await sink.publish(message(f"{place}-1"))
        await broker.start()
        async with asyncio.timeout(10):
            assert await heard.get() == {"id": "evt_1", "data": {"text": "Köln"}}


async def test_a_record_of_kafka_has_id_key_and_headers() -> None:
    """The key is the run, so its events stay in one partition and in order; the id stands in a header."""
    broker, heard = KafkaBroker(), list[KafkaMessage]()

    @broker.subscriber("halley.studio")
    async def hear(msg: KafkaMessage) -> None:
        heard.append(msg)

    (url,) = read_sinks([Secret("kafka://127.0.0.1:9092?topic=halley.{workspace}")])
    async with TestKafkaBroker(broker) as connected:
        sink = type("InMemory", (KafkaSink,), {"_open": lambda _: _given(connected)})(url)
        exchange = await sink.publish(message("evt_1"))

    (msg,) = heard
    assert exchange.outcome == "delivered"
    assert (msg.raw_message.key, msg.body) == (b"run_1", message("evt_1").body)
    assert {"Halley-Event-Id": "evt_1", "Halley-Event": "run.succeeded", "x-own": "1"}.items() <= msg.headers.items()
    assert (msg.headers["content-type"], msg.correlation_id) == ("application/cloudevents+json", "evt_1")


@pytest.mark.parametrize("query", ["exchange=halley&routing_key=halley.{type}", "queue=halley.run.succeeded"])
async def test_a_message_of_rabbitmq_is_persistent_and_has_its_id(query: str) -> None:
    """`message_id` is the event's, the type is told, and the broker is asked to keep it over a restart."""
    sent, heard = list[RabbitPublishCommand](), list[RabbitMessage]()

    class Watching(BaseMiddleware[Any, Any]):
        """Sees what is published; the in-memory broker does not pass the delivery mode on."""

        async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
            sent.append(cmd)
            return await call_next(cmd)

    broker = RabbitBroker(middlewares=[Watching])
    exchange = RabbitExchange("halley") if "exchange" in query else None

    @broker.subscriber(RabbitQueue("halley.run.succeeded"), exchange)
    async def hear(msg: RabbitMessage) -> None:
        heard.append(msg)

    (url,) = read_sinks([Secret(f"amqp://127.0.0.1?{query}")])
    async with TestRabbitBroker(broker) as connected:
        sink = type("InMemory", (RabbitSink,), {"_open": lambda _: _given((connected, None))})(url)
        exchange_ = await sink.publish(message("evt_1"))

    (msg,) = heard
    assert (exchange_.outcome, msg.body) == ("delivered", message("evt_1").body)
    assert (msg.raw_message.message_id, msg.raw_message.type) == ("evt_1", "run.succeeded")
    assert (sent[0].message_options["persist"], sent[0].publish_options["mandatory"]) == (True, True)
    assert (msg.content_type, msg.headers["Halley-Event-Id"]) == ("application/cloudevents+json", "evt_1")


async def _given(connection: Any) -> Any:
    return connection
