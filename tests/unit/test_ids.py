"""Ids: told apart by chance, sorted by time, readable again by whoever knows ULIDs."""

import pytest
from ulid import ULID

from service.ids import first_id, is_id, made_at, new_id

MOMENT = 1_764_517_000.123


def test_an_id_is_a_ulid_of_its_moment() -> None:
    """Any reader of ULIDs finds the moment in it."""
    ident = new_id("run", MOMENT)

    assert is_id("run", ident)
    assert ULID.from_str(ident.removeprefix("run_").upper()).milliseconds == 1_764_517_000_123
    assert made_at(ident) == MOMENT


def test_ids_of_one_moment_differ_in_every_place() -> None:
    """All sixteen digits behind the time are chance: with 2,000 ids each place has had all 32 digits."""
    ids = [new_id("evt", MOMENT) for _ in range(2000)]

    assert len(set(ids)) == len(ids)
    assert {len(set(place)) for place in zip(*(ident[-16:] for ident in ids), strict=True)} == {32}


@pytest.mark.parametrize("later_s", [0.002, 1, 86_400, 3_000_000_000])
def test_ids_sort_by_time(later_s: float) -> None:
    """An id that is later by milliseconds is the larger text, and none of a moment is below the first of it."""
    assert new_id("run", MOMENT) < new_id("run", MOMENT + later_s)
    assert new_id("run", MOMENT - 0.002) < first_id("run", MOMENT) <= new_id("run", MOMENT)
