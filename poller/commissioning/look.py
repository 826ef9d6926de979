"""Looking at one device through the poller's own bus thread and filters, without journal and broker."""

from collections.abc import Callable
from dataclasses import dataclass

from poller.assemble import Folded, fold_poll, new_tracker
from poller.blocks import Poll
from poller.config import BusSettings
from poller.device import Device
from poller.loop import BusWorker
from poller.transport import Transport
from readings.health import POLLER_HEALTH, Tally


@dataclass(frozen=True, slots=True)
class Look:
    """One poll of a device, and what the filters made of it."""

    poll: Poll
    folded: Folded

    @property
    def serial_number(self) -> str | None:
        """The device's own, where its profile knows where it is and it was read."""
        return self.poll.identity.get("serial_number")


def look_at(
    device: Device,
    settings: BusSettings,
    transport: Transport,
    *,
    monotonic: Callable[[], float],
    wait: Callable[[float], bool],
    on_look: Callable[[Look], bool],
) -> None:
    """Poll a device at its interval, from now on.

    Args:
        device: The device.
        settings: The bus that it is on.
        transport: What carries the requests; closed at the end.
        monotonic: Seconds of a clock that never jumps.
        wait: Rests for so many seconds; True says stop.
        on_look: Gets every poll; True says stop.
    """
    tracker = new_tracker(device, monotonic())
    is_over = False

    def take(_: Device, poll: Poll) -> bool:
        nonlocal tracker, is_over
        folded = fold_poll(device, tracker, poll)
        tracker = folded.tracker
        is_over = on_look(Look(poll, folded))
        return folded.wants_identity

    BusWorker(
        settings,
        [device],
        transport=transport,
        monotonic=monotonic,
        wait=lambda seconds: is_over or wait(seconds),
        on_poll=take,
        tally=Tally(POLLER_HEALTH),
    ).run()
