"""What the simulated house's Modbus devices hold: field by field, from the house's state."""

import math
from collections.abc import Mapping

from poller.profile import Field, Profile
from simulator.house import HouseState
from simulator.meter import Channels
from simulator.registers import Value

_CHANNELS = ("total", "L1", "L2", "L3")


def profile_values(profile: Profile, house: HouseState) -> Mapping[str, Value]:
    """Whatever a profile has an address of, as its device would hold it in this house.

    What the house does not know, a quantity of the profile's own, moves a little in the middle of its range.
    """
    known = {"meter": meter_values, "heatpump": heat_pump_values}.get(profile.kind, lambda _: {})(house)
    values = {
        name: known[name] if name in known else _invented(one, house)
        for name, one in profile.fields.items()
        if one.point is not None
    }
    number = house.meter.serial_number
    return values | {
        name: number if point.encoding == "hex" else number[: 2 * point.registers]
        for name, point in profile.identity.items()
    }


def _invented(field: Field, house: HouseState) -> Value:
    if field.words:
        return int(next(iter(field.words)))
    match field.rules.kind:
        case "bit":
            return 0
        case "energy":
            return house.meter.active.imported[0]
        case _:
            low, high = field.rules.range or (0, 1)
            return (low + high) / 2 + (high - low) / 1000 * math.sin(house.time_s / 600)


def meter_values(house: HouseState) -> dict[str, Value]:
    """Every field of a meter, and its serial number. All energy is tariff 1's."""
    meter = house.meter
    flow = meter.flow
    voltage = (sum(flow.voltage_v) / 3, *flow.voltage_v)
    values: dict[str, Value] = {
        "serial_number": meter.serial_number,
        "frequency_hz": flow.frequency_hz,
        "voltage_avg_v": voltage[0],
        "tariff": 1,
        "energy_day_kwh": meter.day_kwh,
        "power_factor": flow.factor[0],
    }
    for channel, volt, factor in zip(_CHANNELS[1:], voltage[1:], flow.factor[1:], strict=True):
        values[f"voltage_{channel}_v"] = volt
        values[f"power_factor_{channel}"] = factor
    per_channel: dict[str, Channels] = {
        "power_{}_kw": flow.power,
        "current_{}_a": flow.current,
        "reactive_power_{}_kvar": flow.reactive,
        "apparent_power_{}_kva": flow.apparent,
        "energy_{}_kwh": meter.active.both,
        "energy_import_{}_kwh": meter.active.imported,
        "energy_export_{}_kwh": meter.active.exported,
        "reactive_energy_{}_kvarh": meter.reactive.both,
        "reactive_energy_import_{}_kvarh": meter.reactive.imported,
        "reactive_energy_export_{}_kvarh": meter.reactive.exported,
    }
    for name, numbers in per_channel.items():
        values |= {name.format(channel): number for channel, number in zip(_CHANNELS, numbers, strict=True)}
        if "energy" in name:
            values |= {name.format("T1"): numbers[0], name.format("T2"): 0.0}
    return values


def heat_pump_values(house: HouseState) -> dict[str, Value]:
    """Every field of a heat pump. `None` is a sensor that is not connected."""
    return {
        "power_state": 1,
        "water_pump_running": house.pump_runs,
        "compressor_running": house.compressor_runs,
        "defrost_active": house.defrosts,
        "error_active": 0,
        "error_code": 0,
        "operating_mode": 2 if house.compressor_runs else 0,
        "return_temperature_celsius": house.return_c,
        "flow_temperature_celsius": house.flow_c,
        "flow_rate_lpm": house.flow_lpm,
        "outdoor_temperature_celsius": house.outdoor_c,
        "water_pressure_bar": house.pressure_bar,
        "selected_mode": 4,
        "target_temperature_celsius": round(house.target_flow_c),
        "backup_heater_outlet_temperature_celsius": house.flow_c,
        "dhw_temperature_celsius": None,
        "solar_temperature_celsius": None,
        "room_temperature_celsius": house.indoor_c,
        "flow_temperature_c2_celsius": None,
        "room_temperature_c2_celsius": None,
        "energy_state": 0,
        "dhw_charging_temperature_celsius": None,
        "buffer_temperature_celsius": house.buffer_c,
        "buffer_target_temperature_celsius": round(house.target_flow_c),
        "source_in_temperature_celsius": 8.0,
        "source_out_temperature_celsius": 4.5 if house.compressor_runs else 8.0,
        "hot_gas_temperature_celsius": house.flow_c + (30.0 if house.compressor_runs else 0.0),
        "electric_power_kw": max(0.0, house.meter.flow.power[0]),
        "heat_heating_kwh": 3.5 * house.meter.active.imported[0],
        "heat_dhw_kwh": 0.5 * house.meter.active.imported[0],
        "electric_heating_kwh": 0.8 * house.meter.active.imported[0],
        "electric_dhw_kwh": 0.2 * house.meter.active.imported[0],
        "evaporator_in_temperature_celsius": house.outdoor_c - (8.0 if house.compressor_runs else 0.0),
        "evaporator_out_temperature_celsius": house.outdoor_c - (4.0 if house.compressor_runs else 0.0),
        "compressor_speed_hz": house.compressor_hz,
        "water_flow_status": house.pump_runs,
        "external_water_pump_running": 0,
        "dhw_heating_active": 0,
        "dhw_disinfection_active": 0,
        "silent_mode_active": 0,
        "cooling_active": 0,
        "solar_pump_running": 0,
        "backup_heater_1_active": 0,
        "backup_heater_2_active": 0,
        "dhw_booster_active": 0,
        "emergency_heating_available": 0,
        "emergency_dhw_available": 0,
        "mixing_pump_running": 0,
        "dhw_enabled": 0,
        "emergency_stop": 0,
        "control_method": 0,
        "room_target_temperature_celsius": house.room_target_c,
        "auto_offset_kelvin": 0,
        "target_temperature_c2_celsius": None,
        "room_target_temperature_c2_celsius": None,
        "auto_offset_c2_kelvin": 0,
        "dhw_target_temperature_celsius": None,
        "energy_state_command": 0,
    }


def sensor_values(house: HouseState) -> dict[str, dict[str, int | float]]:
    """What each sensor would report now, without the time; 0.1 °C and whole percents, as the radio sends them."""
    flicker_db = int(house.time_s / 60) % 5
    return {
        name: {
            "temperature_celsius": round(celsius, 1),
            "humidity_percent": round(min(100.0, max(0.0, percent))),
            "battery_percent": battery,
            "rssi_dbm": rssi - flicker_db,
        }
        for name, celsius, percent, battery, rssi in (
            ("temp_indoor", house.indoor_c, 42 + 0.4 * house.outdoor_c, 97, -52),
            ("temp_outdoor", house.outdoor_c, 88 - 1.2 * house.outdoor_c, 81, -68),
            ("temp_buffer", house.buffer_c, 30.0, 92, -60),
        )
    }


def thermostat_values(house: HouseState) -> dict[str, int | float]:
    """What the thermostat switches by, and how it stands."""
    return {
        "switch_state": int(house.wants_heat),
        "target_temperature_celsius": house.room_target_c,
        "current_temperature_celsius": round(house.indoor_c, 1),
    }
