"""Links are good for one thing, until they expire, and only when they were made here."""

from urllib.parse import parse_qs, urlsplit

import pytest

from service.artifacts.links import DAY_S, EVENT_LIFE_S, Links
from service.errors import Forbidden
from service.secret_key import SecretKeys

NAME = "art_01jd0000000000000000000000" + "00"
NOW = 1_795_341_600.0
LINKS = Links(SecretKeys(all=(b"k" * 32,)))


def parts_of(url: str) -> tuple[str, str]:
    """Return moment and signature of a link."""
    query = parse_qs(urlsplit(url).query)
    return query["expires"][0], query["signature"][0]


def test_a_link_is_good_until_it_expires() -> None:
    """It is taken up to its last second, and not after it."""
    url, expires_at = LINKS.sign(NAME, "https://h.example", NOW)

    LINKS.check(NAME, *parts_of(url), NOW)
    LINKS.check(NAME, *parts_of(url), expires_at - 1)
    with pytest.raises(Forbidden, match="expired"):
        LINKS.check(NAME, *parts_of(url), expires_at)


def test_links_live_a_day_and_a_week_in_events() -> None:
    """Rounding makes them live up to an hour longer, never shorter."""
    _, answer = LINKS.for_answer(NAME, "https://h.example", NOW + 1)
    _, event = LINKS.for_event(NAME, "https://h.example", NOW + 1)

    assert 0 <= answer - (NOW + 1 + DAY_S) <= 3600
    assert 0 <= event - (NOW + 1 + EVENT_LIFE_S) <= 3600


def test_one_thing_keeps_its_link_for_a_while() -> None:
    """Caches know it again within the hour."""
    first, _ = LINKS.sign(NAME, "https://h.example", NOW + 1)
    again, _ = LINKS.sign(NAME, "https://h.example", NOW + 60)

    assert first == again


def test_nothing_of_a_link_may_be_changed() -> None:
    """Another id, a later moment, another signature or another instance's key: refused."""
    expires, signature = parts_of(LINKS.sign(NAME, "https://h.example", NOW)[0])
    foreign = parts_of(Links(SecretKeys(all=(b"x" * 32,))).sign(NAME, "https://h.example", NOW)[0])
    forged = [
        (NAME[:-1] + "1", expires, signature),
        (NAME, str(int(expires) + 1), signature),
        (NAME, expires, signature[:-1] + ("0" if signature[-1] != "0" else "1")),
        (NAME, *foreign),
        (NAME, expires, ""),
        (NAME, "", signature),
        (NAME, "9" * 400, signature),
        (NAME, expires, "é"),
    ]

    for name, moment, each in forged:
        with pytest.raises(Forbidden, match="not made by this"):
            LINKS.check(name, moment, each, NOW)


def test_the_public_url_wins_over_the_address_that_was_used() -> None:
    """Links in events lead to where the outside reaches Halley."""
    url, _ = Links(SecretKeys(all=(b"k" * 32,)), "https://public.example").sign(NAME, "http://127.0.0.1:2061", NOW)

    assert url.startswith(f"https://public.example/v1/artifacts/{NAME}?")


def test_links_of_an_old_key_are_good_and_new_ones_are_not_signed_with_it() -> None:
    """After a rotation the links that are out stay good, and only until the old key is dropped."""
    old, new = b"k" * 32, b"n" * 32
    rotated = Links(SecretKeys(all=(new, old)))
    url, _ = LINKS.sign(NAME, "https://h.example", NOW)
    fresh, _ = rotated.sign(NAME, "https://h.example", NOW)

    rotated.check(NAME, *parts_of(url), NOW)
    Links(SecretKeys(all=(new,))).check(NAME, *parts_of(fresh), NOW)
    with pytest.raises(Forbidden, match="not made by this"):
        Links(SecretKeys(all=(new,))).check(NAME, *parts_of(url), NOW)
