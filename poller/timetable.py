"""Which request a bus carries next, and when.

Each device has its own row of slots: its n-th poll is wanted at start + n x
interval, so no delay is carried over, and a slot that has passed is skipped.
One request is under way at a time. A device that stops working when it is not
polled (keep-alive) goes first, and no other request begins that in its worst
case would make one wait.

There is no clock here: `next` and `report` are told the time, in seconds of
the monotonic clock, and change nothing but this object.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from poller.blocks import BlockOutcome, RegisterBlock
from poller.plan import DevicePlan
from poller.seat import Finished, Purpose, Seat
from poller.transport import CONNECT_TIMEOUT_S

LEAST_TIMEOUT_S = 0.2


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
        if self._keep_alive:
            # A request that fits into half of the shortest interval gets its turn between two polls.
            room = min(seat.plan.device.interval_s for seat in self._keep_alive) / 2
            for seat in self._seats:
                if not seat.is_keep_alive:
                    seat.timeout_s = min(seat.timeout_s, max(LEAST_TIMEOUT_S, room / self._waits))

    def next(self, now: float, *, is_connected: bool) -> Job | float:
        """The request to send now, or else the time at which to ask again."""
        waiting = [seat for seat in self._seats if seat.ready_at <= now]
        waiting.sort(key=lambda seat: (seat.is_retrying, seat.due(now)))
        for seat in waiting:
            worst_s = seat.next_timeout_s * self._waits + (0 if is_connected else CONNECT_TIMEOUT_S)
            if seat.is_keep_alive or all(now + worst_s <= other.ready_at for other in self._keep_alive):
                timeout_s = seat.next_timeout_s
                lateness_s = seat.begin(now)
                block, purpose = seat.choose()
                return Job(seat.plan, block, purpose, timeout_s, lateness_s)
        return min((seat.ready_at for seat in self._seats if seat.ready_at > now), default=math.inf)

    def report(
        self, job: Job, outcome: BlockOutcome, now: float, *, late: frozenset[int] = frozenset()
    ) -> Finished | None:
        """Take in what a request brought.

        Args:
            job: The request, from `next`.
            outcome: Its answer or failure.
            now: When it was over.
            late: Units that were heard meanwhile, too late for what they were asked.

        Returns:
            The poll, when this was its last request.
        """
        for seat in self._seats:
            if seat.plan.unit in late:
                seat.hear(now)
        return self._seat(job.plan).report(job.block, job.purpose, outcome, now)

    def want_identity(self, plan: DevicePlan) -> None:
        """Read a device's texts with its next poll."""
        self._seat(plan).want_identity()

    @property
    def _waits(self) -> int:
        """How many timeouts a request without an answer takes."""
        return 2 if self._is_rtu else 1

    def _seat(self, plan: DevicePlan) -> Seat:
        return next(seat for seat in self._seats if seat.plan is plan)
