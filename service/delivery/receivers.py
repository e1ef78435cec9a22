"""What can be told of a receiver from its URL, without sending anything."""

import hashlib
from urllib.parse import urlsplit

_LENGTH = 16


def origin_of(url: str) -> str:
    """Return scheme and host of a URL, which tell people who it is and give nothing away."""
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}"


def target_of(workspace: str, url: str) -> str:
    """Return the name under which all URLs of a workspace at one host share their limits."""
    return hashlib.sha256(f"{workspace} {origin_of(url)}".encode()).hexdigest()[:_LENGTH]


def hash_url(url: str) -> str:
    """Return what a URL is found by, where the URL itself is sealed."""
    return hashlib.sha256(url.encode()).hexdigest()
