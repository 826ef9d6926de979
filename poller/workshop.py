"""What came, made into states of its devices; a device that a source found just now is taken in first."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from poller.assemble import Folded
from poller.device import Device
from poller.errors import RefusedDeviceError
from poller.intake import Item
from poller.journal import Kept
from poller.listening import Incoming
from poller.publish import Publisher
from poller.states import without_counts
from poller.switchboard import Switchboard
from poller.trackers import Arrival, Brought
from poller.walltime import WallTime
from readings.health import Tally
from readings.reading import DeviceKey

_log = logging.getLogger(__name__)

SAY_EVERY_S = 60.0
"""How often a device that is not taken in is worth a line in the log."""


class Folding(Protocol):
    """What makes states of what was brought: `poller.trackers.Trackers`."""

    def restore(self, kept: Mapping[DeviceKey, Kept], now: float) -> None:
        """Begin where an earlier run ended; again, when its states could not be read at first."""

    def admit(self, device: Device, now: float) -> Device | None:
        """Let a source's device take part; what is to be announced of it, if anything."""

    def fold(self, device: Device, brought: Brought, clock: WallTime) -> Folded:
        """What a poll or a report makes."""

    def listen(self, now: float) -> Iterator[tuple[Device, Folded]]:
        """What the silence of the sources makes."""

    def keep(self, keys: Iterable[DeviceKey], now: float) -> dict[DeviceKey, bytes]:
        """The filter states."""


class Workshop:
    """Between what came and the journal; used by the journal's thread.

    Args:
        trackers: The devices and what is known of each.
        publisher: Announces those that are found.
        switchboard: Makes reports of what others publish.
        tally: Where is counted what was not taken in.
    """

    def __init__(
        self, trackers: Folding, publisher: Publisher, switchboard: Switchboard | None, tally: Tally
    ) -> None:
        self._trackers = trackers
        self._publisher = publisher
        self._switchboard = switchboard
        self._tally = tally
        self._say_due = float("-inf")

    def fold(
        self, item: Item, clock: WallTime, now: float, *, knows_counts: bool
    ) -> Iterator[tuple[Device, Folded]]:
        """The states that something makes.

        Args:
            item: What came.
            clock: What is thought of the wall clock.
            now: Seconds of the monotonic clock.
            knows_counts: Whether the journal could be read; without it no energy count is known to go on.
        """
        for device, brought in self._unpack(item, clock):
            if isinstance(brought, Arrival) and not self.admit(device, now):
                continue
            folded = self._trackers.fold(device, brought, clock)
            yield device, folded if knows_counts else without_counts(device, folded)

    def admit(self, device: Device, now: float) -> bool:
        """Whether a source's device takes part; it is announced when that is news."""
        try:
            announced = self._trackers.admit(device, now)
        except RefusedDeviceError as error:
            self._tally.count("poller_devices_refused_total", reason=error.reason)
            if now >= self._say_due:
                self._say_due = now + SAY_EVERY_S
                _log.error("a device is not taken in: %s", error)
            return False
        if announced is not None:
            self._publisher.add(announced)
            if self._switchboard is not None:
                self._switchboard.note_news()
        return True

    def _unpack(self, item: Item, clock: WallTime) -> Iterator[tuple[Device, Brought]]:
        """What it says of which devices, one report per time."""
        if isinstance(item, Incoming):
            reports = [] if self._switchboard is None else self._switchboard.hear(item, clock)
            arrivals = [(device, Arrival(report, item.at)) for device, report in reports]
        elif isinstance(item[1], Arrival):
            arrivals = [(item[0], item[1])]
        else:
            yield item
            return
        for device, arrival in arrivals:
            for part in arrival.report.parts():
                yield device, Arrival(part, arrival.at)
