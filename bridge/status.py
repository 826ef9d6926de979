"""What the bridge knows of its own work: for the page, /metrics and the health topic."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from readings.reading import DeviceKey


@dataclass(frozen=True, slots=True)
class DeviceBacklog:
    """How complete one device's data is.

    Attributes:
        waiting: States that are stored here and not sent yet.
        missing: States known of and neither received nor given up; they are asked for while the poller is online.
        given_up: States known of that were never received and that the poller no longer has.
        parked: Of the waiting ones, those that lie too far ahead of this clock.
        quarantined: Samples that the receiver refused, kept for somebody to look at.
        unreadable: States of a higher contract: kept, not sent.
        oldest_waiting_ms: The time of the oldest unsent one.
    """

    waiting: int = 0
    missing: int = 0
    given_up: int = 0
    parked: int = 0
    quarantined: int = 0
    unreadable: int = 0
    oldest_waiting_ms: int | None = None


@dataclass(frozen=True, slots=True)
class BridgeStatus:
    """One look at the whole bridge.

    Attributes:
        devices: Per device, what is not with the receiver.
        receiver: The receiver's address without password; empty when there is none.
        last_answer: What it last said, in words; empty before it said anything.
        last_sent_ms: When it last took samples.
        free_bytes: What is free on the store's disk; `None` when that is not known.
        dropped: States that were dropped unsent since the start, because the store or its quarantine was full or they were too old.
        too_old: Samples that were left out since the start, because the receiver takes none so old.
        broker_trouble: Why there is no broker connection; empty while there is one.
        store_trouble: Why nothing can be stored; empty while it can.
    """

    devices: Mapping[DeviceKey, DeviceBacklog] = field(default_factory=dict)
    receiver: str = ""
    last_answer: str = ""
    last_sent_ms: int | None = None
    store_bytes: int = 0
    free_bytes: int | None = None
    dropped: int = 0
    too_old: int = 0
    broker_trouble: str = ""
    store_trouble: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every state is with the receiver; nobody knows that while the broker is away."""
        return not (
            self.waiting
            or self.missing
            or self.given_up
            or self.quarantined
            or self.unreadable
            or self.dropped
            or self.too_old
            or self.broker_trouble
            or self.store_trouble
        )

    @property
    def waiting(self) -> int:
        """States that are stored here and not sent yet."""
        return sum(one.waiting for one in self.devices.values())

    @property
    def missing(self) -> int:
        """States known of and not received."""
        return sum(one.missing for one in self.devices.values())

    @property
    def given_up(self) -> int:
        """States that nobody has any more."""
        return sum(one.given_up for one in self.devices.values())

    @property
    def parked(self) -> int:
        """States that lie too far ahead of this clock."""
        return sum(one.parked for one in self.devices.values())

    @property
    def unreadable(self) -> int:
        """States that wait for a bridge of their contract."""
        return sum(one.unreadable for one in self.devices.values())

    @property
    def quarantined(self) -> int:
        """Samples that the receiver refused."""
        return sum(one.quarantined for one in self.devices.values())
