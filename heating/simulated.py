"""The simulated house as the demo's hardware: a Modbus gateway, and sensors that report by themselves."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from poller.assemble import Report, Stamped
from poller.device import Device
from poller.profile import load_profile
from poller.sources import Source
from poller.sources.sampled import Sampled
from readings.reading import DeviceKey, Kind
from simulator.house_bus import SENSOR_LABELS, LiveHouse, house_gateway

THERMOSTAT = DeviceKey(Kind.THERMOSTAT, "room")
LOOK_EVERY_S = 10.0
TITLES = {"temp_indoor": "Living room", "temp_outdoor": "Outdoors", "temp_buffer": "Buffer tank"}


class SimulatedHouse:
    """A house with a gateway on a port of 127.0.0.1, from `with` to its end.

    Args:
        speed: How much faster than real it lives.
        seed: Which house it is.
    """

    def __init__(self, *, speed: float, seed: int) -> None:
        self._house = LiveHouse(start_s=time.time(), monotonic=time.monotonic, speed=speed, seed=seed)
        self._gateway = house_gateway(self._house, seed=seed)

    def __enter__(self) -> Self:
        self._gateway.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._gateway.stop()

    @property
    def port(self) -> int:
        """The gateway's port."""
        return self._gateway.address[1]

    def sources(self) -> tuple[Source, ...]:
        """What reports beside the bus: three sensors and a thermostat."""
        sensors = load_profile("shelly-blu-ht")
        thermostat = load_profile("thermostat")
        devices = [
            Device(
                key=DeviceKey(Kind.SENSOR, name),
                title=TITLES[name],
                profile=sensors,
                fields=sensors.choose(),
                interval_s=sensors.interval_s,
                labels=labels,
            )
            for name, labels in SENSOR_LABELS.items()
        ]
        devices.append(
            Device(
                key=THERMOSTAT,
                title="Thermostat",
                profile=thermostat,
                fields=thermostat.choose(),
                interval_s=thermostat.interval_s,
            )
        )
        return (Sampled(devices, self._report, every_s=LOOK_EVERY_S),)

    def _report(self) -> Mapping[DeviceKey, Report]:
        """What sensors and thermostat say now; a sensor's values are as old as its last broadcast."""
        reports = {
            DeviceKey(Kind.SENSOR, name): Report(
                {
                    field: Stamped(value, int(values["last_seen_timestamp"] * 1000))
                    for field, value in values.items()
                }
            )
            for name, values in self._house.sensor_readings(time.time()).items()
        }
        return reports | {THERMOSTAT: Report(self._house.thermostat_readings())}
