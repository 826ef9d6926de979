"""The pages of the three original programs on the air, for a house that runs."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self, TypeVar

from simulator.devices import heat_pump_values, meter_values
from simulator.house_bus import SENSOR_LABELS, LiveHouse
from simulator.pages import HEAT_PUMP_HELP, METER_HELP, GaugePage, SensorPage

_T = TypeVar("_T")

RENEWED_EVERY_S = 30
"""All three renew their figures so often."""


class PageServer:
    """Serves one page at /metrics/, to which /metrics redirects, as an application below FastAPI does.

    Args:
        render: Gives the page.
        host: Where to listen.
        port: Where to listen; 0 is any free port.
    """

    def __init__(self, render: Callable[[], bytes], *, host: str = "127.0.0.1", port: int = 0) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's name
                if self.path == "/metrics":
                    self.send_response(307)
                    self.send_header("location", f"http://{self.headers['Host']}/metrics/")
                    self.send_header("content-length", "0")
                    self.end_headers()
                elif self.path == "/metrics/":
                    body = render()
                    self.send_response(200)
                    self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                else:
                    self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The page's address, as a scrape job names it."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/metrics"


class HouseExporters:
    """What the three programs show of a house.

    Args:
        house: The house.
        wall_s: The wall clock, seconds since 1970 UTC.
        renewed_every_s: How often they renew their figures.
    """

    def __init__(
        self, house: LiveHouse, wall_s: Callable[[], float], *, renewed_every_s: float = RENEWED_EVERY_S
    ) -> None:
        self._house = house
        self._wall_s = wall_s
        self._every_s = renewed_every_s
        self._lock = threading.Lock()
        self._meter = GaugePage(_named("wago", METER_HELP))
        self._heat_pump = GaugePage(_named("heatpump", HEAT_PUMP_HELP))
        self._sensors = SensorPage()
        self._renewed_s = -renewed_every_s

    def meter(self) -> bytes:
        """The original exporter's page now."""
        with self._lock:
            self._renew()
            return self._meter.render()

    def heat_pump(self) -> bytes:
        """lg_r290_service's page now."""
        with self._lock:
            self._renew()
            return self._heat_pump.render()

    def sensors(self) -> bytes:
        """iot-api's page now."""
        with self._lock:
            self._renew()
            return self._sensors.render()

    def _renew(self) -> None:
        now_s = self._wall_s()
        if now_s - self._renewed_s < self._every_s:
            return
        self._renewed_s = now_s - now_s % self._every_s
        house = self._house.state()
        self._meter.set(_named("wago", _numbers(meter_values(house))))
        values = _numbers(heat_pump_values(house))
        # The service reads no compressor and no pump: it takes both from the operating mode.
        runs = int(values["operating_mode"] in {1, 2})
        values |= {"compressor_running": runs, "water_pump_running": runs}
        values["temperature_delta_celsius"] = (
            values["flow_temperature_celsius"] - values["return_temperature_celsius"]
        )
        # The heat pump itself tells tenths.
        tenths = {name: round(value, 1) for name, value in values.items()}
        self._heat_pump.set(_named("heatpump", tenths))
        for name, readings in self._house.sensor_readings(now_s).items():
            # Last seen is when the service wrote the value down, not when the sensor sent it.
            seen = {**readings, "last_seen_timestamp": self._renewed_s}
            self._sensors.set_sensor(SENSOR_LABELS[name], seen)
        self._sensors.set_thermostat(self._house.thermostat_readings())


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _named(prefix: str, fields: Mapping[str, _T]) -> dict[str, _T]:
    return {f"{prefix}_{name}": one for name, one in fields.items()}
