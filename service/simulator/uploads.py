"""What a family asks of the files in its forms: how many, under which names, of which kinds, how large.

Which files an operation wants is said in the family; how a form is read is said in `family`.
"""

from collections.abc import Callable

import msgspec
from aiohttp import web

from service.simulator.aggregator import Refused
from service.simulator.family import Call, FilePart

MEGABYTE = 1024 * 1024
PICTURES = ("image/png", "image/jpeg", "image/webp")


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One file or several that an operation takes.

    Attributes:
        names: The names of the form part; empty for any name.
        least: How many are wanted.
        most: How many are taken.
        content_types: What may stand in the part's own header; empty for any.
        max_bytes: Limit for each file.
        max_bytes_in_all: Limit for all of them; None without one.
    """

    names: tuple[str, ...]
    least: int = 1
    most: int = 1
    content_types: tuple[str, ...] = PICTURES
    max_bytes: int = 10 * MEGABYTE
    max_bytes_in_all: int | None = None

    @property
    def label(self) -> str:
        """How a refusal calls the part."""
        return self.names[0] if self.names else "file"


def taken(call: Call, upload: Upload, invalid: Callable[[str], web.Response]) -> list[FilePart]:
    """Return the files of a form that one upload is about.

    Args:
        call: The request with its files.
        upload: What is wanted.
        invalid: Makes the family's refusal of a message.

    Raises:
        Refused: The form does not hold what is wanted.
    """
    parts = [part for name in upload.names or call.files for part in call.files.get(name, ())]
    fault = _fault_in_number(parts, upload) or next(filter(None, (_fault_in(part, upload) for part in parts)), "")
    if fault:
        raise Refused(invalid(f"{upload.label}: {fault}"))
    return parts


def refuse_strangers(call: Call, uploads: tuple[Upload, ...], invalid: Callable[[str], web.Response]) -> None:
    """Refuse file parts that none of some uploads names.

    Raises:
        Refused: There is one.
    """
    known = {name for upload in uploads for name in upload.names}
    strangers = sorted(call.files.keys() - known)
    if strangers:
        raise Refused(invalid(f"unexpected file part {strangers[0]}"))


def _fault_in_number(parts: list[FilePart], upload: Upload) -> str:
    if len(parts) < upload.least:
        return "a file is required" if upload.least == 1 else f"at least {upload.least} files are required"
    if len(parts) > upload.most:
        return f"at most {upload.most} files are taken"
    if upload.max_bytes_in_all is not None and sum(part.size_bytes for part in parts) > upload.max_bytes_in_all:
        return f"the files are larger than {upload.max_bytes_in_all} bytes in all"
    return ""


def _fault_in(part: FilePart, upload: Upload) -> str:
    if not part.filename:
        return "the part has no file name"
    content_type = part.content_type.partition(";")[0].strip().lower()
    if not content_type:
        return "the part has no content type"
    if upload.content_types and content_type not in upload.content_types:
        return f"{content_type} is not taken, only {', '.join(upload.content_types)}"
    if part.size_bytes == 0:
        return "the file is empty"
    return f"the file is larger than {upload.max_bytes} bytes" if part.size_bytes > upload.max_bytes else ""
