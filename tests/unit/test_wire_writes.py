"""What is written to a connection in one turn of the loop leaves together, and nothing is lost or held for long."""

import asyncio
from typing import Any

from service.wire_writes import JoinedWrites


class Wire:
    """A transport that keeps what came, write by write."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def writelines(self, pieces: list[bytes]) -> None:
        """Take pieces in one go."""
        self.sent.append(b"".join(pieces))

    def is_closing(self) -> bool:
        """Tell whether it was closed."""
        return self.is_closed

    def close(self) -> None:
        """Close it."""
        self.is_closed = True

    def get_extra_info(self, name: str) -> Any:
        """Tell something that only a transport knows."""
        return f"its {name}"


def joined(wire: Wire) -> JoinedWrites:
    """Return the joined writes of a wire."""
    return JoinedWrites(wire, asyncio.get_running_loop())  # type: ignore[arg-type]


async def test_head_and_body_leave_in_one_write() -> None:
    """An answer is one call into the kernel; the next turn's is another."""
    wire = Wire()
    writes = joined(wire)

    writes.write(b"head ")
    writes.write(b"body")
    before = list(wire.sent)
    await asyncio.sleep(0)
    writes.write(b"next")
    await asyncio.sleep(0)

    assert (before, wire.sent) == ([], [b"head body", b"next"])
    assert writes.get_extra_info("peername") == "its peername"


async def test_much_does_not_wait_for_the_end_of_the_turn() -> None:
    """A stream that never lets go of the loop is held in memory by 64 kB at most, in order."""
    wire = Wire()
    writes = joined(wire)

    for _ in range(3):
        writes.write(b"x" * 40_000)
    await asyncio.sleep(0)

    assert [len(each) for each in wire.sent] == [80_000, 40_000]


async def test_a_close_takes_along_what_waits() -> None:
    """An answer that ends its connection arrives whole, and what comes after it goes nowhere."""
    wire = Wire()
    writes = joined(wire)

    writes.write(b"last words")
    writes.close()
    writes.write(b"too late")
    await asyncio.sleep(0)

    assert (wire.sent, wire.is_closed) == ([b"last words"], True)
