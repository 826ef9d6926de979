"""What goes into a batch."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.batch import AHEAD_MS, Batch, Piece, Row, RowId, by_stream, cut, to_pieces, to_runs
from bridge.sample import Sample, Series
from tests.bridge.states import METER, PUMP

SERIES = Series("m")


def row(seq: int, time_ms: int, device=METER, samples: int = 1) -> Row:
    stream = 1 if device is METER else 2
    return Row(RowId(stream, seq), device, time_ms, (Sample(SERIES, 1.0, time_ms),) * samples, None)


@pytest.mark.parametrize(
    ("times", "newest", "chosen"),
    [
        ([1, 2, 3], {}, [1, 2, 3]),
        ([1, 2, 3], {METER: 1}, [2, 3]),
        ([1, 2, 3], {METER: 3}, [1, 2, 3]),
        ([5, 4, 6], {}, [5, 6]),
        ([5, 5], {}, [5]),
        ([4, 3, 6], {METER: 6}, [4, 6]),
        ([AHEAD_MS + 1, 2], {}, [2]),
        ([AHEAD_MS, 2], {}, [AHEAD_MS]),
        ([], {}, []),
    ],
)
def test_a_batch_only_ascends_and_what_comes_late_goes_with_its_like(times, newest, chosen):
    rows = [row(seq, time) for seq, time in enumerate(times, 1)]
    assert [one.time_ms for one in cut(rows, newest, 0).rows] == chosen


def test_what_is_ahead_of_the_clock_is_named_and_holds_up_nothing():
    done = cut([row(1, AHEAD_MS + 1), row(2, 5), row(1, 7, PUMP)], {}, 0)
    assert done.parked == (RowId(1, 1),)
    assert [one.time_ms for one in done.rows] == [5, 7]


def test_a_batch_fits_one_request_unless_one_state_does_not():
    rows = [row(seq, seq, samples=300) for seq in range(1, 10)]
    assert len(cut(rows, {}, 0).rows) == 6
    assert len(cut([row(1, 1, samples=5000), row(2, 2)], {}, 0).rows) == 1


def test_states_without_samples_fill_a_batch_too():
    rows = (row(seq, seq, samples=0) for seq in itertools.count(1))
    assert len(cut(rows, {}, 0, limit=50).rows) == 50


def test_the_order_of_a_batch_is_that_of_its_runs():
    runs = to_runs(by_stream([row(1, 1), row(1, 2, PUMP), row(2, 3), row(4, 4), row(2, 5, PUMP)]))
    assert [(run.stream, run.first, run.last) for run in runs] == [(1, 1, 2), (1, 4, 4), (2, 1, 2)]


def test_a_sample_s_row_is_found_by_its_place():
    batch = Batch(1, (row(1, 1, samples=2), row(2, 2, samples=0), row(3, 3, samples=1)), ())
    assert [batch.row_of(place).id.seq for place in range(3)] == [1, 1, 3]
    with pytest.raises(IndexError):
        batch.row_of(3)


@given(st.integers(2, 5000))
def test_halves_cover_a_piece(size):
    left, right = Piece(0, size).halves()
    assert (left.begin, left.end, right.end) == (0, right.begin, size)
    assert 0 < left.end < size


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_pieces_cover_the_samples_and_none_is_too_large(samples, limit):
    pieces = to_pieces(samples, limit)
    assert [place for one in pieces for place in range(one.begin, one.end)] == list(range(samples))
    assert all(one.end - one.begin <= limit for one in pieces)
