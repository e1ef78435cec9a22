"""Files are told by their first bytes, whatever they are called."""

from pathlib import Path

import pytest

from service.artifacts.sniff import SNIFFED_BYTES, sniff

SAMPLES = Path(__file__).parents[3] / "service" / "simulator" / "media"


@pytest.mark.parametrize(
    ("head", "mime", "extension"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png", "png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg", "jpg"),
        (b"GIF89a\1\0\1\0", "image/gif", "gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp", "webp"),
        (b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "image/bmp", "bmp"),
        (b"II*\0\x08\0\0\0", "image/tiff", "tiff"),
        (b"MM\0*\0\0\0\x08", "image/tiff", "tiff"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "image/avif", "avif"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf", "image/avif", "avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic", "heic"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "video/mp4", "mp4"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0", "video/quicktime", "mov"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio/mp4", "m4a"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm", "video/webm", "webm"),
        (b"\x1aE\xdf\xa3\xa3B\x86\x81\1B\x82\x88matroska", "video/x-matroska", "mkv"),
        (b"ID3\4\0\0", "audio/mpeg", "mp3"),
        (b"\xff\xfb\x90d", "audio/mpeg", "mp3"),
        (b"\xff\xf1\x50\x80", "audio/aac", "aac"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav", "wav"),
        (b"fLaC\0\0\0\x22", "audio/flac", "flac"),
        (b"OggS\0\2" + bytes(22) + b"OpusHead", "audio/ogg", "ogg"),
        (b"glTF\2\0\0\0\x10\0\0\0", "model/gltf-binary", "glb"),
        (b"Kaydara FBX Binary  \0\x1a\0", "application/octet-stream", "fbx"),
        (b"PK\3\4" + bytes(26) + b"scene.usdc\0", "model/vnd.usdz+zip", "usdz"),
        (b"PK\3\4" + bytes(26) + b"model.obj", "application/zip", "zip"),
        (b"solid cube\n  facet normal 0 0 1\n", "model/stl", "stl"),
        (b"# made by hand\nmtllib a.mtl\n", "model/obj", "obj"),
        (b"%PDF-1.7\n%\xe2\xe3", "application/pdf", "pdf"),
        (b'{"a": [1]}', "application/json", "json"),
        (b"[]", "application/json", "json"),
        (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="x">', "image/svg+xml", "svg"),
        (b"\n<!DOCTYPE HTML><html>", "text/html", "html"),
        (b"solid ground under their feet\n", "text/plain", "txt"),
        ("ein Komet über dem Fjord".encode(), "text/plain", "txt"),
        (b"\0\1\2\3", "application/octet-stream", "bin"),
        (b"", "application/octet-stream", "bin"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_signature_tells_type_and_extension(head: bytes, mime: str, extension: str) -> None:
    """Each format is known by its own first bytes and taken for no other."""
    sniffed = sniff(head)

    assert (sniffed.mime, sniffed.extension) == (mime, extension)


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("sample.mp4", "video/mp4"),
        ("sample.png", "image/png"),
        ("sample.mp3", "audio/mpeg"),
        ("sample.wav", "audio/wav"),
    ],
)
def test_real_files_are_told(name: str, mime: str) -> None:
    """Files as encoders write them are known too."""
    assert sniff((SAMPLES / name).read_bytes()).mime == mime


def test_a_text_that_is_cut_inside_a_character_is_still_a_text() -> None:
    """Only so many bytes are looked at, and the last character may be half of one."""
    text = ("x" * (SNIFFED_BYTES - 1) + "é").encode()

    assert sniff(text).mime == "text/plain"


def test_a_binary_that_begins_like_markup_is_no_markup() -> None:
    """What holds control characters is never handed out as a text."""
    assert sniff(b"<svg \0\1\2").mime == "application/octet-stream"
