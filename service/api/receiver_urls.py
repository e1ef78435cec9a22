"""URLs that users give for their receivers: what can be told of them before anything is sent."""

import functools
import ipaddress
from urllib.parse import urlsplit

from service.egress import EgressGuard
from service.errors import BlockedAddress, Fault


def url_faults(url: str, guard: EgressGuard, pointer: str) -> list[Fault]:
    """Refuse a URL whose literal address is blocked; names are judged when they are connected to."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return [Fault(pointer=pointer, code="format", message="this is not a URL")]
    address = _literal(host)
    try:
        if address is not None:
            guard.check(address)
    except BlockedAddress as exc:
        return [Fault(pointer=pointer, code="blocked_address", message=str(exc))]
    return []


@functools.lru_cache(maxsize=1024)
def _literal(host: str) -> str | None:
    """Return the address that a host is, or None when it is a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
