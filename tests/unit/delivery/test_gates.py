"""How much may be under way: what a receiver, a workspace and all of them together are left with."""

from service.delivery.gates import IN_FLIGHT, Gates
from service.store.outbox import DueTarget


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.time


def due(target: str, workspace: str = "w", concurrency: int | None = None, rate: float | None = None) -> DueTarget:
    """Return a receiver with much that is due."""
    return DueTarget(target, workspace, concurrency, rate)


def begun(gates: Gates, *targets: DueTarget) -> dict[str, int]:
    """Begin all that there is room for, as if more than that were due."""
    rooms = gates.rooms(targets)
    workspaces = {each.target: each.workspace for each in targets}
    for target, room in rooms.items():
        for _ in range(room):
            gates.begin(target, workspaces[target])
    gates.taken(rooms, rooms)
    return rooms


def test_a_receiver_earns_its_room_and_loses_it() -> None:
    """It begins with a few, gets more with each that it takes, and one alone after it let its callers wait."""
    gates = Gates(Hand())
    rooms = []
    for is_quick in (True, True, False, True):
        rooms.append(begun(gates, due("t"))["t"])
        for _ in range(rooms[-1]):
            gates.end("t", "w", is_quick=is_quick)

    assert rooms == [8, 16, 32, 1]


def test_receivers_that_hang_leave_room_for_others() -> None:
    """A workspace whose receivers all hang takes half of the room; another one gets what it needs."""
    gates = Gates(Hand())
    begun(gates, *(due(f"hung{number}", "a") for number in range(100)))

    rooms = gates.rooms([*(due(f"hung{number}", "a") for number in range(100)), due("good", "b")])

    assert rooms == {"good": 8}


def test_the_whole_is_bounded() -> None:
    """However many there are."""
    gates = Gates(Hand())

    rooms = begun(gates, *(due(f"t{number}", f"w{number}") for number in range(1000)))

    assert sum(rooms.values()) == IN_FLIGHT


def test_an_endpoint_keeps_to_its_own_limits() -> None:
    """So many at a time and so many a second, shared by all processes."""
    clock = Hand()
    gates = Gates(clock)
    gates.share(2)
    few = begun(gates, due("few", concurrency=4), due("one", concurrency=1), due("slow", rate=4.0))
    for target, room in few.items():
        for _ in range(room):
            gates.end(target, "w", is_quick=True)
    at_once = gates.rooms([due("slow", rate=4.0)])
    clock.time = 0.5
    later = gates.rooms([due("slow", rate=4.0)])

    assert few == {"few": 2, "one": 1, "slow": 2}
    assert (at_once, later) == ({}, {"slow": 1})


def test_whoever_had_to_wait_is_looked_for_when_there_is_room() -> None:
    """The end of an attempt says so, for the receiver's own sake and for others that found no room."""
    gates = Gates(Hand())
    begun(gates, *(due(f"t{number}") for number in range(100)))
    gates.rooms([due("late")])

    said = [gates.end(f"t{number}", "w", is_quick=True) for number in range(16) for _ in range(8)]

    assert True in said
    assert gates.rooms([due("late")]) == {"late": 8}


def test_what_has_just_come_up_enters_only_where_nobody_waits() -> None:
    """It takes a place as any attempt does, gives it back whole, and passes nobody who was there before."""
    gates = Gates(Hand())
    room = begun(gates, due("busy"))["busy"]

    entered = [gates.enter("busy", "w"), gates.enter("free", "w")]
    left_over = gates.rooms([due("free")])["free"]
    gates.leave("free", "w")
    again = gates.rooms([due("free"), due("busy")])

    assert entered == [False, True]
    assert (left_over, again) == (room - 1, {"free": room})


def test_what_has_just_come_up_leaves_other_tenants_their_part() -> None:
    """A tenant with a flood enters up to its half of all, whatever its receivers have earned."""
    gates = Gates(Hand())

    entered = sum(gates.enter(f"t{number}", "flood") for number in range(IN_FLIGHT))

    assert entered == IN_FLIGHT // 2
    assert gates.enter("other", "other tenant")
