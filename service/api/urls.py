"""Absolute URLs for callers: the public URL where one is set, else the address that the caller used."""

from typing import Any

from litestar import Request
from litestar.datastructures import State

from service.api.deps import Services


def base_url(request: Request[Any, Any, State], services: Services) -> str:
    """Return Halley's own base URL, without a trailing slash."""
    return services.public_url or str(request.base_url).rstrip("/")
