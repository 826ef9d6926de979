"""What of a stream is known of, had, wanted and given up.

A number is known when the journal lists it or a later one of its stream was
seen. What is known and not had is wanted, until the poller itself says, in a
list received live, that its journal no longer has it: then it is given up. A
list that lay at the broker may be an old one; it can only add.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bridge.ranges import Range, Ranges, minus, union
from readings.payload import MAX_REPLAY, Replay

Wanted = Sequence[tuple[str, Ranges]]
"""What is wanted of one device: streams in the order of their rows, and the numbers of each."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one stream.

    Attributes:
        first: The lowest number that counts; `None` until a list names the
            stream. What lies below is neither wanted nor lost.
        last: The highest number known of; 0 when there is none.
        had: What came, be it stored, sent, refused or dropped since.
    """

    first: int | None = None
    last: int = 0
    had: Ranges = ()
    wanted: Ranges = ()

    @property
    def given_up(self) -> Ranges:
        """What is known of, was never had and can be had no more."""
        known = ((self.first or 1, self.last),) if self.last >= (self.first or 1) else ()
        return minus(minus(known, self.had), self.wanted)


def see(known: Known, came: Ranges) -> Known:
    """Numbers came; every one below the highest of them is known of now.

    >>> see(Known(), ((3, 4),)).wanted
    ((1, 2),)
    """
    last = max(known.last, came[-1][1] if came else 0)
    had = union(known.had, came)
    return replace(
        known, last=last, had=had, wanted=minus(union(known.wanted, _span(known.last + 1, last)), had)
    )


def note_list(known: Known, listed: Range, *, is_live: bool) -> Known:
    """A list names the stream.

    Args:
        known: What was known of it.
        listed: The numbers that the journal holds of it.
        is_live: The poller said it just now; else it lay at the broker.

    >>> note_list(see(Known(), ((5, 5),)), (3, 6), is_live=True).wanted
    ((3, 4), (6, 6))
    """
    first = listed[0] if known.first is None else min(known.first, listed[0])
    last = max(known.last, listed[1])
    if is_live:
        wanted: Ranges = (listed,)
    elif known.first is None:
        wanted = _span(first, last)
    else:
        wanted = union(known.wanted, minus((listed,), _span(known.first, known.last)))
    return Known(first, last, known.had, minus(wanted, known.had))


def pass_over(known: Known) -> Known:
    """A list received live does not name the stream: its journal has none of it any more.

    >>> pass_over(Known(1, 9, ((1, 5),), ((6, 9),))).given_up
    ((6, 9),)
    """
    first = known.first if known.first is not None else known.had[0][0] if known.had else 1
    return replace(known, first=first, wanted=())


def oldest(wanted: Wanted, most: int = MAX_REPLAY) -> tuple[Replay, ...]:
    """The requests for the oldest states that are wanted.

    >>> oldest([("a", ((2, 3), (7, 7))), ("b", ((1, 9),))], most=5)
    (Replay(stream='a', first=2, last=3), Replay(stream='a', first=7, last=7), Replay(stream='b', first=1, last=2))
    """
    found: list[Replay] = []
    for stream, first, last in _flat(wanted):
        if most <= 0:
            break
        found.append(Replay(stream, first, min(last, first + most - 1)))
        most -= last - first + 1
    return tuple(found)


def left_of(requests: Iterable[Replay], wanted: Wanted) -> int:
    """How many of the states that were asked for are still wanted."""
    by_stream = dict(wanted)
    return sum(
        max(0, min(last, one.last) - max(first, one.first) + 1)
        for one in requests
        for first, last in by_stream.get(one.stream, ())
    )


def _flat(wanted: Wanted) -> Iterable[tuple[str, int, int]]:
    return ((stream, first, last) for stream, ranges in wanted for first, last in ranges)


def _span(first: int, last: int) -> Ranges:
    return ((first, last),) if first <= last else ()
