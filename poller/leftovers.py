"""What lies at the broker of devices that this poller no longer has.

Retained messages outlive the configuration that they were made by. A device's
`info` names its poller, so whoever has that name and not the device is the one
to take its messages back; everybody else's are left alone.
"""

from collections.abc import Container

from readings.errors import PayloadError
from readings.payload import decode_info
from readings.reading import DeviceKey

CLEAR_AFTER_S = 8.0
"""By then Home Assistant has forgotten the device: an empty state would be one that it cannot read."""


class Leftovers:
    """Finds them, connection by connection.

    Args:
        poller: This poller's name.
    """

    def __init__(self, poller: str) -> None:
        self._poller = poller
        self._due: dict[DeviceKey, float] = {}

    def connect(self) -> None:
        """There is a new connection, on which everything that lies at the broker is heard again."""
        self._due.clear()

    def hear(self, key: DeviceKey, info: bytes, now: float) -> None:
        """The `info` of a device, as it lay at the broker."""
        try:
            poller = decode_info(info).poller
        except PayloadError:
            return
        if poller == self._poller:
            self._due.setdefault(key, now + CLEAR_AFTER_S)

    def take(self, now: float, known: Container[DeviceKey]) -> tuple[DeviceKey, ...]:
        """The devices whose messages are to be taken back now.

        Args:
            now: Seconds of any clock that does not jump.
            known: The devices that this poller has, those that its sources found in earlier runs among them.
        """
        due = [key for key, at in self._due.items() if now >= at]
        for key in due:
            del self._due[key]
        return tuple(key for key in due if key not in known)
