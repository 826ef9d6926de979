"""What a kind of device shows at a glance."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from readings.reading import Kind


@dataclass(frozen=True, slots=True)
class Face:
    """The fields that its card shows; those that a device does not have are left out.

    Attributes:
        lead: The largest figure.
        figures: The ones below it.
        flags: Bits and words.
        lines: The fields of its chart.
        strip: The bit whose times are drawn below the chart.
    """

    name: str
    lead: str
    figures: tuple[str, ...]
    flags: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    strip: str = ""


FACES: Mapping[Kind, Face] = MappingProxyType(
    {
        Kind.METER: Face(
            "Energy meter",
            "power_total_kw",
            (
                "energy_total_kwh",
                "energy_import_total_kwh",
                "power_L1_kw",
                "power_L2_kw",
                "power_L3_kw",
                "frequency_hz",
                "power_factor",
            ),
            lines=("power_total_kw",),
        ),
        Kind.HEATPUMP: Face(
            "Heat pump",
            "flow_temperature_celsius",
            (
                "return_temperature_celsius",
                "outdoor_temperature_celsius",
                "target_temperature_celsius",
                "dhw_temperature_celsius",
                "flow_rate_lpm",
                "water_pressure_bar",
            ),
            flags=(
                "operating_mode",
                "compressor_running",
                "water_pump_running",
                "defrost_active",
                "error_active",
            ),
            lines=("flow_temperature_celsius", "return_temperature_celsius"),
            strip="compressor_running",
        ),
        Kind.SENSOR: Face(
            "Sensor",
            "temperature_celsius",
            ("humidity_percent", "battery_percent"),
            lines=("temperature_celsius",),
        ),
        Kind.THERMOSTAT: Face(
            "Thermostat",
            "current_temperature_celsius",
            ("target_temperature_celsius",),
            flags=("switch_state",),
            lines=("current_temperature_celsius", "target_temperature_celsius"),
            strip="switch_state",
        ),
    }
)

CHARTED = frozenset(
    name for face in FACES.values() for name in (*face.lines, *((face.strip,) if face.strip else ()))
)
"""The fields whose last hours the page draws."""

ALARMS = frozenset({"error_active", "emergency_stop"})
