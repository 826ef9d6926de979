"""The order of requests on a bus, played without a clock."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count, cycle, pairwise

import pytest

from poller.blocks import BlockFailure, BlockRead, FailureReason, RegisterBlock
from poller.device import Device
from poller.plan import DevicePlan
from poller.points import Encoding, Point, Table
from poller.profile import load_profile
from poller.seat import Finished, Purpose
from poller.timetable import Job, Timetable
from readings.reading import DeviceKey, Kind

METER, PUMP, OTHER = 2, 7, 3
FAST = 0.1
"""Seconds that a good answer takes here."""


def block(address: int, count: int, *points: tuple[int, int]) -> RegisterBlock:
    named = tuple(
        Point(f"p{place}", Table.HOLDING, place, registers, Encoding.UINT16) for place, registers in points
    )
    return RegisterBlock(
        Table.HOLDING,
        address,
        count,
        named or (Point(f"p{address}", Table.HOLDING, address, count, Encoding.HEX),),
    )


def plan(
    unit: int,
    *blocks: RegisterBlock,
    interval_s: float = 30,
    keep_alive: bool = False,
    timeout_s: float = 1.0,
    pause_s: float = 0.0,
    identity: tuple[RegisterBlock, ...] = (),
) -> DevicePlan:
    profile = replace(load_profile("wago-879"), keep_alive=keep_alive)
    device = Device(DeviceKey(Kind.METER, f"unit{unit}"), "", profile, {}, interval_s, "rs485", unit)
    return DevicePlan(device, unit, blocks or (block(0, 10),), identity, timeout_s, pause_s, poll_s=0.0)


@dataclass
class Play:
    """A bus on which every request takes as long as it is told to.

    `answer` gives a failure's reason or None, and how long the request took.
    """

    timetable: Timetable
    answer: Callable[[Job, float], tuple[FailureReason | None, float]] = lambda job, now: (None, FAST)
    now: float = 0.0
    late: frozenset[int] = frozenset()
    is_connected: bool = True
    sent: list[tuple[float, Job]] = field(default_factory=list)
    polls: list[Finished] = field(default_factory=list)

    def until(self, end: float) -> "Play":
        while self.now < end:
            step = self.timetable.next(self.now, is_connected=self.is_connected)
            if not isinstance(step, Job):
                assert step > self.now, "the timetable asks to be asked again at once"
                self.now = min(step, end)
                continue
            self.sent.append((self.now, step))
            reason, seconds = self.answer(step, self.now)
            self.now += seconds
            outcome = (
                BlockRead(step.block, (0,) * step.block.count, self.now)
                if reason is None
                else BlockFailure(step.block, reason, reason.value, self.now)
            )
            self.polls += self.timetable.report(step, outcome, self.now, late=self.late)
        return self

    def times(self, unit: int) -> list[float]:
        return [pytest.approx(at) for at, job in self.sent if job.plan.unit == unit]

    def requests(self, unit: int) -> list[str]:
        return [str(job.block) for _, job in self.sent if job.plan.unit == unit]


def silent(*units: int, waits: int = 1):
    """These units never answer; on RTU the line is listened to for as long again."""

    def answer(job: Job, now: float) -> tuple[FailureReason | None, float]:
        if job.plan.unit in units:
            return FailureReason.TIMEOUT, waits * job.timeout_s
        return None, FAST

    return answer


def test_the_nth_poll_begins_at_start_plus_n_intervals():
    """20,000 polls later the grid is where it was: no delay is carried over."""
    play = Play(Timetable([plan(METER, interval_s=0.3)], 0.0, is_rtu=False)).until(6_000.0)
    assert len(play.polls) == 20_000
    assert all(poll.due == pytest.approx(number * 0.3) for number, poll in enumerate(play.polls))
    assert max(job.lateness_s for _, job in play.sent) < 1e-6


def test_a_poll_that_takes_longer_than_its_interval_skips_slots_and_never_bursts():
    slow = Play(Timetable([plan(METER, interval_s=1)], 0.0, is_rtu=False), lambda job, now: (None, 2.4))
    slow.until(12.0)
    assert [poll.due for poll in slow.polls] == [0, 2, 4, 7, 9]
    assert slow.times(METER) == [0, 2.4, 4.8, 7.2, 9.6]


def test_a_long_hold_up_costs_polls_but_is_not_made_up_for():
    play = Play(
        Timetable([plan(METER, interval_s=1)], 0.0, is_rtu=False),
        lambda job, now: (None, 7.25 if now < 1 else FAST),
    ).until(10.0)
    assert play.times(METER) == [0, 7.25, 8, 9]
    assert [round(job.lateness_s, 6) for _, job in play.sent] == [0, 0.25, 0, 0]


def test_the_first_polls_follow_each_other_so_that_slots_do_not_collide():
    plans = [replace(plan(unit, interval_s=10), poll_s=0.2) for unit in (METER, OTHER)]
    pump = replace(plan(PUMP, interval_s=10, keep_alive=True), poll_s=0.3)
    play = Play(Timetable([*plans, pump], 0.0, is_rtu=False)).until(25.0)
    assert play.times(PUMP) == [0, 10, 20]
    assert play.times(METER) == [0.3, 10.3, 20.3]
    assert play.times(OTHER) == [0.5, 10.5, 20.5]
    assert max(job.lateness_s for _, job in play.sent) < 1e-6


def test_a_failed_block_is_tried_once_more_after_everything_else_that_is_due():
    fails_once = iter([FailureReason.GARBLED])

    def answer(job, now):
        return (next(fails_once, None) if str(job.block) == "holding 0+10" else None), FAST

    meter = plan(METER, block(0, 10), block(50, 20))
    play = Play(Timetable([meter, plan(OTHER)], 0.0, is_rtu=False), answer).until(10.0)
    assert [(job.plan.unit, str(job.block)) for _, job in play.sent] == [
        (METER, "holding 0+10"),
        (METER, "holding 50+20"),
        (OTHER, "holding 0+10"),
        (METER, "holding 0+10"),
    ]
    assert [len(poll.outcomes) for poll in play.polls] == [1, 2]
    assert all(isinstance(one, BlockRead) for poll in play.polls for one in poll.outcomes)


def test_one_retry_per_block_and_poll():
    def answer(job, now):
        return (FailureReason.EXCEPTION if job.block.address == 0 else None), FAST

    play = Play(Timetable([plan(METER, block(0, 10), block(50, 20))], 0.0, is_rtu=False), answer).until(30.0)
    assert play.requests(METER) == ["holding 0+10", "holding 50+20", "holding 0+10"]
    (poll,) = play.polls
    assert [type(one) for one in poll.outcomes] == [BlockFailure, BlockRead]


def test_a_device_that_does_not_answer_is_probed_once_per_interval():
    """Two requests with the full timeout, then one of 0.4 s per interval, every tenth with the full one."""
    meter = plan(METER, block(0, 10), block(50, 20), block(90, 30))
    play = Play(Timetable([meter], 0.0, is_rtu=False), silent(METER)).until(30.0 * 22)
    assert [job.timeout_s for _, job in play.sent] == [1, 1, *([0.4] * 9), 1, *([0.4] * 9), 1, 0.4]
    assert len(play.polls) == 22
    assert all(len(poll.outcomes) == 3 for poll in play.polls), "what was not asked has failed too"


@pytest.mark.parametrize(("is_rtu", "waits"), [(False, 1), (True, 2)])
def test_a_dead_device_costs_the_others_less_than_a_second_per_cycle(is_rtu, waits):
    dead = plan(METER, block(0, 10), block(50, 20))
    play = Play(Timetable([dead, plan(OTHER)], 0.0, is_rtu=is_rtu), silent(METER, waits=waits)).until(3600.0)
    lost = sum(waits * job.timeout_s for _, job in play.sent if job.plan.unit == METER)
    assert lost / (3600 / 30) < 1
    assert len([poll for poll in play.polls if poll.plan.unit == OTHER]) == 120


def test_a_device_that_answers_its_probe_is_polled_whole_at_once_and_says_who_it_is():
    meter = plan(METER, block(0, 10), block(50, 20), identity=(block(0x4000, 3),))
    play = Play(
        Timetable([meter], 0.0, is_rtu=False),
        lambda job, now: (FailureReason.TIMEOUT, job.timeout_s) if 20 < now < 70 else (None, FAST),
    ).until(150.0)
    whole = ["holding 0+10", "holding 50+20", "holding 16384+3"]
    assert (
        play.requests(METER)
        == [
            *whole,  # at 0 s
            *whole[:2],  # at 30 s: no answer, so it is down
            whole[0],  # at 60 s: one short probe
            *whole,  # at 90 s: it is back, and may be another one
            *whole[:2],
        ]
    )
    assert [len(poll.texts) for poll in play.polls] == [1, 0, 0, 1, 0]


def test_a_late_answer_ends_down_as_well():
    play = Play(
        Timetable([plan(METER, block(0, 10), block(50, 20))], 0.0, is_rtu=True), silent(METER, waits=2)
    )
    play.until(50.0)
    assert play.sent[-1][1].timeout_s == 0.4
    play.late = frozenset({METER})
    play.until(65.0)
    assert [job.timeout_s for _, job in play.sent][-4:] == [0.4, 1, 1, 1], "the poll goes on with patience"


@pytest.mark.parametrize(
    ("reason", "is_life"),
    [
        (FailureReason.EXCEPTION, True),
        (FailureReason.SHORT, True),
        (FailureReason.GARBLED, False),
        (FailureReason.WRONG_UNIT, False),
        (FailureReason.DISCONNECTED, False),
    ],
)
def test_a_refusal_is_a_sign_of_life_and_noise_is_not(reason, is_life):
    play = Play(Timetable([plan(METER)], 0.0, is_rtu=False), lambda job, now: (reason, FAST)).until(31.0)
    assert play.sent[-1][1].timeout_s == (1 if is_life else 0.4)


def test_an_unreachable_gateway_does_not_make_a_device_down_and_its_poll_is_repeated_within_the_slot():
    play = Play(
        Timetable([plan(METER)], 0.0, is_rtu=False),
        lambda job, now: (FailureReason.UNREACHABLE, 0.0) if now < 5 else (None, FAST),
    ).until(20.0)
    assert play.times(METER) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert [poll.due for poll in play.polls] == [0] * 6
    assert {job.timeout_s for _, job in play.sent} == {1.0}


@pytest.mark.parametrize("connecting_s", [0.0, 1.5], ids=["refused", "no answer"])
def test_while_the_gateway_is_away_every_device_has_failed_polls_and_only_the_heat_pump_tries(connecting_s):
    """It tries every second, so that no other request has room before it: the others were online for ever."""
    away = lambda now: 30 <= now < 300  # noqa: E731
    tries = count()

    def answer(job, now):
        # Of the two requests of a poll, the second comes while the connection's back-off still lasts.
        return (
            (FailureReason.UNREACHABLE, connecting_s * (next(tries) % 2 == 0)) if away(now) else (None, FAST)
        )

    pump = plan(PUMP, interval_s=10, keep_alive=True)
    timetable = Timetable([pump, plan(METER), plan(OTHER, interval_s=5)], 0.0, is_rtu=True)
    play = Play(timetable, answer, is_connected=False).until(340.0)
    for unit, interval_s in ((METER, 30), (OTHER, 5)):
        slots = {poll.due for poll in play.polls if poll.plan.unit == unit}
        assert slots == set(range(0, 340, interval_s)), "there is a poll for each of its slots"
    assert {job.plan.unit for at, job in play.sent if away(at)} == {PUMP}
    back = [(at, job.plan.unit) for at, job in play.sent if not away(at) and at > 30]
    assert back[0] == (pytest.approx(300, abs=1.1), PUMP)
    assert {unit for at, unit in back if at < 303} == {PUMP, METER, OTHER}, "and the others at once after it"


def test_a_poll_under_way_ends_with_what_it_has_when_another_finds_no_connection():
    """The meter's second block is to be repeated when the pump's turn comes."""
    meter = plan(METER, block(0, 10), block(50, 20))
    pump = plan(PUMP, interval_s=10, keep_alive=True)

    def answer(job, now):
        if job.plan.unit == PUMP:
            return (FailureReason.UNREACHABLE, 0.0) if now > 5 else (None, FAST)
        return (FailureReason.TIMEOUT, 9.0) if job.block.count == 20 else (None, FAST)

    play = Play(Timetable([meter, pump], 0.0, is_rtu=True), answer).until(11.0)
    _, lost, cut = play.polls
    assert (lost.plan.unit, cut.plan.unit) == (PUMP, METER)
    assert [type(one) for one in cut.outcomes] == [BlockRead, BlockFailure]


def test_no_request_begins_that_could_make_the_heat_pump_wait():
    """A meter polled every second leaves the bus free for two timeouts before the heat pump's turn."""
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(Timetable([plan(METER, interval_s=1), pump], 0.0, is_rtu=True)).until(60.0)
    assert play.times(PUMP) == [0, 10, 20, 30, 40, 50]
    assert all(at % 10 <= 8 for at, job in play.sent if job.plan.unit == METER)


def test_while_not_connected_the_time_to_connect_counts_as_well():
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(Timetable([plan(METER, interval_s=1), pump], 0.0, is_rtu=True), is_connected=False).until(
        30.0
    )
    assert all(at % 10 <= 6 for at, job in play.sent if job.plan.unit == METER)


def test_a_slow_meters_timeout_is_shortened_until_it_fits_between_two_polls_of_the_heat_pump():
    """It would never get its turn otherwise."""
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(Timetable([plan(METER, timeout_s=10), pump], 0.0, is_rtu=True)).until(31.0)
    assert [job.timeout_s for _, job in play.sent if job.plan.unit == METER] == [2.5, 2.5]


def test_the_heat_pump_goes_first_also_with_its_retry():
    fails_once = iter([FailureReason.TIMEOUT])

    def answer(job, now):
        return (next(fails_once, None), FAST) if job.plan.unit == PUMP else (None, FAST)

    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(Timetable([plan(METER), pump], 0.0, is_rtu=False), answer).until(5.0)
    assert [job.plan.unit for _, job in play.sent] == [PUMP, PUMP, METER]


def test_a_heat_pump_that_misses_a_whole_poll_is_asked_again_before_its_next_slot():
    """Its gap has to stay under 20 s, and its next slot alone would not do."""
    pump = plan(PUMP, block(0, 10), block(50, 20), interval_s=10, keep_alive=True)
    play = Play(
        Timetable([pump], 0.0, is_rtu=True),
        lambda job, now: (FailureReason.TIMEOUT, 2.0) if 9 < now < 14 else (None, FAST),
    ).until(25.0)
    assert play.times(PUMP) == [0, 0.1, 10, 12, 15, 15.1, 20, 20.1]


def test_a_heat_pump_that_is_switched_off_is_probed_like_any_other():
    """But not before its gap is past saving."""
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(Timetable([pump], 0.0, is_rtu=True), silent(PUMP, waits=2)).until(65.0)
    assert play.times(PUMP) == [0, 2, 6.5, 8.5, 10.5, 12.5, 17, 19, 21, 30, 40, 50, 60]
    assert [job.timeout_s for _, job in play.sent][-6:] == [1, 0.4, 0.4, 0.4, 0.4, 0.4]


def test_a_heat_pump_that_is_off_from_the_start_does_not_hold_up_the_others():
    """In summer, after every start of the poller, the meter had no reading for 24 s."""
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(Timetable([pump, plan(METER)], 0.0, is_rtu=True), silent(PUMP, waits=2)).until(25.0)
    assert play.times(METER) == [4]


def test_a_heat_pump_that_was_heard_is_asked_again_at_once_when_it_ceases_to_answer():
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(
        Timetable([pump], 0.0, is_rtu=True),
        lambda job, now: (FailureReason.TIMEOUT, 2 * job.timeout_s) if now > 5 else (None, FAST),
    ).until(45.0)
    assert play.times(PUMP) == [0, 10, 12, 15, 17, 20, 22, 30, 40]


def test_a_gateway_that_takes_connections_and_ends_them_at_once_does_not_make_the_heat_pump_down():
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(
        Timetable([pump], 0.0, is_rtu=True),
        lambda job, now: (FailureReason.DISCONNECTED, 0.0) if 5 < now < 15 else (None, FAST),
    ).until(20.0)
    assert play.times(PUMP) == [0, *sorted([10, 11, 12, 13, 14] * 2), 15]


def test_the_least_pause_before_a_request_is_kept_and_left_to_the_others():
    slow = plan(METER, block(0, 10), block(50, 20), pause_s=0.5)
    play = Play(Timetable([slow, plan(OTHER, block(0, 10), block(50, 20))], 0.0, is_rtu=False)).until(5.0)
    assert play.times(METER) == [0, 0.6]
    assert play.times(OTHER) == [0.1, 0.2]


def test_a_block_that_is_refused_twice_in_a_row_is_split_and_the_pieces_are_remembered():
    wide = block(0, 20, (0, 2), (10, 4))

    def answer(job, now):
        return (FailureReason.ILLEGAL_ADDRESS if job.block.count == 20 else None), FAST

    play = Play(Timetable([plan(METER, wide)], 0.0, is_rtu=False), answer).until(61.0)
    assert play.requests(METER) == ["holding 0+20"] * 2 + ["holding 0+2", "holding 10+4"] * 3
    assert [len(poll.outcomes) for poll in play.polls] == [2, 2, 2]


def count_at(play: Play) -> list[float]:
    return [pytest.approx(at) for at, job in play.sent if job.block.address == 60]


def slow_and_fast(every: int) -> DevicePlan:
    return plan(METER, block(0, 10), replace(block(60, 2), every=every), interval_s=10)


def test_a_slow_block_is_read_in_the_first_three_polls_and_then_once_in_so_many():
    play = Play(Timetable([slow_and_fast(6)], 0.0, is_rtu=False)).until(185)
    assert count_at(play) == [0.1, 10.1, 20.1, 60.1, 120.1, 180.1]
    assert len(play.requests(METER)) == 19 + 6, "the other one is read in every poll"


def test_a_slow_block_that_fails_is_asked_for_in_the_next_poll_and_keeps_its_turns():
    def answer(job, now):
        fails = job.block.address == 60 and 55 < now < 75
        return (FailureReason.TIMEOUT if fails else None), FAST

    play = Play(Timetable([slow_and_fast(6)], 0.0, is_rtu=False), answer).until(125)
    assert count_at(play)[3:] == [60.1, 60.2, 70.1, 70.2, 80.1, 120.1]


def test_a_slow_block_that_is_refused_for_good_keeps_its_turns():
    def answer(job, now):
        return (FailureReason.ILLEGAL_ADDRESS if job.block.address == 60 else None), FAST

    play = Play(Timetable([slow_and_fast(6)], 0.0, is_rtu=False), answer).until(125)
    assert count_at(play) == [0.1, 10.1, 20.1, 60.1, 120.1]


def test_a_device_that_was_away_is_asked_for_everything():
    def answer(job, now):
        return (FailureReason.TIMEOUT if 65 < now < 85 else None), FAST

    play = Play(Timetable([slow_and_fast(30)], 0.0, is_rtu=False), answer).until(135)
    assert count_at(play)[3:] == [90.1, 100.1, 110.1]


@pytest.mark.parametrize(
    "reasons",
    [
        [FailureReason.ILLEGAL_ADDRESS],
        [FailureReason.ILLEGAL_ADDRESS, FailureReason.TIMEOUT, FailureReason.ILLEGAL_ADDRESS],
        [FailureReason.TIMEOUT, FailureReason.ILLEGAL_ADDRESS],
    ],
)
def test_one_refusal_may_be_a_gateways_mistake_and_splits_nothing(reasons):
    answers = iter(reasons)
    meter = plan(METER, block(0, 20, (0, 2), (10, 4)))
    play = Play(Timetable([meter], 0.0, is_rtu=False), lambda job, now: (next(answers, None), FAST))
    assert set(play.until(61.0).requests(METER)) == {"holding 0+20"}
    assert isinstance(play.polls[-1].outcomes[0], BlockRead)


def test_a_point_that_does_not_exist_fails_alone_and_without_a_retry():
    def answer(job, now):
        return (
            FailureReason.ILLEGAL_ADDRESS
            if job.block.address <= 2 < job.block.address + job.block.count
            else None
        ), FAST

    meter = plan(METER, block(0, 6, (0, 2), (2, 2), (4, 2)), block(50, 1), block(80, 1))
    play = Play(Timetable([meter], 0.0, is_rtu=False), answer).until(31.0)
    pieces, others = ["holding 0+2", "holding 2+2", "holding 4+2"], ["holding 50+1", "holding 80+1"]
    assert play.requests(METER) == ["holding 0+6", *others, "holding 0+6", *pieces, *pieces, *others]
    assert [type(one) for one in play.polls[1].outcomes] == [BlockRead, BlockFailure, *[BlockRead] * 3]


def test_who_it_is_is_asked_at_the_start_and_when_wanted_and_failing_that_costs_no_poll():
    meter = plan(METER, identity=(block(0x4000, 3),))
    timetable = Timetable([meter], 0.0, is_rtu=False)
    play = Play(timetable).until(35.0)
    assert play.requests(METER) == ["holding 0+10", "holding 16384+3", "holding 0+10"]
    timetable.want_identity(meter)
    play.answer = lambda job, now: (FailureReason.GARBLED if job.purpose is Purpose.IDENTITY else None, FAST)
    play.until(95.0)
    assert play.requests(METER)[3:] == ["holding 0+10", "holding 16384+3"] * 2, "asked until it is known"
    play.answer = lambda job, now: (
        FailureReason.EXCEPTION if job.purpose is Purpose.IDENTITY else None,
        FAST,
    )
    play.until(155.0)
    assert play.requests(METER)[7:] == ["holding 0+10", "holding 16384+3", "holding 0+10"], "it has none"
    assert all(len(poll.outcomes) == 1 for poll in play.polls)


def test_who_has_no_such_address_is_asked_for_it_twice_and_again_after_it_was_down():
    """The filters go on wanting it; each poll would cost a request more, and be counted as a failure."""
    meter = plan(METER, identity=(block(0x4000, 3),))
    timetable = Timetable([meter], 0.0, is_rtu=False)

    def answer(job: Job, now: float) -> tuple[FailureReason | None, float]:
        if 200 < now < 220:
            return FailureReason.TIMEOUT, job.timeout_s
        return FailureReason.ILLEGAL_ADDRESS if job.purpose is Purpose.IDENTITY else None, FAST

    play = Play(timetable, answer)
    for end in range(5, 400, 30):
        play.until(end)
        timetable.want_identity(meter)
    asked = [round(at) for at, job in play.sent if job.purpose is Purpose.IDENTITY]
    assert asked == [0, 30, 240, 270]
    assert all(len(poll.outcomes) == 1 for poll in play.polls)


def neighbours_differ(play: Play, unit: int) -> bool:
    asked = [job.block for _, job in play.sent if job.plan.unit == unit]
    return all(
        one.request == other.request or one.answer_bytes != other.answer_bytes
        for one, other in pairwise(asked)
    )


def test_on_rtu_answers_of_equal_length_never_follow_each_other_whatever_fails():
    """Where the plan could not lengthen a block, a request of another length stands between."""
    equal = plan(METER, block(0, 2), block(50, 2), identity=(block(90, 2),))
    outcomes = cycle(
        [None, None, FailureReason.TIMEOUT, FailureReason.GARBLED, None, FailureReason.EXCEPTION, None]
    )

    def answer(job, now):
        return next(outcomes), FAST

    play = Play(Timetable([equal, plan(OTHER)], 0.0, is_rtu=True), answer).until(900.0)
    assert neighbours_differ(play, METER)
    assert any(job.purpose is Purpose.SPACER for _, job in play.sent)
    assert not any(
        job.purpose is Purpose.SPACER for _, job in Play(Timetable([equal], 0.0, is_rtu=False)).until(90).sent
    )


def test_on_rtu_the_pieces_of_a_split_block_are_told_apart_and_only_what_is_refused_stays_short():
    wide = block(0, 12, (0, 2), (10, 2))

    def answer(job, now):
        mapped = {0, 1, 10, 11}
        asked = set(range(job.block.address, job.block.address + job.block.count))
        return (None if asked <= mapped else FailureReason.ILLEGAL_ADDRESS), FAST

    play = Play(Timetable([plan(METER, wide)], 0.0, is_rtu=True), answer).until(65.0)
    assert neighbours_differ(play, METER)
    assert play.requests(METER) == [
        *["holding 0+12", "holding 0+12", "holding 0+2", "holding 10+3", "holding 10+3", "holding 10+2"],
        *["holding 10+2", "holding 0+1", "holding 0+2"],
        *["holding 0+2", "holding 10+1", "holding 10+2"],
    ]
    assert all(isinstance(one, BlockRead) for one in play.polls[-1].outcomes)
    assert all(len(poll.outcomes) == 2 for poll in play.polls)
