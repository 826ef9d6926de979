"""What goes into one batch of states, and what has to wait.

A batch is made of whole states. Where its samples are too many for one
request, or the receiver refuses some of them, it is sent in pieces: slices of
its samples, which always come in the same order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import msgspec

from bridge.ranges import Ranges, minus, union
from bridge.sample import Sample
from readings.reading import DeviceKey

MAX_SAMPLES = 2000
"""Samples in one request."""

AHEAD_MS = 60_000
"""What lies further ahead of our clock is parked: a receiver that takes one such sample refuses all later ones."""

_BEHIND_ALL = 2**31


class RowId(msgspec.Struct, frozen=True):
    """A state's place in the store."""

    stream: int
    seq: int


class Row(msgspec.Struct, frozen=True):
    """A stored state, ready to be sent.

    Attributes:
        before: The state before it in row order, which it was judged against.
    """

    id: RowId
    device: DeviceKey
    time_ms: int
    samples: tuple[Sample, ...]
    before: RowId | None


class Run(msgspec.Struct, frozen=True):
    """States of one stream, both ends included, and the one that the first is judged against."""

    stream: int
    first: int
    last: int
    before: RowId | None


@dataclass(frozen=True, slots=True)
class Piece:
    """The samples of a batch from `begin` to before `end`.

    Attributes:
        may_be_there: They were in a request whose outcome nobody knows.
    """

    begin: int
    end: int
    may_be_there: bool = False

    @property
    def size(self) -> int:
        """How many samples it has."""
        return self.end - self.begin

    def halves(self) -> tuple["Piece", "Piece"]:
        """Two pieces instead of one.

        >>> [(half.begin, half.end) for half in Piece(0, 3).halves()]
        [(0, 1), (1, 3)]
        """
        middle = (self.begin + self.end) // 2
        return replace(self, end=middle), replace(self, begin=middle)


@dataclass(frozen=True, slots=True)
class Batch:
    """States on their way to the receiver.

    Attributes:
        id: Its number in the store.
        rows: Sorted by stream.
        pieces: What is still to be sent; the first is the one that may be under way.
        generation: The store that `id` is of.
    """

    id: int
    rows: tuple[Row, ...]
    pieces: tuple[Piece, ...]
    generation: int = 0

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples of the batch, those sent already too."""
        return tuple(chain.from_iterable(row.samples for row in self.rows))

    def row_of(self, place: int) -> Row:
        """The row that a sample comes from."""
        for row in self.rows:
            if place < len(row.samples):
                return row
            place -= len(row.samples)
        raise IndexError(place)


@dataclass(frozen=True, slots=True)
class Cut:
    """The rows of the next batch, and those that are too far ahead for now."""

    rows: tuple[Row, ...]
    parked: tuple[RowId, ...]


def cut(
    rows: Iterable[Row], newest_ms: Mapping[DeviceKey, int], now_ms: int, limit: int = MAX_SAMPLES
) -> Cut:
    """Choose the rows of the next batch.

    A batch only ascends: what is not later than what was sent of its device
    goes with its like, in a batch of its own, when nothing else is waiting. A
    receiver that refuses such samples refuses nothing else with them.

    Args:
        rows: What waits, each device's in row order.
        newest_ms: The latest time sent, by device.
        now_ms: Our clock.
        limit: Samples in one batch, unless its only row has more; and rows, for some have none.
    """
    parked: list[RowId] = []
    on_time, late = _Lane(dict(newest_ms)), _Lane({})
    for row in rows:
        if row.time_ms > now_ms + AHEAD_MS:
            parked.append(row.id)
            continue
        lane = on_time if on_time.ascends_to(row) else late
        if lane.rows and (lane.samples + len(row.samples) > limit or len(lane.rows) >= limit):
            break
        if lane is on_time or late.ascends_to(row):
            lane.take(row)
    return Cut(tuple(on_time.rows or late.rows), tuple(parked))


class _Lane:
    """Rows whose times ascend, device by device."""

    def __init__(self, newest_ms: dict[DeviceKey, int]) -> None:
        self._newest_ms = newest_ms
        self.rows: list[Row] = []
        self.samples = 0

    def ascends_to(self, row: Row) -> bool:
        newest = self._newest_ms.get(row.device)
        return newest is None or row.time_ms > newest

    def take(self, row: Row) -> None:
        self._newest_ms[row.device] = row.time_ms
        self.rows.append(row)
        self.samples += len(row.samples)


def by_stream(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows, stream by stream; this is the order that a batch's samples have."""
    streams: dict[int, list[Row]] = {}
    for row in rows:
        streams.setdefault(row.id.stream, []).append(row)
    return tuple(row for own in streams.values() for row in sorted(own, key=lambda one: one.id.seq))


def to_runs(rows: Iterable[Row]) -> tuple[Run, ...]:
    """As few runs as hold these rows, which are sorted by stream."""
    runs: list[Run] = []
    for row in rows:
        stream, seq = row.id.stream, row.id.seq
        if runs and runs[-1].stream == stream and runs[-1].last == seq - 1:
            runs[-1] = Run(stream, runs[-1].first, seq, runs[-1].before)
        else:
            runs.append(Run(stream, seq, seq, row.before))
    return tuple(runs)


def hold(held: dict[int, Ranges], runs: Iterable[Run]) -> None:
    """Add these runs to what is held, by stream.

    >>> held: dict[int, Ranges] = {7: ((1, 3),)}
    >>> hold(held, [Run(7, 4, 5, None)])
    >>> held
    {7: ((1, 5),)}
    """
    for run in runs:
        held[run.stream] = union(held.get(run.stream, ()), ((run.first, run.last),))


def to_pieces(samples: int, limit: int = MAX_SAMPLES) -> tuple[Piece, ...]:
    """As few pieces as possible, none with more samples than one request may hold.

    >>> [(piece.begin, piece.end) for piece in to_pieces(4100)]
    [(0, 2000), (2000, 4000), (4000, 4100)]
    """
    return shorten((Piece(0, samples),), limit)


def shorten(pieces: Iterable[Piece], limit: int) -> tuple[Piece, ...]:
    """The same samples in pieces that are not longer than that."""
    return tuple(
        replace(piece, begin=begin, end=min(begin + limit, piece.end))
        for piece in pieces
        for begin in range(piece.begin, piece.end, limit)
    )


def and_the_rest(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """These pieces, and after them what of their batch is in none: a piece that ends behind its batch means its end.

    >>> [(piece.begin, piece.end) for piece in and_the_rest([Piece(3, 4), Piece(5, 9)])][2:4]
    [(0, 3), (4, 5)]
    """
    here = union((piece.begin, piece.end - 1) for piece in pieces)
    rest = minus(((0, _BEHIND_ALL),), here)
    return (*pieces, *(Piece(first, last + 1) for first, last in rest))


def leave_out(batch: Batch, before_ms: int) -> tuple[Piece, ...]:
    """What is left of a batch's pieces without the samples that are older than that."""
    samples = batch.samples
    left: list[Piece] = []
    for piece in batch.pieces:
        begin = piece.begin
        for place in range(piece.begin, piece.end):
            if samples[place].timestamp_ms < before_ms:
                left.append(replace(piece, begin=begin, end=place))
                begin = place + 1
        left.append(replace(piece, begin=begin))
    return tuple(piece for piece in left if piece.begin < piece.end)
