"""The one vocabulary: what every field means.

One row per quantity. Topic, metric name, help, unit and the page take what
they say of a field from its row, so that they cannot disagree; a new quantity
is one row. A field's name is its metric's name without the prefix:
`power_total_kw` becomes `meter_power_total_kw`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NotRequired, TypedDict, Unpack

from readings.payload import FieldKind
from readings.reading import Kind


@dataclass(frozen=True, slots=True)
class Quantity:
    """One row of the vocabulary.

    Attributes:
        name: The field's name.
        short: What people call it beside its device's name ("Power L1").
        description: The metric's help, a sentence part without unit.
        unit: As people write it; empty for a number without one.
        kind: How the field behaves.
        decimals: Digits worth showing.
        device_class: What Home Assistant calls it, where the unit does not say it ("humidity", "running").
        diagnostic: Whether it is about the device rather than about what the device is for.
        shown: Whether Home Assistant shows it before somebody switches it on.
    """

    name: str
    short: str
    description: str
    unit: str = ""
    kind: FieldKind = "measurement"
    decimals: int = 0
    device_class: str = ""
    diagnostic: bool = False
    shown: bool = True


_PHASES = ("L1", "L2", "L3")


class _Rest(TypedDict):
    unit: str
    kind: FieldKind
    decimals: int
    device_class: NotRequired[str]
    shown: NotRequired[bool]


def _phases(name: str, short: str, description: str, **rest: Unpack[_Rest]) -> Iterator[Quantity]:
    for phase in _PHASES:
        yield Quantity(name.format(phase), f"{short} {phase}", f"{description}, phase {phase}", **rest)


def _meter() -> Iterator[Quantity]:
    yield Quantity("power_total_kw", "Power", "Total active power, export negative", "kW", "power", 3)
    yield from _phases(
        "power_{}_kw", "Power", "Active power, export negative", unit="kW", kind="power", decimals=3
    )
    for name, short, description, unit in (
        ("energy_{}_kwh", "Energy", "Active energy as the meter totals it", "kWh"),
        ("energy_import_{}_kwh", "Energy import", "Active energy imported", "kWh"),
        ("energy_export_{}_kwh", "Energy export", "Active energy exported", "kWh"),
        ("reactive_energy_{}_kvarh", "Reactive energy", "Reactive energy as the meter totals it", "kvarh"),
        ("reactive_energy_import_{}_kvarh", "Reactive energy import", "Reactive energy imported", "kvarh"),
        ("reactive_energy_export_{}_kvarh", "Reactive energy export", "Reactive energy exported", "kvarh"),
    ):
        yield Quantity(name.format("total"), short, description, unit, "energy", 2)
        for tariff in ("T1", "T2"):
            yield Quantity(
                name.format(tariff), f"{short} {tariff}", f"{description}, tariff {tariff}", unit, "energy", 2
            )
        yield from _phases(name, short, description, unit=unit, kind="energy", decimals=2)
    yield Quantity(
        "energy_total_raw_kwh",
        "Energy register",
        "The meter's own register, without the offset that bridges a replacement",
        "kWh",
        "measurement",
        2,
        diagnostic=True,
        shown=False,
    )
    yield Quantity(
        "energy_day_kwh",
        "Energy day counter",
        "The meter's resettable day counter",
        "kWh",
        "measurement",
        2,
        shown=False,
    )
    yield Quantity("tariff", "Tariff", "Tariff in force", diagnostic=True)
    yield Quantity("frequency_hz", "Frequency", "Grid frequency", "Hz", "measurement", 2)
    yield Quantity(
        "power_factor", "Power factor", "Power factor (Cos φ)", decimals=3, device_class="power_factor"
    )
    yield from _phases(
        "power_factor_{}",
        "Power factor",
        "Power factor",
        unit="",
        kind="measurement",
        decimals=3,
        device_class="power_factor",
        shown=False,
    )
    yield Quantity("voltage_avg_v", "Voltage", "Voltage, mean of the phases", "V", "measurement", 1)
    yield from _phases(
        "voltage_{}_v", "Voltage", "Voltage to neutral", unit="V", kind="measurement", decimals=1
    )
    yield Quantity("current_total_a", "Current", "Current, sum of the phases", "A", "measurement", 2)
    yield from _phases("current_{}_a", "Current", "Current", unit="A", kind="measurement", decimals=2)
    yield Quantity(
        "reactive_power_total_kvar", "Reactive power", "Total reactive power", "kvar", "measurement", 3
    )
    yield from _phases(
        "reactive_power_{}_kvar",
        "Reactive power",
        "Reactive power",
        unit="kvar",
        kind="measurement",
        decimals=3,
    )
    yield Quantity(
        "apparent_power_total_kva", "Apparent power", "Total apparent power", "kVA", "measurement", 3
    )
    yield from _phases(
        "apparent_power_{}_kva",
        "Apparent power",
        "Apparent power",
        unit="kVA",
        kind="measurement",
        decimals=3,
    )


def _heatpump() -> Iterator[Quantity]:
    for name, short, description in (
        ("flow_temperature_celsius", "Flow", "Heat pump flow temperature (water outlet)"),
        ("return_temperature_celsius", "Return", "Heat pump return temperature (water inlet)"),
        ("outdoor_temperature_celsius", "Outdoor", "Outdoor air temperature"),
        ("target_temperature_celsius", "Target", "Target temperature setpoint"),
        (
            "backup_heater_outlet_temperature_celsius",
            "Backup heater outlet",
            "Water temperature after the backup heater",
        ),
        ("dhw_temperature_celsius", "Hot water", "Domestic hot water temperature"),
        ("dhw_target_temperature_celsius", "Hot water target", "Domestic hot water setpoint"),
        ("solar_temperature_celsius", "Solar", "Solar collector temperature"),
        ("room_temperature_celsius", "Room", "Room temperature, circuit 1"),
        ("room_target_temperature_celsius", "Room target", "Room temperature setpoint, circuit 1"),
        ("flow_temperature_c2_celsius", "Flow circuit 2", "Flow temperature, circuit 2"),
        ("target_temperature_c2_celsius", "Target circuit 2", "Target temperature setpoint, circuit 2"),
        ("room_temperature_c2_celsius", "Room circuit 2", "Room temperature, circuit 2"),
        (
            "room_target_temperature_c2_celsius",
            "Room target circuit 2",
            "Room temperature setpoint, circuit 2",
        ),
        (
            "dhw_charging_temperature_celsius",
            "Hot water charging",
            "Temperature of the hot water being charged",
        ),
        ("buffer_temperature_celsius", "Buffer", "Buffer tank temperature"),
        ("buffer_target_temperature_celsius", "Buffer target", "Buffer tank setpoint"),
        (
            "source_in_temperature_celsius",
            "Source in",
            "Heat source temperature before the heat pump (brine, water)",
        ),
        (
            "source_out_temperature_celsius",
            "Source out",
            "Heat source temperature after the heat pump (brine, water)",
        ),
        ("hot_gas_temperature_celsius", "Hot gas", "Refrigerant temperature after the compressor"),
        (
            "evaporator_in_temperature_celsius",
            "Evaporator in",
            "Refrigerant temperature before the evaporator",
        ),
        (
            "evaporator_out_temperature_celsius",
            "Evaporator out",
            "Refrigerant temperature after the evaporator",
        ),
    ):
        yield Quantity(name, short, description, "°C", decimals=1)
    yield Quantity(
        "temperature_delta_celsius", "Spread", "Temperature delta (flow - return)", "K", "measurement", 1
    )
    yield Quantity("auto_offset_kelvin", "Auto offset", "Offset to the automatic target, circuit 1", "K")
    yield Quantity(
        "auto_offset_c2_kelvin", "Auto offset circuit 2", "Offset to the automatic target, circuit 2", "K"
    )
    yield Quantity(
        "flow_rate_lpm", "Flow rate", "Water flow rate in liters per minute", "L/min", "measurement", 1
    )
    yield Quantity(
        "water_pressure_bar", "Water pressure", "Water system pressure in bar", "bar", "measurement", 1
    )
    yield Quantity("error_code", "Error code", "Error code (0=no error)", diagnostic=True)
    yield Quantity(
        "electric_power_kw", "Power taken", "Electrical power that the heat pump takes", "kW", "power", 3
    )
    yield Quantity("heat_heating_kwh", "Heat for heating", "Heat delivered for heating", "kWh", "energy", 1)
    yield Quantity("heat_dhw_kwh", "Heat for hot water", "Heat delivered for hot water", "kWh", "energy", 1)
    yield Quantity(
        "electric_heating_kwh", "Electricity for heating", "Electricity taken for heating", "kWh", "energy", 1
    )
    yield Quantity(
        "electric_dhw_kwh", "Electricity for hot water", "Electricity taken for hot water", "kWh", "energy", 1
    )
    yield Quantity("compressor_speed_hz", "Compressor speed", "Compressor speed", "Hz", "measurement", 0)
    for name, short, description, diagnostic in (
        ("operating_mode", "Operating mode", "What the outdoor unit does", False),
        ("selected_mode", "Selected mode", "The mode that was chosen", False),
        ("control_method", "Control method", "What the heat pump controls by", True),
        ("energy_state", "Energy state", "State asked for by the energy management", False),
        (
            "energy_state_command",
            "Energy state command",
            "State last commanded by the energy management",
            True,
        ),
    ):
        yield Quantity(name, short, description, "", "enum", diagnostic=diagnostic)
    for name, short, description, device_class in (
        ("power_state", "Power", "Power state (0=OFF, 1=ON)", ""),
        ("compressor_running", "Compressor", "Compressor running (0=OFF, 1=ON)", "running"),
        ("water_pump_running", "Water pump", "Water pump running (0=OFF, 1=ON)", "running"),
        (
            "external_water_pump_running",
            "External pump",
            "External water pump running (0=OFF, 1=ON)",
            "running",
        ),
        ("mixing_pump_running", "Mixing pump", "Mixing pump running (0=OFF, 1=ON)", "running"),
        ("solar_pump_running", "Solar pump", "Solar pump running (0=OFF, 1=ON)", "running"),
        ("defrost_active", "Defrost", "Defrost in progress (0=OFF, 1=ON)", "running"),
        ("error_active", "Error", "An error is reported (0=no, 1=yes)", "problem"),
        ("dhw_heating_active", "Hot water heating", "Heating domestic hot water (0=OFF, 1=ON)", "running"),
        (
            "dhw_disinfection_active",
            "Disinfection",
            "Hot water disinfection running (0=OFF, 1=ON)",
            "running",
        ),
        ("dhw_booster_active", "Hot water booster", "Hot water booster on (0=OFF, 1=ON)", "running"),
        ("dhw_enabled", "Hot water enabled", "Hot water preparation enabled (0=OFF, 1=ON)", ""),
        ("silent_mode_active", "Silent mode", "Silent mode active (0=OFF, 1=ON)", ""),
        ("cooling_active", "Cooling", "Cooling (0=OFF, 1=ON)", "running"),
        ("backup_heater_1_active", "Backup heater 1", "Backup heater, step 1, on (0=OFF, 1=ON)", "running"),
        ("backup_heater_2_active", "Backup heater 2", "Backup heater, step 2, on (0=OFF, 1=ON)", "running"),
        ("emergency_stop", "Emergency stop", "Emergency stop (0=normal, 1=stop)", "problem"),
    ):
        yield Quantity(name, short, description, "", "bit", device_class=device_class)
    for name, short, description in (
        ("water_flow_status", "Water flow status", "Water flow input as the heat pump reports it (0 or 1)"),
        (
            "emergency_heating_available",
            "Emergency heating",
            "Emergency operation available for heating (0=no, 1=yes)",
        ),
        (
            "emergency_dhw_available",
            "Emergency hot water",
            "Emergency operation available for hot water (0=no, 1=yes)",
        ),
    ):
        yield Quantity(name, short, description, "", "bit", diagnostic=True, shown=False)


def _sensor() -> Iterator[Quantity]:
    yield Quantity("temperature_celsius", "Temperature", "Current temperature", "°C", "measurement", 1)
    yield Quantity("humidity_percent", "Humidity", "Current humidity", "%", device_class="humidity")
    yield Quantity(
        "battery_percent", "Battery", "Current battery level", "%", device_class="battery", diagnostic=True
    )
    yield Quantity("rssi_dbm", "Signal", "Radio signal strength", "dBm", diagnostic=True)
    yield Quantity(
        "last_seen_timestamp",
        "Last seen",
        "Last seen timestamp",
        "s",
        device_class="timestamp",
        diagnostic=True,
    )


def _thermostat() -> Iterator[Quantity]:
    yield Quantity("switch_state", "Switch", "Thermostat switch state (1=ON, 0=OFF)", "", "bit")
    yield Quantity(
        "target_temperature_celsius", "Target", "Thermostat target temperature", "°C", "measurement", 1
    )
    yield Quantity(
        "current_temperature_celsius",
        "Current",
        "Current indoor temperature used for control",
        "°C",
        "measurement",
        1,
    )


VOCABULARY: Mapping[Kind, Mapping[str, Quantity]] = MappingProxyType(
    {
        kind: MappingProxyType({quantity.name: quantity for quantity in rows})
        for kind, rows in (
            (Kind.METER, _meter()),
            (Kind.HEATPUMP, _heatpump()),
            (Kind.SENSOR, _sensor()),
            (Kind.THERMOSTAT, _thermostat()),
        )
    }
)
"""Every field that a device of a kind may have, by its name."""
