"""Arithmetic with ranges of sequence numbers: what of a stream is here, and what is wanted.

`Ranges` are pairs (first, last), both ends included, ascending, with a gap
between any two: one set of numbers has exactly one form.
"""

from collections.abc import Iterable, Mapping, Sequence

Range = tuple[int, int]
Ranges = tuple[Range, ...]


def union(*sets: Iterable[Range]) -> Ranges:
    """Everything that is in any of them.

    >>> union([(5, 6)], [(1, 3), (7, 7)])
    ((1, 3), (5, 7))
    """
    merged: list[Range] = []
    for first, last in sorted(one for ranges in sets for one in ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def minus(ranges: Ranges, taken: Ranges) -> Ranges:
    """What is in the first and not in the second.

    >>> minus(((1, 9),), ((3, 4), (9, 12)))
    ((1, 2), (5, 8))
    """
    left: list[Range] = []
    cuts = iter(taken)
    cut = next(cuts, None)
    for begin, last in ranges:
        first = begin
        while cut is not None and cut[1] < first:
            cut = next(cuts, None)
        while cut is not None and cut[0] <= last:
            if first < cut[0]:
                left.append((first, cut[0] - 1))
            first = cut[1] + 1
            if first > last:
                break
            cut = next(cuts, None)
        if first <= last:
            left.append((first, last))
    return tuple(left)


def count(ranges: Ranges) -> int:
    """How many numbers these are.

    >>> count(((1, 3), (7, 7)))
    4
    """
    return sum(last - first + 1 for first, last in ranges)


def contains(ranges: Ranges, number: int) -> bool:
    """Whether a number is among them."""
    return any(first <= number <= last for first, last in ranges)


def single(numbers: Iterable[int]) -> Ranges:
    """The ranges of single numbers.

    >>> single([4, 2, 3, 9])
    ((2, 4), (9, 9))
    """
    return union((number, number) for number in numbers)


def place_streams(places: Mapping[str, float], listed: Sequence[str]) -> dict[str, float]:
    """The places of the streams that a journal list names for the first time.

    A place is kept once it is given. A new stream comes after the one that
    stands before it in the list; the first ones come just before the first
    that has a place, and the last ones after all: what the list does not name
    has ended before them.

    >>> place_streams({"a": 1.0, "c": 2.0}, ["a", "b", "c", "d"])
    {'b': 1.5, 'd': 3.0}
    """
    new: dict[str, float] = {}
    taken = sorted(places.values())
    following = next((places[stream] for stream in listed if stream in places), None)
    if following is None:
        before = taken[-1] if taken else 0.0
    else:
        before = max((place for place in taken if place < following), default=following - 2)
    unplaced: list[str] = []
    for stream in [*listed, None]:
        if stream is not None and stream not in places:
            if stream not in new and stream not in unplaced:
                unplaced.append(stream)
            continue
        if stream is None:
            before = max([before, *taken])
        # A run of new streams is spread evenly: halving again and again would run out of places.
        after = next((place for place in taken if place > before), before + len(unplaced) + 1)
        step = (after - before) / (len(unplaced) + 1)
        new |= {name: before + step * place for place, name in enumerate(unplaced, start=1)}
        taken = sorted({*places.values(), *new.values()})
        unplaced = []
        if stream is not None:
            before = places[stream]
    return new
