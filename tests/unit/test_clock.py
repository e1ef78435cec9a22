"""The clock goes at the pace of time itself, whatever somebody sets the machine's clock to."""

import random

import pytest

from service.clock import SystemClock

HOUR_S = 3600.0


class Machine:
    """A machine on which a moment passes when a test says so.

    Attributes:
        wall_s: What its wall clock shows.
        elapsed_s: What has passed since it was switched on.
    """

    def __init__(self) -> None:
        self.wall_s = 1_800_000_000.0
        self.elapsed_s = 77.0

    def clock(self) -> SystemClock:
        """Return a clock on this machine."""
        return SystemClock(wall=lambda: self.wall_s, elapsed=lambda: self.elapsed_s)

    def passes(self, seconds: float, *, drift_s: float = 0.0) -> None:
        """Let time pass, in which the wall clock may be set a little."""
        self.elapsed_s += seconds
        self.wall_s += seconds + drift_s


def test_it_shows_the_wall_clocks_time() -> None:
    """As long as nobody sets the wall clock, both are the same."""
    machine = Machine()
    clock = machine.clock()

    for seconds in (0.0, 0.1, 60.0, 1e6):
        machine.passes(seconds)
        assert clock.now() == pytest.approx(machine.wall_s, abs=1e-3)


@pytest.mark.parametrize("jump_s", [24 * HOUR_S, -24 * HOUR_S, 2.0, -2.0])
def test_a_jump_is_no_passing_of_time(jump_s: float) -> None:
    """An hour stays an hour to one per cent, whichever way the wall clock is set meanwhile."""
    machine = Machine()
    clock = machine.clock()
    before = clock.now()

    machine.wall_s += jump_s
    at_once = clock.now()
    machine.passes(HOUR_S)

    assert at_once == before
    assert clock.now() - before == pytest.approx(HOUR_S, rel=0.01)


@pytest.mark.parametrize("jump_s", [0.5, -0.5, 5.0, -5.0])
def test_a_correction_is_caught_up_with(jump_s: float) -> None:
    """What a time server corrects is taken over within minutes, and not beyond it."""
    machine = Machine()
    clock = machine.clock()
    machine.wall_s += jump_s

    for _ in range(600):
        machine.passes(1.0)
        clock.now()

    assert clock.now() == pytest.approx(machine.wall_s, abs=1e-3)


def test_it_never_goes_back() -> None:
    """Whatever is done to the wall clock, a later look shows no earlier time."""
    machine, chance = Machine(), random.Random(7)
    clock = machine.clock()
    shown = [clock.now()]

    for _ in range(2000):
        machine.passes(chance.choice((0.0, 1e-6, 0.3, 90.0)), drift_s=chance.choice((0.0, -1e7, 1e7, -0.01)))
        shown.append(clock.now())

    assert shown == sorted(shown)


def test_the_wall_clock_itself_can_be_asked() -> None:
    """Who compares times with others gets what the machine shows now."""
    machine = Machine()
    clock = machine.clock()
    machine.wall_s -= 5 * HOUR_S

    assert clock.wall() == machine.wall_s


def test_the_machines_own_clocks_are_the_default() -> None:
    """Without arguments it agrees with the machine, and goes on."""
    clock = SystemClock()

    first, second = clock.now(), clock.now()

    assert first <= second
    assert first == pytest.approx(clock.wall(), abs=1.0)
