"""What the bridge says of itself on the bus: its last will, and its health every half minute."""

from collections import Counter
from collections.abc import Callable

from bridge.status import BridgeStatus
from readings.broker import Message
from readings.health import Health, Tally, encode_health
from readings.payload import OFFLINE, ONLINE
from readings.release import VERSION
from readings.topics import Program, ProgramLeaf, Topics

EVERY_S = 30.0


class Report:
    """Makes the messages that the bridge publishes of itself.

    Args:
        name: The bridge's name.
        topics: The topic scheme.
        tally: The bridge's counts; its gauges are set here.
        status: The bridge's view of itself at this moment.
        wall_ms: The wall clock.
        instance: This run's name among bridges of one name.
    """

    def __init__(
        self,
        name: str,
        *,
        topics: Topics,
        tally: Tally,
        status: Callable[[], BridgeStatus],
        wall_ms: Callable[[], int],
        instance: str = "",
    ) -> None:
        self._name = name
        self._availability = topics.program(Program.BRIDGE, name, ProgramLeaf.AVAILABILITY)
        self._health = topics.program(Program.BRIDGE, name, ProgramLeaf.HEALTH)
        self._instance = instance
        self._tally = tally
        self._status = status
        self._wall_ms = wall_ms
        tally.set("bridge_start_time_seconds", wall_ms() / 1000)
        tally.set("bridge_build_info", 1, version=VERSION)

    def online(self) -> Message:
        """The bridge is here."""
        return Message(self._availability, ONLINE, retain=True)

    def offline(self) -> Message:
        """The bridge is gone: its last will, and its farewell."""
        return Message(self._availability, OFFLINE, retain=True)

    def health(self) -> Message:
        """Everything that the bridge counts, as of now."""
        self.set_gauges()
        report = Health(
            name=self._name, version=VERSION, instance=self._instance, metrics=self._tally.samples()
        )
        return Message(self._health, encode_health(report), retain=True)

    def set_gauges(self) -> BridgeStatus:
        """Bring the gauges up to date, and hand on what they were taken from."""
        status = self._status()
        oldest: dict[str, int] = {}
        gauges = Counter[tuple[str, str]]()
        for device, backlog in status.devices.items():
            # Summed: a name is one device's in its poller, but may have been one of another kind before.
            for gauge, number in (
                ("bridge_states_waiting", backlog.waiting),
                ("bridge_states_missing", backlog.missing),
                ("bridge_states_given_up", backlog.given_up),
                ("bridge_states_parked", backlog.parked),
                ("bridge_states_unreadable", backlog.unreadable),
                ("bridge_samples_quarantined", backlog.quarantined),
            ):
                gauges[gauge, device.name] += number
            since_ms = self._wall_ms() if backlog.oldest_waiting_ms is None else backlog.oldest_waiting_ms
            oldest[device.name] = min(since_ms, oldest.get(device.name, since_ms))
        for (gauge, name), number in gauges.items():
            self._tally.set(gauge, number, device=name)
        for name, since_ms in oldest.items():
            age_s = max(0, self._wall_ms() - since_ms) / 1000
            self._tally.set("bridge_oldest_waiting_seconds", age_s, device=name)
        self._tally.set("bridge_store_bytes", status.store_bytes)
        if status.free_bytes is not None:
            self._tally.set("bridge_disk_free_bytes", status.free_bytes)
        self._tally.set("bridge_broker_connected", not status.broker_trouble)
        self._tally.set("bridge_data_complete", status.is_complete)
        return status
