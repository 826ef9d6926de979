"""The vocabulary names everything once, and holds every name of the system that came before."""

import pytest

from readings.reading import Kind, is_field_name
from readings.vocabulary import VOCABULARY

ORIGINAL = {
    Kind.METER: {
        "power_total_kw", "power_L1_kw", "power_L2_kw", "power_L3_kw", "frequency_hz", "power_factor",
        "energy_total_kwh", "energy_L1_kwh", "energy_L2_kwh", "energy_L3_kwh",
    },
    Kind.HEATPUMP: {
        "flow_temperature_celsius", "return_temperature_celsius", "outdoor_temperature_celsius",
        "target_temperature_celsius", "power_state", "compressor_running", "water_pump_running", "operating_mode",
        "error_code", "flow_rate_lpm", "water_pressure_bar", "temperature_delta_celsius",
    },
    Kind.SENSOR: {"temperature_celsius", "humidity_percent", "battery_percent", "last_seen_timestamp"},
    Kind.THERMOSTAT: {"switch_state", "target_temperature_celsius", "current_temperature_celsius"},
}  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_every_original_metric_has_its_field(kind):
    assert ORIGINAL[kind] <= VOCABULARY[kind].keys()


@pytest.mark.parametrize("kind", Kind)
def test_names_can_be_metrics_and_people_can_tell_fields_apart(kind):
    rows = VOCABULARY[kind].values()
    assert all(is_field_name(row.name) for row in rows)
    assert len({row.short for row in rows}) == len(rows)
    assert all(row.description and row.short for row in rows)


@pytest.mark.parametrize("kind", Kind)
def test_a_unit_in_the_name_is_the_unit(kind):
    endings = {
        "_kw": "kW", "_kwh": "kWh", "_kvarh": "kvarh", "_hz": "Hz", "_v": "V", "_a": "A", "_kvar": "kvar", "_kva": "kVA",
        "_lpm": "L/min", "_bar": "bar", "_percent": "%", "_dbm": "dBm", "_kelvin": "K", "_timestamp": "s",
    }  # fmt: skip
    for row in VOCABULARY[kind].values():
        for ending, unit in endings.items():
            if row.name.endswith(ending):
                assert row.unit == unit, row
        if row.name.endswith("_celsius"):
            assert row.unit == ("K" if "delta" in row.name else "°C"), row
        if row.kind in {"bit", "enum"}:
            assert row.unit == "", row
