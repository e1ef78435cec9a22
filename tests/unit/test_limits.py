"""Buckets and the memory of good keys: how much, how soon again, and never more than so many names."""

from service.api.limits import Buckets, Inbound, InboundLimits, Rate, client_of

NOW = 1_795_341_600.0


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """Three at once, then one every two seconds; the wait that is told is the true one."""
    buckets = Buckets(Rate(burst=3, per_s=0.5), 10)

    assert [buckets.take("a", NOW) for _ in range(4)] == [0, 0, 0, 2]
    assert buckets.take("a", NOW + 1) == 1
    assert buckets.take("a", NOW + 2) == 0
    assert buckets.take("a", NOW + 2) == 2
    assert [buckets.take("a", NOW + 3600) for _ in range(4)] == [0, 0, 0, 2]


def test_names_do_not_share_a_bucket() -> None:
    """One who tries too often costs the others nothing."""
    buckets = Buckets(Rate(burst=1, per_s=1), 10)

    assert [buckets.take("a", NOW) for _ in range(3)] == [0, 1, 1]
    assert buckets.take("b", NOW) == 0


def test_what_is_put_back_can_be_taken_again() -> None:
    """A bucket never holds more than its burst, and one that was forgotten is as good as full."""
    buckets = Buckets(Rate(burst=2, per_s=1), 10)
    buckets.take("a", NOW)
    for name in ("a", "a", "a", "unknown"):
        buckets.put_back(name)

    assert [buckets.take("a", NOW) for _ in range(3)] == [0, 0, 1]


def test_a_clock_set_back_gives_and_takes_nothing() -> None:
    """A bucket never waits for the hours that a clock was set back."""
    buckets = Buckets(Rate(burst=1, per_s=1), 10)
    buckets.take("a", NOW)

    assert buckets.take("a", NOW - 7200) == 1


def test_memory_is_bounded_and_the_longest_silent_is_forgotten() -> None:
    """Ten thousand names leave no more than were asked for, the latest among them."""
    buckets = Buckets(Rate(burst=1, per_s=1), 50)
    for number in range(10_000):
        buckets.take("busy", NOW + number * 10)
        buckets.take(str(number), NOW + number * 10)

    assert len(buckets) == 50
    assert [buckets.take(name, NOW + 99_990) for name in ("busy", "9999", "0")] == [1, 1, 0]


def test_good_keys_are_remembered_for_a_while() -> None:
    """A key is known until its time is over or others have taken its place; only a digest of it is kept."""
    inbound = Inbound(InboundLimits(remembered=2, good_key_s=60))
    one, two, three = (inbound.digest([key]) for key in (b"one", b"two", b"three"))
    inbound.remember(one, NOW)
    inbound.remember(two, NOW)
    was_good = inbound.is_good(one, NOW + 59), inbound.is_good(one, NOW + 60)
    inbound.remember(three, NOW)

    assert was_good == (True, False)
    assert [inbound.is_good(each, NOW) for each in (one, two, three)] == [False, True, True]
    assert b"one" not in one


def test_one_owner_of_an_ipv6_network_is_one_client() -> None:
    """Addresses of one /64 are counted together, as are those of a zone; others and IPv4 addresses are not."""
    names = [
        client_of({"client": (host, 1)})
        for host in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1", "127.0.0.1", "127.0.0.2")
    ]

    assert names[0] == names[1]
    assert len(set(names)) == 4
    assert client_of({"client": ("::ffff:127.0.0.1", 1)}) == client_of({"client": ("127.0.0.1", 1)})
    assert client_of({"client": None}) == "unknown"


def test_workers_let_no_more_through_than_one_process() -> None:
    """The parts of several are those of one together; the other numbers are of a request and stay."""
    whole = InboundLimits()
    part = whole.shared_by(4)

    assert (4 * part.failures.burst, 4 * part.failures.per_s) == (whole.failures.burst, whole.failures.per_s)
    assert (4 * part.callbacks.burst, 4 * part.callbacks.per_s) == (whole.callbacks.burst, whole.callbacks.per_s)
    assert (part.head_s, part.body_s, part.good_key_s) == (whole.head_s, whole.body_s, whole.good_key_s)
