"""Sources other than a Modbus bus: they report by themselves.

A source has the devices that it speaks for, and a thread of its own in which
it hands over a report whenever there is one. What silence means is judged
elsewhere, by the devices' interval.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from poller.assemble import Report
from poller.device import Device


class Source(Protocol):
    """Anything that reports by itself."""

    @property
    def devices(self) -> Sequence[Device]:
        """The devices that it speaks for; none of them is on a bus."""

    def run(self, emit: Callable[[Device, Report], None], wait: Callable[[float], bool]) -> None:
        """Report until `wait`, which rests for so many seconds, gives True.

        `emit` takes a report at the moment of its arrival and never waits.
        """
