"""The thread that owns a bus: it asks when the timetable says so, and hands on what came.

It touches nothing but the bus. What becomes of a poll is the business of
`on_poll`, which must not wait for a disk or a broker.
"""

import logging
from collections.abc import Callable, Sequence

from poller.blocks import BlockFailure, BlockOutcome, Poll
from poller.config import BusSettings
from poller.decode import decode_texts
from poller.device import Device
from poller.errors import DecodeError
from poller.plan import plan_device
from poller.seat import Finished
from poller.timetable import Job, Timetable
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
                step = timetable.next(now, is_connected=self._transport.is_connected)
                if isinstance(step, Job):
                    self._send(timetable, step)
                    pause_s = 0.0
                else:
                    pause_s = min(max(step - now, 0.0), HEARTBEAT_S)
        finally:
            self._transport.close()

    def _send(self, timetable: Timetable, job: Job) -> None:
        device = job.plan.device
        if job.lateness_s is not None:
            self._tally.set("poller_poll_jitter_seconds", job.lateness_s, device=device.key.name)
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
        late = self._transport.late_units()
        finished = timetable.report(job, outcome, self._monotonic(), late=late)
        if finished is not None and self._hand_on(finished):
            timetable.want_identity(job.plan)

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
