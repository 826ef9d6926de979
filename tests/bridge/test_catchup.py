"""What is wanted and given up, and when it is asked for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bridge.asking import GONE_AFTER_S, LISTEN_S, LONGEST_REST_S, MOST_AT_ONCE, QUIET_S, Asking
from bridge.catchup import Known, note_list, oldest, pass_over, see
from bridge.ranges import count, single
from readings.payload import MAX_REPLAY, Replay
from readings.reading import DeviceKey, Kind
from tests.bridge.states import METER, PUMP

SENSOR = DeviceKey(Kind.SENSOR, "hall")
RANGE = st.tuples(st.integers(1, 12), st.integers(1, 12)).map(sorted).map(tuple)


def numbers(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("came"), st.frozensets(st.integers(1, 12), min_size=1)),
            st.tuples(st.just("live"), RANGE),
            st.tuples(st.just("retained"), RANGE),
            st.tuples(st.just("passed over"), st.none()),
        ),
        max_size=8,
    )
)
def test_what_is_known_of_is_had_or_wanted_or_given_up(steps):
    """The same in plain sets: `out` is what was met below a stream's first number."""
    known, had, wanted, seen, first = Known(), set(), set(), 0, None
    for step, what in steps:
        match step:
            case "came":
                known = see(known, single(what))
                had |= what
                wanted |= set(range(seen + 1, max(what) + 1))
                seen = max(seen, *what)
            case "passed over":
                known = pass_over(known)
                wanted = set()
                first = min(had, default=1) if first is None else first
            case _:
                known = note_list(known, what, is_live=step == "live")
                listed = set(range(what[0], what[1] + 1))
                if step == "live":
                    wanted = listed
                elif first is None:
                    wanted = set(range(what[0], max(seen, what[1]) + 1))
                else:
                    wanted |= {one for one in listed if not first <= one <= seen}
                first, seen = min(first or what[0], what[0]), max(seen, what[1])
        wanted -= had
        assert (numbers(known.had), numbers(known.wanted)) == (had, wanted)
        assert numbers(known.given_up) == set(range(first or 1, seen + 1)) - had - wanted


def test_at_most_200_states_are_asked_for_the_oldest_ones():
    wanted = [("a", ((1, 3), (10, 12))), ("b", ((1, 1000),))]
    requests = oldest(wanted)
    assert requests[:2] == (Replay("a", 1, 3), Replay("a", 10, 12))
    assert sum(one.last - one.first + 1 for one in requests) == MAX_REPLAY
    assert oldest([]) == ()


class Talk:
    """An asking bridge, a poller that is there, and a clock."""

    def __init__(self, **wanted: int) -> None:
        self.asking = Asking()
        self.wanted = {}
        self.connection = 1
        for device in (METER, PUMP, SENSOR):
            self.asking.announce(device, "poller")
        self.asking.set_online("poller", online=True)

    def want(self, device: DeviceKey, first: int, last: int) -> None:
        if first > last:
            self.wanted.pop(device, None)
        else:
            self.wanted[device] = (("a", ((first, last),)),)

    def at(self, now: float) -> list[tuple[DeviceKey, int, int]]:
        asks = self.asking.next(self.wanted, connection=self.connection, now=now)
        return [(device, one.first, one.last) for device, one in asks]


def test_after_each_connect_it_listens_before_it_asks():
    talk = Talk()
    talk.want(METER, 1, 5)
    assert talk.at(100.0) == []
    assert talk.at(100.0 + LISTEN_S) == [(METER, 1, 5)]
    talk.connection = 2
    assert talk.at(110.0) == []
    assert talk.at(110.0 + LISTEN_S) == [(METER, 1, 5)]


def test_of_what_nobody_lists_though_its_poller_is_there_nothing_is_expected():
    talk = Talk()
    talk.want(METER, 1, 5)
    talk.want(PUMP, 1, 5)
    for now in range(0, int(GONE_AFTER_S), 60):
        talk.asking.note_list(METER)
        talk.at(now)
        assert talk.asking.gone(talk.wanted, now=now) == []
    talk.at(GONE_AFTER_S)
    assert talk.asking.gone(talk.wanted, now=GONE_AFTER_S) == [PUMP]


def test_a_poller_that_was_away_has_time_to_list():
    talk = Talk()
    talk.want(METER, 1, 5)
    talk.at(0)
    talk.asking.set_online("poller", online=False)
    talk.at(GONE_AFTER_S)
    assert talk.asking.gone(talk.wanted, now=GONE_AFTER_S) == []
    talk.asking.set_online("poller", online=True)
    for now in (GONE_AFTER_S + 1, 2 * GONE_AFTER_S):
        talk.at(now)
        assert talk.asking.gone(talk.wanted, now=now) == []
    talk.connection = 2
    talk.at(2 * GONE_AFTER_S + 1)
    assert talk.asking.gone(talk.wanted, now=2 * GONE_AFTER_S + 1) == []


def test_it_asks_only_while_the_poller_is_there():
    talk = Talk()
    talk.want(METER, 1, 5)
    talk.at(0.0)
    talk.asking.set_online("poller", online=False)
    assert talk.at(10.0) == []
    talk.asking.set_online("poller", online=True)
    assert talk.at(11.0) == [(METER, 1, 5)]


def test_at_most_two_devices_are_asked_at_once_and_the_next_when_one_is_complete():
    talk = Talk()
    for device in (METER, PUMP, SENSOR):
        talk.want(device, 1, 500)
    talk.at(0.0)
    asked = [device for device, _, _ in talk.at(5.0)]
    assert asked == sorted([METER, PUMP, SENSOR])[:MOST_AT_ONCE]
    assert talk.at(6.0) == []
    talk.want(asked[0], 101, 500)
    assert talk.at(7.0) == [], "half of it came"
    talk.want(asked[0], 201, 500)
    (left_out,) = {METER, PUMP, SENSOR} - {*asked}
    assert talk.at(8.0) == [(left_out, 1, 200)], "its turn comes before the first one's next"
    talk.want(left_out, 201, 500)
    assert talk.at(9.0) == [(asked[0], 201, 400)]


def test_without_progress_it_asks_again_less_and_less_often_and_leaves_its_place_to_others():
    talk = Talk()
    talk.want(METER, 1, 5)
    talk.at(0.0)
    asked = [second for second in range(5, 2000) if talk.at(float(second))]
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses[:5] == [QUIET_S * 2**n for n in range(5)]
    assert set(pauses[5:]) == {LONGEST_REST_S}
    talk.want(METER, 2, 5)
    talk.at(2000.0)
    assert talk.at(2000.0 + QUIET_S) == [(METER, 2, 5)], "something came: patience begins anew"


def test_a_device_that_never_answers_keeps_no_other_from_its_turn():
    talk = Talk()
    for device in (METER, PUMP):
        talk.want(device, 1, 5)
    talk.at(0.0)
    talk.at(5.0)
    talk.want(SENSOR, 1, 3)
    assert any(device == SENSOR for second in range(6, 40) for device, _, _ in talk.at(float(second)))


@given(st.lists(st.frozensets(st.integers(1, 40)), max_size=4))
def test_no_request_names_what_is_not_wanted(sets):
    wanted = [(f"s{number}", single(one)) for number, one in enumerate(sets) if one]
    asked = oldest(wanted, most=25)
    assert {(one.stream, n) for one in asked for n in range(one.first, one.last + 1)} <= {
        (stream, n) for stream, ranges in wanted for n in numbers(ranges)
    }
    assert sum(one.last - one.first + 1 for one in asked) == min(25, sum(count(r) for _, r in wanted))
