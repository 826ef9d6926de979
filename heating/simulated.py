"""The simulated house as the demo's hardware: a Modbus gateway, and a Shelly that publishes to the broker."""

import time
from types import TracebackType
from typing import Self

from readings.settings import MqttSettings
from simulator.house_bus import LiveHouse, house_gateway
from simulator.shelly_mqtt import ShellyAtBroker


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

    def shelly(self, mqtt_port: int) -> ShellyAtBroker:
        """Its Shelly, not yet at the broker: three sensors, and the switch of the thermostat."""
        return ShellyAtBroker(self._house, MqttSettings(host="127.0.0.1", port=mqtt_port))
