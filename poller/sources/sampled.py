"""A source that asks a function every so many seconds."""

from collections.abc import Callable, Mapping, Sequence

from poller.assemble import Report
from poller.device import Device
from readings.reading import DeviceKey


class Sampled:
    """Reports what a function gives, at an interval.

    Args:
        devices: The devices that it speaks for.
        sample: Gives what there is to report now; a device that is not in it is silent.
        every_s: Seconds between two calls.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        sample: Callable[[], Mapping[DeviceKey, Report]],
        *,
        every_s: float,
    ) -> None:
        self.devices = tuple(devices)
        self._sample = sample
        self._every_s = every_s

    def run(self, emit: Callable[[Device, Report], None], wait: Callable[[float], bool]) -> None:
        """Report at once, then at every interval, until `wait` gives True."""
        while True:
            reports = self._sample()
            for device in self.devices:
                if device.key in reports:
                    emit(device, reports[device.key])
            if wait(self._every_s):
                return
