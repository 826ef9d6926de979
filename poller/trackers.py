"""The trackers of all devices: what was brought goes in, states come out.

Used by the journal's thread; only `wants_identity` is asked by the bus
threads too.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from poller.assemble import (
    Folded,
    Report,
    Tracker,
    fold_poll,
    fold_report,
    fold_silence,
    keep,
    new_tracker,
    restore,
)
from poller.blocks import Poll
from poller.device import Device
from poller.errors import FilterStateError
from poller.journal import Kept
from poller.roster import MOST_SERIES, Roster
from poller.walltime import WallTime
from readings.health import Tally
from readings.reading import DeviceKey

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A report of a source, and when it came, seconds of the monotonic clock."""

    report: Report
    at: float


Brought = Poll | Arrival
"""What the threads at the devices hand over."""


class Trackers:
    """One tracker per device, and the counters of what the filters did.

    Args:
        devices: Those of the configuration.
        tally: Where is counted.
        most_series: How many series all devices may make, those included that are found later.

    Raises:
        RefusedDeviceError: Two devices have one name, or would make one series.
    """

    def __init__(self, devices: Iterable[Device], tally: Tally, *, most_series: int = MOST_SERIES) -> None:
        self._roster = Roster(devices, most_series=most_series)
        self._tally = tally
        self._kept: Mapping[DeviceKey, Kept] = {}
        self._trackers: dict[DeviceKey, Tracker] = {}
        self._wanting: set[DeviceKey] = set()

    def restore(self, kept: Mapping[DeviceKey, Kept], now: float) -> None:
        """Begin where an earlier run of the poller ended, for the devices that it knew.

        Where this comes late, what was found out meanwhile of a device's availability stays.
        """
        self._kept = kept
        for device in self._roster.devices.values():
            self._begin(device, now)

    def admit(self, device: Device, now: float) -> Device | None:
        """Let a source's device take part, from now on or with more fields than before.

        Returns:
            The device as it is to be announced; `None` when that has not changed.

        Raises:
            RefusedDeviceError: Its name or one of its series is another's, or there are too many.
        """
        if not self._roster.admit(device):
            return None
        if device.key not in self._trackers:
            self._begin(device, now)
        return self._roster.devices[device.key]

    def fold(self, device: Device, brought: Brought, clock: WallTime) -> Folded:
        """What a poll or a report makes of its device."""
        device = self._roster.devices[device.key]
        tracker = self._trackers[device.key]
        if isinstance(brought, Poll):
            return self._take(device, fold_poll(device, tracker, brought))
        return self._take(
            device, fold_report(device, tracker, brought.report, brought.at, clock.at(brought.at))
        )

    def listen(self, now: float) -> Iterator[tuple[Device, Folded]]:
        """Look which sources have been silent for too long; call it about once a second."""
        for key, device in self._roster.devices.items():
            if device.bus is None:
                yield device, self._take(device, fold_silence(device, self._trackers[key], now))

    def keep(self, keys: Iterable[DeviceKey], now: float) -> dict[DeviceKey, bytes]:
        """The filter states of some devices, for the journal."""
        return {key: keep(self._trackers[key], now) for key in keys}

    def wants_identity(self, key: DeviceKey) -> bool:
        """Whether the device's serial number should be read with its next poll."""
        return key in self._wanting

    def _begin(self, device: Device, now: float) -> None:
        """Begin with what an earlier run knew of a device."""
        tracker = self._trackers.setdefault(device.key, new_tracker(device, now))
        kept = self._kept.get(device.key)
        if kept is None:
            return
        try:
            known = restore(device, kept.data, same_boot=kept.same_boot, now=now)
        except FilterStateError as error:
            _log.error("%s: the filters begin anew, what they knew cannot be read: %s", device.key, error)
        else:
            self._trackers[device.key] = replace(known, heard=tracker.heard, online=tracker.online)

    def _take(self, device: Device, folded: Folded) -> Folded:
        self._trackers[device.key] = folded.tracker
        if folded.wants_identity:
            self._wanting.add(device.key)
        else:
            self._wanting.discard(device.key)
        for one in folded.rejections:
            self._tally.count(
                "poller_readings_rejected_total", device=device.key.name, field=one.field, reason=one.reason
            )
        if folded.time_replaced:
            self._tally.count("poller_source_time_replaced_total", device=device.key.name)
        if folded.is_ageless:
            self._tally.count("poller_source_ageless_total", device=device.key.name)
        return folded
