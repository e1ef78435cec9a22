"""Webhook URLs at rest: sealed in the database, opened for the delivery, through rotations and lost keys."""

import base64
import sqlite3
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from service.delivery.signer import derive_secret
from service.sealing import PREFIX
from service.simulator import Simulator
from tests.fakes.house import House, house
from tests.fakes.receiver import Receiver

T2V = "kling.text_to_video"
OLD, NEW = b"o" * 32, b"n" * 32


def secret(*keys: bytes) -> dict[str, str]:
    """Return the setting for these keys."""
    return {"HALLEY_SECRET_KEY": ",".join(base64.urlsafe_b64encode(key).decode() for key in keys)}


def kept_urls(folder: Path) -> set[str]:
    """Return the URLs of deliveries as they stand in the database."""
    with sqlite3.connect(folder / "halley.db") as connection:
        return {url for (url,) in connection.execute("SELECT url FROM deliveries")}


async def failed_once(halley: House, receiver: Receiver) -> dict[str, Any]:
    """Start a run whose event is refused once, and wait for that."""
    receiver.answers.append(500)
    run = (await halley.start(T2V, {"prompt": "x"}, webhook_url=f"{receiver.url}/hook?token=t1")).json()
    await halley.told(run["id"], "delivery")
    return dict(run)


async def test_after_a_rotation_events_still_arrive_signed_under_both(
    tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """An event that waited through the rotation reaches the URL that the old key sealed; both secrets verify it."""
    async with house(tmp_path, sim, environ=secret(OLD)) as halley:
        await failed_once(halley, receiver)
    sealed = kept_urls(tmp_path)
    async with house(tmp_path, sim, environ=secret(NEW, OLD)):
        *_, last = await receiver.wait_for(2)

    assert all(url.startswith(PREFIX) for url in sealed)
    assert last.path == "/hook?token=t1"
    for key in (NEW, OLD):
        Webhook(derive_secret(key, "default")).verify(last.body, last.headers)


async def test_without_the_key_a_delivery_waits_and_says_why(
    tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """Nothing is sent and nothing breaks; the timeline says what is missing, and with the key it goes out."""
    async with house(tmp_path, sim, environ=secret(OLD)) as halley:
        run = await failed_once(halley, receiver)
    async with house(tmp_path, sim, environ=secret(NEW)) as halley:
        told = await halley.told(run["id"], "delivery")
        while len(told) < 2:
            told = await halley.told(run["id"], "delivery")
        retried = await halley.client.post(f"/v1/runs/{run['id']}/retry")
        got_meanwhile = len(receiver.got)
    async with house(tmp_path, sim, environ=secret(NEW, OLD)) as halley:
        again = await halley.client.post(f"/v1/runs/{run['id']}/retry")
        await receiver.wait_for(2, timeout_s=30)

    assert (told[1]["outcome"], told[1]["status"], told[1]["again_in_s"] is None) == ("failed", None, False)
    assert "HALLEY_SECRET_KEY" in told[1]["reason"]
    assert got_meanwhile == 1
    assert (retried.status_code, again.status_code) == (409, 202)
    assert "webhook URL cannot be read" in retried.json()["detail"]


async def test_rows_from_before_there_were_seals_are_delivered(
    tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """A URL that stands in the database as it is goes out as it is."""
    async with house(tmp_path, sim, environ=secret(OLD)) as halley:
        await failed_once(halley, receiver)
    with sqlite3.connect(tmp_path / "halley.db") as connection:
        connection.execute("UPDATE deliveries SET url = ?", (f"{receiver.url}/plain",))
    async with house(tmp_path, sim, environ=secret(OLD)):
        *_, last = await receiver.wait_for(2)

    assert last.path == "/plain"
