"""A day with a new meter: what Prometheus makes of it is the energy that the meters counted, to the Wh.

The poller asks eight simulated meters over a socket, through a whole day on a
clock of its own; journal, broker, bridge and Prometheus are the real ones. At
noon each meter is replaced in a way of its own: while the poller runs, while
it is off, or while its machine is off.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridge.config import read_config as read_bridge_config
from bridge.run import Bridge
from poller.clock import MachineClock
from poller.config import read_config as read_poller_config
from poller.decimals import shorten_float32
from poller.profile import load_profile
from poller.run import Poller
from poller.walltime import ClockReading
from simulator.bus import Bus, Device
from simulator.devices import meter_values
from simulator.gateway import Gateway
from simulator.house_bus import LiveHouse
from simulator.registers import points_of
from simulator.wire import TcpFraming
from tests.conftest import Server, free_port, wait_until
from tests.integration.prometheus_api import query, samples

INTERVAL_S = 900
DAY_S = 86400.0
NOON_S = DAY_S / 2
COUNT_KWH = 12345.678
"""What the simulated house's own meter begins with."""

WATT_HOUR = 0.001
COUNTS = ("energy_total_kwh", "energy_L1_kwh", "energy_L2_kwh", "energy_L3_kwh")


@dataclass(frozen=True)
class Swap:
    """How a meter is replaced: by one that has counted this much, as seen from the bus.

    Attributes:
        gone_s: How long there is no meter on the bus.
        has_serial: Whether the meters tell their serial number.
        serial: The new one's.
    """

    name: str
    count_kwh: float
    gone_s: float = 3000
    has_serial: bool = True
    serial: str = "30000001"


OLD_SERIAL = "21470815"
SWAPS = (
    Swap("new", 0.0),
    Swap("lower", 7000.25),
    Swap("higher", 20000.5),
    Swap("new-unknown", 0.0, has_serial=False),
    Swap("lower-unknown", 7000.25, has_serial=False),
    Swap("higher-unknown", 20000.5, has_serial=False),
    Swap("reset", 17.5, serial=OLD_SERIAL),
    Swap("at-once", 0.0, gone_s=0),
)


@dataclass
class VirtualClock(MachineClock):
    """A day that passes as fast as it is polled, and ends about now.

    Attributes:
        events: What happens at which second of the day.
        until: So far the day may pass; there the poller rests.
        is_settled: Whether what was polled is recorded: before that, no time passes.
    """

    began_wall_s: float
    events: list[tuple[float, Callable[[], None]]]
    is_settled: Callable[[], bool]
    until: float = DAY_S
    now: float = 0.0
    arrived_at: float | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    boot: str = "this morning"

    def monotonic(self) -> float:
        return self.now + (0.0 if self.arrived_at is None else time.monotonic() - self.arrived_at)

    def read(self) -> ClockReading:
        now = self.monotonic()
        return ClockReading(round((self.began_wall_s + now) * 1000), now, synchronised=True)

    def rest(self, seconds: float) -> None:
        while not (self.is_settled() or self.stopping.is_set()):
            time.sleep(0.0002)
        if self.arrived_at is not None:
            self.stopping.wait()
            return
        self.pass_by(seconds)
        if self.now >= self.until:
            self.arrived_at = time.monotonic()

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1]()

    def go_on(self, until: float) -> None:
        """After a rest the day passes on, as fast as before."""
        self.now, self.arrived_at, self.until = self.monotonic(), None, until
        self.stopping = threading.Event()


class Meter:
    """One of the meters: they all measure the same house, and each has counted something else."""

    def __init__(self, house: LiveHouse, swap: Swap) -> None:
        self._house = house
        self._has_serial = swap.has_serial
        self._serial = OLD_SERIAL
        self._more: dict[str, float] = dict.fromkeys(COUNTS, 0.0)

    def device(self) -> Device:
        points = points_of(load_profile("wago-879"))
        return Device(
            [one for one in points if self._has_serial or one.name != "serial_number"], self._values
        )

    def replace(self, swap: Swap) -> None:
        now = meter_values(self._house.state())
        shown = {name: swap.count_kwh / (1 if "total" in name else 3) for name in COUNTS}
        self._serial, self._more = swap.serial, {name: shown[name] - now[name] for name in COUNTS}

    def _values(self) -> dict[str, object]:
        values = meter_values(self._house.state())
        return (
            values
            | {name: max(0.0, values[name] + self._more[name]) for name in COUNTS}
            | {"serial_number": self._serial}
        )


class Day:
    """The meters on their bus, and the poller, the bridge and the servers that count them."""

    def __init__(self, folder: Path, mosquitto: Server, prometheus: Server) -> None:
        self.prometheus = prometheus
        self.clock = VirtualClock(time.time() - DAY_S - 60, [], lambda: True)
        house = LiveHouse(start_s=1_768_449_600.0, monotonic=lambda: self.clock.now)
        self.meters = {unit: Meter(house, swap) for unit, swap in enumerate(SWAPS, start=1)}
        self.bus = Bus(
            {unit: meter.device() for unit, meter in self.meters.items()}, TcpFraming(), reports_silence=True
        )
        self.gateway = Gateway(self.bus)
        self.swapped_at: dict[int, int] = {}
        for unit, swap in enumerate(SWAPS, start=1):
            self.clock.events.append((NOON_S, lambda unit=unit, swap=swap: self._take_off(unit, swap)))
            self.clock.events.append(
                (NOON_S + swap.gone_s, lambda unit=unit, swap=swap: self._put_on(unit, swap))
            )
        self.clock.events.sort(key=lambda one: one[0])
        self.gateway.start()
        self.journal = folder / "poller" / "journal.sqlite"
        self.config = folder / "config.toml"
        self.config.write_text(self._config(mosquitto, prometheus))
        self.bridge = Bridge(read_bridge_config(self.config, {}))
        self.bridge.start()
        self.poller = self._new_poller()

    def run_until(self, until: float) -> None:
        """Let the day pass so far, with the poller at work."""
        self.clock.go_on(until)
        self.poller.start()
        wait_until(lambda: self.clock.arrived_at is not None, within_s=90, what=f"second {until} of the day")

    def be_off(self, seconds: float, *, reboots: bool) -> None:
        """Let time pass without the poller."""
        self._end_poller()
        self.clock.arrived_at = None
        self.clock.pass_by(seconds)
        if reboots:
            # The monotonic clock of the machine begins anew; the day does not.
            self.clock.boot = "this afternoon"
        self.poller = self._new_poller()

    def _end_poller(self) -> None:
        self.clock.stopping.set()
        self.poller.stop()

    def _new_poller(self) -> Poller:
        poller = Poller(
            read_poller_config(self.config, {}),
            clock=self.clock,
            monotonic=self.clock.monotonic,
            rest=self.clock.rest,
            hangs_after_s=DAY_S,
            on_hang=pytest.fail,
        )
        self.clock.is_settled = lambda: poller._recorder._intake.is_empty
        return poller

    def _config(self, mosquitto: Server, prometheus: Server) -> str:
        lines = [
            f'[mqtt]\nhost = "127.0.0.1"\nport = {mosquitto.port}\n[poller]\ndata = "poller"',
            f'[bridge]\ndata = "bridge"\nlisten = "127.0.0.1:{free_port()}"',
            f'[[remote_write]]\nurl = "http://127.0.0.1:{prometheus.port}/api/v1/write"',
            f'[[bus]]\nname = "rs485"\nconnect = "tcp://127.0.0.1:{self.gateway.address[1]}"\nturnaround_ms = 0',
        ]
        lines += [
            f'[[device]]\nname = "{swap.name}"\nbus = "rs485"\nprofile = "wago-879"\nunit = {unit}\n'
            f"interval = {INTERVAL_S}"
            for unit, swap in enumerate(SWAPS, start=1)
        ]
        return "\n".join(lines)

    def _take_off(self, unit: int, swap: Swap) -> None:
        self.bus.unplug(unit)

    def _put_on(self, unit: int, swap: Swap) -> None:
        self.meters[unit].replace(swap)
        self.swapped_at[unit] = len(self.gateway.exchanges)
        self.bus.plug_in(unit)

    def registers(self, unit: int, count: str) -> tuple[list[float], list[float]]:
        """What the old meter's register showed the poller, and the new one's."""
        old: list[float] = []
        new: list[float] = []
        for place, one in enumerate(self.gateway.exchanges):
            if one.unit == unit and count in one.values:
                (new if place >= self.swapped_at[unit] else old).append(shorten_float32(one.values[count]))
        return old, new

    def is_stored(self) -> bool:
        """Whether the last reading of every meter is in the journal, and that in Prometheus."""
        tally = self.poller.tally
        if any(
            tally.value("poller_states_journaled_total", device=swap.name)
            < tally.value("poller_polls_total", device=swap.name, result="complete")
            for swap in SWAPS
        ):
            return False
        counts = samples(self.prometheus.port, "meter_energy_total_kwh", "25h")
        return {device: series[-1][0] for (_, device), series in counts.items()} == self._last_times()

    def _last_times(self) -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(self.journal)) as journal:
            return dict(
                journal.execute(
                    "SELECT device.name, max(time_ms) FROM state JOIN device ON device.id = state.device"
                    " GROUP BY device.name"
                )
            )

    def stop(self) -> None:
        self._end_poller()
        self.bridge.stop()
        self.gateway.stop()


@pytest.fixture
def day(tmp_path: Path, mosquitto: Server, prometheus: Server) -> Iterator[Day]:
    one = Day(tmp_path, mosquitto, prometheus)
    yield one
    one.stop()


@pytest.mark.mosquitto
@pytest.mark.prometheus
@pytest.mark.parametrize(
    "meanwhile",
    [
        "the poller runs",
        pytest.param("the poller is off", marks=pytest.mark.long),
        pytest.param("the machine is off", marks=pytest.mark.long),
    ],
)
def test_over_a_day_with_a_new_meter_the_energy_is_right_to_the_watt_hour(day: Day, meanwhile: str):
    if meanwhile != "the poller runs":
        day.run_until(NOON_S - 60)
        day.be_off(3600, reboots=meanwhile == "the machine is off")
    day.run_until(DAY_S)
    wait_until(day.is_stored, within_s=40, what="the day is in Prometheus")
    seen = samples(day.prometheus.port, '{__name__=~"meter_energy_.*"}', "25h")
    wrong = []
    for unit, swap in enumerate(SWAPS, start=1):
        for count in COUNTS:
            old, new = day.registers(unit, count)
            published = seen[f"meter_{count}", swap.name]
            values = [value for _, value in published]
            assert values == sorted(values), f"{swap.name}: a count never falls"
            # The first two readings of all were candidates.
            counted = old[-1] - old[2] + new[-1] - new[0]
            first_ms, last_ms = published[0][0], published[-1][0]
            window = f"[{last_ms - first_ms + 1}ms] @ {last_ms / 1000}"
            (increase,) = query(
                day.prometheus.port, f'increase(meter_{count}{{device="{swap.name}"}}{window})'
            )
            made = float(increase["value"][1])
            print(f"{swap.name:16} {count:18} counted {counted:8.3f}, increase() {made:8.3f}")
            if abs(made - counted) > WATT_HOUR:
                wrong.append(f"{swap.name} {count}: {made:.4f} instead of {counted:.4f} kWh")
    assert not wrong, "\n".join(wrong)
