"""A simulated span of the house as the pipeline would have stored it, made in seconds instead of lived through.

The devices' registers go through the poller's decoding and filters, and the
bridge's naming and encoding, on a clock that is turned; only the bus, the broker and
the databases are left out. What comes out is what Prometheus would hold.
"""

import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from bridge.remote_write.encode import HEADERS, Encoder
from bridge.sample import Sample, Series, name_fields, to_samples
from poller.assemble import Folded, Report, Stamped, fold_poll, fold_report, fold_silence, new_tracker
from poller.blocks import BlockRead, Poll
from poller.decode import decode_texts
from poller.device import Device, describe_device
from poller.plan import DevicePlan, plan_device
from poller.profile import load_profile
from readings.health import BRIDGE_HEALTH, POLLER_HEALTH
from readings.reading import DeviceKey, DeviceState, Kind
from simulator.bus import Device as Simulated
from simulator.house import HouseState
from simulator.house_bus import HEAT_PUMP_UNIT, METER_UNIT, SENSOR_LABELS, LiveHouse

STREAM = "h1570000"
THERMOSTAT = DeviceKey(Kind.THERMOSTAT, "room")
BATCH = 5000


@dataclass(frozen=True)
class Replacement:
    """Another meter from this time on, seconds since 1970 UTC."""

    at_s: float
    serial_number: str
    count_kwh: float = 0.0


@dataclass(frozen=True)
class Silence:
    """A device that does not answer, from one time to another; `device` is its name."""

    device: str
    from_s: float
    to_s: float


@dataclass
class History:
    """The house from `start_s` to `end_s`, seconds since 1970 UTC.

    Args:
        step_s: Seconds between two polls of meter and heat pump; sensors report every minute at most.
        replacements: Meters that are put in.
        silences: Devices that say nothing for a while.
        meter_fields: Which fields of the meter are read beside the usual ones, and which of those are not.

    >>> hour = History(start_s=1768449600, end_s=1768449600 + 3600)
    >>> sum(sample.series.name == "meter_power_total_kw" for sample in hour.samples())
    60
    """

    start_s: float
    end_s: float
    step_s: float = 60.0
    seed: int = 1
    replacements: tuple[Replacement, ...] = ()
    silences: tuple[Silence, ...] = ()
    meter_fields: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    _now: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.house = LiveHouse(start_s=self.start_s, monotonic=lambda: self._now, seed=self.seed)
        self._polled = [
            _Polled(
                _polled("wago-879", "heating", METER_UNIT, ("wago",), *self.meter_fields),
                self.house.meter(),
                self.step_s,
            ),
            _Polled(_polled("lg-r290", "heatpump", HEAT_PUMP_UNIT, ()), self.house.heat_pump(), self.step_s),
        ]
        self._reporting = _reporting()

    def samples(self) -> Iterator[Sample]:
        """Every sample, in the order of time."""
        names = {one.key: name_fields(describe_device(one, "history", STREAM)) for one in self.devices}
        before: dict[DeviceKey, DeviceState] = {}
        for key, state in self.states():
            yield from to_samples(state, names[key], before.get(key))
            before[key] = state

    @property
    def devices(self) -> tuple[Device, ...]:
        """Meter, heat pump, three sensors and the thermostat."""
        return (*(one.device for one in self._polled), *self._reporting)

    def truth(self) -> HouseState:
        """The house at the time that was generated last."""
        return self.house.state()

    def states(self) -> Iterator[tuple[DeviceKey, DeviceState]]:
        """Every state, in the order of time."""
        trackers = {one.key: new_tracker(one, 0.0) for one in self.devices}
        seqs = dict.fromkeys(trackers, 0)
        replacements = sorted(self.replacements, key=lambda one: one.at_s)

        def take(device: Device, folded: Folded, time_ms: int) -> Iterator[tuple[DeviceKey, DeviceState]]:
            trackers[device.key] = folded.tracker
            if (made := folded.snapshot) is not None:
                seqs[device.key] += 1
                at_ms = time_ms if made.time_ms is None else made.time_ms
                yield device.key, DeviceState(at_ms, STREAM, seqs[device.key], made.values, made.held)

        for step in range(int((self.end_s - self.start_s) / self.step_s)):
            self._now = step * self.step_s
            wall_s = self.start_s + self._now
            wall_ms = round(wall_s * 1000)
            while replacements and replacements[0].at_s <= wall_s:
                new = replacements.pop(0)
                self.house.replace_meter(new.serial_number, new.count_kwh)
            for polled in self._polled:
                if not self._is_silent(polled.device, wall_s):
                    tracker = trackers[polled.device.key]
                    yield from take(
                        polled.device, fold_poll(polled.device, tracker, polled.poll(self._now)), wall_ms
                    )
            reports = self._reports(wall_s)
            for device in self._reporting:
                if self._is_silent(device, wall_s):
                    folded = fold_silence(device, trackers[device.key], self._now)
                else:
                    folded = fold_report(
                        device, trackers[device.key], reports[device.key], self._now, wall_ms
                    )
                yield from take(device, folded, wall_ms)

    def _is_silent(self, device: Device, wall_s: float) -> bool:
        return any(one.device == device.key.name and one.from_s <= wall_s < one.to_s for one in self.silences)

    def _reports(self, wall_s: float) -> Mapping[DeviceKey, Report]:
        sensors = {
            DeviceKey(Kind.SENSOR, name): Report(
                {
                    field: Stamped(value, int(values["last_seen_timestamp"] * 1000))
                    for field, value in values.items()
                }
            )
            for name, values in self.house.sensor_readings(wall_s).items()
        }
        return sensors | {THERMOSTAT: Report(self.house.thermostat_readings())}


class _Polled:
    """A device on the bus, and the answers that it gives without one."""

    def __init__(self, device: Device, simulated: Simulated, interval_s: float) -> None:
        self.device = replace(device, interval_s=interval_s)
        self._simulated = simulated
        self._plan: DevicePlan = plan_device(self.device, baud=9600, turnaround_s=0.005, distinct=False)

    def poll(self, now: float) -> Poll:
        """Everything that it is asked for, the serial number too."""
        reads, identity = (
            tuple(
                BlockRead(
                    block,
                    tuple(self._simulated.answer(block.table, block.address, block.count)[0].words),
                    now,
                )
                for block in blocks
            )
            for blocks in (self._plan.blocks, self._plan.identity)
        )
        return Poll(now, now, reads, _texts(identity))


def _texts(identity: Iterable[BlockRead]) -> dict[str, str]:
    return {name: text for read in identity for name, text in decode_texts(read).items()}


def _polled(
    profile_name: str,
    name: str,
    unit: int,
    aliases: tuple[str, ...],
    more: tuple[str, ...] = (),
    less: tuple[str, ...] = (),
) -> Device:
    profile = load_profile(profile_name)
    fields = profile.choose(more, less)
    key = DeviceKey(profile.kind, name)
    return Device(key, name, profile, fields, profile.interval_s, bus="rs485", unit=unit, aliases=aliases)


def _reporting() -> list[Device]:
    sensor, thermostat = load_profile("shelly-blu-ht"), load_profile("thermostat")
    devices = [
        Device(
            DeviceKey(Kind.SENSOR, name),
            name,
            sensor,
            sensor.choose(),
            sensor.interval_s,
            labels=labels,
        )
        for name, labels in SENSOR_LABELS.items()
    ]
    return [
        *devices,
        Device(THERMOSTAT, "Thermostat", thermostat, thermostat.choose(), thermostat.interval_s),
    ]


def send(port: int, samples: Iterable[Sample]) -> int:
    """Hand samples, in the order of time, to the Prometheus on a port of this machine; gives how many."""
    encoder, waiting, sent = Encoder({}), [], 0
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == BATCH:
            _post(port, encoder.encode(waiting))
            sent += len(waiting)
            waiting.clear()
    if waiting:
        _post(port, encoder.encode(waiting))
    return sent + len(waiting)


def _post(port: int, body: bytes) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/write", body, dict(HEADERS))
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 204


LABELS: Mapping[str, tuple[str, ...]] = {
    "device": ("heating", "heatpump"),
    "bus": ("rs485",),
    "field": ("power_factor",),
    "reason": ("timeout",),
    "result": ("complete", "partial"),
    "outcome": ("sent", "retry"),
}


def health(start_s: float, end_s: float, *, step_s: float = 60.0) -> Iterator[Sample]:
    """What the programs would have said of themselves meanwhile: counters that rise slowly, gauges that are well."""
    made = [
        (row, Series(row.name, tuple(sorted(zip(row.labels, values, strict=True)))))
        for row in (*POLLER_HEALTH.values(), *BRIDGE_HEALTH.values())
        for values in product(*(LABELS.get(label, ("x",)) for label in row.labels))
    ]
    steps = int((end_s - start_s) / step_s)
    for step in range(steps):
        time_s = start_s + step * step_s
        for row, series in made:
            is_yes = row.name.endswith(("_complete", "_up", "_trusted", "_connected", "_info"))
            value = float(step // 10) if row.kind == "counter" else 1.0 if is_yes else float(len(row.name))
            yield Sample(series, value, round(time_s * 1000))
