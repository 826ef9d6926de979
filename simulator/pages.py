"""The /metrics pages of the three programs that houses of this kind have run so far.

heatpump-monitoring-dashboard's exporter, lg-r290-control and shelly-blu-ht: same names, labels, help and neighbours as theirs.
All use prometheus-client's default registry, so that each page shows its Python process too. That a gauge without labels shows
0 before its first value, and the last one for ever, is theirs as well.
"""

from collections.abc import Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from readings.reading import Kind
from readings.vocabulary import VOCABULARY

METER_HELP: Mapping[str, str] = {
    "power_total_kw": "Total active power (kW)",
    "energy_total_kwh": "Total active energy (kWh)",
    "energy_L1_kwh": "L1 active energy (kWh)",
    "energy_L2_kwh": "L2 active energy (kWh)",
    "energy_L3_kwh": "L3 active energy (kWh)",
    "power_L1_kw": "L1 active power (kW)",
    "power_L2_kw": "L2 active power (kW)",
    "power_L3_kw": "L3 active power (kW)",
    "frequency_hz": "Grid frequency (Hz)",
    "power_factor": "Power factor (Cos φ)",
}
HEAT_PUMP_HELP: Mapping[str, str] = {
    "flow_temperature_celsius": "Heat pump flow temperature (water outlet)",
    "return_temperature_celsius": "Heat pump return temperature (water inlet)",
    "outdoor_temperature_celsius": "Outdoor air temperature",
    "target_temperature_celsius": "Target temperature setpoint",
    "power_state": "Power state (0=OFF, 1=ON)",
    "compressor_running": "Compressor running (0=OFF, 1=ON)",
    "water_pump_running": "Water pump running (0=OFF, 1=ON)",
    "operating_mode": "Operating mode (0=Standby, 1=Cooling, 2=Heating, 3=Auto)",
    "error_code": "Error code (0=no error)",
    "flow_rate_lpm": "Water flow rate in liters per minute",
    "water_pressure_bar": "Water system pressure in bar",
    "temperature_delta_celsius": "Temperature delta (flow - return)",
}
SENSOR_FIELDS = ("temperature_celsius", "humidity_percent", "battery_percent", "last_seen_timestamp")
THERMOSTAT_FIELDS = ("switch_state", "target_temperature_celsius", "current_temperature_celsius")
SENSOR_LABEL_NAMES = ("device_id", "gateway_id", "sensor_id", "sensor_name")


class GaugePage:
    """A page of gauges without labels.

    Args:
        helps: The help of each metric, by its name.
    """

    def __init__(self, helps: Mapping[str, str]) -> None:
        self._registry = _with_process()
        self._gauges = {name: Gauge(name, text, registry=self._registry) for name, text in helps.items()}

    def set(self, values: Mapping[str, float]) -> None:
        """Take over what was read; what there is no value for stays as it is."""
        for name, gauge in self._gauges.items():
            if name in values:
                gauge.set(values[name])

    def render(self) -> bytes:
        """The page."""
        return generate_latest(self._registry)


class SensorPage:
    """iot-api's page: sensors, the thermostat, and what the service counts of itself."""

    def __init__(self) -> None:
        self._registry = _with_process()
        self._sensors = _gauges(self._registry, Kind.SENSOR, SENSOR_FIELDS, SENSOR_LABEL_NAMES)
        self._thermostat = _gauges(self._registry, Kind.THERMOSTAT, THERMOSTAT_FIELDS)
        self._requests = Counter(
            "api_requests_total", "Total API requests", ["method", "endpoint"], registry=self._registry
        )
        self._durations = Histogram(
            "api_request_duration_seconds", "API request duration", registry=self._registry
        )

    def set_sensor(self, labels: Mapping[str, str], values: Mapping[str, float]) -> None:
        """A sensor's newest values."""
        for name, gauge in self._sensors.items():
            if name in values:
                gauge.labels(**labels).set(values[name])

    def set_thermostat(self, values: Mapping[str, float]) -> None:
        """How the thermostat stands."""
        for name, gauge in self._thermostat.items():
            if name in values:
                gauge.set(values[name])

    def render(self) -> bytes:
        """The page; being asked for it counts."""
        self._requests.labels(method="GET", endpoint="/metrics").inc()
        self._durations.observe(0.012)
        return generate_latest(self._registry)


def _with_process() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def _gauges(
    registry: CollectorRegistry, kind: Kind, fields: Sequence[str], labels: Sequence[str] = ()
) -> dict[str, Gauge]:
    return {
        name: Gauge(f"{kind}_{name}", VOCABULARY[kind][name].description, labels, registry=registry)
        for name in fields
    }
