"""The latest values of every device, and the last hours of those that the page draws.

What /metrics exposes and the page shows. Fed by `state` messages only, never
by history, so that an old reading never looks like a new one. Time comes in
with every call: `now` is a monotonic clock in seconds, which decides what is
silent and how old a reading is; `now_ms` is the wall clock, asked only whether
a state's own time is near.

A field that was not measured in the newest poll (it is *held*) stays in view
for as long as the contract lets it stand for the device: until its reading is
2 intervals old. The page says that it is old; /metrics, which carries no
times, simply ends it then.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from threading import Lock

from bridge.faces import CHARTED
from bridge.sample import Names, name_fields
from bridge.trace import Point, Trace
from readings.health import Health
from readings.payload import CONTRACT, Info
from readings.reading import DeviceKey, DeviceState
from readings.topics import Program

SILENT_INTERVALS = 3
"""After so many intervals without a state a device is not in view any more."""

HELD_INTERVALS = 2
"""So many intervals a reading may stand for a field that is not measured."""


class Absence(Enum):
    """Why a device has no values in view."""

    UNANNOUNCED = auto()  # its states came, its info did not: nobody knows what its fields are
    CONTRACT = auto()  # it speaks a later version of the contract
    POLLER_GONE = auto()  # the program that reads it died or left
    LOST = auto()  # its poller says that it cannot be read
    SILENT = auto()  # no state whose time is near, for 3 intervals or from the start


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device as it may be shown now.

    Attributes:
        series: The names of each field's series.
        is_online: What its availability says; `None` before it said anything.
        absence: Why there are no values; `None` while there are.
        values: The fields that have a value.
        held: Those among them that the newest poll did not measure.
        measured: When a field was last measured (monotonic). A held field is
            missing here when that was before this bridge looked.
        time_ms: The time of the newest state that came, in view or not.
    """

    key: DeviceKey
    info: Info | None
    series: Names
    is_online: bool | None
    absence: Absence | None
    values: Mapping[str, int | float]
    held: frozenset[str]
    measured: Mapping[str, float]
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class PollerView:
    """What is known of one poller; `is_online` is `None` before its availability came."""

    name: str
    is_online: bool | None
    health: Health | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything in view at one moment, in a fixed order."""

    devices: tuple[DeviceView, ...]
    pollers: tuple[PollerView, ...]


class Latest:
    """Keeps the latest values, from any thread."""

    def __init__(self) -> None:
        self._devices: dict[DeviceKey, _Device] = {}
        self._pollers: dict[str, bool] = {}
        self._health: dict[str, Health] = {}
        self._lock = Lock()

    def announce(self, key: DeviceKey, info: Info) -> None:
        """A device's info came; a state that was there before it is judged now."""
        series = name_fields(info)
        with self._lock:
            device = self._devices.setdefault(key, _Device())
            device.info = info
            device.series = series
            device.traces = {name: trace for name, trace in device.traces.items() if name in info.fields}
            early, device.early = device.early, None
            if early is not None:
                device.take(early, info)

    def withdraw(self, key: DeviceKey) -> None:
        """A device's info was taken back: nobody is to see it any more. What is still said of it brings no values."""
        with self._lock:
            self._devices.pop(key, None)

    def offer(self, key: DeviceKey, state: DeviceState, *, retained: bool, now_ms: int, now: float) -> None:
        """A `state` message came."""
        with self._lock:
            device = self._devices.setdefault(key, _Device())
            arrival = _Arrival(state, retained, now_ms, now)
            if device.info is None:
                device.early = arrival
            else:
                device.take(arrival, device.info)

    def availability(self, key: DeviceKey, online: bool) -> None:  # noqa: FBT001 - the message is this one word
        """A device's availability came."""
        with self._lock:
            self._devices.setdefault(key, _Device()).is_online = online

    def poller_gone(self, name: str) -> None:
        """A poller's last will came: what it read stands for nothing any more."""
        with self._lock:
            self._pollers[name] = False
            for device in self._devices.values():
                if device.info is not None and device.info.poller == name:
                    device.forget()

    def poller_back(self, name: str) -> None:
        """A poller is there (again)."""
        with self._lock:
            self._pollers[name] = True

    def health(self, program: Program, name: str, health: Health) -> None:
        """A program reported of itself. The bridge's own report is its tally, not what the bus says."""
        if program is Program.POLLER:
            with self._lock:
                self._health[name] = health

    def snapshot(self, now: float) -> Snapshot:
        """What may be shown at this moment."""
        with self._lock:
            gone = {name for name, is_online in self._pollers.items() if not is_online}
            devices = tuple(self._devices[key].view(key, gone, now) for key in sorted(self._devices))
            named = {device.info.poller for device in devices if device.info is not None}
            pollers = tuple(
                PollerView(name, self._pollers.get(name), self._health.get(name))
                for name in sorted(named | self._pollers.keys() | self._health.keys())
            )
        return Snapshot(devices, pollers)

    def history(self, now: float) -> Mapping[DeviceKey, Mapping[str, tuple[Point, ...]]]:
        """The last hours of the fields that the page draws, oldest point first."""
        with self._lock:
            return {
                key: {name: trace.points(now) for name, trace in device.traces.items()}
                for key, device in self._devices.items()
            }


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A state and how it came."""

    state: DeviceState
    retained: bool
    now_ms: int
    now: float

    @property
    def age_s(self) -> float:
        """How long before its arrival it was taken; negative when its clock is ahead."""
        return 0.0 if self.state.time_ms is None else (self.now_ms - self.state.time_ms) / 1000


@dataclass(slots=True)
class _Device:
    """What is kept of one device.

    Attributes:
        early: The newest state that came before any info.
        state: The newest state that was in time.
        heard: Since when the device is silent (monotonic).
    """

    info: Info | None = None
    series: Names = field(default_factory=dict)
    is_online: bool | None = None
    early: _Arrival | None = None
    state: DeviceState | None = None
    heard: float = 0.0
    measured: Mapping[str, float] = field(default_factory=dict)
    time_ms: int | None = None
    traces: dict[str, Trace] = field(default_factory=dict)

    def take(self, arrival: _Arrival, info: Info) -> None:
        """Believe a state, unless it is old."""
        state = arrival.state
        if self.state is not None and not _is_later(state, self.state):
            return
        if state.time_ms is None and arrival.retained:
            return
        self.time_ms = state.time_ms
        if abs(arrival.age_s) > SILENT_INTERVALS * info.interval:
            return
        taken = arrival.now - max(arrival.age_s, 0.0)
        self.state = state
        # What lay at the broker says nothing of this moment: its silence began when it was taken.
        self.heard = taken if arrival.retained else arrival.now
        fresh = {name: value for name, value in state.fresh.items() if name in info.fields}
        # A new mapping each time: views that were handed out keep theirs.
        self.measured = {**self.measured, **dict.fromkeys(fresh, taken)}
        for name in CHARTED & fresh.keys():
            trace = self.traces.get(name)
            if trace is None:
                trace = self.traces[name] = Trace()
            trace.add(taken, fresh[name])

    def forget(self) -> None:
        """Nothing that was read so far is current any more."""
        self.state = None
        self.early = None
        self.measured = {}

    def view(self, key: DeviceKey, gone: Collection[str], now: float) -> DeviceView:
        absence = self._absence(gone, now)
        values: dict[str, int | float] = {}
        held: frozenset[str] = frozenset()
        if absence is None and self.info is not None and self.state is not None:
            fields, interval_s = self.info.fields, self.info.interval
            ended = {
                name
                for name in self.state.held & fields.keys()
                if self.measured.get(name, now) < now - HELD_INTERVALS * (fields[name].interval or interval_s)
            }
            values = {
                name: value
                for name, value in self.state.values.items()
                if value is not None and name in self.info.fields and name not in ended
            }
            held = self.state.held & values.keys()
        return DeviceView(
            key=key,
            info=self.info,
            series=self.series,
            is_online=self.is_online,
            absence=absence,
            values=values,
            held=held,
            measured=self.measured,
            time_ms=self.time_ms,
        )

    def _absence(self, gone: Collection[str], now: float) -> Absence | None:
        if self.info is None:
            return Absence.UNANNOUNCED
        if self.info.contract > CONTRACT:
            return Absence.CONTRACT
        if self.info.poller in gone:
            return Absence.POLLER_GONE
        if self.state is None:
            return Absence.SILENT
        if self.state.is_lost:
            return Absence.LOST
        return Absence.SILENT if now - self.heard > SILENT_INTERVALS * self.info.interval else None


def _is_later(state: DeviceState, shown: DeviceState) -> bool:
    """Whether a state comes after the one in view; the broker may repeat, or deliver what waited late."""
    if state.stream == shown.stream and state.seq is not None and shown.seq is not None:
        return state.seq > shown.seq
    if state.time_ms is not None and shown.time_ms is not None:
        return state.time_ms > shown.time_ms
    return True
