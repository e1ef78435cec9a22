"""Uploads and stored artifacts over HTTP: taken in, used by runs, handed out by link and by key, whole and in part."""

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from service.api.auth import add_key
from service.artifacts.upkeep import Upkeep
from service.clock import Clock
from service.lifecycle.artifacts import artifact_id, run_of
from service.lifecycle.run import Artifact, Change, Run
from service.simulator import Simulator
from tests.fakes.house import API_KEY, House, house
from tests.fakes.receiver import Receiver
from tests.integration.test_http import I2V, T2V, png

PNG = png(400, 400)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


async def upload(halley: House, data: bytes = PNG, **more: Any) -> dict[str, Any]:
    """Upload a file and return what Halley tells of it."""
    answer = await halley.client.post("/v1/files", content=data, **more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def stored_files(halley: House) -> list[Path]:
    """Return everything that is in the vault."""
    folder = halley.app.state.services.vault._folder
    return [path for path in folder.rglob("*") if path.is_file()]


async def stranger(halley: House, workspace: str = "other") -> str:
    """Return an API key of another workspace."""
    services = halley.app.state.services
    return await add_key(services.store, services.clock, workspace, workspace) or ""


async def with_artifact(halley: House, data: bytes | None, url: str | None = None) -> str:
    """End a run with one artifact, stored or at upstream, and return the artifact's id."""
    started = await halley.start(T2V, {"prompt": "x [[duration:60]]"}, mode="mock")
    run = await halley.until(started.json()["id"], "running")
    name = artifact_id(run["id"], 0)
    services = halley.app.state.services
    if data is not None:
        await services.vault.keep(name, data, limit_bytes=10_000_000)
    artifact = Artifact(
        id=name, kind="image", role="output", index=0, url=url, size_bytes=len(data or b""), stored=data is not None
    )

    def ended(current: Run) -> Change:
        done = msgspec.structs.replace(
            current,
            state="succeeded",
            artifacts=(artifact,),
            due_at=None,
            finished_at=1.0,
            sequence=current.sequence + 1,
        )
        return Change(run=done, events=("run.succeeded",))

    await services.store.change(run["id"], ended)
    return name


async def test_an_upload_is_told_and_handed_out(halley: House) -> None:
    """Raw or in a form: id, type by content, size, name; the bytes come back by link without a key."""
    raw = await upload(halley, headers={"Content-Type": "application/x-www-form-urlencoded"})
    form = await halley.client.post("/v1/files", files={"file": ("../my photo.png", PNG, "text/html")})
    shown = await halley.client.get(f"/v1/files/{raw['id']}")
    async with httpx.AsyncClient() as anyone:
        answer = await anyone.get(form.json()["url"])

    assert (raw["mime"], raw["size_bytes"], raw["name"]) == ("image/png", len(PNG), f"{raw['id']}.png")
    assert form.headers["location"] == f"{halley.url}/v1/files/{form.json()['id']}"
    assert form.json()["name"] == "my photo.png"
    assert shown.json()["expires_at"] == raw["expires_at"]
    assert answer.content == PNG
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith('inline; filename="my photo.png"')


async def test_a_large_upload_is_streamed_to_the_disk(halley: House) -> None:
    """Several megabytes in a form come back as they went in, by either way."""
    data = os.urandom(3_000_000)
    answer = await halley.client.post("/v1/files", files={"file": ("a.bin", data), "note": (None, "ignored")})
    back = await halley.client.get(f"/v1/artifacts/{answer.json()['id']}")

    assert back.content == data


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"content": b""}, 400),
        ({"files": {"file": ("a.png", b"")}}, 400),
        ({"files": {"other": ("a.png", PNG)}}, 422),
        ({"files": [("file", ("a.png", PNG)), ("file", ("b.png", PNG))]}, 422),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}, 400),
    ],
)
async def test_uploads_that_are_none_are_refused_and_leave_nothing(
    halley: House, more: dict[str, Any], status: int
) -> None:
    """Empty, missing, two at once or broken: a problem, and an empty vault."""
    answer = await halley.client.post("/v1/files", **more)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored_files(halley) == []


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(halley: House) -> None:
    """Its length is told first, and that is enough."""
    port = int(halley.url.rpartition(":")[2])
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\nContent-Length: 600000000\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode())
    line = await reader.readline()
    writer.close()

    assert line.split()[1] == b"413"


async def test_workspaces_do_not_see_each_others_files(halley: House) -> None:
    """For a foreign key an upload is not there, of no use in a run and not deleted; without a key there is nothing."""
    record = await upload(halley)
    name = await with_artifact(halley, PNG)
    url = f"/v1/artifacts/{record['id']}"
    async with httpx.AsyncClient(base_url=halley.url, headers={"X-API-Key": await stranger(halley)}) as other:
        seen = [await other.get(path) for path in (f"/v1/files/{record['id']}", url, f"/v1/artifacts/{name}")]
        used = [
            await other.post(f"/v1/nodes/{I2V}/runs", params={"mode": "mock"}, json={"image": each, "prompt": "x"})
            for each in (record["id"], name, f"artifact://{name}")
        ]
        deleted = await other.delete(f"/v1/files/{record['id']}")
    async with httpx.AsyncClient(base_url=halley.url) as nobody:
        without_key = await nobody.get(url)
    still = await halley.client.get(url)

    assert {answer.status_code for answer in (*seen, *used)} == {404}
    assert used[0].json()["errors"][0]["pointer"] == "/image"
    assert [deleted.status_code, without_key.status_code, still.status_code] == [404, 401, 200]


async def test_deleting_takes_the_bytes_too(halley: House) -> None:
    """Deleted once, the upload, its bytes and its link are gone; the second time there is nothing to delete."""
    record = await upload(halley)
    answers = [await halley.client.delete(f"/v1/files/{record['id']}") for _ in range(2)]
    after = [await halley.client.get(url) for url in (f"/v1/files/{record['id']}", record["url"])]

    assert [answer.status_code for answer in answers] == [204, 404]
    assert [answer.status_code for answer in after] == [404, 404]
    assert stored_files(halley) == []


async def test_changed_links_are_refused(halley: House) -> None:
    """A wrong signature and another id under a right one are 403, whoever asks."""
    first, second = await upload(halley), await upload(halley)
    wrong = first["url"][:-1] + ("0" if first["url"][-1] != "0" else "1")
    moved = first["url"].replace(first["id"], second["id"])
    answers = [await halley.client.get(url) for url in (wrong, moved, f"/v1/artifacts/{first['id']}?signature=")]

    assert [answer.status_code for answer in answers] == [403] * 3
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}


@pytest.mark.parametrize(
    ("asked", "status", "part", "told"),
    [
        ("bytes=0-9", 206, slice(0, 10), "bytes 0-9/1000"),
        ("bytes=990-", 206, slice(990, None), "bytes 990-999/1000"),
        ("bytes=-5", 206, slice(995, None), "bytes 995-999/1000"),
        ("bytes=990-5000", 206, slice(990, None), "bytes 990-999/1000"),
        ("bytes=0-999", 206, slice(None), "bytes 0-999/1000"),
        ("bytes=1000-", 416, None, "bytes */1000"),
        ("bytes=-0", 416, None, "bytes */1000"),
        ("bytes=5-2", 200, slice(None), None),
        ("bytes=0-1,5-6", 200, slice(None), None),
        ("items=0-1", 200, slice(None), None),
        ("bytes=" + "9" * 5000 + "-", 200, slice(None), None),
    ],
)
async def test_parts_are_sent_as_asked(
    halley: House, asked: str, status: int, part: slice | None, told: str | None
) -> None:
    """A single range is a 206, one beyond the end a 416, and anything else the whole."""
    data = os.urandom(1000)
    record = await upload(halley, data)
    answer = await halley.client.get(record["url"], headers={"Range": asked})

    assert answer.status_code == status
    assert answer.headers.get("content-range") == told
    assert answer.headers["accept-ranges"] == "bytes"
    if part is not None:
        assert answer.content == data[part]


async def test_caches_are_served(halley: House) -> None:
    """HEAD tells all but the bytes; a known tag is a 304; a range of something else is the whole."""
    record = await upload(halley)
    head = await halley.client.head(record["url"])
    tag = head.headers["etag"]
    known = await halley.client.get(record["url"], headers={"If-None-Match": f'"x", {tag}'})
    same = await halley.client.get(record["url"], headers={"If-Range": tag, "Range": "bytes=0-3"})
    other = await halley.client.get(record["url"], headers={"If-Range": '"x"', "Range": "bytes=0-3"})
    lost = await halley.client.head("/v1/artifacts/file_00000000000000000000000000")

    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["content-type"]) == (str(len(PNG)), "image/png")
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert [same.status_code, other.status_code, lost.status_code] == [206, 200, 404]


@pytest.mark.parametrize(("data", "mime"), [(SVG, "image/svg+xml"), (b"<html><script>", "text/html; charset=utf-8")])
async def test_active_content_runs_nothing(halley: House, data: bytes, mime: str) -> None:
    """What a browser could run scripts of is sent into a sandbox."""
    record = await upload(halley, data, headers={"Content-Type": "image/png"})
    answer = await halley.client.get(record["url"])

    assert answer.headers["content-type"] == mime
    assert "sandbox" in answer.headers["content-security-policy"].split("; ")


async def test_lists_of_objects_beside_a_file_are_no_matter(halley: House) -> None:
    """A start whose lists hold objects is looked through for files like any other."""
    body = {"image_list": [{"image": "https://example.com/a.png"}], "prompt": "x"}
    answer = await halley.start("kling.multi_image_to_video", body, mode="preview")

    assert answer.status_code == 200, answer.text


async def test_an_upload_is_used_by_a_run(halley: House) -> None:
    """The run shows the id, and upstream gets the bytes in the form that it takes."""
    record = await upload(halley)
    run = (await halley.start(I2V, {"image": record["id"], "prompt": "x"}, mode="mock", wait=20)).json()
    (sent,) = [r.body for r in halley.sim.requests if r.method == "POST"]

    assert run["state"] == "succeeded"
    assert run["input"]["image"] == record["id"]
    assert sent["image"].startswith(base64.b64encode(PNG).decode()[:20])


async def test_a_file_in_a_start_is_kept_for_it(halley: House) -> None:
    """To Idempotency-Key equal uploads are the same request, another picture is another; repetitions leave nothing."""
    headers = {"Idempotency-Key": "one"}

    async def start(data: bytes) -> httpx.Response:
        return await halley.client.post(
            f"/v1/nodes/{I2V}/runs",
            params={"mode": "mock"},
            headers=headers,
            data={"prompt": "x"},
            files={"image": ("a.png", data, "image/png")},
        )

    first, again, other = await start(PNG), await start(PNG), await start(png(401, 401))

    assert [answer.status_code for answer in (first, again, other)] == [202, 202, 422]
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len(stored_files(halley)) == 1


async def test_large_base64_is_kept_out_of_the_database(halley: House) -> None:
    """A long text becomes an upload; repeating it with its key gives the same run and leaves nothing behind."""
    noise = PNG[:-12] + os.urandom(60_000)
    body = {"image": base64.b64encode(noise).decode(), "prompt": "x"}
    headers = {"Idempotency-Key": "two"}
    url = f"/v1/nodes/{I2V}/runs?mode=mock"
    first = await halley.client.post(url, json=body, headers=headers)
    again = await halley.client.post(url, json=body, headers=headers)
    kept = await halley.app.state.services.store.run_input(first.json()["id"])

    assert first.json()["id"] == again.json()["id"]
    assert kept["image"].startswith("file_")
    assert [path.read_bytes() for path in stored_files(halley)] == [noise]


async def test_refused_and_previewed_starts_leave_no_files(halley: House) -> None:
    """A file for a field that takes none, a picture that is too small, and a preview keep nothing."""
    url = f"/v1/nodes/{I2V}/runs"
    misplaced = await halley.client.post(url, files={"image": ("a.png", PNG), "prompt": ("p.txt", b"a comet")})
    small = await halley.client.post(url, data={"prompt": "x"}, files={"image": ("a.png", png(20, 20))})
    empty = await halley.client.post(url, data={"prompt": "x"}, files={"image": ("a.png", b"")})
    form = await halley.client.post(url + "?mode=preview", data={"prompt": "x"}, files={"image": ("a.png", PNG)})

    assert [answer.status_code for answer in (misplaced, small, empty, form)] == [422, 422, 422, 200]
    assert [fault["pointer"] for fault in misplaced.json()["errors"]] == ["/prompt"]
    assert [answer.json()["errors"][0]["code"] for answer in (small, empty)] == ["min_side", "empty"]
    assert form.json()["request"]["body"]["image"] == base64.b64encode(PNG).decode()
    assert stored_files(halley) == []


async def test_a_stored_artifact_has_a_fresh_link_in_every_view(tmp_path: Path, sim: Simulator) -> None:
    """The run shows a signed link and when it dies; nothing tells that it is stored here."""
    async with house(tmp_path, sim) as halley:
        name = await with_artifact(halley, PNG)
        run = (await halley.client.get(f"/v1/runs/{run_of(name)}")).json()
        listed = (await halley.client.get("/v1/runs")).json()["data"][0]
        (artifact,) = run["artifacts"]
        async with httpx.AsyncClient() as anyone:
            part = await anyone.get(artifact["url"], headers={"Range": "bytes=0-7"})
        by_key = await halley.client.get(f"/v1/artifacts/{name}")
        document = await halley.app.state.services.store.run(run["id"])

    assert "stored" not in artifact
    assert artifact["expires_at"] is not None
    assert artifact["size_bytes"] == len(PNG)
    assert listed["artifacts"] == run["artifacts"]
    assert (part.status_code, part.content) == (206, PNG[:8])
    assert by_key.content == PNG
    assert document.artifacts[0].url is None


async def test_an_event_carries_a_link_for_a_week(halley: House, receiver: Receiver) -> None:
    """It is written with the event, under the public URL."""
    started = await halley.start(T2V, {"prompt": "x [[duration:60]]"}, mode="mock", webhook_url=receiver.url)
    run = await halley.until(started.json()["id"], "running")
    services = halley.app.state.services
    name = artifact_id(run["id"], 0)
    await services.vault.keep(name, PNG, limit_bytes=10_000)
    artifact = Artifact(id=name, kind="image", role="output", index=0, url=None, stored=True)
    await services.store.change(
        run["id"],
        lambda current: Change(
            run=msgspec.structs.replace(
                current, state="succeeded", artifacts=(artifact,), due_at=None, sequence=current.sequence + 1
            ),
            events=("run.succeeded",),
        ),
    )
    (got,) = await receiver.wait_for(1)
    told = got.event["data"]["artifacts"][0]
    shown = (await halley.client.get(f"/v1/runs/{run['id']}")).json()["artifacts"][0]
    async with httpx.AsyncClient() as anyone:
        answer = await anyone.get(told["url"])

    assert answer.content == PNG
    assert told["url"].startswith(f"{halley.url}/v1/artifacts/{name}?")
    assert told["expires_at"] > shown["expires_at"]


async def test_an_artifact_at_upstream_is_pointed_to(halley: House) -> None:
    """By key the answer leads there; there is no signed link to it."""
    url = "https://cdn.example/ä b.png?x=%2F"
    name = await with_artifact(halley, None, url)
    by_key = await halley.client.get(f"/v1/artifacts/{name}", follow_redirects=False)
    links = halley.app.state.services.links
    link, _ = links.sign(name, halley.url, halley.app.state.services.clock.now())
    by_link = await halley.client.get(link)

    assert (by_key.status_code, by_key.headers["location"]) == (302, "https://cdn.example/%C3%A4%20b.png?x=%2F")
    assert by_link.status_code == 404


async def test_expired_uploads_are_deleted(halley: House) -> None:
    """After its time an upload is not found, and upkeep removes it with its bytes; others stay."""
    services = halley.app.state.services
    old, young = await upload(halley), await upload(halley)
    record = await services.store.file(old["id"])
    await services.store.delete_file(old["id"])
    await services.store.add_file(msgspec.structs.replace(record, expires_at=services.clock.now() - 1))
    gone = await halley.client.get(f"/v1/files/{old['id']}")
    more = await Upkeep(services.store, services.vault, services.clock).run_once()

    assert gone.status_code == 404
    assert more is False
    assert await services.store.file(old["id"]) is None
    assert [path.name for path in stored_files(halley)] == [young["id"]]


class Ahead:
    """A clock that is days ahead of another."""

    def __init__(self, clock: Clock, days: float) -> None:
        self._clock = clock
        self._ahead_s = days * 86400.0

    def now(self) -> float:
        """Return the time."""
        return self._clock.now() + self._ahead_s


async def test_old_runs_go_by_themselves_where_the_settings_say_so(halley: House) -> None:
    """Upkeep forgets runs that ended longer ago than they are kept; where no time is set it forgets none."""
    run = await halley.end((await halley.start(T2V, {"prompt": "x"})).json()["id"])
    services = halley.app.state.services
    later = Ahead(services.clock, 10)

    await Upkeep(services.store, services.vault, later).run_once()
    kept = await halley.client.get(f"/v1/runs/{run['id']}")
    await Upkeep(services.store, services.vault, later, keep_runs_s=7 * 86400.0).run_once()
    gone = await halley.client.get(f"/v1/runs/{run['id']}")

    assert (kept.status_code, gone.status_code) == (200, 404)
