"""Which meter it is: the serial number, believed when two readings in a row agree."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a device's serial number.

    Attributes:
        serial: The one that is believed.
        rumour: Another one, read once: a garbled answer would look like a new meter.
        read_at: When one was last read, seconds of the monotonic clock; `None` at start and when the device is lost.
    """

    serial: str | None = None
    rumour: str | None = None
    read_at: float | None = None

    def is_wanted(self, disputes: Iterable[float]) -> bool:
        """Whether the serial number should be read again, given when readings began to contradict."""
        return (
            self.read_at is None or self.rumour is not None or any(began > self.read_at for began in disputes)
        )


def note_serial(identity: Identity, texts: Mapping[str, str], at: float) -> Identity:
    """What is known after a poll's texts.

    A number is believed when it was read twice, the first one ever too: a garbled
    first answer would make a new meter of the true one that follows. Nothing but
    zeros or ones is what a broken answer shows.

    >>> once = note_serial(Identity("210500A7"), {"serial_number": "21050112"}, 10.0)
    >>> once.serial, once.rumour, note_serial(once, {"serial_number": "21050112"}, 20.0).serial
    ('210500A7', '21050112', '21050112')
    """
    serial = texts.get("serial_number", "").strip()
    if not serial.strip("0") or not serial.upper().strip("F"):
        return identity
    if serial in {identity.serial, identity.rumour}:
        return Identity(serial, None, at)
    return replace(identity, rumour=serial, read_at=at)
