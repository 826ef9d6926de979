"""The devices of this poller now: those of the configuration, and those that its sources have found.

A series has one source. Whoever comes second with a name or a series is
refused, and so is what would be more series than a house can have: somebody
else decides what is published on the broker.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from poller.device import Device
from poller.errors import RefusedDeviceError
from readings.reading import DeviceKey

MOST_SERIES = 10_000
"""A large house has a thousand."""

_Series = tuple[str, tuple[tuple[str, str], ...]]


class Roster:
    """Who is there, and which series each of them makes.

    Args:
        devices: Those of the configuration.
        most_series: How many series all of them together may make.

    Raises:
        RefusedDeviceError: Two of them have one name, or would make one series.
    """

    def __init__(self, devices: Iterable[Device] = (), *, most_series: int = MOST_SERIES) -> None:
        self._most_series = most_series
        self._devices: dict[DeviceKey, Device] = {}
        self._names: dict[str, DeviceKey] = {}
        self._series: dict[_Series, DeviceKey] = {}
        for one in devices:
            if one.key in self._devices:
                raise RefusedDeviceError("name", f"{one.key} and {one.key} have one name")
            self.admit(one)

    @property
    def devices(self) -> Mapping[DeviceKey, Device]:
        """Everybody, by key, in the order of their coming."""
        return MappingProxyType(self._devices)

    def admit(self, device: Device) -> bool:
        """Take a device in, or more fields of one that is there; what it had it keeps until the poller ends.

        Returns:
            Whether that changed anything.

        Raises:
            RefusedDeviceError: Its name or one of its series is another's, or there are too many.
        """
        known = self._devices.get(device.key)
        if known is not None:
            if known is device:
                return False
            if known.origin != device.origin or known.series_labels != device.series_labels:
                raise RefusedDeviceError("name", f"{known.key} is there already, from {_origin(known)}")
            if device.fields.keys() <= known.fields.keys() and device.title == known.title:
                return False
            device = replace(device, fields={**known.fields, **device.fields})
        other = self._names.get(device.key.name, device.key)
        if other != device.key:
            raise RefusedDeviceError("name", f"{other} and {device.key} have one name")
        series = self._new_series(device)
        self._devices[device.key] = device
        self._names[device.key.name] = device.key
        self._series.update(dict.fromkeys(series, device.key))
        return True

    def _new_series(self, device: Device) -> list[_Series]:
        """The series that nobody makes yet; all of them, or none when one is another's."""
        labels = tuple(sorted(device.series_labels.items()))
        new: list[_Series] = []
        for name in (f"{prefix}_{field}" for prefix in device.prefixes for field in device.fields):
            other = self._series.get((name, labels))
            if other is None:
                new.append((name, labels))
            elif other != device.key:
                raise RefusedDeviceError("series", f"{other} and {device.key} both make {name}{dict(labels)}")
        if len(self._series) + len(new) > self._most_series:
            raise RefusedDeviceError(
                "limit",
                f"{device.key}: all devices together would make more than {self._most_series} series (poller.max_series)",
            )
        return new


def _origin(device: Device) -> str:
    return device.origin or (f"bus {device.bus}" if device.bus is not None else "another source")
