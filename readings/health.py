"""What the programs say of themselves: counters and gauges, retained, as JSON.

The poller needs no port: the bridge exports what the poller reports as
`poller_*`, and its own as `bridge_*`. One row here per metric.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import Literal

import msgspec

from readings.errors import PayloadError
from readings.payload import CONTRACT


@dataclass(frozen=True, slots=True)
class HealthMetric:
    """One row: a metric that a program reports of itself.

    Attributes:
        name: With the program's prefix; counters end in `_total`.
        labels: The labels that every sample of it has, beside the program's name.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


def _rows(*rows: HealthMetric) -> Mapping[str, HealthMetric]:
    return MappingProxyType({row.name: row for row in rows})


POLLER_HEALTH = _rows(
    HealthMetric(
        "poller_polls_total", "counter", "Polls by result: complete, partial, failed", ("device", "result")
    ),
    HealthMetric("poller_requests_total", "counter", "Modbus requests sent", ("bus",)),
    HealthMetric(
        "poller_request_failures_total",
        "counter",
        "Modbus requests without a usable answer",
        ("bus", "device", "reason"),
    ),
    HealthMetric("poller_connects_total", "counter", "Connections made to the bus's gateway", ("bus",)),
    HealthMetric(
        "poller_connect_failures_total", "counter", "Connections to the bus's gateway that failed", ("bus",)
    ),
    HealthMetric(
        "poller_proxy_requests_total",
        "counter",
        "Requests of other programs at the bus's Modbus proxy, by what became of them",
        ("bus", "function", "result"),
    ),
    HealthMetric("poller_proxy_clients", "gauge", "Programs connected to the Modbus proxy", ("bus",)),
    HealthMetric(
        "poller_proxy_clients_dropped_total",
        "counter",
        "Connections that the Modbus proxy ended, by reason: garbage, slow, idle, full, error",
        ("bus", "reason"),
    ),
    HealthMetric(
        "poller_proxy_listening", "gauge", "Whether the Modbus proxy has its port (0 or 1)", ("bus",)
    ),
    HealthMetric(
        "poller_readings_rejected_total",
        "counter",
        "Readings not accepted, by reason",
        ("device", "field", "reason"),
    ),
    HealthMetric("poller_device_up", "gauge", "Whether the device can be read (0 or 1)", ("device",)),
    HealthMetric(
        "poller_sensor_silent_after_seconds",
        "gauge",
        "How long the sensor may be silent before it is offline; `sensor_name` as in its readings",
        ("device", "sensor_name"),
    ),
    HealthMetric(
        "poller_last_reading_timestamp_seconds",
        "gauge",
        "When the device was last read, seconds since 1970; absent while the clock is not trusted",
        ("device",),
    ),
    HealthMetric("poller_poll_delay_seconds", "gauge", "How late the last poll began", ("device",)),
    HealthMetric(
        "poller_poll_gap_seconds", "gauge", "Time between the last two polls that were answered", ("device",)
    ),
    HealthMetric(
        "poller_states_dropped_total", "counter", "States that found the way to the journal full", ("device",)
    ),
    HealthMetric("poller_states_journaled_total", "counter", "States committed to the journal", ("device",)),
    HealthMetric(
        "poller_states_published_total", "counter", "States handed to the broker connection", ("device",)
    ),
    HealthMetric(
        "poller_states_replayed_total", "counter", "States sent again because somebody asked", ("device",)
    ),
    HealthMetric(
        "poller_replays_refused_total", "counter", "Requests for states that the contract does not allow"
    ),
    HealthMetric("poller_journal_rows", "gauge", "States in the journal"),
    HealthMetric("poller_journal_bytes", "gauge", "Size of the journal on disk"),
    HealthMetric("poller_disk_free_bytes", "gauge", "Free space on the disk of the journal"),
    HealthMetric("poller_journal_failures_total", "counter", "Commits that the disk refused"),
    HealthMetric(
        "poller_journal_pruned_total",
        "counter",
        "States that left the journal by reason: age, size, no_time",
        ("reason",),
    ),
    HealthMetric("poller_clock_trusted", "gauge", "Whether the wall clock is trusted (0 or 1)"),
    HealthMetric("poller_clock_jumps_total", "counter", "Jumps of the wall clock by more than a minute"),
    HealthMetric(
        "poller_source_time_replaced_total",
        "counter",
        "Times of a source that could not be, replaced by the time of arrival",
        ("device",),
    ),
    HealthMetric(
        "poller_source_ageless_total",
        "counter",
        "Messages without a time that lay at the broker, so that nobody knows their age; not taken",
        ("device",),
    ),
    HealthMetric(
        "poller_messages_heard_total",
        "counter",
        "Messages of others, by what became of them: taken, refused, unclaimed",
        ("source", "result"),
    ),
    HealthMetric(
        "poller_devices_refused_total",
        "counter",
        "Reports of devices that were not taken in, by reason: name, series, limit",
        ("reason",),
    ),
    HealthMetric(
        "poller_messages_refused_total",
        "counter",
        "Messages of others that were refused, in part or as a whole, by reason",
        ("source", "reason"),
    ),
    HealthMetric(
        "poller_page_reads_total",
        "counter",
        "Reads of imported pages by what came of them; `read` is good",
        ("page", "result"),
    ),
    HealthMetric(
        "poller_page_unchanged_seconds",
        "gauge",
        "How long a page has shown the same values of a device, which has no time there that would show their age",
        ("device",),
    ),
    HealthMetric("poller_broker_connects_total", "counter", "Connections to the broker"),
    HealthMetric("poller_start_time_seconds", "gauge", "When the poller started, seconds since 1970"),
    HealthMetric("poller_build_info", "gauge", "Always 1; the version is a label", ("version",)),
)

BRIDGE_HEALTH = _rows(
    HealthMetric(
        "bridge_messages_received_total", "counter", "Messages received, by what they are", ("message",)
    ),
    HealthMetric(
        "bridge_messages_refused_total",
        "counter",
        "Messages that the contract does not allow, by reason",
        ("reason",),
    ),
    HealthMetric("bridge_states_stored_total", "counter", "States committed to the store", ("device",)),
    HealthMetric(
        "bridge_states_repeated_total",
        "counter",
        "States received again that were there already",
        ("device",),
    ),
    HealthMetric("bridge_states_waiting", "gauge", "States in the store that are not sent yet", ("device",)),
    HealthMetric(
        "bridge_states_missing",
        "gauge",
        "States known of and neither received nor given up; they are asked for while the poller is online",
        ("device",),
    ),
    HealthMetric(
        "bridge_states_given_up",
        "gauge",
        "States never received that the poller no longer has",
        ("device",),
    ),
    HealthMetric(
        "bridge_states_parked",
        "gauge",
        "States that wait because they lie more than a minute ahead of the bridge's clock",
        ("device",),
    ),
    HealthMetric(
        "bridge_samples_quarantined",
        "gauge",
        "Refused samples that are kept for somebody to look at",
        ("device",),
    ),
    HealthMetric(
        "bridge_replays_asked_total", "counter", "Requests to a poller to send states again", ("device",)
    ),
    HealthMetric(
        "bridge_states_dropped_total",
        "counter",
        "States dropped unsent because the store or its quarantine was full or they were too old",
        ("device", "reason"),
    ),
    HealthMetric(
        "bridge_oldest_waiting_seconds",
        "gauge",
        "Age of the oldest state that is not sent yet; 0 when none waits",
        ("device",),
    ),
    HealthMetric(
        "bridge_states_unreadable",
        "gauge",
        "States of a later contract: kept until a newer bridge can read them",
        ("device",),
    ),
    HealthMetric("bridge_store_bytes", "gauge", "Size of the store on disk"),
    HealthMetric("bridge_disk_free_bytes", "gauge", "Free space on the disk of the store"),
    HealthMetric("bridge_store_failures_total", "counter", "Commits that the disk refused"),
    HealthMetric("bridge_samples_sent_total", "counter", "Samples that the receiver took"),
    HealthMetric(
        "bridge_samples_refused_total",
        "counter",
        "Samples that will not be sent, by reason: refused, too_old, ahead",
        ("reason",),
    ),
    HealthMetric(
        "bridge_requests_total", "counter", "Remote-write requests by what came of them", ("outcome",)
    ),
    HealthMetric(
        "bridge_last_sent_timestamp_seconds",
        "gauge",
        "When the receiver last took samples, seconds since 1970",
    ),
    HealthMetric("bridge_broker_connects_total", "counter", "Connections to the broker"),
    HealthMetric(
        "bridge_broker_connected", "gauge", "Whether the bridge is connected to the broker (0 or 1)"
    ),
    HealthMetric(
        "bridge_data_complete",
        "gauge",
        "Whether every state is with the receiver, as far as it can be known (0 or 1)",
    ),
    HealthMetric("bridge_start_time_seconds", "gauge", "When the bridge started, seconds since 1970"),
    HealthMetric("bridge_build_info", "gauge", "Always 1; the version is a label", ("version",)),
)


class HealthSample(msgspec.Struct, frozen=True):
    """One value of a metric with its labels."""

    labels: dict[str, str]
    value: float


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A program's report.

    Attributes:
        name: The program's name in its topics.
        instance: Which run of the program says so; two of one name find each other by it.
        metrics: By name, the samples of each; a name that a reader does not know is passed over.
    """

    contract: int = CONTRACT
    name: str
    version: str
    instance: str = ""
    metrics: dict[str, list[HealthSample]]


def encode_health(health: Health) -> bytes:
    """The report as JSON."""
    return msgspec.json.encode(health)


def decode_health(payload: bytes) -> Health:
    """Read a report.

    Raises:
        PayloadError: It is not one; the text names the key.
    """
    try:
        return msgspec.json.decode(payload, type=Health)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(str(error)) from error


class Tally:
    """The counters and gauges of one program, from any thread.

    >>> tally = Tally(POLLER_HEALTH)
    >>> tally.count("poller_requests_total", bus="rs485")
    >>> tally.value("poller_requests_total", bus="rs485")
    1.0
    """

    def __init__(self, metrics: Mapping[str, HealthMetric]) -> None:
        self._metrics = metrics
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._lock = Lock()

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = self._key(name, labels)
        with self._lock:
            values = self._values.setdefault(name, {})
            values[key] = values.get(key, 0.0) + by

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        key = self._key(name, labels)
        with self._lock:
            self._values.setdefault(name, {})[key] = float(value)

    def value(self, name: str, **labels: str) -> float:
        """What a metric says now; 0 before it was first counted."""
        key = self._key(name, labels)
        with self._lock:
            return self._values.get(name, {}).get(key, 0.0)

    def total(self, name: str) -> float:
        """The same, summed over its labels."""
        with self._lock:
            return sum(self._values.get(name, {}).values())

    def samples(self) -> dict[str, list[HealthSample]]:
        """Everything counted so far, by metric."""
        with self._lock:
            return {
                name: [
                    HealthSample(dict(zip(self._metrics[name].labels, key, strict=True)), value)
                    for key, value in sorted(values.items())
                ]
                for name, values in sorted(self._values.items())
            }

    def _key(self, name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        row = self._metrics[name]
        if labels.keys() != set(row.labels):
            raise ValueError(f"{name}: expected the labels {row.labels}, got {tuple(labels)}")
        return tuple(labels[label] for label in row.labels)
