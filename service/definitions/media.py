"""Media inputs: which texts stand for a picture, sound or film, and what can be told from their first bytes.

A user gives a URL, raw Base64 or a data URI. One table of file formats serves the published JSON Schema and
the check, so what the schema allows is what is accepted. Only what is surely wrong is refused: a header that
cannot be read is left to upstream.
"""

import base64
import binascii
import io
import re
from typing import Any

import imagesize
from msgspec import Struct

from service.definitions.schema import Field, size_bytes
from service.errors import Fault

_C = "[A-Za-z0-9+/]"
_TAIL = f"(?:{_C}{{4}})*(?:{_C}{{2}}==|{_C}{{3}}=)?"
URL_PATTERN = r"^https?://[A-Za-z0-9._~%\[\]:@-]+(?:[/?#][^\s]*)?$"
_URL_MAX_LENGTH = 8192
_HEADER_CHARS = 4096
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


FORMATS = {
    "png": Format("image/png", f"iVBORw0KGgo{_C}"),
    "jpeg": Format("image/jpeg", "/9j/"),
    "webp": Format("image/webp", f"UklGR{_C}{{3}}"),
    "mp3": Format("audio/mpeg", f"(?:SUQz|//[I-Po-v]{_C})"),
    "wav": Format("audio/wav", f"UklGR{_C}{{3}}"),
    "m4a": Format("audio/mp4", f"AAAA{_C}[GWm2]Z0eX{_C}{{2}}"),
    "aac": Format("audio/aac", f"//[E-Hk-n]{_C}"),
    "mp4": Format("video/mp4", f"AAAA{_C}[GWm2]Z0eX{_C}{{2}}"),
    "mov": Format("video/quicktime", f"AAAA{_C}[GWm2]Z0eX{_C}{{2}}"),
}


def media_schema(field: Field) -> dict[str, Any]:
    """Return the JSON Schema of the texts that a media field takes."""
    forms: list[dict[str, Any]] = []
    send = field.send or ["url"]
    if "url" in send:
        forms.append({"title": "URL", "pattern": URL_PATTERN, "maxLength": _URL_MAX_LENGTH})
    if set(send) - {"url"}:
        forms.append(_data_schema(field))
    if len(forms) == 1:
        return {"type": "string", **{k: v for k, v in forms[0].items() if k != "title"}}
    return {"type": "string", "anyOf": forms}


def _data_schema(field: Field) -> dict[str, Any]:
    formats = [FORMATS[name] for name in field.formats or FORMATS]
    starts = "|".join(dict.fromkeys(each.starts for each in formats))
    mimes = "|".join(dict.fromkeys(re.escape(each.mime) for each in formats))
    schema: dict[str, Any] = {
        "title": "Base64, raw or as a data URI",
        "pattern": f"^(?:data:(?:{mimes});base64,)?(?:{starts}){_TAIL}$",
    }
    if field.max_size:
        schema["maxLength"] = (size_bytes(field.max_size) + 2) // 3 * 4 + 64
    return schema


def normalized(text: str) -> str:
    """Bring data into its plain form: one name per type, no white space, standard letters, full padding.

    URLs stay as they are.
    """
    text = text.strip()
    if text[:8].lower().startswith(("http://", "https://")):
        return text
    prefix, body = "", text
    if match := _DATA_PREFIX.match(text):
        mime = match[1].lower()
        prefix, body = f"data:{_OTHER_NAMES.get(mime, mime)};base64,", text[match.end() :]
    if any(c in body for c in " \r\n\t-_"):
        body = re.sub(r"\s+", "", body).translate({45: 43, 95: 47})
    return prefix + body + ("" if "=" in body else "=" * (-len(body) % 4))


def data_part(text: str) -> str | None:
    """Return the Base64 of a media text without its data-URI prefix, or None when it is a URL."""
    if text.startswith(("http://", "https://")):
        return None
    return _DATA_PREFIX.sub("", text, count=1)


def outgoing(text: str, field: Field) -> str:
    """Write a media text in a form that upstream takes."""
    data = data_part(text)
    send = field.send or ["url"]
    if data is None or "base64" in send:
        return text if data is None else data
    return text if text.startswith("data:") else f"data:{_mime(data, field)};base64,{data}"


def shortened(text: str) -> str:
    """Write a media text for people: URLs as they are, data as its type and size."""
    data = data_part(text)
    return text if data is None else f"base64 data, {len(data) * 3 // 4} bytes"


def media_faults(text: str, field: Field, pointer: str) -> list[Fault]:
    """Find what is surely wrong with the data of a media text: too large, too small, too long and thin."""
    data = data_part(text)
    if data is None:
        return []
    faults = []
    if field.max_size and len(data) * 3 // 4 > size_bytes(field.max_size) + 2:
        faults.append(_fault(pointer, "max_size", f"the file is larger than {field.max_size}"))
    width, height = _dimensions(data) if field.media == "image" else (-1, -1)
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


def _dimensions(data: str) -> tuple[int, int]:
    try:
        header = base64.b64decode(data[: _HEADER_CHARS * 16])
        width, height = imagesize.get(io.BytesIO(header))
    except (binascii.Error, ValueError, OSError, TypeError, IndexError):
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


def _mime(data: str, field: Field) -> str:
    names = field.formats or list(FORMATS)
    return next((FORMATS[n].mime for n in names if re.match(FORMATS[n].starts, data)), FORMATS[names[0]].mime)


def _fault(pointer: str, code: str, message: str) -> Fault:
    return Fault(pointer=pointer, code=code, message=message)
