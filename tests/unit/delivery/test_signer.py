"""Signatures as a receiver sees them: checked with the public library, never with our own code."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.delivery.signer import (
    derive_key,
    derive_keys,
    derive_secret,
    derive_secrets,
    public_key,
    signed_headers,
    written_public_key,
)
from service.secret_key import SecretKeys

SECRET = derive_secret(b"a master key of thirty-two bytes", "default")
BODY = '{"id":"evt_1","text":"Grüße, 世界"}'.encode()


def test_a_receiver_can_verify_the_headers():
    """The public library accepts the headers together with the body."""
    headers = signed_headers((SECRET,), "evt_1", datetime.now(UTC), BODY)

    assert Webhook(SECRET).verify(BODY, headers) == json.loads(BODY)


def test_the_headers_are_those_of_the_standard():
    """Exactly the three headers of the standard and the content type go out."""
    moment = datetime(2026, 11, 22, 10, 0, 0, 999_999, UTC)

    headers = signed_headers((SECRET,), "evt_1", moment, BODY)

    assert headers.keys() == {"webhook-id", "webhook-timestamp", "webhook-signature", "content-type"}
    assert headers["webhook-id"] == "evt_1"
    assert headers["webhook-timestamp"] == "1795341600"
    assert headers["webhook-signature"].startswith("v1,")
    assert headers["content-type"] == "application/json"


def test_nothing_is_signed_as_nothing():
    """Where no body goes out, none is described, and the signature is over an empty one."""
    headers = signed_headers((SECRET,), "evt_1", datetime.now(UTC), b"")

    assert headers.keys() == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    Webhook(SECRET).verify(b"", headers, json_parse=False)


@pytest.mark.parametrize("offset_h", [-11, 2, 14])
def test_the_time_zone_does_not_matter(offset_h: int):
    """The same moment in any zone gives the same headers, which a receiver can verify."""
    moment = datetime.now(UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=offset_h)))

    headers = signed_headers((SECRET,), "evt_1", elsewhere, BODY)

    assert headers == signed_headers((SECRET,), "evt_1", moment, BODY)
    Webhook(SECRET).verify(BODY, headers)


@pytest.mark.parametrize("change", ["body", "webhook-id", "webhook-timestamp"])
def test_a_change_is_noticed(change: str):
    """Neither the body nor the id nor the time can be changed under a signature."""
    moment = datetime.now(UTC)
    headers = signed_headers((SECRET,), "evt_1", moment, BODY)
    other = {"webhook-id": "evt_2", "webhook-timestamp": str(int(moment.timestamp()) - 1)}
    body = BODY.replace(b"1", b"2") if change == "body" else BODY
    changed = headers | {change: other[change]} if change in other else headers

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, changed)


def test_another_secret_is_rejected():
    """A receiver with the secret of another workspace does not accept the signature."""
    headers = signed_headers((SECRET,), "evt_1", datetime.now(UTC), BODY)
    other = derive_secret(b"a master key of thirty-two bytes", "other")

    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(BODY, headers)


def test_a_derived_secret_is_stable_and_has_256_bits():
    """The same master key and workspace give the same secret for ever; its value is pinned here."""
    secret = derive_secret(b"master", "default")

    assert secret == "whsec_rKqqUMrnt9sfVP/PkcAvO1UnExQ4ySmX5RKWztBvDYQ="
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32


def test_a_derived_secret_depends_on_both():
    """Another master key or another workspace gives another secret."""
    secrets = {derive_secret(m, w) for m in (b"one", b"two") for w in ("a", "b")}

    assert len(secrets) == 4


def test_receivers_with_the_old_or_the_new_secret_can_verify():
    """While a key is rotated the signature header holds one for each, and either is enough."""
    keys = SecretKeys(all=(b"new key of at least thirty-two b", b"old key of at least thirty-two b"))
    new, old = derive_secrets(keys, "default")

    headers = signed_headers((new, old), "evt_1", datetime.now(UTC), BODY)

    assert [each[:3] for each in headers["webhook-signature"].split(" ")] == ["v1,", "v1,"]
    for secret in (new, old):
        Webhook(secret).verify(BODY, headers)


def test_a_derived_key_is_stable():
    """The same master key and workspace give the same ed25519 key for ever; its public half is pinned here."""
    key = derive_key(b"master", "default")

    assert written_public_key(public_key(key)) == "whpk_H/Yl9bcB1SVX88reexPQrhU1QwXLy9Xq2/QLgpYZ15I="


def test_a_derived_key_depends_on_both():
    """Another master key or another workspace gives another key."""
    keys = {public_key(derive_key(m, w)) for m in (b"one", b"two") for w in ("a", "b")}

    assert len(keys) == 4


def test_secrets_and_keys_sign_side_by_side():
    """The signatures of secrets stand first, so that receivers who read only one find it; then one for each key."""
    keys = SecretKeys(all=(b"new key of at least thirty-two b", b"old key of at least thirty-two b"))
    derived = derive_keys(keys, "default")

    headers = signed_headers((SECRET,), "evt_1", datetime.now(UTC), BODY, derived)

    first, *others = headers["webhook-signature"].split(" ")
    content = f"evt_1.{headers['webhook-timestamp']}.".encode() + BODY
    assert first.startswith("v1,")
    for key, each in zip(derived, others, strict=True):
        version, _, signature = each.partition(",")
        key.public_key().verify(base64.b64decode(signature), content)
        assert version == "v1a"
