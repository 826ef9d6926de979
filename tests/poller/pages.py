"""Pages for the tests, and what is made of them."""

from poller.sources.exporter import Exporter, ImportSettings
from poller.sources.exposition import parse_page
from poller.sources.imports import ImportTable, read_import

HEAT_PUMP = """\
# HELP python_info Python platform information
# TYPE python_info gauge
python_info{implementation="CPython",major="3",minor="12",patchlevel="7",version="3.12.7"} 1.0
# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79542e+09
# HELP heatpump_flow_temperature_celsius Heat pump flow temperature (water outlet)
# TYPE heatpump_flow_temperature_celsius gauge
heatpump_flow_temperature_celsius 35.3
# HELP heatpump_return_temperature_celsius Heat pump return temperature (water inlet)
# TYPE heatpump_return_temperature_celsius gauge
heatpump_return_temperature_celsius 30.1
# HELP heatpump_outdoor_temperature_celsius Outdoor air temperature
# TYPE heatpump_outdoor_temperature_celsius gauge
heatpump_outdoor_temperature_celsius 4.2
# HELP heatpump_target_temperature_celsius Target temperature setpoint
# TYPE heatpump_target_temperature_celsius gauge
heatpump_target_temperature_celsius 35.0
# HELP heatpump_power_state Power state (0=OFF, 1=ON)
# TYPE heatpump_power_state gauge
heatpump_power_state 1.0
# HELP heatpump_compressor_running Compressor running (0=OFF, 1=ON)
# TYPE heatpump_compressor_running gauge
heatpump_compressor_running 1.0
# HELP heatpump_water_pump_running Water pump running (0=OFF, 1=ON)
# TYPE heatpump_water_pump_running gauge
heatpump_water_pump_running 1.0
# HELP heatpump_operating_mode Operating mode (0=Standby, 1=Cooling, 2=Heating, 3=Auto)
# TYPE heatpump_operating_mode gauge
heatpump_operating_mode 2.0
# HELP heatpump_error_code Error code (0=no error)
# TYPE heatpump_error_code gauge
heatpump_error_code 0.0
# HELP heatpump_flow_rate_lpm Water flow rate in liters per minute
# TYPE heatpump_flow_rate_lpm gauge
heatpump_flow_rate_lpm 25.0
# HELP heatpump_water_pressure_bar Water system pressure in bar
# TYPE heatpump_water_pressure_bar gauge
heatpump_water_pressure_bar 1.6
# HELP heatpump_temperature_delta_celsius Temperature delta (flow - return)
# TYPE heatpump_temperature_delta_celsius gauge
heatpump_temperature_delta_celsius 5.2
"""
"""lg_r290_service:8000/metrics; names and help are its own, the values are made up."""

SEEN_S = 1795406700
"""2026-11-23T04:05:00Z, as the sensors' page says it."""

INDOOR = 'device_id="201",gateway_id="shellypro2-00005e005301",sensor_id="00:00:5e:00:53:11",sensor_name="temp_indoor"'
OUTDOOR = 'device_id="200",gateway_id="shellypro2-00005e005301",sensor_id="00:00:5e:00:53:10",sensor_name="temp_outdoor"'

SENSORS = f"""\
# HELP sensor_temperature_celsius Current temperature
# TYPE sensor_temperature_celsius gauge
sensor_temperature_celsius{{{OUTDOOR}}} 4.3
sensor_temperature_celsius{{{INDOOR}}} 21.5
# HELP sensor_humidity_percent Current humidity
# TYPE sensor_humidity_percent gauge
sensor_humidity_percent{{{OUTDOOR}}} 88.0
sensor_humidity_percent{{{INDOOR}}} 43.0
# HELP sensor_battery_percent Current battery level
# TYPE sensor_battery_percent gauge
sensor_battery_percent{{{OUTDOOR}}} 81.0
sensor_battery_percent{{{INDOOR}}} 97.0
# HELP sensor_last_seen_timestamp Last seen timestamp
# TYPE sensor_last_seen_timestamp gauge
sensor_last_seen_timestamp{{{OUTDOOR}}} 1.79540667e+09
sensor_last_seen_timestamp{{{INDOOR}}} 1.7954067e+09
# HELP thermostat_switch_state Thermostat switch state (1=ON, 0=OFF)
# TYPE thermostat_switch_state gauge
thermostat_switch_state 1.0
# HELP thermostat_target_temperature_celsius Thermostat target temperature
# TYPE thermostat_target_temperature_celsius gauge
thermostat_target_temperature_celsius 21.0
# HELP thermostat_current_temperature_celsius Current indoor temperature used for control
# TYPE thermostat_current_temperature_celsius gauge
thermostat_current_temperature_celsius 21.5
# HELP api_requests_total Total API requests
# TYPE api_requests_total counter
api_requests_total{{endpoint="/metrics",method="GET"}} 17.0
# HELP api_request_duration_seconds API request duration
# TYPE api_request_duration_seconds histogram
api_request_duration_seconds_bucket{{le="0.005"}} 3.0
api_request_duration_seconds_bucket{{le="+Inf"}} 17.0
api_request_duration_seconds_count 17.0
api_request_duration_seconds_sum 0.2
"""
"""iot-api:8000/metrics; names, labels and help are its own, the values are made up."""


def import_settings(**keys: object) -> ImportSettings:
    """An import with these keys in the configuration."""
    return read_import(ImportTable(**{"url": "http://iot-api:8000/metrics", **keys}), "import[0]")


def read(text: str, exporter: Exporter | None = None) -> dict[str, dict[str, object]]:
    """What a page makes: device name to the values of its report."""
    found = (exporter or Exporter(import_settings())).read(parse_page(text.encode()))
    return {device.key.name: dict(report.values) for device, report in found}
