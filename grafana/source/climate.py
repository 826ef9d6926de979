"""Climate: rooms, buffer, weather, and how the sensors are."""

from typing import Any

from grafana.source.board import BUFFER, INDOOR, OUTDOOR, board
from grafana.source.panels import (
    BLUE,
    DBM,
    GREEN,
    MINUTES,
    ORANGE,
    ROOMS,
    SKY,
    VERMILION,
    WHITE,
    YELLOW,
    Query,
    lines,
    number,
    points,
    states,
)
from grafana.source.queries import latest, sensor

INDOOR_STEPS = ((None, "green"), (0, "dark-blue"), (20, "dark-yellow"), (22, "dark-orange"), (24, "dark-red"))
OUTDOOR_STEPS = (
    (None, "green"), (-20, "dark-blue"), (1, "dark-green"), (10, "dark-yellow"), (20, "dark-orange"), (30, "dark-red"),
)  # fmt: skip
SILENT_S = 300

SILENT = (
    f"time() - last_over_time(sensor_last_seen_timestamp[2d]) > {SILENT_S}"
    " unless time() - last_over_time(sensor_last_seen_timestamp[2d])"
    " < on (sensor_name) group_left ()"
    " (max by (sensor_name) (last_over_time(poller_sensor_silent_after_seconds[2d])) > 900)"
)
"""As the alert has it: one that speaks seldom may be silent for as long as the poller gives it."""

OFFLINE = (
    "poller_sensor_silent_after_seconds < on (poller) group_left () (time() - poller_start_time_seconds)"
    " and on (poller, device) poller_device_up == 0"
    " unless on (sensor_name) last_over_time(sensor_last_seen_timestamp[2d])"
)
"""Those of which the other alert tells: without a time of their own, or silent for longer than two days."""

LONGEST_SILENCE = (
    "(max_over_time((time() - last_over_time(sensor_last_seen_timestamp[1h]))[10m:20s])"
    " or time() - last_over_time(sensor_last_seen_timestamp[2d])) / 60"
)
"""Of the last ten minutes, else it swings between two messages; where the last one is older, how old that is."""


LAST = "The last value of the sensor that is chosen above, at most 3 hours old."
MEANS = "Means of 5 minutes; a point for each in which something came, joined over up to 3 hours."
THERMOSTAT = "thermostat_{}_temperature_celsius"


def climate() -> dict[str, Any]:
    """How warm it is, and whether what tells so is well."""
    indoor, outdoor, buffer = (sensor("temperature_celsius", one) for one in ("indoor", "outdoor", "buffer"))
    panels = [
        number("Indoors", LAST, (0, 0, 4, 5), Query(latest(indoor), "Indoors"), unit="celsius", decimals=1,
               steps=INDOOR_STEPS, filled=True),
        number("Outdoors", LAST, (4, 0, 4, 5), Query(latest(outdoor), "Outdoors"), unit="celsius", decimals=1,
               steps=OUTDOOR_STEPS, filled=True),
        number("Buffer", "At the top of the buffer tank; at most 3 hours old.", (8, 0, 4, 5), Query(latest(buffer), "Buffer"), unit="celsius",
               decimals=1, steps=((None, "dark-blue"), (35, "dark-orange"), (40, "dark-red")), filled=True),
        number("Thermostat", "Whether it asks for heat.", (12, 0, 4, 5),
               Query(latest("thermostat_switch_state"), "{{device}}"),
               unit="short", words={0: ("off", "dark-blue"), 1: ("on", "dark-yellow")}, filled=True),
        number("Weakest battery", "Below 20 % it holds for some weeks yet. Of all that told within a day.", (16, 0, 4, 5),
               Query(f"min({latest('sensor_battery_percent', '1d')})", "Battery"), unit="percent", decimals=0,
               steps=((None, "red"), (20, "yellow"), (40, "green"))),
        number("Silent sensors", "Without a message for 5 minutes, or overdue where they speak seldom.",
               (20, 0, 4, 5), Query(f"count(({SILENT}) or ({OFFLINE})) or vector(0)", "Silent"),
               unit="short", decimals=0, steps=((None, "green"), (1, "red")), filled=True),
        lines("Indoors", MEANS, (0, 5, 12, 8), [points(indoor, "Indoors")], unit="celsius", axis="temperature", decimals=1,
              span=(18, 25), colors={"Indoors": WHITE},
              steps=((None, "blue"), (20, "transparent"), (23, "red"))),
        lines("Outdoors", MEANS, (12, 5, 12, 8), [points(outdoor, "Outdoors")],
              unit="celsius", axis="temperature", decimals=1, span=(-8, 27), colors={"Outdoors": SKY},
              steps=((None, "purple"), (0, "blue"), (10, "green"), (20, "orange"), (30, "red"))),
        lines("Buffer and water", "The buffer's top, and what the heat pump sends and gets back.", (0, 13, 12, 10),
              [points(buffer, "Buffer"),
               Query("max(heatpump_flow_temperature_celsius)", "Flow"),
               Query("max(heatpump_return_temperature_celsius)", "Return"),
               Query("max(heatpump_target_temperature_celsius)", "Target")],
              unit="celsius", axis="temperature", decimals=1, span=(27, 45),
              colors={"Buffer": WHITE, "Flow": VERMILION, "Return": BLUE, "Target": YELLOW},
              steps=((None, "transparent"), (35, "orange"), (40, "red"))),
        lines("Thermostat", "What it measures, and what it aims at.", (12, 13, 12, 6),
              [points(THERMOSTAT.format("current"), "Measured"), points(THERMOSTAT.format("target"), "Target")],
              unit="celsius", axis="temperature", decimals=1, colors={"Measured": ORANGE, "Target": YELLOW}),
        states("Thermostat switch", "When it asked for heat.", (12, 19, 12, 4),
               [Query("thermostat_switch_state", "{{device}}")], {0: ("off", "transparent"), 1: ("on", GREEN)}),
        lines("All sensors", f"Every sensor's temperature. {MEANS}", (0, 23, 12, 8),
              [points("sensor_temperature_celsius", "{{sensor_name}}")], unit="celsius", axis="temperature", decimals=1,
              colors=ROOMS),
        lines("Humidity", "Above 60 % for long, mould comes indoors.", (12, 23, 12, 8),
              [points("sensor_humidity_percent", "{{sensor_name}}")], unit="percent", axis="humidity", decimals=0,
              colors=ROOMS,
              steps=((None, "transparent"), (60, "yellow"), (70, "red"))),
        lines("Batteries", "They fall in steps, and in the cold for a while.", (0, 31, 8, 7),
              [points("sensor_battery_percent", "{{sensor_name}}", every="15m", joined_h=24)], unit="percent", axis="charge", decimals=0,
              colors=ROOMS,
              span=(0, 100)),
        lines("Radio", "Above -60 dBm is good, below -70 dBm messages get lost.", (8, 31, 8, 7),
              [points("sensor_rssi_dbm", "{{sensor_name}}", every="15m")], unit=DBM, axis="signal", decimals=0,
              colors=ROOMS,
              steps=((None, "red"), (-70, "yellow"), (-60, "transparent"))),
        lines("Silence", "The longest of 10 minutes. Red is too long for sensors that speak every minute.", (16, 31, 8, 7),
              [Query(LONGEST_SILENCE, "{{sensor_name}}")],
              unit=MINUTES, axis="silence", decimals=0, span=(0, 6), colors=ROOMS,
              steps=((None, "transparent"), (SILENT_S / 60, "red"))),
    ]  # fmt: skip
    says = "Rooms, buffer and weather, and how the sensors are."
    return board("heating-climate", "Heating: climate", says, panels, [INDOOR, OUTDOOR, BUFFER])
