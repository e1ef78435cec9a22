"""Media inputs take what users have, refuse what is surely wrong, and go out as upstream wants them."""

import base64
import struct
from collections.abc import Callable
from typing import Any

import pytest

from service.definitions.compiler import CompiledNode
from service.definitions.media import normalized, shortened
from service.errors import InvalidInput

Build = Callable[..., CompiledNode]

MP3 = base64.b64encode(b"ID3\x04\x00\x00" + bytes(30)).decode()


def png(width: int, height: int) -> str:
    """Return the Base64 of the header of a PNG image of this size."""
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(20)
    return base64.b64encode(header).decode()


@pytest.fixture
def image_node(build: Build) -> Any:
    """A node that takes one image with every limit."""
    return build(
        "inputs: {image: {type: media, media: image, send: [url, base64], formats: [png, jpeg], "
        "max_size: 2kB, min_side: 300, max_ratio: 2.5}}\n"
    )


@pytest.mark.parametrize(
    "given",
    [
        png(400, 400),
        f"data:image/png;base64,{png(400, 400)}",
        f"DATA:image/png;charset=x;base64,{png(400, 400)}",
        f"data:image/png;base64,{png(400, 400)[:20]}\n{png(400, 400)[20:]}",
        png(400, 400).rstrip("="),
        png(400, 400).replace("+", "-").replace("/", "_"),
    ],
)
def test_every_form_of_data_goes_out_as_raw_base64(image_node: Any, given: str) -> None:
    """Prefix, line breaks, URL-safe letters and missing padding are all made plain before sending."""
    checked = image_node.inputs.check({"image": given})

    request = image_node.plan.build(checked)

    assert request.body == {"image": png(400, 400)}


def test_a_url_goes_out_as_it_is(image_node: Any) -> None:
    """A URL is an opaque text."""
    url = "https://example.com/a%20b.png?x=1&y=%2F#z"

    request = image_node.plan.build(image_node.inputs.check({"image": url}))

    assert request.body == {"image": url}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("ftp://example.com/a.png", "format"),
        ("not a picture", "format"),
        (base64.b64encode(b"GIF89a" + bytes(30)).decode(), "format"),
        (f"data:image/gif;base64,{png(400, 400)}", "format"),
        (png(299, 400), "min_side"),
        (png(400, 1001), "max_ratio"),
        (png(400, 400) + "AAAA" * 700, "format"),
    ],
)
def test_what_is_surely_wrong_is_refused(image_node: Any, given: str, code: str) -> None:
    """No picture, a wrong format, too small, too thin or too large: refused at the field."""
    with pytest.raises(InvalidInput) as caught:
        image_node.inputs.check({"image": given})

    assert {(fault.pointer, fault.code) for fault in caught.value.faults} == {("/image", code)}


def test_the_edge_of_each_limit_is_let_through(image_node: Any) -> None:
    """The smallest side and the longest shape that upstream takes are accepted."""
    for width, height in ((300, 300), (300, 750), (1000, 400)):
        assert image_node.inputs.check({"image": png(width, height)})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"data:image/jpg;base64,{MP3}", f"data:image/jpeg;base64,{MP3}"),
        (f"data:audio/mp3;base64,{MP3}", f"data:audio/mpeg;base64,{MP3}"),
        (f"data:audio/x-wav;base64,{MP3}", f"data:audio/wav;base64,{MP3}"),
        ("  https://example.com/a.png\n", "https://example.com/a.png"),
    ],
)
def test_types_have_one_name(given: str, expected: str) -> None:
    """Other names of a type and white space around a value do not matter."""
    assert normalized(given) == expected


def test_upstream_may_want_data_uris(build: Build) -> None:
    """Where upstream takes data URIs, raw Base64 gets the prefix of its format."""
    node = build("inputs: {sound: {type: media, media: audio, send: [data_uri], formats: [mp3, wav]}}\n")

    request = node.plan.build(node.inputs.check({"sound": MP3}))

    assert request.body == {"sound": f"data:audio/mpeg;base64,{MP3}"}


def test_media_are_shortened_for_people() -> None:
    """Data are shown by their size, URLs whole."""
    assert shortened("https://example.com/a.png") == "https://example.com/a.png"
    assert shortened(f"data:audio/mpeg;base64,{'AAAA' * 100}") == "base64 data, 300 bytes"
