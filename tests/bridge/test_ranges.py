"""Range arithmetic against plain sets of numbers."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bridge.ranges import contains, count, minus, place_streams, single, union

NUMBERS = st.frozensets(st.integers(1, 30))
"""Few enough to collide, touch and leave gaps."""


def numbers(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


def is_in_form(ranges):
    flat = [end for one in ranges for end in one]
    return flat == sorted(flat) and all(left[1] + 1 < right[0] for left, right in itertools.pairwise(ranges))


@given(NUMBERS)
def test_a_set_and_its_ranges_are_the_same(one):
    ranges = single(one)
    assert numbers(ranges) == one
    assert count(ranges) == len(one)
    assert is_in_form(ranges)
    assert {number for number in range(32) if contains(ranges, number)} == one


@given(NUMBERS, NUMBERS)
def test_union_and_minus_are_those_of_sets(one, other):
    for ranges, expected in (
        (union(single(one), single(other)), one | other),
        (minus(single(one), single(other)), one - other),
    ):
        assert numbers(ranges) == expected
        assert is_in_form(ranges)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=8))
def test_places_agree_with_every_list_and_are_kept(steps):
    """A journal loses its oldest streams and gains new ones; some lists are not seen."""
    places: dict[str, float] = {}
    seen: list[list[str]] = []
    first = last = 0
    for lost, gained in steps:
        last += gained
        first = min(first + lost, last)
        listed = [f"stream {number}" for number in range(first, last)]
        new = place_streams(places, listed)
        assert not new.keys() & places.keys()
        places |= new
        seen.append(listed)
    assert len(set(places.values())) == len(places)
    for listed in seen:
        assert sorted(listed, key=places.__getitem__) == listed


def test_a_stream_that_was_not_listed_at_first_finds_its_place():
    assert place_streams({"a": 1.0, "c": 2.0}, ["a", "b", "c"]) == {"b": 1.5}
    assert place_streams({"b": 1.0}, ["a", "b"]) == {"a": 0.0}


def test_streams_that_no_list_ties_to_known_ones_come_after_them():
    assert place_streams({"old": 1.0}, ["new", "newest"]) == {"new": 2.0, "newest": 3.0}


def test_a_new_stream_comes_after_one_that_a_power_cut_took():
    assert place_streams({"a": 1.0, "lost": 2.0}, ["a", "new"]) == {"new": 3.0}


def test_a_year_of_new_streams_finds_its_places_between_two_old_ones():
    """Halving the room that is left for each would leave none after some fifty."""
    listed = ["a", *(f"s{number}" for number in range(498)), "b"]
    places = {"a": 1.0, "b": 2.0}
    places |= place_streams(places, listed)
    assert sorted(places, key=places.__getitem__) == listed
    assert len(set(places.values())) == len(listed)
