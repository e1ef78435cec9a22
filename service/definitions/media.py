"""Media inputs: which texts stand for a picture, sound or film, and what can be told from their first bytes.

A user gives a URL, raw Base64, a data URI, or the id of something that Halley keeps: an upload, or the artifact of
an earlier run. One table of file formats serves the published JSON Schema and the check, so what the schema allows is
what is accepted. Only what is surely wrong is refused: a header that cannot be read is left to upstream.
"""

import base64
import binascii
import io
import re
from collections.abc import Iterable
from typing import Any

import imagesize
from msgspec import Struct

from service.definitions.schema import Field, size_bytes
from service.errors import Fault

_C = "[A-Za-z0-9+/]"
_TAIL = f"(?:{_C}{{4}})*(?:{_C}{{2}}==|{_C}{{3}}=)?"
URL_PATTERN = r"^https?://[A-Za-z0-9._~%\[\]:@-]+(?:[/?#][^\s]*)?$"
REFERENCE_PATTERN = r"^(?:file_[0-9a-z]{26}|(?:artifact://)?art_[0-9a-z]{26}[0-9]{2,3})$"
HEAD_BYTES = 49152  # a photograph's size stands behind its thumbnail
_URL_MAX_LENGTH = 8192
_REFERENCE = re.compile(REFERENCE_PATTERN)
_JPEG_FRAME = rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\x00[\x0b\x11\x14][\x08\x0c\x10]"
_DATA_PREFIX = re.compile(r"^data:([^,;]*)[^,]*?;base64,", re.IGNORECASE)
_OTHER_NAMES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/x-aac": "audio/aac",
}


class Format(Struct, frozen=True):
    """A file format: its MIME type, and what its first bytes look like in Base64 (whole groups of four)."""

    mime: str
    starts: str


_REST = "[w-z0-9+/]"  # the second half of a byte that ends in two ones
_FTYP = f"AAAA{_C}[GWm2]Z0eX{_C}{{2}}"
_MPEG = f"(?:SUQz|//[I-Po-v]{_C})"
_OGG = f"T2dnU{_REST}{_C}{{2}}"

FORMATS = {
    "png": Format("image/png", f"iVBORw0KGgo{_C}"),
    "jpeg": Format("image/jpeg", "/9j/"),
    "jpg": Format("image/jpeg", "/9j/"),
    "webp": Format("image/webp", f"UklGR{_C}{{3}}"),
    "gif": Format("image/gif", "R0lGOD[dl]h"),
    "bmp": Format("image/bmp", f"Qk[0-3]{_C}"),
    "tiff": Format("image/tiff", f"(?:SUkqA[A-P]{_C}{{2}}|TU0AK[g-v]{_C}{{2}})"),
    "mp3": Format("audio/mpeg", _MPEG),
    "mpga": Format("audio/mpeg", _MPEG),
    "mpeg": Format("audio/mpeg", _MPEG),
    "wav": Format("audio/wav", f"UklGR{_C}{{3}}"),
    "m4a": Format("audio/mp4", _FTYP),
    "aac": Format("audio/aac", f"//[E-Hk-n]{_C}"),
    "flac": Format("audio/flac", f"ZkxhQ{_REST}{_C}{{2}}"),
    "ogg": Format("audio/ogg", _OGG),
    "oga": Format("audio/ogg", _OGG),
    "mp4": Format("video/mp4", _FTYP),
    "mov": Format("video/quicktime", _FTYP),
    "webm": Format("video/webm", f"GkXfo{_REST}{_C}{{2}}"),
    "pdf": Format("application/pdf", f"JVBERi[0-3]{_C}"),
}


def media_schema(field: Field) -> dict[str, Any]:
    """Return the JSON Schema of the texts that a media field takes."""
    forms: list[dict[str, Any]] = [
        {"title": "URL", "pattern": URL_PATTERN, "maxLength": _URL_MAX_LENGTH},
        _data_schema(field),
        {"title": "Id of an upload, or of an artifact of an earlier run", "pattern": REFERENCE_PATTERN},
    ]
    return {"type": "string", "anyOf": forms}


def _data_schema(field: Field) -> dict[str, Any]:
    formats = [FORMATS[name] for name in format_names(field)]
    starts = "|".join(dict.fromkeys(each.starts for each in formats)) or f"{_C}{{4}}"
    mimes = "|".join(dict.fromkeys(re.escape(each.mime) for each in formats)) or "[a-z0-9.+-]+/[a-z0-9.+-]+"
    schema: dict[str, Any] = {
        "title": "Base64, raw or as a data URI",
        "pattern": f"^(?:data:(?:{mimes});base64,)?(?:{starts}){_TAIL}$",
    }
    if field.max_size:
        schema["maxLength"] = (size_bytes(field.max_size) + 2) // 3 * 4 + 64
    return schema


def format_names(field: Field) -> list[str]:
    """Return the formats that a field takes; none when it takes any file."""
    if field.formats or field.media in (None, "file"):
        return field.formats or []
    return [name for name, each in FORMATS.items() if each.mime.startswith(f"{field.media}/")]


def format_of(head: bytes, names: Iterable[str]) -> str | None:
    """Return the first of these formats that a file may have, by its first bytes."""
    start = base64.b64encode(head[:24]).decode()
    return next((name for name in names if re.match(FORMATS[name].starts, start)), None)


def is_reference(text: str) -> bool:
    """Tell whether a media text is the id of something that Halley keeps."""
    return _REFERENCE.fullmatch(text) is not None


def normalized(text: str) -> str:
    """Bring data into its plain form: one name per type, no white space, standard letters, full padding.

    URLs and ids stay as they are.
    """
    text = text.strip()
    if text[:8].lower().startswith(("http://", "https://")) or is_reference(text):
        return text
    prefix, body = "", text
    if match := _DATA_PREFIX.match(text):
        mime = match[1].lower()
        prefix, body = f"data:{_OTHER_NAMES.get(mime, mime)};base64,", text[match.end() :]
    if any(c in body for c in " \r\n\t-_"):
        body = re.sub(r"\s+", "", body).translate({45: 43, 95: 47})
    return prefix + body + ("" if "=" in body else "=" * (-len(body) % 4))


def data_part(text: str) -> str | None:
    """Return the Base64 of a media text without its data-URI prefix, or None when it is a URL or an id."""
    if text.startswith(("http://", "https://")) or is_reference(text):
        return None
    return _DATA_PREFIX.sub("", text, count=1)


def outgoing(text: str, field: Field) -> str:
    """Write a media text in a form that upstream takes: as it is where it can be, else in the best of the others."""
    data = data_part(text)
    if data is None:
        return text
    forms = [form for form in field.send or () if form in ("base64", "data_uri")] or ["data_uri"]
    form = "data_uri" if text.startswith("data:") else "base64"
    form = form if form in forms else forms[0]
    if form == "base64":
        return data
    return text if text.startswith("data:") else f"data:{mime_of(text, field)};base64,{data}"


def shortened(text: str) -> str:
    """Write a media text for people: URLs and ids as they are, data as its type and size."""
    data = data_part(text)
    return text if data is None else f"base64 data, {len(data) * 3 // 4} bytes"


def mime_of(text: str, field: Field) -> str:
    """Return the media type of a media text, as far as it tells, else the first that the field takes."""
    names = format_names(field) or list(FORMATS)
    if match := _DATA_PREFIX.match(text):
        return match[1]
    data = data_part(text)
    if data is None:
        ending = text.partition("?")[0].partition("#")[0].rpartition(".")[2].lower()
        return FORMATS[ending if ending in FORMATS else names[0]].mime
    found = next((name for name in names if re.match(FORMATS[name].starts, data)), None)
    if found is None:
        return FORMATS[names[0]].mime if field.formats else "application/octet-stream"
    return FORMATS[found].mime


def media_faults(text: str, field: Field, pointer: str) -> list[Fault]:
    """Find what is surely wrong with the data of a media text: too large, too small, too long and thin."""
    data = data_part(text)
    if data is None:
        return []
    size = len(data) * 3 // 4 - data[-2:].count("=")
    try:
        head = base64.b64decode(data[: HEAD_BYTES // 3 * 4])
    except (binascii.Error, ValueError):
        head = b""
    return _limit_faults(head, size, field, pointer)


def content_faults(head: bytes, size: int, field: Field, pointer: str) -> list[Fault]:
    """Find what is surely wrong with a file, by its first `HEAD_BYTES` and its size in bytes."""
    if not size:
        return [_fault(pointer, "empty", "the file is empty")]
    faults = _limit_faults(head, size, field, pointer)
    if field.formats and format_of(head, field.formats) is None:
        message = f"the file is in none of the formats that upstream takes: {', '.join(field.formats)}"
        faults.append(_fault(pointer, "format", message))
    return faults


def _limit_faults(head: bytes, size: int, field: Field, pointer: str) -> list[Fault]:
    faults = []
    if field.max_size and size > size_bytes(field.max_size):
        faults.append(_fault(pointer, "max_size", f"the file is larger than {field.max_size}"))
    width, height = _dimensions(head) if field.media == "image" else (-1, -1)
    if width > 0 and height > 0:
        faults += _shape_faults(width, height, field, pointer)
    return faults


def _shape_faults(width: int, height: int, field: Field, pointer: str) -> list[Fault]:
    faults = []
    if field.min_side and min(width, height) < field.min_side:
        message = f"the image is {width}x{height}; each side must have {field.min_side} pixels or more"
        faults.append(_fault(pointer, "min_side", message))
    if field.max_ratio and max(width, height) > field.max_ratio * min(width, height):
        limits = f"between 1:{field.max_ratio:g} and {field.max_ratio:g}:1"
        message = f"the image is {width}x{height}; its shape must lie {limits}"
        faults.append(_fault(pointer, "max_ratio", message))
    return faults


def _dimensions(header: bytes) -> tuple[int, int]:
    try:
        width, height = imagesize.get(io.BytesIO(header))
    except (ValueError, OSError, TypeError, IndexError):
        return -1, -1
    width, height = int(width), int(height)
    return (width, height) if _is_believable(header, width, height) else (-1, -1)


def _is_believable(header: bytes, width: int, height: int) -> bool:
    """Tell whether a size was read in a true header; the reader takes one from any bytes after the signature."""
    if header.startswith(b"\x89PNG"):
        return header[12:16] == b"IHDR"
    if header.startswith(b"\xff\xd8") and 0 < max(width, height) < 1 << 16:
        size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        return re.search(_JPEG_FRAME + re.escape(size), header, re.DOTALL) is not None
    return True


def _fault(pointer: str, code: str, message: str) -> Fault:
    return Fault(pointer=pointer, code=code, message=message)
