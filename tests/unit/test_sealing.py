"""Sealed texts: unreadable without a key, opened with any of the keys, and told apart from what never was sealed."""

import pytest

from service.sealing import PREFIX, CannotOpen, Sealer
from service.secret_key import SecretKeys

OLD, NEW = b"o" * 32, b"n" * 32
URL = "https://n8n.example/webhook-waiting/17?signature=Grüße"


def sealer(*keys: bytes) -> Sealer:
    """Make a sealer with these keys."""
    return Sealer(SecretKeys(all=keys))


def test_a_sealed_text_is_opened_and_tells_nothing() -> None:
    """What was sealed comes back; the sealed text is plain ASCII, holds none of it, and is another each time."""
    sealed, again = sealer(OLD).seal(URL), sealer(OLD).seal(URL)

    assert sealer(OLD).open(sealed) == sealer(OLD).open(again) == URL
    assert sealed != again
    assert sealed.startswith(PREFIX)
    assert sealed.isascii()
    assert "n8n" not in sealed


def test_what_was_never_sealed_passes() -> None:
    """Rows from before there were seals stay usable."""
    assert sealer(OLD).open(URL) == URL


def test_an_old_key_opens_and_the_current_one_seals() -> None:
    """After a rotation nothing is lost, and nothing new depends on the old key."""
    rotated = sealer(NEW, OLD)

    assert rotated.open(sealer(OLD).seal(URL)) == URL
    assert sealer(NEW).open(rotated.seal(URL)) == URL


@pytest.mark.parametrize("end", ["", "AAAA", "%", "=", "é"])
def test_a_foreign_or_damaged_text_is_refused_without_repeating_it(end: str) -> None:
    """Neither another key's seal nor a piece of one is opened, and the error holds neither."""
    sealed = sealer(OLD).seal(URL) if not end else PREFIX + end

    with pytest.raises(CannotOpen) as caught:
        sealer(NEW).open(sealed)

    assert sealed not in str(caught.value)
    assert "HALLEY_SECRET_KEY" in str(caught.value)


def test_a_changed_text_is_refused() -> None:
    """Not one character of a sealed text can be changed."""
    sealed = sealer(OLD).seal(URL)
    at = len(PREFIX) + 20
    changed = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]

    with pytest.raises(CannotOpen):
        sealer(OLD).open(changed)


def test_half_a_character_survives() -> None:
    """A URL that will be refused later is still kept as it came."""
    assert sealer(OLD).open(sealer(OLD).seal("http://\ud800")) == "http://\ud800"
