"""The egress guard: which addresses a URL that a user gave may lead to.

The guard judges addresses, not names, and it does so when a socket is made: whatever a name resolved to, and
however a literal was written, the address judged is the one that is connected to. What is sent over the
socket, and which errors become which outcome, is the business of the caller.

Refused is everything that is not ordinary public unicast. The table is our own because `ipaddress.is_global`
lets tunnels (NAT64, 6to4), multicast, site-local and several reserved blocks through.
"""

import functools
import re
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from service.errors import BlockedAddress

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The first network that holds an address names the reason, so the narrow ones stand before the wide ones.
REFUSED_IPV4 = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/32", "the unspecified address"),
        ("0.0.0.0/8", "an address of this network"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a shared carrier (CGNAT) address"),
        ("127.0.0.0/8", "a loopback address"),
        ("168.63.129.16/32", "a cloud metadata address"),
        ("169.254.169.254/32", "a link-local address (cloud metadata)"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "reserved for protocol assignments"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)
IPV4_COMPATIBLE = IPv6Network("::/96")
IPV4_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
TEREDO = IPv6Network("2001::/32")
SIX_TO_FOUR = IPv6Network("2002::/16")
REFUSED_IPV6 = (
    (IPv6Network("::/128"), "the unspecified address"),
    (IPv6Network("::1/128"), "a loopback address"),
    (IPV4_COMPATIBLE, "an IPv4-compatible address"),
    (IPV4_TRANSLATED, "an IPv4-translated address"),
    (NAT64, "a NAT64 address"),
    (NAT64_LOCAL, "a local NAT64 address"),
    (IPv6Network("100::/64"), "a discard-only address"),
    (TEREDO, "a Teredo address"),
    (IPv6Network("2001:2::/48"), "a benchmarking address"),
    (IPv6Network("2001::/23"), "reserved for protocol assignments"),
    (IPv6Network("2001:db8::/32"), "a documentation address"),
    (SIX_TO_FOUR, "a 6to4 address"),
    (IPv6Network("3fff::/20"), "a documentation address"),
    (IPv6Network("5f00::/16"), "a segment routing (SRv6) address"),
    (IPv6Network("fc00::/7"), "a unique-local address"),
    (IPv6Network("fe80::/10"), "a link-local address"),
    (IPv6Network("fec0::/10"), "a site-local address"),
    (IPv6Network("ff00::/8"), "a multicast address"),
)
GLOBAL_UNICAST_IPV6 = IPv6Network("2000::/3")
IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
_KNOWN = 1024  # addresses that are known by their notation


class BlockedConnectionError(BlockedAddress, OSError):
    """A refusal in the form that connectors pass on.

    Only after an `OSError` does a connector try the next address, and report a failed connection in the end.
    """


class EgressGuard:
    """Refuses addresses that a user's URL must not lead to.

    Args:
        allow: Networks that may be reached in spite of the table. An IPv4 network does not open the tunnels
            that carry its addresses, and an IPv6 network over a tunnel does not open the IPv4 addresses
            inside it: an address that carries a refused one must be allowed in both forms.
    """

    def __init__(self, allow: Sequence[Network] = ()) -> None:
        self._allow = tuple(allow)

    def check(self, address: str) -> None:
        """Return when the address may be connected to.

        Args:
            address: An IPv4 or IPv6 address in its usual notation, with or without a scope id.

        Raises:
            BlockedAddress: It may not; the message says why and what helps. It is also an `OSError`.
        """
        plain = _parse_address(address)
        refused = [
            (one, why) for one in (plain, *_carried_ipv4(plain)) if (why := _why_refused(one)) and not self._allows(one)
        ]
        if refused:
            raise BlockedConnectionError(_sentence(address, refused))

    def socket_factory(self, addr_info: AddrInfoType) -> socket.socket:
        """Make the socket for one connection attempt; for `aiohttp.TCPConnector(socket_factory=…)`.

        Raises:
            BlockedAddress: The address is refused, and no socket was made.
        """
        family, kind, protocol, _, socket_address = addr_info
        self.check(str(socket_address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    def _allows(self, address: Address) -> bool:
        return any(address in network for network in self._allow)


class GuardedResolver(AbstractResolver):
    """Leaves the refused addresses out of another resolver's answers.

    The socket factory judges every connection anyway. Without this, however, a name with one refused and one
    allowed address would end in an error that merges both, from which the refusal cannot be told.

    Args:
        guard: Judges the addresses.
        inner: Asked for the addresses; closed together with this one.
    """

    def __init__(self, guard: EgressGuard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the allowed addresses of a name.

        Raises:
            BlockedAddress: The name has addresses, and all of them are refused.
            OSError: The name has no address.
        """
        answers = await self._ask(host, port, family)
        allowed, refusal = self._sift(answers)
        if not allowed:
            raise refusal or OSError("the name has no address")
        return allowed

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()

    async def _ask(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        try:
            return await self._inner.resolve(host, port, family)
        except UnicodeError as error:
            # The system's resolver encodes names first, and reports empty or overlong labels in this way.
            raise OSError("the name is not a valid host name") from error

    def _sift(self, answers: list[ResolveResult]) -> tuple[list[ResolveResult], OSError | None]:
        allowed, refusal = [], None
        for answer in answers:
            try:
                self._guard.check(answer["host"])
            except BlockedConnectionError as error:
                refusal = refusal or error
            else:
                allowed.append(answer)
        return allowed, refusal


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read networks in CIDR notation, separated by commas or blanks.

    Args:
        text: `10.0.0.0/8, ::1/128`; an address without a prefix length stands for itself alone.

    Raises:
        ValueError: One line that names the first wrong entry.
    """
    return tuple(_parse_network(entry) for entry in re.split(r"[,\s]+", text) if entry)


def _parse_network(entry: str) -> Network:
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        raise ValueError(f"{entry!r} is not a network such as 10.0.0.0/8 or fd00::/8") from None
    if "%" in entry:
        raise ValueError(f"{entry!r} has a scope id; leave it out")
    if isinstance(network, IPv6Network) and network.subnet_of(IPV4_MAPPED):
        raise ValueError(f"{entry!r} is a mapped IPv4 network; write it as an IPv4 network")
    if network.network_address != ip_address(entry.partition("/")[0]):
        raise ValueError(f"{entry!r} has bits set behind its prefix; write {network}")
    return network


@functools.lru_cache(_KNOWN)  # a run's receiver is judged when it is named and at each attempt
def _parse_address(text: str) -> Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise BlockedConnectionError(f"{text!r} is refused: it is not an IP address.") from None
    if isinstance(address, IPv4Address):
        return address
    # Rebuilt from its number, because an address with a scope id equals none of the table's.
    return address.ipv4_mapped or IPv6Address(int(address))


def _carried_ipv4(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses to which a tunnel or translator would pass packets for this address on."""
    if isinstance(address, IPv4Address):
        return
    low_bits = int(address) & 0xFFFF_FFFF
    if any(address in network for network in (IPV4_TRANSLATED, NAT64)) or _is_ipv4_compatible(address):
        yield IPv4Address(low_bits)
    elif address in NAT64_LOCAL:
        # Prefixes shorter than /96 keep the IPv4 address further left and end in zeros: unknown, so refused.
        yield IPv4Address(low_bits if low_bits & 0xFF_FFFF else 0)
    elif address.teredo:
        yield from address.teredo
    elif address.sixtofour:
        yield address.sixtofour


def _is_ipv4_compatible(address: IPv6Address) -> bool:
    return address in IPV4_COMPATIBLE and int(address) > 1


def _why_refused(address: Address) -> str | None:
    table: Sequence[tuple[Network, str]] = REFUSED_IPV4 if isinstance(address, IPv4Address) else REFUSED_IPV6
    for network, why in table:
        if address in network:
            return why
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST_IPV6:
        return "a reserved address"
    return None


def _sentence(address: str, refused: Sequence[tuple[Address, str]]) -> str:
    reasons = " and ".join(_reason(address, one, why) for one, why in refused)
    networks = ",".join(f"{one}/{one.max_prefixlen}" for one, _ in refused)
    return (
        f"{address} is refused: {reasons}. "
        f"If a receiver of your own is there, start Halley with HALLEY_EGRESS_ALLOW={networks}"
    )


def _reason(address: str, judged: Address, why: str) -> str:
    same = isinstance(judged, IPv6Address) or address == str(judged)
    return f"it is {why}" if same else f"it stands for {judged}, {why}"
