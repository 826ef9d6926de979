"""A device's states are sent in row order: how long sending waits for one that is missing."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bridge.ranges import Range, Ranges

WAIT_S = 600.0
"""The longest wait of a state for those before it; one is worth more late than never, and all later ones more now."""

Waiter = tuple[int, int]
"""A run of states that waits behind a gap: its stream and first number. It may grow, at both ends, and is that run still."""


@dataclass(frozen=True, slots=True)
class Place:
    """A stream in the order of a device's rows.

    Attributes:
        waiting: What is here and may be sent.
        gone: What was sent, refused or dropped: nobody waits for a gap before it any more.
        wanted: What is missing.
    """

    stream: int
    waiting: Ranges
    gone: Ranges = ()
    wanted: Ranges = ()


@dataclass(frozen=True, slots=True)
class Passable:
    """What may be sent, in order, and since when each run behind a gap waits."""

    ranges: tuple[tuple[int, Range], ...]
    since: Mapping[Waiter, float]


def find_passable(places: Sequence[Place], known: Mapping[Waiter, float], now_s: float) -> Passable:
    """Walk a device's rows in order and stop before the first gap that is worth waiting for.

    It is as long as nothing behind it has waited for so long, whichever gaps that waited for.

    Args:
        places: The device's streams in order.
        known: Since when each run was seen to wait.
        now_s: The monotonic clock.

    >>> find_passable([Place(7, waiting=((1, 2), (4, 4)), wanted=((3, 3),))], {}, 50.0)
    Passable(ranges=((7, (1, 2)),), since={(7, 4): 50.0})
    >>> find_passable([Place(7, waiting=((4, 4),), wanted=((3, 3),))], {(7, 4): 50.0}, 650.0).ranges
    ((7, (4, 4)),)
    """
    runs = list(_runs(places))
    seen = sorted(known)
    since: dict[Waiter, float] = {}
    begin = 0  # of what is in question: all before it may go
    is_behind = False
    for place, (stream, (first, last), is_missing) in enumerate(runs):
        is_behind = is_behind or is_missing
        if is_behind:
            own = seen[bisect_left(seen, (stream, first)) : bisect_right(seen, (stream, last))]
            since[stream, first] = min((known[one] for one in own), default=now_s)
            if now_s - since[stream, first] >= WAIT_S:
                begin = place + 1
    held = next((place for place in range(begin, len(runs)) if runs[place][2]), len(runs))
    return Passable(tuple((stream, run) for stream, run, _ in runs[:held]), since)


def _runs(places: Sequence[Place]) -> Iterator[tuple[int, Range, bool]]:
    """What waits, in order, with its stream and whether something is missing just before it."""
    is_missing = False
    for place in places:
        steps = [
            *((one, "waiting") for one in place.waiting),
            *((one, "gone") for one in place.gone),
            *((one, "wanted") for one in place.wanted),
        ]
        for one, what in sorted(steps):
            if what == "waiting":
                yield place.stream, one, is_missing
            is_missing = what == "wanted"
