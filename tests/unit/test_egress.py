"""The egress guard's table, its allow-list and the setting that fills it; nothing is ever connected to."""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from service.egress import EgressGuard, GuardedResolver, parse_networks
from service.errors import BlockedAddress

REFUSED = [
    ("0.0.0.0", "unspecified"),  # noqa: S104
    ("0.1.2.3", "this network"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.0", "CGNAT"),
    ("100.100.100.200", "CGNAT"),
    ("100.127.255.255", "CGNAT"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "metadata"),
    ("169.254.0.1", "link-local"),
    ("169.254.169.254", "metadata"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.1", "protocol assignments"),
    ("192.0.0.192", "protocol assignments"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4 relay"),
    ("192.168.0.1", "private"),
    ("192.168.255.255", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.9", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.254", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("0:0:0:0:0:0:0:1", "loopback"),
    ("::1%lo", "loopback"),
    ("::8.8.8.8", "IPv4-compatible"),
    ("::7f00:1", "IPv4-compatible"),
    ("::ffff:127.0.0.1", "stands for 127.0.0.1, a loopback"),
    ("::ffff:7f00:1", "stands for 127.0.0.1, a loopback"),
    ("::ffff:127.0.0.1%1", "stands for 127.0.0.1, a loopback"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:169.254.169.254", "metadata"),
    ("::ffff:0.0.0.0", "unspecified"),
    ("::ffff:0:8.8.8.8", "IPv4-translated"),
    ("64:ff9b::8.8.8.8", "NAT64"),
    ("64:ff9b::127.0.0.1", "stands for 127.0.0.1, a loopback"),
    ("64:ff9b:1::8.8.8.8", "local NAT64"),
    ("64:ff9b:1:fffe::10.0.0.1", "stands for 10.0.0.1, a private"),
    ("100::1", "discard-only"),
    ("100:0:0:1::1", "reserved"),
    ("2001::1", "Teredo"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "stands for 192.0.2.45, a documentation"),
    ("2001:1::1", "protocol assignments"),
    ("2001:2::1", "benchmarking"),
    ("2001:10::1", "protocol assignments"),
    ("2001:20::1", "protocol assignments"),
    ("2001:db8::1", "documentation"),
    ("2002:808:808::1", "6to4"),
    ("2002:7f00:1::", "stands for 127.0.0.1, a loopback"),
    ("3fff::1", "documentation"),
    ("3fff:fff:ffff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "SRv6"),
    ("fc00::1", "unique-local"),
    ("fd00:ec2::254", "unique-local"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fe80::1%25eth0", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "site-local"),
    ("feff::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
]

ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "2606:4700:4700::1111%eth0",
    "2a00:1450:4001:80b::200e",
    "3ffe::1",
]

NOT_ADDRESSES = [
    "",
    "localhost",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.1",
    "8.8.8.8%eth0",
    "8.8.8.8 ",
    "fe80::1%",
    "/run/socket",
]


def guard_allowing(networks: str) -> EgressGuard:
    """Make a guard from what a setting would say."""
    return EgressGuard(parse_networks(networks))


@pytest.mark.parametrize(("address", "why"), REFUSED)
def test_a_non_public_address_is_refused_with_its_reason(address: str, why: str):
    """Every kind of non-public address is refused, and the sentence names it, the reason and the setting."""
    with pytest.raises(BlockedAddress) as caught:
        EgressGuard().check(address)

    sentence = str(caught.value)
    assert sentence.startswith(f"{address} is refused: ")
    assert why in sentence
    assert "HALLEY_EGRESS_ALLOW=" in sentence


@pytest.mark.parametrize("address", ALLOWED)
def test_a_public_address_is_allowed(address: str):
    """Public unicast passes, also right beside a refused network."""
    EgressGuard().check(address)


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_what_is_not_an_address_is_refused(text: str):
    """Text that is not a plain address cannot be judged, so it is refused, whatever the allow-list says."""
    with pytest.raises(BlockedAddress, match="is not an IP address"):
        guard_allowing("0.0.0.0/0, ::/0").check(text)


@given(st.ip_addresses())
def test_nothing_that_the_standard_library_calls_local_passes(address: IPv4Address | IPv6Address):
    """The table is at least as strict as `is_global`."""
    if address.is_global and not address.is_multicast:
        return

    with pytest.raises(BlockedAddress):
        EgressGuard().check(str(address))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_its_ipv4_address(address: IPv4Address):
    """Writing an IPv4 address in the mapped form never changes the verdict."""
    guard = guard_allowing("10.0.0.0/8, 127.0.0.0/8")

    verdicts = [is_refused(guard, text) for text in (str(address), f"::ffff:{address}")]

    assert verdicts[0] == verdicts[1]


def is_refused(guard: EgressGuard, address: str) -> bool:
    """Tell whether the guard refuses an address."""
    try:
        guard.check(address)
    except BlockedAddress:
        return True
    return False


@pytest.mark.parametrize(
    ("networks", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.0/8", "::ffff:127.0.0.1"),
        ("10.1.2.3", "10.1.2.3"),
        ("::1/128", "::1"),
        ("::1", "::1%lo"),
        ("fe80::/10", "fe80::1%eth0"),
        ("64:ff9b::/96", "64:ff9b::8.8.8.8"),
        ("64:ff9b::/96 10.0.0.0/8", "64:ff9b::10.0.0.1"),
        ("64:ff9b:1::/48", "64:ff9b:1::8.8.8.8"),
        ("2002::/16", "2002:808:808::1"),
        ("2002::/16 127.0.0.0/8", "2002:7f00:1::"),
        ("::ffff:0:0:0/96", "::ffff:0:8.8.8.8"),
    ],
)
def test_the_allow_list_opens_exactly_what_it_names(networks: str, address: str):
    """A refused address passes once the allow-list holds it in every form that it carries."""
    opened = guard_allowing(networks)

    opened.check(address)

    assert is_refused(EgressGuard(), address)


@pytest.mark.parametrize(
    ("networks", "address"),
    [
        ("127.0.0.1/32", "127.0.0.2"),
        ("127.0.0.0/8", "::1"),
        ("127.0.0.0/8", "64:ff9b::127.0.0.1"),
        ("127.0.0.0/8", "2002:7f00:1::"),
        ("0.0.0.0/0", "64:ff9b::8.8.8.8"),
        ("64:ff9b::/96", "64:ff9b::127.0.0.1"),
        ("64:ff9b::7f00:1/128", "64:ff9b::127.0.0.1"),
        ("::/0", "::ffff:127.0.0.1"),
        ("::/0", "64:ff9b::10.0.0.1"),
        ("::/0", "64:ff9b:1::10.0.0.1"),
        ("::/0", "64:ff9b:1:7f00:0:100::"),
        ("::/0", "64:ff9b:1:0:7f:0:800:0"),
        ("::/0", "2002:a00:1::"),
        ("::/0", "::ffff:0:10.0.0.1"),
        ("::/0", "::10.0.0.1"),
        ("2001::/32", "2001:0:808:808:0:0:f5ff:fffe"),
        ("2001::/32", "2001:0:a00:1:0:0:f7f7:f7f7"),
    ],
)
def test_the_allow_list_opens_no_back_door(networks: str, address: str):
    """An allowed network opens neither tunnels to it nor what is carried inside an allowed tunnel."""
    guard = guard_allowing(networks)

    refused = is_refused(guard, address)

    assert refused


@pytest.mark.parametrize("address", [address for address, _ in REFUSED])
def test_the_advice_in_the_sentence_helps(address: str):
    """Starting with the setting that the sentence names lets exactly this address through."""
    with pytest.raises(BlockedAddress) as caught:
        EgressGuard().check(address)
    advice = str(caught.value).rpartition("HALLEY_EGRESS_ALLOW=")[2]

    guard_allowing(advice).check(address)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_is_made_for_an_allowed_address(family: socket.AddressFamily):
    """The socket has the family and kind that the connector asked for, and is not connected yet."""
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    wanted: AddrInfoType = (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 80))

    with guard_allowing("127.0.0.1 ::1").socket_factory(wanted) as made:
        assert (made.family, made.type) == (family, socket.SOCK_STREAM)


def test_no_socket_is_made_for_a_refused_address():
    """The refusal is an OSError as well, because connectors try a name's next address after nothing else."""
    wanted: AddrInfoType = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("10.0.0.1", 80))

    with pytest.raises(BlockedAddress) as caught:
        EgressGuard().socket_factory(wanted)

    assert isinstance(caught.value, OSError)


class Answering(AbstractResolver):
    """A resolver that always gives the same answer."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses, whatever the name."""
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0) for one in self.addresses
        ]

    async def close(self) -> None:
        """Note that it was called."""
        self.closed = True


async def test_refused_addresses_are_left_out_of_an_answer():
    """Of a name's addresses the allowed ones remain, in their order."""
    resolver = GuardedResolver(EgressGuard(), Answering("10.0.0.1", "8.8.8.8", "::1", "1.1.1.1"))

    answers = await resolver.resolve("receiver.test", 443)

    assert [answer["host"] for answer in answers] == ["8.8.8.8", "1.1.1.1"]


async def test_a_name_with_refused_addresses_only_is_refused():
    """The refusal names the first of the addresses."""
    resolver = GuardedResolver(EgressGuard(), Answering("10.0.0.1", "::1"))

    with pytest.raises(BlockedAddress, match=r"^10\.0\.0\.1 is refused"):
        await resolver.resolve("receiver.test", 443)


async def test_a_name_without_addresses_is_an_error_but_no_refusal():
    """An empty answer is a failure of the name, not of the guard."""
    resolver = GuardedResolver(EgressGuard(), Answering())

    with pytest.raises(OSError, match="no address") as caught:
        await resolver.resolve("receiver.test", 443)

    assert not isinstance(caught.value, BlockedAddress)


async def test_the_inner_resolver_is_closed_too():
    """Closing the guarded resolver closes the one inside."""
    inner = Answering()

    await GuardedResolver(EgressGuard(), inner).close()

    assert inner.closed


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", []),
        (" , ,\n", []),
        ("10.0.0.0/8", ["10.0.0.0/8"]),
        ("10.0.0.0/8, ::1/128", ["10.0.0.0/8", "::1/128"]),
        ("10.0.0.0/8 fd00::/8\t192.168.1.1", ["10.0.0.0/8", "fd00::/8", "192.168.1.1/32"]),
        (",127.0.0.1,,::1,", ["127.0.0.1/32", "::1/128"]),
        ("10.0.0.0/255.0.0.0", ["10.0.0.0/8"]),
    ],
)
def test_networks_are_read_from_text(text: str, networks: list[str]):
    """Commas and blanks separate; a lone address stands for itself."""
    assert [str(network) for network in parse_networks(text)] == networks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.0/8, loopback", "'loopback' is not a network such as 10.0.0.0/8 or fd00::/8"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("10/8", "'10/8' is not a network"),
        ("http://10.0.0.1", "'http://10.0.0.1' is not a network"),
        ("10.0.0.1/8", "'10.0.0.1/8' has bits set behind its prefix; write 10.0.0.0/8"),
        ("fd00::1/8", "'fd00::1/8' has bits set behind its prefix; write fd00::/8"),
        ("fe80::%eth0/64", "'fe80::%eth0/64' has a scope id; leave it out"),
        ("::ffff:10.0.0.0/104", "'::ffff:10.0.0.0/104' is a mapped IPv4 network"),
        ("10.0.0.0/8;127.0.0.1", "'10.0.0.0/8;127.0.0.1' is not a network"),
    ],
)
def test_a_wrong_network_is_named_in_one_line(text: str, message: str):
    """The first wrong entry is named, with what to do."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        parse_networks(text)

    assert "\n" not in str(caught.value)


def test_parsed_networks_are_of_their_family():
    """An IPv6 entry becomes an IPv6 network."""
    (network,) = parse_networks("fd00::/8")

    assert network == IPv6Network("fd00::/8")
