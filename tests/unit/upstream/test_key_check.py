"""What is known of the upstream key: asked seldom, never waited for, and told apart from trouble on the way."""

from collections.abc import Coroutine
from typing import Any

import pytest

from service.definitions.catalog import load_catalog
from service.definitions.request import OutgoingRequest
from service.errors import NotSent
from service.upstream.key_check import KeyState, KeyWatch, ask_about_key, checking_node
from service.upstream.transport import Transport, WireAnswer

NODE = checking_node(load_catalog())
GOOD = WireAnswer(status=200, headers={}, body=b'{"object": "list", "data": [{"id": "m"}]}')


class Wire(Transport):
    """Answers as it is told, and counts."""

    def __init__(self, answer: WireAnswer | Exception) -> None:
        super().__init__("http://upstream.test", None)
        self.answer = answer
        self.sent: list[OutgoingRequest] = []

    async def send(self, request: OutgoingRequest, **_: Any) -> WireAnswer:
        """Answer."""
        self.sent.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Hands:
    """A clock that is moved by hand, and work that is begun by hand."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.work: list[Coroutine[Any, Any, None]] = []

    def now(self) -> float:
        """Tell the time."""
        return self.time


def test_a_definition_says_how_the_key_is_checked() -> None:
    """One of the shipped nodes does, and it is a free question."""
    assert NODE is not None
    assert NODE.node.free


@pytest.mark.parametrize(
    ("answer", "is_good"),
    [
        (GOOD, True),
        (WireAnswer(status=401, headers={}, body=b'{"error": {"message": "invalid token"}}'), False),
        (WireAnswer(status=402, headers={}, body=b'{"error": {"message": "no credit"}}'), False),
        (WireAnswer(status=503, headers={}, body=b"busy"), None),
        (WireAnswer(status=200, headers={}, body=b"<html>wrong address</html>"), None),
        (NotSent("upstream could not be reached"), None),
    ],
)
async def test_the_key_is_told_apart_from_the_way(answer: WireAnswer | Exception, *, is_good: bool | None) -> None:
    """A refused key is bad; an upstream that cannot say leaves it unknown."""
    assert NODE is not None

    state = await ask_about_key(Wire(answer), NODE, Hands())

    assert (state.is_good, state.asked_at) == (is_good, 1000.0)


async def test_a_look_waits_for_nothing_and_asks_every_five_minutes_at_most() -> None:
    """The first look finds nothing known; later ones find the last answer, and a new question only when it is old."""
    hands, wire = Hands(), Wire(GOOD)
    watch = KeyWatch(wire, NODE, has_key=True, clock=hands, start=hands.work.append)

    states: list[KeyState] = [watch.look(), watch.look()]
    await hands.work.pop()
    hands.time += 299
    states += [watch.look()]
    begun_early = list(hands.work)
    hands.time += 2
    states += [watch.look()]
    await hands.work.pop()

    assert [state.is_good for state in states] == [None, None, True, True]
    assert begun_early == []
    assert len(wire.sent) == 2


@pytest.mark.parametrize(("has_key", "node", "is_good"), [(False, NODE, False), (True, None, None)])
def test_without_a_key_or_a_question_nothing_is_asked(*, has_key: bool, node: Any, is_good: bool | None) -> None:
    """Both are told in words."""
    hands = Hands()
    watch = KeyWatch(Wire(GOOD), node, has_key=has_key, clock=hands, start=hands.work.append)

    assert watch.look().is_good is is_good
    assert hands.work == []
