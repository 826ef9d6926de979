"""The thread that owns a bus: it asks when the timetable says so, and hands on what came.

It touches nothing but the bus. What becomes of a poll is the business of
`on_poll`, which must not wait for a disk or a broker.
"""

import logging
from collections.abc import Callable, Sequence

from poller.blocks import BlockFailure, BlockOutcome, BlockRead, FailureReason, Poll
from poller.config import BusSettings
from poller.decode import decode_texts
from poller.device import Device
from poller.errands import ErrandDesk, Outcome, Result, failed, too_late
from poller.errors import DecodeError
from poller.plan import plan_device
from poller.request import GATEWAY_CODES, answered_block, is_refusal, reading
from poller.seat import Finished
from poller.timetable import ErrandJob, Job, Timetable
from poller.transport import ReadError, Transport
from readings.health import Tally
from readings.reading import DeviceKey

_log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
"""The longest rest between two signs of life for the watchdog."""


class BusWorker:
    """Polls the devices of one bus until it is told to stop.

    Args:
        settings: The bus.
        devices: The devices on it.
        transport: What carries the requests; closed at the end.
        monotonic: Seconds of a clock that never jumps.
        wait: Rests for so many seconds; True says stop.
        on_poll: Gets every finished poll, also one in which nothing was read. It gives
            True when the device's identity is to be read with its next poll.
        tally: Where polls and failures are counted.
        desk: Where other programs hand in their requests; `wait` ends when one has come.

    Attributes:
        last_alive: When the thread was last seen at work, by `monotonic`.

    Raises:
        ProfileError: A device cannot be polled as its profile says.
    """

    def __init__(
        self,
        settings: BusSettings,
        devices: Sequence[Device],
        *,
        transport: Transport,
        monotonic: Callable[[], float],
        wait: Callable[[float], bool],
        on_poll: Callable[[Device, Poll], bool],
        tally: Tally,
        desk: ErrandDesk | None = None,
    ) -> None:
        self._name = settings.name
        self._is_rtu = settings.framing == "rtu"
        self._plans = tuple(
            plan_device(device, baud=settings.baud, turnaround_s=settings.turnaround_s, distinct=self._is_rtu)
            for device in devices
        )
        self._transport = transport
        self._monotonic = monotonic
        self._wait = wait
        self._on_poll = on_poll
        self._tally = tally
        self._desk = desk
        self._answered_at: dict[DeviceKey, float] = {}
        self._is_up: dict[DeviceKey, bool] = {}
        self.last_alive = monotonic()

    def run(self) -> None:
        """Poll until `wait` says stop."""
        timetable = Timetable(self._plans, self._monotonic(), is_rtu=self._is_rtu)
        pause_s = 0.0
        try:
            while not self._wait(pause_s):
                self.last_alive = now = self._monotonic()
                if self._desk is not None:
                    self._attend(timetable, self._desk, now)
                step = timetable.next(
                    now, is_connected=self._transport.is_connected, clear_at=self._transport.clear_at
                )
                pause_s = 0.0
                if isinstance(step, Job):
                    self._send(timetable, step)
                elif not isinstance(step, ErrandJob):
                    pause_s = min(max(step - now, 0.0), HEARTBEAT_S)
                elif self._desk is not None:
                    self._run_errand(timetable, self._desk, step)
        finally:
            self._transport.close()

    def _send(self, timetable: Timetable, job: Job) -> None:
        device = job.plan.device
        if job.lateness_s is not None:
            self._tally.set("poller_poll_delay_seconds", job.lateness_s, device=device.key.name)
        outcome: BlockOutcome
        try:
            outcome = self._transport.read(job.block, job.plan.unit, job.timeout_s)
        except ReadError as error:
            outcome = BlockFailure(job.block, error.reason, str(error), self._monotonic())
            self._tally.count(
                "poller_request_failures_total",
                bus=self._name,
                device=device.key.name,
                reason=error.reason.value,
            )
        if self._desk is not None:
            self._note(self._desk, timetable, job.plan.unit, outcome)
        late = self._transport.late_units()
        for finished in timetable.report(job, outcome, self._monotonic(), late=late):
            if self._hand_on(finished):
                timetable.want_identity(finished.plan)

    def _attend(self, timetable: Timetable, desk: ErrandDesk, now: float) -> None:
        """Take in what other programs want, and give back what cannot be done in time."""
        for errand in desk.collect():
            timetable.offer(errand)
        for errand in timetable.take_overdue(now, is_connected=self._transport.is_connected):
            desk.settle(errand, too_late(errand.request))

    def _run_errand(self, timetable: Timetable, desk: ErrandDesk, job: ErrandJob) -> None:
        request = job.errand.request
        if not desk.claim(job.errand):
            return
        try:
            pdu = self._transport.forward(request, job.timeout_s, job.send_before)
        except ReadError as error:
            outcome = failed(request, error.reason)
            has_answered = error.reason.shows_life
            if error.reason is FailureReason.UNREACHABLE:
                self._turn_away(timetable, desk)
        else:
            outcome = Outcome(pdu, Result.EXCEPTION if is_refusal(pdu) else Result.ANSWERED)
            has_answered = not (is_refusal(pdu) and pdu[1] in GATEWAY_CODES)
            if read := answered_block(request, pdu, self._monotonic()):
                desk.note_read(request.unit, read)
        if request.writes is not None:
            desk.note_written(request.unit)
        heard = self._transport.late_units() | ({request.unit} if has_answered else frozenset())
        timetable.report_errand(job, self._monotonic(), heard=heard)
        desk.settle(job.errand, outcome)

    def _note(self, desk: ErrandDesk, timetable: Timetable, unit: int, outcome: BlockOutcome) -> None:
        """Let other programs have their share of what a poll found out."""
        if isinstance(outcome, BlockRead):
            # What may have been the answer to an earlier request is older than it seems.
            if self._transport.clear_at(reading(unit, outcome.block)) <= outcome.read_at:
                desk.note_read(unit, outcome)
        elif outcome.reason is FailureReason.UNREACHABLE:
            self._turn_away(timetable, desk)

    def _turn_away(self, timetable: Timetable, desk: ErrandDesk) -> None:
        """There is no connection: nobody needs to wait until there is one."""
        for errand in timetable.take_errands():
            desk.settle(errand, failed(errand.request, FailureReason.UNREACHABLE))

    def _hand_on(self, finished: Finished) -> bool:
        device = finished.plan.device
        poll = Poll(finished.due, finished.ended, finished.outcomes, self._texts(finished))
        result = (
            "complete" if len(poll.reads) == len(poll.outcomes) else "partial" if poll.reads else "failed"
        )
        self._tally.count("poller_polls_total", device=device.key.name, result=result)
        self._note_gap(device, poll)
        self._announce(device, poll)
        return self._on_poll(device, poll)

    def _texts(self, finished: Finished) -> dict[str, str]:
        texts: dict[str, str] = {}
        for read in finished.texts:
            try:
                texts.update(decode_texts(read))
            except DecodeError as error:
                _log.warning("%s: identity not readable: %s", finished.plan.device.key, error)
        return texts

    def _note_gap(self, device: Device, poll: Poll) -> None:
        if not poll.reads:
            return
        answered_at = max(read.read_at for read in poll.reads)
        if (before := self._answered_at.get(device.key)) is not None:
            self._tally.set("poller_poll_gap_seconds", answered_at - before, device=device.key.name)
        self._answered_at[device.key] = answered_at

    def _announce(self, device: Device, poll: Poll) -> None:
        """One line when a device begins or ceases to answer."""
        is_up = bool(poll.reads)
        if self._is_up.get(device.key) is not is_up:
            self._is_up[device.key] = is_up
            if is_up:
                _log.info("%s: answers on bus %s", device.key, self._name)
            else:
                reasons = "; ".join(
                    dict.fromkeys(one.detail for one in poll.outcomes if isinstance(one, BlockFailure))
                )
                _log.warning("%s: no answer on bus %s: %s", device.key, self._name, reasons)
