"""The heat pump: water, compressor, heat, and how well it makes it."""

from typing import Any

from grafana.source.board import HEAT_PUMP, METER, board
from grafana.source.panels import (
    BLUE,
    COP_STEPS,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Query,
    calendar,
    cloud,
    lines,
    number,
    states,
)
from grafana.source.queries import COP, RUNS, THERMAL_KW, energy, heat_pump, hourly, hourly_mean, meter

STARTS = f"ceil(changes({heat_pump('compressor_running')}[1h]) / 2)"
ON_OFF = {0: ("off", "transparent"), 1: ("on", GREEN)}
MODES = {0: ("standby", "text"), 1: ("cooling", "blue"), 2: ("heating", "orange"), 3: ("auto", "text")}
WHILE_RUNNING = f"and on () {RUNS}"


def heat_pump_board() -> dict[str, Any]:
    """From the water to the season's performance."""
    panels = [
        number("Mode", "What the outdoor unit does.", (0, 0, 4, 4), Query(heat_pump("operating_mode"), "Mode"),
               unit="short", words=MODES),
        number("Error", "The number behind CH on the display; 0 is none.", (4, 0, 4, 4),
               Query(heat_pump("error_code"), "Error"), unit="short", decimals=0,
               steps=((None, "green"), (1, "red")), filled=True),
        number("Water pressure", "Below 1 bar air gets in; fill up to 1.5 bar.", (8, 0, 4, 4),
               Query(heat_pump("water_pressure_bar"), "Pressure"), unit="pressurebar", decimals=1,
               steps=((None, "red"), (1.0, "yellow"), (1.2, "green"), (2.5, "yellow"))),
        number("Flow rate", "Water through the heat pump.", (12, 0, 4, 4),
               Query(heat_pump("flow_rate_lpm"), "Flow rate"), unit="flowlpm", decimals=1,
               steps=((None, "green"), (80, "red"))),
        number("Starts, last hour", "More than four wear the compressor.", (16, 0, 4, 4), Query(STARTS, "Starts"),
               unit="short", decimals=0, steps=((None, "green"), (4, "yellow"), (6, "red"))),
        number("COP now", "Mean of 5 minutes; blank while the compressor rests.", (20, 0, 4, 4), Query(COP, "COP"),
               unit="short", decimals=1, steps=COP_STEPS),
        lines("Water temperatures", "Flow is what leaves the heat pump, return what comes back, target what it aims at.",
              (0, 4, 12, 9),
              [Query(heat_pump("flow_temperature_celsius"), "Flow"),
               Query(heat_pump("return_temperature_celsius"), "Return"),
               Query(heat_pump("target_temperature_celsius"), "Target")],
              unit="celsius", axis="temperature", decimals=1, span=(27, 45),
              colors={"Flow": VERMILION, "Return": BLUE, "Target": YELLOW},
              steps=((None, "transparent"), (35, "orange"), (40, "red"))),
        lines("Spread and flow rate", "Flow less return, and how much water carries it. 3 to 8 K are usual.",
              (12, 4, 12, 9),
              [Query(heat_pump("temperature_delta_celsius"), "Spread"), Query(heat_pump("flow_rate_lpm"), "Flow rate")],
              unit="kelvin", axis="spread", decimals=1, colors={"Spread": ORANGE, "Flow rate": SKY},
              right={"Flow rate": ("flowlpm", "flow rate")}),
        states("What runs", "Compressor, pump and defrost.", (0, 13, 12, 6),
               [Query(heat_pump("compressor_running"), "Compressor"), Query(heat_pump("water_pump_running"), "Pump"),
                Query(heat_pump("defrost_active"), "Defrost")], ON_OFF),
        lines("Starts per hour", "Each is a change from rest to work within the hour before.", (12, 13, 6, 6),
              [Query(STARTS, "Starts")], unit="short", axis="starts", colors={"Starts": PURPLE}, stepped=True,
              span=(0, 6), decimals=0),
        lines("Defrosts per day", "Frost on the evaporator, between 5 and -5 °C mostly.", (18, 13, 6, 6),
              [Query(f"ceil(changes({heat_pump('defrost_active')}[1d]) / 2)", "Defrosts")], unit="short",
              axis="defrosts", colors={"Defrosts": SKY}, stepped=True, span=(0, 6), decimals=0),
        lines("Heat and electricity", "Heat: flow rate times spread. It is negative while it defrosts.",
              (0, 19, 12, 9),
              [Query(THERMAL_KW, "Heat"), Query(meter("power_total_kw"), "Electricity")], unit="kwatt", axis="power",
              colors={"Heat": VERMILION, "Electricity": SKY}, decimals=1, fill=10),
        lines("COP", "Only while the compressor runs above 200 W, means of 5 minutes.", (12, 19, 12, 9),
              [Query(COP, "COP")], unit="short", axis="COP", colors={"COP": GREEN}, decimals=1, span=(2, 5)),
        calendar("Performance by day", "The day's heat over the day's electricity by the meter.", (0, 28, 12, 9),
                 [Query(f"sum({hourly_mean(THERMAL_KW)})", "Heat"),
                  Query(f"sum({energy(hourly)})", "Electricity")],
                 unit="short", axis="performance factor", since="now-30d/d", by="YYYY-MM-DD", ratio="Performance",
                 colors={"Performance": GREEN}),
        calendar("Performance by month", "The month's heat over the month's electricity; together the seasonal one.",
                 (12, 28, 6, 9),
                 [Query(f"sum({hourly_mean(THERMAL_KW)})", "Heat"),
                  Query(f"sum({energy(hourly)})", "Electricity")],
                 unit="short", axis="performance factor", since="now-1y/M", by="YYYY-MM", ratio="Performance",
                 colors={"Performance": GREEN}),
        cloud("Heating curve", "Each point is a quarter of an hour of heating: a colder day wants warmer water.",
              (18, 28, 6, 9),
              Query(f"avg_over_time({heat_pump('outdoor_temperature_celsius')}[15m])", "Outdoors"),
              Query(f"avg_over_time({heat_pump('flow_temperature_celsius')}[15m]) {WHILE_RUNNING}", "Flow"),
              unit="celsius", since="now-30d", every="15m"),
    ]  # fmt: skip
    says = "Water, compressor, heat, and how much of it comes of a kilowatt-hour."
    return board("heating-heat-pump", "Heating: heat pump", says, panels, [METER, HEAT_PUMP])
