"""What users give, in the form that upstream takes: every source against every form, with a real vault and store."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from service.artifacts.fetch import Fetcher
from service.artifacts.files import Files
from service.artifacts.links import Links
from service.artifacts.materials import Materials
from service.artifacts.results import kept_results
from service.artifacts.vault import FolderVault
from service.definitions.catalog import CompiledNode, compile_catalog
from service.definitions.loader import load
from service.definitions.outgoing import FilePart
from service.definitions.results import ReadArtifact
from service.egress import EgressGuard, parse_networks
from service.errors import InvalidInput, MediaUnavailable, NotFound
from service.lifecycle.artifacts import artifact_id, numbered
from service.lifecycle.transitions import queued
from service.secret_key import SecretKeys
from service.store.opening import store_of
from service.store.sql_store import SqlStore
from tests.integration.test_fetch import Names, Site, site
from tests.integration.test_http import png
from tests.unit.definitions.conftest import DIALECT, NODE, PROVIDER
from tests.unit.lifecycle.test_transitions import a_run

__all__ = ["site"]
PNG = png(400, 400)
DATA = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{DATA}"
MP4 = b"\0\0\0\x20ftypisom" + bytes(50)
OWN = "w"
RUN = "run_" + "0" * 26


class ManualClock:
    """A clock that stands still."""

    def now(self) -> float:
        """Return the time."""
        return 1_795_341_600.0


class Workshop(Struct, frozen=True):
    """Materials, and what they are made of."""

    folder: Path
    vault: FolderVault
    files: Files
    store: SqlStore
    materials: Materials
    fetcher: Fetcher

    def node(self, send: str, more: str = "", media: str = "image") -> CompiledNode:
        """Compile a node whose input takes these forms."""
        field = f"{{type: media, media: {media}, send: [{send}]{more}}}"
        head = NODE.partition("inputs:")[0]
        texts = {
            "acme/provider.yaml": PROVIDER,
            "dialects/acme.yaml": DIALECT,
            "acme/draw.yaml": f"{head}inputs:\n  image: {field}\n  images: {{type: array, items: {field}}}\n",
        }
        for name, text in texts.items():
            path = self.folder / "nodes" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return compile_catalog(load([self.folder / "nodes"])).get("acme.draw")

    async def made(self, node: CompiledNode, text: str, *, fetches: bool = True) -> Any:
        """Return what goes upstream for a text; files in full."""
        values = node.inputs.check({"image": text})
        async with self.materials.ready(node, values, OWN, fetches=fetches) as ready:
            image = ready["image"]
            if isinstance(image, FilePart) and image.path is not None:
                return msgspec.structs.replace(image, path=None, data=image.path.read_bytes())
            return image

    async def artifact(self, artifact: ReadArtifact, workspace: str = OWN) -> str:
        """Store a run that ended with an artifact; returns the artifact's id."""
        kept = await kept_results((artifact,), RUN, self.vault)
        run = a_run("queued", id=RUN, callback_token="t", workspace=workspace, artifacts=numbered(kept, RUN))
        await self.store.start(queued(run), {}, None)
        return artifact_id(RUN, 0)

    def aside(self) -> list[Path]:
        """Return what is written aside."""
        return list((self.folder / "artifacts" / "part").iterdir())


async def opened(folder: Path, public_url: str | None) -> AsyncIterator[Workshop]:
    """Open everything in a folder."""
    vault, clock = FolderVault(folder / "artifacts"), ManualClock()
    store = store_of(folder / "halley.db", clock)
    await vault.open()
    await store.open()
    files = Files(vault, store, clock)
    async with Fetcher(EgressGuard(parse_networks("127.0.0.0/8")), vault, resolver=Names()) as fetcher:
        links = Links(SecretKeys(all=(b"k" * 32,)))
        materials = Materials(vault, fetcher, store, files=files, links=links, public_url=public_url, clock=clock)
        yield Workshop(folder, vault, files, store, materials, fetcher)
    await store.close()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    """A workshop that upstream can reach."""
    async for each in opened(tmp_path, "https://halley.example"):
        yield each


@pytest.fixture
async def cut_off(tmp_path: Path) -> AsyncIterator[Workshop]:
    """A workshop that upstream cannot reach."""
    async for each in opened(tmp_path, None):
        yield each


@pytest.mark.parametrize(
    ("send", "text"),
    [
        ("url", "https://example.com/a.png?x=1"),
        ("base64, url", "https://example.com/a.png?x=1"),
        ("base64", DATA),
        ("url, base64", DATA),
        ("data_uri", URI),
        ("file, data_uri", URI),
    ],
)
async def test_what_upstream_takes_goes_as_it_is(shop: Workshop, send: str, text: str) -> None:
    """Nothing is fetched, decoded or linked without need."""
    assert await shop.made(shop.node(send), text) == text


@pytest.mark.parametrize(
    ("send", "expected"),
    [
        ("base64", DATA),
        ("data_uri, base64", URI),
        ("file", FilePart(filename="my photo.png", mime="image/png", data=PNG)),
    ],
)
async def test_a_url_is_fetched_where_upstream_wants_bytes(
    shop: Workshop, site: Site, send: str, expected: object
) -> None:
    """Its bytes go in the best form; the end of the name tells the format, whatever the URL said."""
    site.answers("/my photo.jpeg", body=PNG)

    made = await shop.made(shop.node(send), site.url("/my%20photo.jpeg?size=2"))

    assert made == expected
    assert shop.aside() == []


@pytest.mark.parametrize("given", ["file", "artifact", "bare"])
@pytest.mark.parametrize(
    ("send", "expected"),
    [
        ("url, base64", DATA),
        ("data_uri", URI),
        ("file", b""),
        ("url", "https://halley.example/v1/artifacts/"),
    ],
)
async def test_kept_bytes_go_in_every_form(shop: Workshop, given: str, send: str, expected: str | bytes) -> None:
    """Uploads and stored artifacts go as bytes, and as a link only where upstream takes nothing else."""
    if given == "file":
        text = (await shop.files.add(OWN, PNG, "mine.jpg")).id
    else:
        name = await shop.artifact(ReadArtifact(kind="image", url=None, content=PNG))
        text = name if given == "bare" else f"artifact://{name}"

    made = await shop.made(shop.node(send), text)

    if isinstance(expected, bytes):
        assert (made.data, made.mime, made.filename.endswith(".png")) == (PNG, "image/png", True)
    elif expected.startswith("https:"):
        assert made.startswith(expected + text.removeprefix("artifact://") + "?expires=")
    else:
        assert made == expected


@pytest.mark.parametrize("text", [DATA, URI])
async def test_given_bytes_become_files_and_links(shop: Workshop, text: str) -> None:
    """A form gets a file part; an upstream that takes nothing but URLs a link to an upload that holds the bytes."""
    part = await shop.made(shop.node("file"), text)
    link = await shop.made(shop.node("url"), text)

    path = shop.vault.path(link.partition("?")[0].rpartition("/")[2])
    assert part == FilePart(filename="image.png", mime="image/png", data=PNG)
    assert path is not None
    assert path.read_bytes() == PNG
    assert shop.aside() == []


async def test_without_a_public_url_bytes_cannot_become_a_link(cut_off: Workshop) -> None:
    """That is said before anything is sent, with what to do."""
    node, upload = cut_off.node("url"), await cut_off.files.add(OWN, PNG)

    for text in (DATA, upload.id):
        with pytest.raises(InvalidInput) as early:
            await cut_off.materials.check(node, {"image": text}, OWN)
        with pytest.raises(InvalidInput) as late:
            await cut_off.made(node, text)
        assert early.value.faults == late.value.faults
        assert "HALLEY_PUBLIC_URL" in early.value.faults[0].message


async def test_an_artifact_at_upstream_goes_by_its_url_or_is_fetched(shop: Workshop, site: Site) -> None:
    """Where upstream takes URLs it is handed its own, else the bytes are fetched."""
    url = site.answers("/v.png", body=PNG)
    name = await shop.artifact(ReadArtifact(kind="image", url=url))

    assert await shop.made(shop.node("base64, url"), name) == url
    assert await shop.made(shop.node("base64"), name) == DATA


async def test_media_inside_lists_are_made_ready(shop: Workshop, site: Site) -> None:
    """Each element by itself, the rest of the input untouched."""
    node, upload = shop.node("base64"), await shop.files.add(OWN, PNG)
    url = site.answers("/a.png", body=png(10, 10))
    values = node.inputs.check({"images": [upload.id, url, DATA]})

    async with shop.materials.ready(node, values, OWN) as ready:
        assert ready == {"images": [DATA, base64.b64encode(png(10, 10)).decode(), DATA]}

    assert values["images"][0] == upload.id


async def test_what_is_fetched_is_judged(shop: Workshop, site: Site) -> None:
    """Size, format, least side, shape and web pages: refused at the field, and nothing is left."""
    bodies = {
        "max_size": png(400, 400) + bytes(20_000),
        "format": MP4,
        "min_side": png(299, 400),
        "max_ratio": png(400, 1300),
    }
    node = shop.node("base64", ", formats: [png, jpeg], max_size: 20kB, min_side: 300, max_ratio: 2.5")
    for code, body in bodies.items():
        url = site.answers(f"/{code}", body=body)
        with pytest.raises(InvalidInput) as caught:
            await shop.made(node, url)
        assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/image", code)]
    page = site.answers("/page", body=b"<!doctype html><html>", Content_Type="image/png")
    with pytest.raises(InvalidInput, match="1 fault") as shown:
        await shop.made(shop.node("base64"), page)

    assert "web page" in shown.value.faults[0].message
    assert shop.aside() == []


async def test_a_url_that_cannot_be_had_says_where_it_stands(shop: Workshop, site: Site) -> None:
    """The pointer names the field; the URL's secrets stay unsaid."""
    url = site.answers("/a.png", 503, b"")

    with pytest.raises(MediaUnavailable, match=r"/image.*HTTP 503.*nothing was sent") as caught:
        await shop.made(shop.node("base64"), f"{url}?token=secret")

    assert caught.value.retryable
    assert "secret" not in str(caught.value)


async def test_a_preview_fetches_nothing(shop: Workshop, site: Site) -> None:
    """URLs stay as they are, uploads are shown as they would go."""
    url, upload = site.answers("/a.png"), await shop.files.add(OWN, PNG)

    assert await shop.made(shop.node("base64"), url, fetches=False) == url
    assert await shop.made(shop.node("base64"), upload.id, fetches=False) == DATA
    assert site.asked == []


async def test_what_is_not_the_callers_is_not_there(shop: Workshop) -> None:
    """Uploads and artifacts of another workspace, and those that never were, are told alike."""
    node, upload = shop.node("base64"), await shop.files.add("other", PNG)
    name = await shop.artifact(ReadArtifact(kind="image", url=None, content=PNG), workspace="other")

    for text in (upload.id, name, f"artifact://{name}", "file_" + "0" * 26, "art_" + "1" * 28):
        with pytest.raises(NotFound) as early:
            await shop.materials.check(node, {"image": text}, OWN)
        with pytest.raises(NotFound):
            await shop.made(node, text)
        assert [fault.pointer for fault in early.value.faults] == ["/image"]


@pytest.mark.parametrize(
    ("name", "data", "field", "sent"),
    [
        ("song.bin", MP4, ("audio", "[mp3, m4a]"), ("song.m4a", "audio/mp4")),
        ("a.jpeg", b"\xff\xd8\xff\xe0", ("image", "[jpeg, png]"), ("a.jpeg", "image/jpeg")),
        ("a.png", b"\xff\xd8\xff\xe0", ("image", "[jpg, png]"), ("a.jpg", "image/jpeg")),
        ("voice", b"OggS" + bytes(40), ("audio", "[oga]"), ("voice.oga", "audio/ogg")),
    ],
)
async def test_file_names_end_as_upstream_knows_them(
    shop: Workshop, name: str, data: bytes, field: tuple[str, str], sent: tuple[str, str]
) -> None:
    """One container may be sound or film and one type has several names: the field's own counts."""
    media, formats = field
    upload = await shop.files.add(OWN, data, name)

    part = await shop.made(shop.node("file", f", formats: {formats}", media), upload.id)

    assert (part.filename, part.mime) == sent


async def test_any_file_keeps_its_own_ending(shop: Workshop) -> None:
    """Lines of JSON are told from JSON by their name alone."""
    upload = await shop.files.add(OWN, b'{"a": 1}\n{"a": 2}\n', "batch.jsonl")

    part = await shop.made(shop.node("file", media="file"), upload.id)

    assert part.filename == "batch.jsonl"


async def test_results_are_kept_under_the_ids_they_will_have(shop: Workshop) -> None:
    """Bytes go to the vault, their type is told by them; results with a URL stay; doing it again changes nothing."""
    found = (
        ReadArtifact(kind="image", url="https://x/a.png"),
        ReadArtifact(kind="image", url=None, content=PNG, mime="image/jpeg"),
        ReadArtifact(kind="file", url=None, content=b"\1\2", mime="model/x"),
    )

    kept = await kept_results(found, RUN, shop.vault)
    again = await kept_results(found, RUN, shop.vault)

    artifacts = numbered(kept, RUN)
    path = shop.vault.path(artifacts[1].id)
    assert kept == again
    assert kept[0] == found[0]
    assert [(each.content, each.mime, each.size_bytes) for each in kept[1:]] == [
        (None, "image/png", len(PNG)),
        (None, "model/x", 2),
    ]
    assert [each.stored for each in artifacts] == [False, True, True]
    assert path is not None
    assert path.read_bytes() == PNG
