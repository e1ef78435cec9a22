"""What upstream says, without our secrets in it, however it repeats them."""

import base64
import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from service.settings import Secret
from service.upstream.masking import Mask

KEY = 'sk-canary/+"key-0123456789'
MASK = Mask(Secret(KEY))


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        quote(KEY, safe=""),
        json.dumps(KEY),
        json.dumps(KEY).replace("/", "\\/"),
        base64.b64encode(KEY.encode()).decode(),
    ],
)
def test_the_key_is_taken_out_of_an_answer_in_every_form(form: str) -> None:
    """Plain, in a URL, in JSON with and without escaped slashes, in Base64: nothing of it stays."""
    answer = MASK.whole(f'{{"error": "no access with {form}, sorry", "again": "{form}"}}'.encode())

    assert form.encode().strip(b'"') not in answer
    assert b"canary" not in answer
    assert answer.startswith(b'{"error": "no access with ')
    assert answer.count(b"********") == 2


@pytest.mark.parametrize("slash", ["/", "\\/", "%2F"])
def test_callback_tokens_are_taken_out_too(slash: str) -> None:
    """A request that is repeated in an error names where we are called back, and not with which token."""
    token = "t" * 43
    url = f"https://h.example{slash}v1{slash}callbacks{slash}{token}"
    answer = MASK.whole(f'{{"callback_url": "{url}"}}'.encode())

    assert token.encode() not in answer
    assert f'{slash}callbacks{slash}********"'.encode() in answer


def test_other_answers_are_the_same_bytes() -> None:
    """Nothing else is touched, and a key that may be any word is left alone."""
    body = b'{"callbacks": "many keys, any sk-canar"}'

    assert MASK.whole(body) is body
    assert Mask(Secret("any")).whole(body) is body
    assert Mask(None).whole(body) is body


@pytest.mark.parametrize("cut", range(1, len(KEY)))
async def test_a_key_that_is_cut_in_two_is_found(cut: int) -> None:
    """Wherever a stream is cut, the pieces together hold no key, and what cannot be one is not held back."""

    async def stream() -> AsyncIterator[bytes]:
        yield b"data: hello"
        yield f" s {KEY[:cut]}".encode()
        yield f"{KEY[cut:]} end s".encode()

    pieces = [piece async for piece in MASK.pieces(stream())]

    assert b"".join(pieces) == b"data: hello s ******** end s"
    assert pieces[0] == b"data: hello"
