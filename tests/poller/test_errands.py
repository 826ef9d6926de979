"""Requests of other programs between those of the polls, played without a clock."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise

import pytest

from poller.blocks import BlockFailure, BlockRead, FailureReason
from poller.errands import PATIENCE_S, Errand
from poller.request import Request, parse_request
from poller.timetable import ERRAND_TIMEOUT_S, ErrandJob, Job, Timetable
from tests.poller.test_timetable import FAST, METER, OTHER, PUMP, block, plan

STRANGER = 9
"""A unit that is in no configuration."""


def ask(pdu: str = "03 0000 0005", unit: int = METER) -> Request:
    return parse_request(unit, bytes.fromhex(pdu))


@dataclass
class Play:
    """A bus on which every request takes as long as it is told to, and programs that ask in between."""

    timetable: Timetable
    takes: Callable[[Job | ErrandJob], float] = lambda job: FAST
    fails: Callable[[Job | ErrandJob], FailureReason | None] = lambda job: None
    clear_at: Callable[[Request], float] = lambda request: -math.inf
    is_connected: bool = True
    now: float = 0.0
    sent: list[tuple[float, Job | ErrandJob]] = field(default_factory=list)
    overdue: list[tuple[float, Errand]] = field(default_factory=list)
    coming: list[Errand] = field(default_factory=list)
    tickets: count = field(default_factory=count)

    def asks(self, at: float, request: Request, times: int = 1) -> "Play":
        self.coming += [Errand(next(self.tickets), request, at) for _ in range(times)]
        self.coming.sort(key=lambda one: one.asked_at)
        return self

    def until(self, end: float) -> "Play":
        while self.now < end:
            while self.coming and self.coming[0].asked_at <= self.now:
                self.timetable.offer(self.coming.pop(0))
            for one in self.timetable.take_overdue(self.now, is_connected=self.is_connected):
                self.overdue.append((self.now, one))
            step = self.timetable.next(self.now, is_connected=self.is_connected, clear_at=self.clear_at)
            if isinstance(step, float):
                assert step > self.now, "the timetable asks to be asked again at once"
                self.now = min(step, end, *(one.asked_at for one in self.coming))
                continue
            self.sent.append((self.now, step))
            reason, seconds = self.fails(step), self.takes(step)
            self.now += seconds
            if isinstance(step, ErrandJob):
                unit = step.errand.request.unit
                self.timetable.report_errand(
                    step, self.now, heard=frozenset() if reason else frozenset({unit})
                )
                continue
            outcome = (
                BlockRead(step.block, (0,) * step.block.count, self.now)
                if reason is None
                else BlockFailure(step.block, reason, reason.value, self.now)
            )
            self.timetable.report(step, outcome, self.now)
        return self

    def errands(self) -> list[float]:
        return [pytest.approx(at) for at, job in self.sent if isinstance(job, ErrandJob)]

    def polls(self, unit: int) -> list[float]:
        return [pytest.approx(at) for at, job in self.sent if isinstance(job, Job) and job.plan.unit == unit]

    def kinds(self) -> str:
        return "".join("e" if isinstance(job, ErrandJob) else "p" for _, job in self.sent)


def silent(*units: int, waits: int = 1):
    """These units never answer."""

    def unit_of(job):
        return job.plan.unit if isinstance(job, Job) else job.errand.request.unit

    return {
        "takes": lambda job: (
            FAST if unit_of(job) not in units else job.timeout_s * (waits if isinstance(job, Job) else 1)
        ),
        "fails": lambda job: FailureReason.TIMEOUT if unit_of(job) in units else None,
    }


def test_on_a_free_bus_a_request_goes_out_at_once():
    play = Play(Timetable([plan(METER)], 0.0, is_rtu=True)).asks(5.0, ask()).asks(5.05, ask(unit=STRANGER))
    assert play.until(20.0).errands() == [5.0, 5.1]


def test_a_bus_without_devices_serves_other_programs():
    assert Play(Timetable([], 0.0, is_rtu=False)).asks(5.0, ask(), times=3).until(9.0).errands() == [
        5,
        5.1,
        5.2,
    ]


def test_polls_and_errands_take_turns():
    """Neither starves, however much there is of the other."""
    blocks = [block(100 * place, 10 + place) for place in range(6)]
    play = Play(Timetable([plan(METER, *blocks), plan(OTHER, *blocks)], 0.0, is_rtu=True))
    play.asks(0.0, ask("04 0000 0001"), times=30).until(3.0)
    assert play.kinds()[:24] == "pe" * 12


def test_programs_are_served_in_the_order_in_which_they_asked():
    play = Play(Timetable([], 0.0, is_rtu=False)).asks(1.0, ask(), times=10).until(3.0)
    assert [job.errand.ticket for _, job in play.sent] == list(range(10))


@pytest.mark.parametrize("is_rtu", [False, True])
@pytest.mark.parametrize("is_connected", [True, False])
def test_nothing_goes_out_that_could_make_the_heat_pump_wait(is_rtu, is_connected):
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(Timetable([pump], 0.0, is_rtu=is_rtu), is_connected=is_connected)
    for tenth in range(600):
        play.asks(tenth / 10, ask(unit=STRANGER))
    play.until(60.0)
    assert play.polls(PUMP) == [0, 10, 20, 30, 40, 50]
    latest = 10 - ERRAND_TIMEOUT_S - (0 if is_connected else 1.5)
    assert all(float(at.expected) % 10 <= latest + 1e-9 for at in play.errands())
    assert len(play.errands()) > 300


@pytest.mark.parametrize(("is_rtu", "waits"), [(False, 1), (True, 2)])
def test_a_program_that_keeps_asking_a_dead_unit_costs_no_poll(is_rtu, waits):
    pump = plan(PUMP, block(0, 10), block(50, 20), interval_s=10, keep_alive=True)
    play = Play(
        Timetable([pump, plan(METER, interval_s=5)], 0.0, is_rtu=is_rtu), **silent(STRANGER, waits=waits)
    )
    for second in range(600):
        play.asks(second, ask(unit=STRANGER))
    play.until(600.0)
    assert [float(at.expected) for at in play.polls(PUMP)[::2]] == list(range(0, 600, 10))
    assert len(play.polls(METER)) == 120
    assert len(play.errands()) + len(play.overdue) >= 595


def test_a_request_is_never_answered_later_than_its_patience():
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(
        Timetable([pump, plan(METER, interval_s=1)], 0.0, is_rtu=True), **silent(STRANGER, METER, waits=2)
    )
    for tenth in range(0, 600, 7):
        play.asks(tenth / 10, ask(unit=STRANGER))
    play.until(70.0)
    assert len(play.overdue) > 20
    for at, job in play.sent:
        if isinstance(job, ErrandJob):
            assert at + job.timeout_s <= job.errand.asked_at + PATIENCE_S + 1e-9


def test_what_cannot_go_out_in_time_is_given_up_as_soon_as_that_is_known():
    """A heat pump's poll of 8 s is under way; an answer at 4.5 s would come too late."""
    pump = plan(PUMP, interval_s=10, keep_alive=True)
    play = Play(Timetable([pump], 0.0, is_rtu=False), lambda job: 8.0 if isinstance(job, Job) else FAST)
    play.asks(0.5, ask(), times=2).asks(7.0, ask()).until(9.0)
    assert [at for at, _ in play.overdue] == [8.0, 8.0]
    assert play.errands() == [8.0]


def test_a_device_gets_its_pause_also_before_and_after_other_programs():
    slow = plan(METER, block(0, 10), block(50, 20), pause_s=0.5)
    play = (
        Play(Timetable([slow], 0.0, is_rtu=True))
        .asks(0.05, ask("04 0000 0001"))
        .asks(0.2, ask(unit=STRANGER))
    )
    play.until(5.0)
    times = sorted(
        at
        for at, job in play.sent
        if not (isinstance(job, ErrandJob) and job.errand.request.unit == STRANGER)
    )
    assert times == [0, pytest.approx(0.6), pytest.approx(1.2)]
    assert play.errands()[0] == 0.2, "others need not wait"


def test_a_request_whose_answer_could_be_taken_for_another_ones_waits_and_lets_others_pass():
    play = Play(
        Timetable([], 0.0, is_rtu=True), clear_at=lambda request: 3.0 if request.unit == METER else -math.inf
    )
    play.asks(2.0, ask()).asks(2.0, ask(unit=STRANGER)).until(9.0)
    assert [(at, job.errand.request.unit) for at, job in play.sent] == [(2.0, STRANGER), (3.0, METER)]


def test_on_rtu_a_poll_never_awaits_an_answer_like_the_one_that_another_program_may_still_get():
    poll = plan(METER, block(0, 5), block(50, 20), interval_s=3)
    play = Play(
        Timetable([poll], 0.0, is_rtu=True),
        fails=lambda job: FailureReason.TIMEOUT if isinstance(job, ErrandJob) else None,
    )
    for tenth in range(0, 200, 3):
        play.asks(tenth / 10, ask("03 1000 0005"))
    play.until(25.0)
    mine = [job.errand.request.reads if isinstance(job, ErrandJob) else job.block for _, job in play.sent]
    kinds = play.kinds()
    assert "ep" in kinds
    for place, (before, after) in enumerate(pairwise(mine)):
        if kinds[place + 1] == "p":
            assert before.request == after.request or before.answer_bytes != after.answer_bytes
    assert {str(job.block) for _, job in play.sent if isinstance(job, Job)} == {
        "holding 0+5", "holding 50+20", "holding 0+1"
    }  # fmt: skip


def test_a_device_that_answers_another_program_is_not_down():
    answers = {"errand": True}
    play = Play(
        Timetable([plan(METER)], 0.0, is_rtu=False),
        takes=lambda job: FAST if isinstance(job, ErrandJob) else job.timeout_s,
        fails=lambda job: None if isinstance(job, ErrandJob) and answers["errand"] else FailureReason.TIMEOUT,
    )
    play.until(50.0)
    assert play.timetable._seats[0].is_silent
    play.asks(51.0, ask()).until(59.0)
    assert not play.timetable._seats[0].is_silent, "its next poll has patience"


def test_silence_towards_another_program_says_nothing_of_a_device():
    """It may have no such register."""
    play = Play(
        Timetable([plan(METER)], 0.0, is_rtu=True),
        fails=lambda job: FailureReason.TIMEOUT if isinstance(job, ErrandJob) else None,
    )
    play.asks(5.0, ask(), times=4).until(40.0)
    assert not play.timetable._seats[0].is_silent


def test_all_that_wait_can_be_turned_away():
    timetable = Timetable([], 0.0, is_rtu=False)
    errands = [Errand(number, ask(), 0.0) for number in range(3)]
    for one in errands:
        timetable.offer(one)
    assert timetable.take_errands() == tuple(errands)
    assert timetable.take_errands() == ()
    assert timetable.next(0.0, is_connected=True) == math.inf


@pytest.mark.parametrize("is_rtu", [False, True])
def test_an_errand_fits_between_two_polls_of_a_hasty_heat_pump(is_rtu):
    pump = plan(PUMP, interval_s=1, keep_alive=True)
    play = Play(Timetable([pump], 0.0, is_rtu=is_rtu), **silent(STRANGER))
    play.asks(5.0, ask(unit=STRANGER)).until(9.0)
    assert [job.timeout_s for _, job in play.sent if isinstance(job, ErrandJob)] == [0.5]
    assert play.polls(PUMP) == list(range(9))


def test_a_late_answer_does_not_hide_that_the_gateway_has_gone():
    """Its answer to somebody is heard, then nothing can be read: the heat pump's poll is repeated all the same."""
    timetable = Timetable([plan(PUMP, interval_s=10, keep_alive=True)], 0.0, is_rtu=True)
    for _ in range(2):
        job = timetable.next(0.0, is_connected=False)
        gone = BlockFailure(job.block, FailureReason.UNREACHABLE, "gone", 0.0)
        finished = timetable.report(job, gone, 0.0, late=frozenset({PUMP}))
    assert finished
    assert timetable.next(0.5, is_connected=False) == 1.0


def test_a_poll_that_waits_for_its_spacer_ends_when_the_gateway_goes():
    """Another program's answer is as long as the next block's, and one block was read before."""
    poll = plan(METER, block(50, 20), block(0, 5))
    is_gone = lambda job: isinstance(job, Job) and job.block.count != 20  # noqa: E731
    play = Play(
        Timetable([poll], 0.0, is_rtu=True),
        takes=lambda job: 0.0 if is_gone(job) else FAST,
        fails=lambda job: FailureReason.UNREACHABLE if is_gone(job) else None,
    )
    play.asks(0.05, ask("03 1000 0005")).until(5.0)
    assert [str(job.block) for _, job in play.sent if isinstance(job, Job)] == [
        "holding 50+20", "holding 0+1", "holding 0+1"
    ]  # fmt: skip
