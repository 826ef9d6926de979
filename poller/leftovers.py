"""What is left of devices that this poller no longer has: rows in its journal, messages at the broker.

Rows that a bridge has not fetched yet need somebody who lists and sends them,
so the poller goes on speaking for such a device until its journal has none of
it any more. Only then are its retained messages, which outlive the
configuration that they were made by, taken back. A device's `info` names its
poller: one that another poller speaks for now is left alone.
"""

from collections.abc import Container, Mapping

from readings.errors import PayloadError
from readings.payload import decode_info
from readings.reading import DeviceKey

WAIT_S = 8.0
"""By then what lies at the broker was heard, and Home Assistant has forgotten a device that is gone: an empty state
would be one that it cannot read."""


class Leftovers:
    """Finds them, connection by connection.

    Args:
        poller: This poller's name.
    """

    def __init__(self, poller: str) -> None:
        self._poller = poller
        self._connected = 0.0
        self._due: dict[DeviceKey, float] = {}
        self._others: set[DeviceKey] = set()
        self._kept: Mapping[DeviceKey, bytes] = {}

    def connect(self, now: float) -> None:
        """There is a new connection, on which everything that lies at the broker is heard again."""
        self._connected = now
        self._due.clear()
        self._others.clear()

    def keep(self, infos: Mapping[DeviceKey, bytes]) -> None:
        """The devices of which the journal has rows now, and the last `info` of each; empty where it is not known."""
        self._kept = {key: info if self._is_ours(info) else b"" for key, info in infos.items()}

    def hear(self, key: DeviceKey, info: bytes, now: float, *, retained: bool) -> None:
        """The `info` of a device, as it lay at the broker or was said just now."""
        is_ours = self._is_ours(info)
        if is_ours is False:
            self._others.add(key)
        if is_ours and retained:
            self._due.setdefault(key, now + WAIT_S)
            if self._kept.get(key) == b"":
                self._kept = {**self._kept, key: info}

    def spoken_for(self, now: float, known: Container[DeviceKey]) -> Mapping[DeviceKey, bytes]:
        """The devices that have left and that the poller still speaks for on this connection, each with its `info`.

        Args:
            now: Seconds of any clock that does not jump.
            known: The devices that this poller has, those that its sources found in earlier runs among them.
        """
        if now < self._connected + WAIT_S:
            return {}
        left = {
            key: info
            for key, info in self._kept.items()
            if info and key not in known and key not in self._others
        }
        for key in left:
            self._due.setdefault(key, now)
        return left

    def take(self, now: float, known: Container[DeviceKey]) -> tuple[DeviceKey, ...]:
        """The devices whose messages are to be taken back now: nothing of them is left in the journal."""
        due = [
            key
            for key, at in self._due.items()
            if now >= at and not (key in known or key in self._kept or key in self._others)
        ]
        for key in due:
            del self._due[key]
        return tuple(due)

    def _is_ours(self, info: bytes) -> bool | None:
        """Whether it names this poller; `None` when it names nobody."""
        try:
            return decode_info(info).poller == self._poller
        except PayloadError:
            return None
