"""A device's states are sent in row order: how long sending waits for one that is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.ranges import Range, Ranges

WAIT_S = 600.0
"""The longest wait for one gap; a reading is worth more late than never, and all later ones more now."""

Gap = tuple[int, int]
"""The state that waits behind a gap: its stream and number. The gap may shrink; this stays."""


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
    """What may be sent, in order, and since when each gap holds up what is behind it."""

    ranges: tuple[tuple[int, Range], ...]
    gaps: Mapping[Gap, float]


def find_passable(places: Sequence[Place], known: Mapping[Gap, float], now_s: float) -> Passable:
    """Walk a device's rows in order and stop before the first gap that is worth waiting for.

    Args:
        places: The device's streams in order.
        known: Since when each gap was seen.
        now_s: The monotonic clock.

    >>> find_passable([Place(7, waiting=((1, 2), (4, 4)), wanted=((3, 3),))], {}, 50.0)
    Passable(ranges=((7, (1, 2)),), gaps={(7, 4): 50.0})
    >>> find_passable([Place(7, waiting=((4, 4),), wanted=((3, 3),))], {(7, 4): 50.0}, 650.0).ranges
    ((7, (4, 4)),)
    """
    passable: list[tuple[int, Range]] = []
    gaps: dict[Gap, float] = {}
    is_missing = is_held = False
    for place in places:
        steps = [
            *((one, "waiting") for one in place.waiting),
            *((one, "gone") for one in place.gone),
            *((one, "wanted") for one in place.wanted),
        ]
        for (first, last), what in sorted(steps):
            if what == "wanted":
                is_missing = True
                continue
            if what == "waiting" and is_missing:
                # All gaps' clocks run at once, also those behind the one that holds up.
                since = gaps[place.stream, first] = known.get((place.stream, first), now_s)
                is_held = is_held or now_s - since < WAIT_S
            is_missing = False
            if what == "waiting" and not is_held:
                passable.append((place.stream, (first, last)))
    return Passable(tuple(passable), gaps)
