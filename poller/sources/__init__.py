"""Sources other than a Modbus bus: they report by themselves.

A `Source` has a thread of its own, in which it hands over a report whenever
there is one. A `MessageSource` has none: it says which topics of the broker it listens to,
and makes reports of what others publish there.

A source may report a device that nobody knew before. What silence means is
judged elsewhere, by the devices' interval.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from poller.assemble import Report
from poller.device import Device
from poller.sources.heard import Heard
from readings.message import Message

__all__ = ["Heard", "MessageSource", "Source"]


class Source(Protocol):
    """Anything that reports by itself."""

    @property
    def devices(self) -> Sequence[Device]:
        """The devices that are known from the start; none of them is on a bus."""

    def run(self, emit: Callable[[Device, Report], None], wait: Callable[[float], bool]) -> None:
        """Report until `wait`, which rests for so many seconds, gives True.

        `emit` takes a report at the moment of its arrival and never waits. A
        device that it sees for the first time takes part from then on.
        """


class MessageSource(Protocol):
    """What makes readings of the messages of others.

    Everything is called by one thread, and nothing of it touches a clock, a
    socket or a disk: the time comes in, questions and memory go out.
    """

    @property
    def name(self) -> str:
        """What its memory is kept under: the same in every run."""

    @property
    def filters(self) -> Sequence[str]:
        """The MQTT topic filters of what it listens to."""

    @property
    def devices(self) -> Sequence[Device]:
        """The devices that it speaks for now: asked at the start, after `restore`."""

    def restore(self, memory: bytes) -> None:
        """Begin with what `keep` gave in an earlier run, with perhaps another configuration.

        Raises:
            MessageError: It cannot be read.
        """

    def keep(self) -> bytes | None:
        """What it must know in its next run to have its devices from the start; `None` for nothing.

        Asked with every commit; a change is written in the same transaction as the readings.
        """

    def hear(self, heard: Heard) -> Iterable[tuple[Device, Report]]:
        """What a message says, by device; an empty report lets a device appear that has no value yet.

        A message that waited at the broker reaches this like any other. `is_live` need not
        be looked at: what has no time of its own is passed over elsewhere when its age is not known.

        Raises:
            MessageError: It is not what this source expects there.
        """

    def ask(self, now: float, connection: int) -> Iterable[Message]:
        """What it has to say to others now, about once a second while there is a connection.

        Args:
            now: Seconds of the monotonic clock.
            connection: Which connection this is: on a new one, others may have been away too.
        """
