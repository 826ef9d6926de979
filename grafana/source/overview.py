"""For a phone and for a tablet on the wall: what runs, how warm it is, what it takes, whether all is well."""

from typing import Any

from grafana.source.board import HEAT_PUMP, INDOOR, METER, OUTDOOR, board
from grafana.source.panels import (
    BLUE,
    COP_STEPS,
    KWH,
    ORANGE,
    SKY,
    VERMILION,
    WATTS,
    WHITE,
    Query,
    lines,
    number,
    points,
)
from grafana.source.queries import COP, energy, heat_pump, latest, meter, sensor, today

STATE = (
    f"max({heat_pump('compressor_running')}) + (max({heat_pump('defrost_active')}) == 1 or vector(0)) * 2"
    f" or max({heat_pump('compressor_running')})"
)
WORDS = {0: ("rests", "dark-blue"), 1: ("runs", "green"), 2: ("defrosts", "blue"), 3: ("defrosts", "blue")}

WRONG = (
    "(sum(bridge_data_complete == bool 0) or vector(1)) + (sum(poller_device_up == bool 0) or vector(1))"
    " + (sum(max by (device) (heatpump_error_active == bool 1)) or vector(0))"
)
"""A bridge or a poller that says nothing is wrong too, and not well."""


def overview() -> dict[str, Any]:
    """Six numbers that fill the width of a phone, and two charts."""
    panels = [
        number(
            "Power now", "What the meter shows; negative while it exports.", (0, 0, 4, 5),
            Query(f"{meter('power_total_kw')} * 1000", "Power"), unit=WATTS, decimals=0,
            steps=((None, "green"), (1000, "yellow"), (2000, "red")), filled=True,
        ),
        number(
            "Heat pump", "What the compressor does.", (4, 0, 4, 5), Query(STATE, "Heat pump"),
            unit="short", words=WORDS, filled=True,
        ),
        number(
            "Energy today", "Since midnight here: the meter's count, less what it was then.", (8, 0, 4, 5),
            Query(energy(today), "Today"), unit=KWH, decimals=2, since="now/d",
        ),
        number(
            "COP now", "Heat over electricity, mean of 5 minutes; blank while the compressor rests.", (12, 0, 4, 5),
            Query(COP, "COP"), unit="short", decimals=1,
            steps=COP_STEPS,
        ),
        number(
            "Indoors", "The last value of the sensor that is chosen above, at most 3 hours old.", (16, 0, 4, 5),
            Query(latest(sensor("temperature_celsius", "indoor")), "Indoors"), unit="celsius", decimals=1,
            steps=((None, "green"), (0, "dark-blue"), (20, "dark-yellow"), (22, "dark-orange"), (24, "dark-red")),
            filled=True,
        ),
        number(
            "Is anything wrong?",
            "How many: devices that do not answer, data that have not arrived, errors of the heat pump, no bridge, no poller.",
            (20, 0, 4, 5), Query(WRONG, "Wrong"), unit="short", decimals=0,
            steps=((None, "green"), (1, "red")), words={0: ("all is well", "green")}, filled=True,
        ),
        lines(
            "Power", "The meter's power.", (0, 5, 12, 8),
            [Query(f"{meter('power_total_kw')} * 1000", "Power")], unit=WATTS, axis="power", decimals=0,
            colors={"Power": ORANGE}, steps=((None, "transparent"), (1000, "yellow"), (2000, "red")), fill=15,
        ),
        lines(
            "Temperatures", "Water to and from the heat pump, rooms, outdoors.", (12, 5, 12, 8),
            [
                Query(heat_pump("flow_temperature_celsius"), "Flow"),
                Query(heat_pump("return_temperature_celsius"), "Return"),
                points(sensor("temperature_celsius", "indoor"), "Indoors"),
                points(sensor("temperature_celsius", "outdoor"), "Outdoors"),
            ],
            unit="celsius", axis="temperature", decimals=1,
            colors={"Flow": VERMILION, "Return": BLUE, "Indoors": WHITE, "Outdoors": SKY},
        ),
    ]  # fmt: skip
    says = "The heating at a glance, for a phone and for a tablet on the wall."
    return board("heating-overview", "Heating: overview", says, panels, [METER, HEAT_PUMP, INDOOR, OUTDOOR])
