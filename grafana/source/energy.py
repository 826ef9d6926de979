"""Energy: power by phase, days, months, the count, standby, cost."""

from typing import Any

from grafana.source.board import BEGAN, METER, PRICE, board
from grafana.source.panels import BLUE, KWH, ORANGE, PHASES, WATTS, Query, calendar, lines, number
from grafana.source.queries import energy, hourly, meter, today

ENERGY = "What it counts as its total, or else what it imported."
PHASES_COUNTED = " or ".join(
    f"last_over_time({meter(f'energy_{phase}_kwh')}[1h] offset -1h)" for phase in PHASES
)
STANDBY = (
    f"sum_over_time(({meter('power_total_kw')} and on () (max(heatpump_compressor_running) == 0))[1d:1m])"
    f" / sum_over_time({meter('power_total_kw')}[1d:1m])"
)


def energy_board() -> dict[str, Any]:
    """What the meter counts, right to the day."""
    phases = [Query(f"{meter(f'power_{phase}_kw')} * 1000", phase) for phase in PHASES]
    by_phase = [Query(hourly(meter(f"energy_{phase}_kwh")), phase) for phase in PHASES]
    whole = Query(f"({energy(hourly)}) unless on (device) ({PHASES_COUNTED})", "Total")
    panels = [
        number("Power", "What the meter shows now.", (0, 0, 4, 4), Query(f"{meter('power_total_kw')} * 1000", "Power"),
               unit=WATTS, decimals=0, steps=((None, "green"), (1000, "yellow"), (2000, "red")), filled=True),
        number("Today", f"Since midnight here. {ENERGY}", (4, 0, 4, 4), Query(energy(today), "Today"), unit=KWH, decimals=2,
               since="now/d"),
        number("Today's cost", "Today's energy times the price above.", (8, 0, 4, 4),
               Query(f"({energy(today)}) * $price", "Cost"), unit="short", decimals=2, since="now/d"),
        number("Count", "As on the meter's display; it goes on across a replacement.", (12, 0, 4, 4),
               Query(energy(), "Count"), unit=KWH, decimals=1),
        number("Since the start", "The count, less what it was at the start (above).", (16, 0, 4, 4),
               Query(f"({energy()}) - $began", "Since the start"), unit=KWH, decimals=1),
        number("Standby share", "What flowed in the last day while no compressor ran.", (20, 0, 4, 4),
               Query(STANDBY, "Standby"), unit="percentunit", decimals=0,
               steps=((None, "green"), (0.15, "yellow"), (0.3, "red"))),
        lines("Power by phase", "Brown, black and grey as in the cable.", (0, 4, 16, 9),
              [*phases, Query(f"{meter('power_total_kw')} * 1000", "Total")], unit=WATTS, axis="power", decimals=0,
              colors={**PHASES, "Total": ORANGE}, steps=((None, "transparent"), (1000, "yellow"), (2000, "red"))),
        lines("Count", "The meter's count.", (16, 4, 8, 9), [Query(energy(), "Count")], unit=KWH, axis="energy",
              decimals=1, colors={"Count": BLUE}, fill=15),
        calendar("Energy by day", "Calendar days here, also those of 23 and 25 hours; by phase where the meter counts each.",
                 (0, 13, 12, 9), [*by_phase, whole], unit=KWH, axis="energy", since="now-30d/d", by="YYYY-MM-DD",
                 colors={**PHASES, "Total": ORANGE}),
        calendar("Energy by month", "Calendar months here.", (12, 13, 6, 9), [Query(energy(hourly), "Energy")],
                 unit=KWH, axis="energy", since="now-1y/M", by="YYYY-MM", colors={"Energy": ORANGE}, decimals=0),
        calendar("Cost by month", "Energy times the price above.", (18, 13, 6, 9),
                 [Query(f"({energy(hourly)}) * $price", "Cost")], unit="short", axis="cost", since="now-1y/M",
                 by="YYYY-MM", colors={"Cost": BLUE}, decimals=0),
        lines("Grid frequency", "49.8 to 50.2 Hz is every day; more is news.", (0, 22, 12, 7),
              [Query(meter("frequency_hz"), "Frequency")], unit="hertz", axis="frequency", decimals=2,
              colors={"Frequency": BLUE}, span=(49.7, 50.3),
              steps=((None, "red"), (49.7, "yellow"), (49.8, "transparent"), (50.2, "yellow"), (50.3, "red"))),
        lines("Power factor", "Cos φ, without the sign that export has: above 0.85 under load is good; in standby it says nothing.", (12, 22, 12, 7),
              [Query(f"abs({meter('power_factor')})", "Power factor")], unit="short", axis="cos φ", decimals=2,
              colors={"Power factor": ORANGE}, span=(0, 1),
              steps=((None, "red"), (0.7, "yellow"), (0.85, "transparent"))),
    ]  # fmt: skip
    says = "What the meter counts: now, by day, by month, and what it costs."
    return board("heating-energy", "Heating: energy", says, panels, [METER, PRICE, BEGAN])
