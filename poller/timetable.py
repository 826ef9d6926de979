"""Which request a bus carries next, and when.

Each device has its own row of slots: its n-th poll is wanted at start + n x
interval, so no delay is carried over, and a slot that has passed is skipped.
One request is under way at a time. A device that stops working when it is not
polled (keep-alive) goes first, and no other request begins that in its worst
case would make one wait.

Requests of other programs (errands) take turns with those of the polls, and
are given up rather than sent when their answer would come too late.

There is no clock here: `next` and `report` are told the time, in seconds of
the monotonic clock, and change nothing but this object.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from poller.blocks import BlockFailure, BlockOutcome, FailureReason, RegisterBlock
from poller.errands import PATIENCE_S, Errand
from poller.plan import DevicePlan
from poller.request import READ_WRITE, Request
from poller.seat import Finished, Purpose, Seat
from poller.transport import CONNECT_TIMEOUT_S

LEAST_TIMEOUT_S = 0.2

ERRAND_TIMEOUT_S = 1.4
"""How long an errand waits for its answer, so that there is time left to wait for its turn."""


def _always(_request: Request) -> float:
    return -math.inf


@dataclass(frozen=True, slots=True)
class Job:
    """One request, to be sent now.

    Attributes:
        lateness_s: How late its poll begins, where it is a poll's first request.
    """

    plan: DevicePlan
    block: RegisterBlock
    purpose: Purpose
    timeout_s: float
    lateness_s: float | None


@dataclass(frozen=True, slots=True)
class ErrandJob:
    """A request of another program, to be sent now."""

    errand: Errand
    timeout_s: float

    @property
    def send_before(self) -> float:
        """When it is too late to send it, should there be a connection to make first."""
        return self.errand.asked_at + PATIENCE_S - self.timeout_s


class Timetable:
    """The requests of all devices on one bus.

    Args:
        plans: The devices.
        start: When the first poll is due. The others' first polls follow as soon as
            the ones before are predicted to be over, so that slots do not collide.
        is_rtu: The framing cannot tell a late answer from the one awaited: after a timeout the
            bus is listened to for as long again, and neighbouring answers differ in length.
    """

    def __init__(self, plans: Sequence[DevicePlan], start: float, *, is_rtu: bool) -> None:
        self._is_rtu = is_rtu
        self._seats: list[Seat] = []
        for plan in sorted(plans, key=lambda plan: not plan.device.profile.keep_alive):
            self._seats.append(Seat(plan, start, distinct=is_rtu))
            start += plan.poll_s
        self._keep_alive = [seat for seat in self._seats if seat.is_keep_alive]
        # A request that fits into half of the shortest interval gets its turn between two polls.
        room = min((seat.plan.device.interval_s for seat in self._keep_alive), default=math.inf) / 2
        for seat in self._seats:
            if not seat.is_keep_alive:
                seat.timeout_s = min(seat.timeout_s, max(LEAST_TIMEOUT_S, room / self._waits))
        self._errand_timeout_s = min(ERRAND_TIMEOUT_S, max(LEAST_TIMEOUT_S, room))
        self._errands: list[Errand] = []
        self._is_errands_turn = False

    def next(
        self,
        now: float,
        *,
        is_connected: bool,
        clear_at: Callable[[Request], float] = _always,
    ) -> Job | ErrandJob | float:
        """The request to send now, or else the time at which to ask again.

        Args:
            now: The time.
            is_connected: Whether a request goes out without connecting first.
            clear_at: From when on a request's answer cannot be taken for another one's.
        """
        seat = self._next_seat(now, is_connected=is_connected)
        errand = self._next_errand(now, clear_at, is_connected=is_connected)
        if errand is not None and (seat is None or self._is_errands_turn):
            self._is_errands_turn = False
            self._errands.remove(errand)
            return ErrandJob(errand, self._errand_timeout_s)
        if seat is not None:
            self._is_errands_turn = True
            timeout_s = seat.next_timeout_s
            lateness_s = seat.begin(now)
            block, purpose = seat.choose()
            return Job(seat.plan, block, purpose, timeout_s, lateness_s)
        times = [seat.ready_at for seat in self._seats]
        for one in self._errands:
            times += (
                self._gives_up_at(one, is_connected=is_connected),
                self._may_go_at(one, clear_at),
            )
        return min((at for at in times if at > now), default=math.inf)

    def offer(self, errand: Errand) -> None:
        """Put another program's request behind those that wait."""
        self._errands.append(errand)

    def take_errands(self) -> tuple[Errand, ...]:
        """Take away all errands that wait."""
        taken, self._errands = tuple(self._errands), []
        return taken

    def take_overdue(self, now: float, *, is_connected: bool) -> tuple[Errand, ...]:
        """Take away the errands whose answer would come too late from now on."""
        overdue = tuple(
            one for one in self._errands if now >= self._gives_up_at(one, is_connected=is_connected)
        )
        self._errands = [one for one in self._errands if one not in overdue]
        return overdue

    def report(
        self, job: Job, outcome: BlockOutcome, now: float, *, late: frozenset[int] = frozenset()
    ) -> tuple[Finished, ...]:
        """Take in what a request brought.

        A poll that ends because there is no connection ends those that are due with it: nobody else may
        try before the heat pump does, and it tries again so soon that they would wait for ever.

        Args:
            job: The request, from `next`.
            outcome: Its answer or failure.
            now: When it was over.
            late: Units that were heard meanwhile, too late for what they were asked.

        Returns:
            The polls that are over: its own, when this was its last request, first.
        """
        self._hear(late, now)
        finished = self._seat(job.plan).report(job.block, job.purpose, outcome, now)
        if finished is None:
            return ()
        if not isinstance(outcome, BlockFailure) or outcome.reason is not FailureReason.UNREACHABLE:
            return (finished,)
        due = [seat for seat in self._seats if seat.plan is not job.plan and seat.ready_at <= now]
        return (finished, *(seat.end_unreachable(now) for seat in due))

    def report_errand(self, job: ErrandJob, now: float, *, heard: frozenset[int]) -> None:
        """Take in that an errand is over, and which units have answered, be it too late."""
        self._hear(heard, now)
        request = job.errand.request
        if seat := self._seat_of(request.unit):
            seat.note_errand(request.reads if request.function != READ_WRITE else None, now)

    def want_identity(self, plan: DevicePlan) -> None:
        """Read a device's texts with its next poll."""
        self._seat(plan).want_identity()

    def _next_seat(self, now: float, *, is_connected: bool) -> Seat | None:
        waiting = [seat for seat in self._seats if seat.ready_at <= now]
        waiting.sort(key=lambda seat: (seat.is_retrying, seat.due(now)))
        for seat in waiting:
            worst_s = self._worst_s(seat.next_timeout_s * self._waits, is_connected=is_connected)
            if seat.is_keep_alive or self._leaves_room(now, worst_s):
                return seat
        return None

    def _next_errand(
        self, now: float, clear_at: Callable[[Request], float], *, is_connected: bool
    ) -> Errand | None:
        if not self._leaves_room(now, self._worst_s(self._errand_timeout_s, is_connected=is_connected)):
            return None
        return next((one for one in self._errands if self._may_go_at(one, clear_at) <= now), None)

    def _leaves_room(self, now: float, worst_s: float) -> bool:
        """Whether a request that takes so long makes no device wait that must not."""
        return all(now + worst_s <= seat.ready_at for seat in self._keep_alive)

    def _worst_s(self, waits_s: float, *, is_connected: bool) -> float:
        return waits_s + (0 if is_connected else CONNECT_TIMEOUT_S)

    def _gives_up_at(self, errand: Errand, *, is_connected: bool) -> float:
        return errand.asked_at + PATIENCE_S - self._worst_s(self._errand_timeout_s, is_connected=is_connected)

    def _may_go_at(self, errand: Errand, clear_at: Callable[[Request], float]) -> float:
        seat = self._seat_of(errand.request.unit)
        return max(clear_at(errand.request), seat.rested_at if seat else -math.inf)

    def _hear(self, units: frozenset[int], now: float) -> None:
        for seat in self._seats:
            if seat.plan.unit in units:
                seat.hear(now)

    @property
    def _waits(self) -> int:
        """How many timeouts a request of ours takes that has no answer."""
        return 2 if self._is_rtu else 1

    def _seat(self, plan: DevicePlan) -> Seat:
        return next(seat for seat in self._seats if seat.plan is plan)

    def _seat_of(self, unit: int) -> Seat | None:
        return next((seat for seat in self._seats if seat.plan.unit == unit), None)
