"""What a file is, told by its first bytes: media type and file extension. Names and headers are not believed."""

import re

from msgspec import Struct

SNIFFED_BYTES = 4096
_S = re.DOTALL
_SI = re.DOTALL | re.IGNORECASE


class Sniffed(Struct, frozen=True):
    """Media type and usual file extension."""

    mime: str
    extension: str


UNKNOWN = Sniffed("application/octet-stream", "bin")
TEXT = Sniffed("text/plain", "txt")

# The first that fits counts, so what is narrow stands before what is wide.
_SIGNATURES = tuple(
    (re.compile(pattern, flags), Sniffed(mime, extension))
    for pattern, mime, extension, flags in (
        (rb"\x89PNG\r\n\x1a\n", "image/png", "png", _S),
        (rb"\xff\xd8\xff", "image/jpeg", "jpg", _S),
        (rb"GIF8[79]a", "image/gif", "gif", _S),
        (rb"RIFF.{4}WEBP", "image/webp", "webp", _S),
        (rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}", "image/bmp", "bmp", _S),
        (rb"II\x2a\0|MM\0\x2a", "image/tiff", "tiff", _S),
        (rb".{4}ftyp(?:avi[fs]|mif1.{4}(?:.{4}){0,6}?avif)", "image/avif", "avif", _S),
        (rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", "image/heic", "heic", _S),
        (rb".{4}ftypM4[ABP] ", "audio/mp4", "m4a", _S),
        (rb".{4}(?:ftypqt  |moov|mdat|wide)", "video/quicktime", "mov", _S),
        (rb".{4}ftyp3g", "video/3gpp", "3gp", _S),
        (rb".{4}ftyp", "video/mp4", "mp4", _S),
        (rb"\x1aE\xdf\xa3.{0,60}webm", "video/webm", "webm", _S),
        (rb"\x1aE\xdf\xa3", "video/x-matroska", "mkv", _S),
        (rb"RIFF.{4}AVI ", "video/x-msvideo", "avi", _S),
        (rb"OggS.{24}\x80theora", "video/ogg", "ogv", _S),
        (rb"OggS", "audio/ogg", "ogg", _S),
        (rb"(?:RIFF|RF64|BW64).{4}WAVE", "audio/wav", "wav", _S),
        (rb"fLaC", "audio/flac", "flac", _S),
        (rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", "audio/mpeg", "mp3", _S),
        (rb"ADIF|\xff[\xf0\xf1\xf8\xf9]", "audio/aac", "aac", _S),
        (rb"FORM.{4}AIF[FC]", "audio/aiff", "aiff", _S),
        (rb"MThd", "audio/midi", "mid", _S),
        (rb"glTF.{8}", "model/gltf-binary", "glb", _S),
        (rb"Kaydara FBX Binary  \0", "application/octet-stream", "fbx", _S),
        (rb"PK\x03\x04.{22,26}?[^\0/]{1,200}\.usd[ac]?(?![a-z])", "model/vnd.usdz+zip", "usdz", _S),
        (rb"PK(?:\x03\x04|\x05\x06)", "application/zip", "zip", _S),
        (rb"\x1f\x8b", "application/gzip", "gz", _S),
        (rb"%PDF-", "application/pdf", "pdf", _S),
        (rb"\s*solid\b[^\n]*\n\s*(?:facet\s+normal|endsolid)", "model/stl", "stl", _S),
        (rb"(?:\s*#[^\n]*\n)*\s*(?:mtllib [^\n]+\n|v(?: -?[0-9.e-]+){3})", "model/obj", "obj", _S),
        (
            rb"\s*(?:\xef\xbb\xbf)?(?:<\?xml.{0,200}?\?>\s*|<!--.{0,2000}?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg[\s>]",
            "image/svg+xml",
            "svg",
            _SI,
        ),
        (
            rb"\s*(?:\xef\xbb\xbf)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype html|html|head|body|script)\b",
            "text/html",
            "html",
            _SI,
        ),
        (
            rb"\s*(?:\{\s*[\"}]|\[\s*(?:[\[{\"\]]|-?[0-9]|true|false|null))",
            "application/json",
            "json",
            _S,
        ),
    )
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_LONGEST_CHARACTER = 4


def sniff(head: bytes) -> Sniffed:
    """Tell a file by its first `SNIFFED_BYTES`."""
    head = head[:SNIFFED_BYTES]
    is_text = _is_text(head)
    for pattern, sniffed in _SIGNATURES:
        if pattern.match(head) and (is_text or sniffed not in _TEXTS):
            return sniffed
    return TEXT if is_text else UNKNOWN


_TEXTS = tuple(sniffed for _, sniffed in _SIGNATURES if sniffed.extension in ("stl", "obj", "svg", "html", "json"))


def _is_text(head: bytes) -> bool:
    if not head or _CONTROL.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as exc:
        # A character may be cut in two where the head ends.
        return len(head) == SNIFFED_BYTES and exc.start > len(head) - _LONGEST_CHARACTER
    return True
