"""The simulated house on the air: its meter and heat pump behind a gateway, its sensors beside it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Literal

from poller.profile import Profile, load_profile
from simulator.bus import Bus, Device
from simulator.devices import heat_pump_values, meter_values, profile_values, sensor_values, thermostat_values
from simulator.gateway import Gateway
from simulator.house import House, HouseState
from simulator.registers import points_of
from simulator.shelly import ADDRESSES, FIRST_ID
from simulator.shelly import PREFIX as SHELLY
from simulator.wire import RtuFraming, TcpFraming

METER_UNIT = 2
HEAT_PUMP_UNIT = 7
SENSOR_INTERVAL_S = 60

SENSOR_LABELS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        name: MappingProxyType(
            {
                "device_id": str(FIRST_ID + number),
                "gateway_id": SHELLY,
                "sensor_id": address,
                "sensor_name": name,
            }
        )
        for number, (name, address) in enumerate(ADDRESSES.items())
    }
)
"""The house's sensors, each with the four labels that the original system gives its series."""


@dataclass(frozen=True, slots=True)
class HouseClock:
    """The house's time: from `start_s` on, `speed` times as fast as the monotonic clock.

    >>> HouseClock(start_s=1000.0, speed=60.0, began=5.0).at(7.0)
    1120.0
    """

    start_s: float
    speed: float
    began: float

    def at(self, monotonic: float) -> float:
        """The house's time, seconds since 1970 UTC, at a moment of the monotonic clock."""
        return self.start_s + self.speed * (monotonic - self.began)


class LiveHouse:
    """A house that runs by a clock and that every thread may ask.

    Args:
        start_s: The house's time at the start, seconds since 1970 UTC: it makes the weather.
        monotonic: The clock that drives it.
        speed: How much faster than that clock the house lives.
        seed: What its weather and its noise are drawn with.
    """

    def __init__(
        self, *, start_s: float, monotonic: Callable[[], float], speed: float = 1.0, seed: int = 0
    ) -> None:
        self._monotonic = monotonic
        self._clock = HouseClock(start_s, speed, monotonic())
        draw = Random(seed).random  # noqa: S311  # weather that can be repeated, no secret
        self._house = House(draw=draw, start_s=start_s)
        self._lock = threading.Lock()
        self._reported: dict[str, dict[str, int | float]] = {}

    def state(self) -> HouseState:
        """The house now."""
        with self._lock:
            return self._house.at(self._clock.at(self._monotonic()))

    def replace_meter(self, serial_number: str, count_kwh: float = 0.0) -> None:
        """Put in a new meter, or a used one that has counted already."""
        with self._lock:
            self._house.replace_meter(
                self._clock.at(self._monotonic()), serial_number=serial_number, count_kwh=count_kwh
            )

    def meter(self, *, turnaround_s: float = 0.0) -> Device:
        """The house's WAGO meter."""
        return Device(
            points_of(load_profile("wago-879")), lambda: meter_values(self.state()), turnaround_s=turnaround_s
        )

    def heat_pump(self, *, turnaround_s: float = 0.0) -> Device:
        """The house's LG heat pump."""
        return Device(
            points_of(load_profile("lg-r290")),
            lambda: heat_pump_values(self.state()),
            turnaround_s=turnaround_s,
        )

    def device(self, profile: Profile, *, turnaround_s: float = 0.0) -> Device:
        """A device that fits a profile, with this house's values, as picky as the profile says."""
        return Device(
            points_of(profile),
            lambda: profile_values(profile, self.state()),
            turnaround_s=turnaround_s,
            max_registers=profile.max_registers,
            multiple_of=profile.multiple_of,
        )

    def sensor_readings(self, wall_s: float) -> Mapping[str, Mapping[str, int | float]]:
        """What the sensors last reported, by their names.

        Each reports once a minute of the true time `wall_s` (seconds since
        1970 UTC); between two reports nothing moves, `last_seen_timestamp` neither.
        """
        house = self.state()
        with self._lock:
            for number, (name, values) in enumerate(sensor_values(house).items()):
                seen_s = int(wall_s - (wall_s - 20 * number) % SENSOR_INTERVAL_S)
                if name not in self._reported or self._reported[name]["last_seen_timestamp"] != seen_s:
                    self._reported[name] = {**values, "last_seen_timestamp": seen_s}
            return {name: dict(values) for name, values in self._reported.items()}

    def thermostat_readings(self) -> Mapping[str, int | float]:
        """What the thermostat switches by, and how it stands."""
        return thermostat_values(self.state())


def house_gateway(
    house: LiveHouse,
    *,
    framing: Literal["tcp", "rtu"] = "tcp",
    host: str = "127.0.0.1",
    port: int = 0,
    baud: int = 9600,
    turnaround_s: float = 0.005,
    seed: int = 0,
) -> Gateway:
    """A gateway, not yet started, with the house's meter as unit 2 and its heat pump as unit 7.

    With `baud` 0 and `turnaround_s` 0 it answers at once.
    """
    bus = house_bus(house, framing=framing, baud=baud, turnaround_s=turnaround_s)
    return Gateway(bus, host=host, port=port, seed=seed)


def house_bus(
    house: LiveHouse,
    *,
    framing: Literal["tcp", "rtu"],
    baud: int = 9600,
    turnaround_s: float = 0.005,
    profiles: Mapping[int, Profile] | None = None,
) -> Bus:
    """The line with the house's meter as unit 2 and its heat pump as unit 7, or with what fits other profiles."""
    if profiles is None:
        devices = {
            METER_UNIT: house.meter(turnaround_s=turnaround_s),
            HEAT_PUMP_UNIT: house.heat_pump(turnaround_s=turnaround_s),
        }
    else:
        devices = {unit: house.device(one, turnaround_s=turnaround_s) for unit, one in profiles.items()}
    return Bus(devices, TcpFraming() if framing == "tcp" else RtuFraming(), baud=baud)
