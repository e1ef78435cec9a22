"""URLs that users give for their receivers: what can be told of them before anything is sent."""

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
    try:
        guard.check(str(ipaddress.ip_address(host)))
    except ValueError:
        return []
    except BlockedAddress as exc:
        return [Fault(pointer=pointer, code="blocked_address", message=str(exc))]
    return []
