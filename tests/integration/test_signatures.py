"""Signatures of real deliveries, verified by the libraries of others in Python and in JavaScript."""

import base64
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import standardwebhooks.webhooks
import svix.webhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from service.delivery.signer import derive_secret
from service.simulator import Simulator
from tests.fakes.foreign import ask
from tests.fakes.house import house
from tests.fakes.receiver import Got, Receiver

OLD, NEW = b"o" * 32, b"n" * 32
TAKEN, UNSIGNED = "taken", "No matching signature found"
TOO_OLD, TOO_NEW = "Message timestamp too old", "Message timestamp too new"
T2V = {"prompt": "Grüße, 世界"}

# What happens to a delivery on its way, and what a receiver that shares a secret or knows a public key says to it.
ON_THE_WAY: dict[str, tuple[str, str]] = {
    "nothing": (TAKEN, TAKEN),
    "another body": (UNSIGNED, UNSIGNED),
    "another id": (UNSIGNED, UNSIGNED),
    "another time": (UNSIGNED, UNSIGNED),
    "ten minutes": (TOO_OLD, TAKEN),
    "back in time": (TOO_NEW, TAKEN),
    "all signatures lost but one": (TAKEN, UNSIGNED),
}


class Case(Struct, frozen=True, kw_only=True):
    """A receiver, what it knows, what it gets, and what it has to say; `later_s` is how far its clock is ahead."""

    language: str
    receiver: str
    known: Any
    right: str
    headers: dict[str, str]
    body: str
    later_s: int = 0


def changed(got: Got, change: str) -> dict[str, Any]:
    """Return a delivery as it arrives after something has happened to it."""
    headers, body, later_s = {name.lower(): value for name, value in got.headers.items()}, got.body.decode(), 0
    match change:
        case "another body":
            body = body.replace("世界", "世间")
        case "another id":
            headers["webhook-id"] = headers["webhook-id"][:-1] + "!"
        case "another time":
            headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) - 1)
        case "ten minutes":
            later_s = 600
        case "back in time":
            later_s = -600
        case "all signatures lost but one":
            headers["webhook-signature"] = headers["webhook-signature"].split()[0]
    return {"headers": headers, "body": body, "later_s": later_s}


def verify_by_key(known: str, body: str, headers: dict[str, str]) -> None:
    """Verify an event as a receiver in Python does that only knows a `whpk_…`."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(known.removeprefix("whpk_")))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    for each in headers["webhook-signature"].split():
        version, _, signature = each.partition(",")
        try:
            if version == "v1a":
                return key.verify(base64.b64decode(signature), content)
        except InvalidSignature:
            continue
    raise standardwebhooks.webhooks.WebhookVerificationError(UNSIGNED)


IN_PYTHON: dict[str, Callable[[Any, str, dict[str, str]], object]] = {
    "standardwebhooks": lambda known, body, headers: standardwebhooks.webhooks.Webhook(known).verify(body, headers),
    "svix": lambda known, body, headers: svix.webhooks.Webhook(known).verify(body, headers),
    "cryptography": verify_by_key,
}


def asked_in_python(case: Case, patch: pytest.MonkeyPatch) -> str:
    """Return what a receiver in Python says."""
    ahead = dt.timedelta(seconds=case.later_s)

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.now(tz) + ahead

    patch.setattr(standardwebhooks.webhooks, "datetime", Clock)
    try:
        IN_PYTHON[case.receiver](case.known, case.body, case.headers)
    except standardwebhooks.webhooks.WebhookVerificationError as exc:
        return str(exc)
    return TAKEN


def setting(*keys: bytes) -> dict[str, str]:
    """Return the setting for these secret keys."""
    return {"HALLEY_SECRET_KEY": ",".join(base64.urlsafe_b64encode(key).decode() for key in keys)}


async def delivered(
    folder: Path, sim: Simulator, receiver: Receiver, *keys: bytes
) -> tuple[Got, list[dict[str, str]], list[dict[str, str]]]:
    """Let a Halley with these keys carry out a run.

    Returns:
        What the receiver got, and the public keys of its workspace and of another one.
    """
    async with house(folder, sim, environ=setting(*keys)) as halley, httpx.AsyncClient(base_url=halley.url) as stranger:
        await halley.start("kling.text_to_video", T2V, webhook_url=receiver.url)
        (got,) = await receiver.wait_for(1)
        receiver.got.clear()
        ours = await stranger.get("/.well-known/jwks.json")
        others = await stranger.get("/.well-known/jwks.json", params={"workspace": "others"})
    assert "max-age" in ours.headers["cache-control"]
    return got, ours.json()["keys"], others.json()["keys"]


def said(cases: list[Case], patch: pytest.MonkeyPatch) -> list[tuple[Case, str]]:
    """Return what each receiver says, in its language; JavaScript is started once for all."""
    python = [case for case in cases if case.language == "python"]
    node = [case for case in cases if case.language == "node"]
    answers = [*(asked_in_python(case, patch) for case in python), *ask("verify.mjs", node)]
    return list(zip([*python, *node], answers, strict=True))


SHARE_A_SECRET = [(language, name) for language in ("python", "node") for name in ("standardwebhooks", "svix")]
KNOW_A_KEY = [("python", "cryptography", "whpk"), ("node", "node:crypto", "whpk"), ("node", "node:crypto", "jwk")]


async def test_libraries_of_others_tell_good_deliveries_from_bad_ones(
    tmp_path: Path, sim: Simulator, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By secret or public key: what arrives as it was sent is taken, what was changed or comes at a wrong time is not.

    What is verified by a public key alone has no library yet that looks at the time, so the time is not judged there.
    """
    got, (key,), _ = await delivered(tmp_path, sim, receiver, NEW)
    secret, keys = derive_secret(NEW, "default"), {"whpk": key["whpk"], "jwk": key}
    cases = [
        Case(language=language, receiver=name, known=known, right=right, **changed(got, change))
        for change, (by_secret, by_key) in ON_THE_WAY.items()
        for language, name, known, right in (
            *((language, name, secret, by_secret) for language, name in SHARE_A_SECRET),
            *((language, name, keys[form], by_key) for language, name, form in KNOW_A_KEY),
        )
    ]

    answers = said(cases, monkeypatch)

    assert len(answers) == len(ON_THE_WAY) * 7
    assert [(case, word) for case, word in answers if word != case.right] == []


async def test_receivers_that_know_the_old_or_the_new_secret_are_served_while_it_changes(
    tmp_path: Path, sim: Simulator, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a rotation both are; after it only the new one is, and who knows another workspace's never was."""
    both, listed, others = await delivered(tmp_path, sim, receiver, NEW, OLD)
    after, listed_after, _ = await delivered(tmp_path, sim, receiver, NEW)
    new_key, old_key = listed
    secrets = {"new": derive_secret(NEW, "default"), "old": derive_secret(OLD, "default"), "others": "whsec_b3RoZXI="}
    keys = {"new": new_key["whpk"], "old": old_key["whpk"], "others": others[0]["whpk"]}
    cases = [
        Case(language=language, receiver=name, known=known, right=TAKEN if who in good else UNSIGNED, **arrived)
        for arrived, good in ((changed(both, "nothing"), {"new", "old"}), (changed(after, "nothing"), {"new"}))
        for who in secrets
        for language, name, known in (
            *((language, name, secrets[who]) for language, name in SHARE_A_SECRET),
            *((language, name, keys[who]) for language, name, form in KNOW_A_KEY if form == "whpk"),
        )
    ]

    answers = said(cases, monkeypatch)

    assert [each.partition(",")[0] for each in both.headers["webhook-signature"].split()] == ["v1", "v1", "v1a", "v1a"]
    assert listed_after == [new_key]
    assert len({each["kid"] for each in (*listed, *others)}) == 4
    assert len(answers) == 2 * 3 * 6
    assert [(case, word) for case, word in answers if word != case.right] == []


async def test_an_endpoint_has_secrets_of_its_own_beside_the_workspaces_keys(
    tmp_path: Path, sim: Simulator, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its secret is changed the old and the new one are good, the workspace's is not; public keys always are."""
    async with house(tmp_path, sim, environ=setting(NEW)) as halley:
        made = (await halley.client.post("/v1/endpoints", json={"url": receiver.url})).json()
        path = f"/v1/endpoints/{made['id']}/rotate-secret"
        rotated = (await halley.client.post(path, json={"overlap_days": 1})).json()
        await halley.start("kling.text_to_video", T2V)
        (got,) = await receiver.wait_for(1)
        (key,) = (await halley.client.get("/.well-known/jwks.json")).json()["keys"]
    arrived = changed(got, "nothing")
    known = {rotated["secret"]: TAKEN, made["secret"]: TAKEN, derive_secret(NEW, "default"): UNSIGNED}
    cases = [
        Case(language=language, receiver=name, known=secret, right=right, **arrived)
        for secret, right in known.items()
        for language, name in SHARE_A_SECRET
    ]
    cases += [
        Case(language=language, receiver=name, known=key[form] if form == "whpk" else key, right=TAKEN, **arrived)
        for language, name, form in KNOW_A_KEY
    ]

    answers = said(cases, monkeypatch)

    assert len(answers) == 3 * 4 + 3
    assert [(case, word) for case, word in answers if word != case.right] == []
