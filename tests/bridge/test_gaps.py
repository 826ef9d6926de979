"""How long what is here waits for what is missing before it."""

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.gaps import WAIT_S, Place, find_passable
from bridge.ranges import Ranges, single

STEP_S = WAIT_S / 6
STREAMS = (9, 7)
ROWS = tuple((stream, seq) for stream in STREAMS for seq in (1, 2, 3, 4))
NEVER = 99


@given(st.lists(st.integers(0, 14) | st.just(NEVER), min_size=len(ROWS), max_size=len(ROWS)))
@example([NEVER, 5, NEVER, 0, 0, 0, 0, 0])  # the gap is parted: a younger one comes before what waits
@example([NEVER, NEVER, 4, 0, 0, 0, 0, 0])  # it shrinks from behind
@example([0, 0, 0, NEVER, 0, NEVER, 5, 0])
def test_a_state_waits_for_ten_minutes_at_most_and_no_gap_is_passed_before_one_behind_it_has(arrivals):
    arrival = dict(zip(ROWS, arrivals, strict=True))
    passed: dict[tuple[int, int], int] = {}
    since: dict[tuple[int, int], float] = {}

    def ranges(rows, stream: int) -> Ranges:
        return single(seq for owner, seq in rows if owner == stream)

    for step in range(25):
        missing = [row for row in ROWS if arrival[row] > step]
        waiting = [row for row in ROWS if row not in passed and row not in missing]
        places = [
            Place(stream, ranges(waiting, stream), ranges(passed, stream), ranges(missing, stream))
            for stream in STREAMS
        ]
        found = find_passable(places, since, 1000 + step * STEP_S)
        since = dict(found.since)
        passed |= {
            (stream, seq): step for stream, (first, last) in found.ranges for seq in range(first, last + 1)
        }
        waited_out = [row for row, at in passed.items() if (at - arrival[row]) * STEP_S >= WAIT_S]
        for row in waiting:
            before = [one for one in missing if ROWS.index(one) < ROWS.index(row)]
            if row not in passed:
                assert (step - arrival[row]) * STEP_S < WAIT_S
                assert before
            else:
                last = max((ROWS.index(one) for one in waited_out), default=-1)
                assert all(ROWS.index(one) < last for one in before)
